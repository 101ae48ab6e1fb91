package console

import (
	"bytes"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
)

//go:embed pages
var pageFiles embed.FS

//go:embed static
var staticFiles embed.FS

// Config says how the console behaves.
type Config struct {
	Log     *slog.Logger
	Version string // shown at the foot of each page
}

// Console renders the pages.
type Console struct {
	cfg    Config
	conn   *nats.Conn
	pages  map[string]*template.Template
	mux    *http.ServeMux
	served *ask.Served
	hash   string // of all static files: their addresses change when one of them does
}

// New returns a Console that asks over conn. It starts nothing.
func New(cfg Config, conn *nats.Conn) (*Console, error) {
	if conn == nil {
		return nil, errors.New("console: no connection to NATS was given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Console{cfg: cfg, conn: conn, pages: map[string]*template.Template{}, mux: http.NewServeMux(), served: ask.NewServed(conn)}
	if err := c.static(); err != nil {
		return nil, fmt.Errorf("console: embedded files: %w", err)
	}
	for _, name := range []string{"fleet", "data", "messages", "trace", "alerts", "missing"} {
		t, err := template.New("").Funcs(c.words()).ParseFS(pageFiles, "pages/frame.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		c.pages[name] = t
	}
	c.mux.HandleFunc("GET /{$}", c.fleet)
	c.mux.HandleFunc("GET /data", c.data)
	c.mux.HandleFunc("GET /messages", c.messages)
	c.mux.HandleFunc("GET /traces/{trace_id}", c.trace)
	c.mux.HandleFunc("GET /alerts", c.alerts)
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.show(w, r, http.StatusNotFound, page{Name: "missing", Title: "Nothing here"})
	})
	return c, nil
}

// Handler returns the pages and what they load.
func (c *Console) Handler() http.Handler { return c.mux }

// page is what every page knows; Body is its own.
type page struct {
	Name      string // of the template
	Title     string
	Nav       string // which entry of the navigation it belongs to
	Version   string
	RequestID string
	Now       int64 // milliseconds since the Unix epoch
	Notice    string
	Self      string // its own address, to fetch it again
	Body      any
}

// show renders a page in memory first, so that a failure is a whole answer too.
func (c *Console) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	p.Version, p.RequestID, p.Self = c.cfg.Version, ask.OriginOf(r.Context()).RequestID, r.URL.RequestURI()
	p.Now = time.Now().UnixMilli()
	var out bytes.Buffer
	if err := c.pages[p.Name].ExecuteTemplate(&out, "frame", p); err != nil {
		c.cfg.Log.Error("a page cannot be rendered", "path", r.URL.Path, "request_id", p.RequestID, "err", err)
		http.Error(w, "This page cannot be shown. Look for the request id "+p.RequestID+" in the log of tidemark-cloud.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(out.Bytes())
}

// notice turns what ask.Do returns into the status and the words of a page.
func notice(err error) (int, string) {
	var refused *contract.Problem
	var down *ask.Unavailable
	switch {
	case err == nil:
		return http.StatusOK, ""
	case errors.As(err, &refused) && refused.Status >= 400 && refused.Status <= 599:
		return refused.Status, refused.Text
	case errors.As(err, &down):
		return http.StatusServiceUnavailable, down.Error()
	}
	return http.StatusInternalServerError, "The console failed in a way that it did not expect. Look for the request id at the foot of this page in the log of tidemark-cloud."
}

// static serves the embedded files. Their addresses carry a hash, so a browser
// may keep them for good.
func (c *Console) static() error {
	files := map[string][]byte{}
	sum := fnv.New64a()
	err := fs.WalkDir(staticFiles, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files["/"+name], err = staticFiles.ReadFile(name)
		sum.Write(files["/"+name])
		return err
	})
	if err != nil {
		return err
	}
	c.hash = hex.EncodeToString(sum.Sum(nil))
	serve := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
			w.Header().Set("Cache-Control", "no-cache")
			if r.URL.Query().Get("v") == c.hash {
				w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			}
			w.Header().Set("ETag", `"`+c.hash+`"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(files[name]))
		}
	}
	for name := range files {
		c.mux.HandleFunc("GET "+name, serve(name))
	}
	c.mux.HandleFunc("GET /favicon.ico", serve("/static/icon.svg"))
	return nil
}
