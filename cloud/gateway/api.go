package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"tidemark/cloud/gateway/apidocs"
)

const about = `Readings, messages, alerts and the state of gateways.

Times are milliseconds since the Unix epoch where a name ends in _ms, microseconds where it ends in _us; parameters also take RFC 3339.
Every answer about readings says how far it reaches (as_of, lag) and, when there is less than was asked for, why (missing_reason).
Errors are RFC 9457 problems with a reason for programs and a sentence for people. Send X-Request-Id and traceparent to find a request again in the logs.`

// api puts all operations and what describes them into mux.
func (g *Gateway) api(mux *http.ServeMux) error {
	useProblems()
	config := huma.DefaultConfig("Tidemark", g.cfg.Version)
	config.Info.Description = about
	config.CreateHooks = nil // no $schema in the answers
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.RejectUnknownQueryParameters = true
	config.Tags = []*huma.Tag{
		{Name: "fleet", Description: "Sites and gateways, and what the cloud has committed of each."},
		{Name: "data", Description: "Readings, roll-ups, series, and the live tail."},
		{Name: "trace", Description: "Messages, and where each one has been."},
		{Name: "rule", Description: "Alerts, and the rules that raise them."},
	}
	api := humago.New(mux, config)
	g.fleetAPI(api)
	g.dataAPI(api)
	g.traceAPI(api)
	g.ruleAPI(api)
	return g.describe(mux, api.OpenAPI())
}

// get registers one operation. The handler's errors are those of ask.Do.
func get[I, O any](api huma.API, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	op.Method = http.MethodGet
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, problemFrom(ctx, err)
		}
		return out, nil
	})
	delete(op.Responses, "422") // ours are 400
}

// answer is the shape that huma wants around a body.
type answer[T any] struct{ Body T }

// describe serves the OpenAPI document and a page made of it. All is rendered
// here, once, so that nothing is loaded from elsewhere and nothing can race.
func (g *Gateway) describe(mux *http.ServeMux, spec *huma.OpenAPI) error {
	for _, item := range spec.Paths {
		delete(item.Get.Responses, "422")
	}
	apidocs.Explain(spec)
	asJSON, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	asYAML, err := spec.YAML()
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	page, err := apidocs.Page(spec)
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	for path, f := range map[string]struct {
		kind string
		data []byte
	}{
		"/api/openapi.json": {"application/openapi+json", asJSON},
		"/api/openapi.yaml": {"application/openapi+yaml", asYAML},
		"/api/docs":         {"text/html; charset=utf-8", page},
		"/api/docs.css":     {"text/css; charset=utf-8", apidocs.CSS},
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", f.kind)
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
		})
	}
	mux.Handle("GET /api", http.RedirectHandler("/api/docs", http.StatusSeeOther))
	return nil
}
