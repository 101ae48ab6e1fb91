package apidocs

import (
	"bytes"
	_ "embed"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed page.html
var pageHTML string

// CSS is the style sheet of the page; it stands at /api/docs.css.
//
//go:embed page.css
var CSS []byte

var pageTemplate = template.Must(template.New("docs").Parse(pageHTML))

// What the page shows of the document.
type (
	docSection struct {
		Name, Description string
		Operations        []docOperation
	}
	docOperation struct {
		ID, Path, Summary, Description, Example, Body string
		Params                                        []docParam
	}
	docParam  struct{ Name, In, Type, Doc, Default string }
	docSchema struct {
		Name   string
		Fields []docField
	}
	docField struct{ Name, Type, Doc string }
)

const schemaRef = "#/components/schemas/"

// Page renders the document as one page without scripts, so that it reads
// the same on a machine that has no way out.
func Page(spec *huma.OpenAPI) ([]byte, error) {
	var sections []docSection
	for _, tag := range spec.Tags {
		s := docSection{Name: tag.Name, Description: tag.Description}
		for _, path := range slices.Sorted(maps.Keys(spec.Paths)) {
			if op := spec.Paths[path].Get; slices.Contains(op.Tags, tag.Name) {
				s.Operations = append(s.Operations, docOf(path, op))
			}
		}
		sections = append(sections, s)
	}
	var page bytes.Buffer
	err := pageTemplate.Execute(&page, map[string]any{"Info": spec.Info, "About": strings.Split(spec.Info.Description, "\n"),
		"Sections": sections, "Schemas": docSchemas(spec.Components.Schemas.Map())})
	return page.Bytes(), err
}

func docOf(path string, op *huma.Operation) docOperation {
	o := docOperation{ID: op.OperationID, Path: path, Summary: op.Summary, Description: op.Description, Example: exampleOf(path, op)}
	for _, p := range op.Parameters {
		o.Params = append(o.Params, docParam{p.Name, p.In, typeName(p.Schema), p.Description, defaultOf(p)})
	}
	if c := op.Responses["200"].Content["application/json"]; c != nil && c.Schema != nil {
		o.Body = strings.TrimPrefix(c.Schema.Ref, schemaRef)
	}
	return o
}

func docSchemas(all map[string]*huma.Schema) []docSchema {
	var out []docSchema
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := docSchema{Name: name}
		for _, f := range slices.Sorted(maps.Keys(all[name].Properties)) {
			p := all[name].Properties[f]
			s.Fields = append(s.Fields, docField{f, typeName(p), p.Description})
		}
		out = append(out, s)
	}
	return out
}

func typeName(s *huma.Schema) string {
	switch {
	case s == nil || s.Type == "" && s.Ref == "":
		return "any"
	case s.Ref != "":
		return strings.TrimPrefix(s.Ref, schemaRef)
	case s.Type == huma.TypeArray:
		return "list of " + typeName(s.Items)
	case len(s.Enum) > 0:
		var v []string
		for _, e := range s.Enum {
			v = append(v, toText(e))
		}
		return strings.Join(v, " | ")
	}
	return s.Type
}

func defaultOf(p *huma.Param) string {
	if p.Required {
		return "required"
	}
	if p.Schema != nil && p.Schema.Default != nil {
		return toText(p.Schema.Default)
	}
	return ""
}

func exampleOf(path string, op *huma.Operation) string {
	var query []string
	for _, p := range op.Parameters {
		example := ""
		if p.Schema != nil && len(p.Schema.Examples) > 0 {
			example = toText(p.Schema.Examples[0])
		}
		if p.In == "path" {
			if example == "" {
				example = "0af7651916cd43dd8448eb211c80319c"
			}
			path = strings.Replace(path, "{"+p.Name+"}", example, 1)
		} else if p.Required {
			query = append(query, p.Name+"="+example)
		}
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return path
}

func toText(v any) string {
	if v == nil {
		return ""
	}
	return strings.Trim(strings.TrimSpace(jsonText(v)), `"`)
}
