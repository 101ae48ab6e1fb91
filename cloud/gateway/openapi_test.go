package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"tidemark/cloud/ask/asktest"
)

// spec is what the test needs of an OpenAPI document.
type spec struct {
	OpenAPI string `json:"openapi" yaml:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId" yaml:"operationId"`
		Parameters  []struct {
			Name, In string
			Required bool
			Schema   struct{ Examples []any }
		}
		Responses map[string]struct{ Content map[string]any }
	}
}

// Every path that the document names answers as the document says.
func TestOpenAPIDocumentHoldsForEveryPath(t *testing.T) {
	base, _ := start(t, Config{Version: "1.2.3"})
	doc := fetchJSON[spec](t, base+"/api/openapi.json")
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Paths) < 12 {
		t.Fatalf("OpenAPI %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	for path, item := range doc.Paths {
		for method, op := range item {
			if method != "get" || op.OperationID == "" {
				t.Errorf("%s %s: operation %q", method, path, op.OperationID)
				continue
			}
			if _, ok := op.Responses["422"]; ok {
				t.Errorf("%s says that it answers 422; it answers 400", path)
			}
			url, query := path, []string{}
			for _, p := range op.Parameters {
				value := ""
				if len(p.Schema.Examples) > 0 {
					value, _ = p.Schema.Examples[0].(string)
				}
				switch {
				case p.Name == "trace_id":
					value = asktest.TraceID
				case p.Required && value == "":
					t.Errorf("%s: the required parameter %s has no example", path, p.Name)
				}
				if p.In == "path" {
					url = strings.Replace(url, "{"+p.Name+"}", value, 1)
				} else if p.Required {
					query = append(query, p.Name+"="+value)
				}
			}
			if op.OperationID == "follow-live" {
				tail, stop := events(t, base+url+"?"+strings.Join(query, "&"))
				next(t, tail, "state")
				stop()
				continue
			}
			res, body := fetch(t, base+url+"?"+strings.Join(query, "&"))
			kind := res.Header.Get("Content-Type")
			if _, ok := op.Responses["200"].Content[kind]; res.StatusCode != http.StatusOK || !ok || !json.Valid(body) {
				t.Errorf("GET %s: %s %s %.200s", url, res.Status, kind, body)
			}
		}
	}
}

func TestOpenAPIAsYAMLAndDocs(t *testing.T) {
	base, _ := start(t, Config{})
	_, body := fetch(t, base+"/api/openapi.yaml")
	var doc spec
	if err := yaml.Unmarshal(body, &doc); err != nil || len(doc.Paths) < 12 {
		t.Errorf("%d paths, %v", len(doc.Paths), err)
	}
	res, body := fetch(t, base+"/api/docs")
	page := string(body)
	if res.StatusCode != 200 || strings.Contains(page, "<script") || strings.Contains(page, "style=") || strings.Contains(page, "https://") {
		t.Errorf("%s; the page loads or styles something that the CSP forbids", res.Status)
	}
	for path := range doc.Paths {
		if !strings.Contains(page, path) {
			t.Errorf("the page does not name %s", path)
		}
	}
	if res, _ := fetch(t, base+"/api/docs.css"); res.StatusCode != 200 {
		t.Errorf("style sheet: %s", res.Status)
	}
}
