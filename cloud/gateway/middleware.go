package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidemark/cloud/ask"
	"tidemark/protocol"
)

// Bounds on what a client may send.
const (
	maxURL  = 8 << 10
	maxBody = 64 << 10 // no endpoint takes a body; this much is read and thrown away
)

// around puts what every request passes around the mux.
func (g *Gateway) around(mux *http.ServeMux) http.Handler {
	limits := newLimiters(g.cfg.RatePerSecond, g.cfg.Burst)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		origin := originOf(r)
		r = r.WithContext(ask.WithOrigin(r.Context(), origin))
		rec := &recorder{ResponseWriter: w}
		w.Header().Set(ask.HeaderRequestID, origin.RequestID)
		w.Header().Set(ask.HeaderTraceparent, origin.Traceparent)
		secure(w.Header())
		defer func() {
			if v := recover(); v != nil {
				g.panicked(rec, r, v)
			}
			g.done(rec, r, time.Since(start))
		}()
		if p := g.refuse(r, limits); p != nil {
			writeProblem(rec, r, p)
			return
		}
		r.Body = http.MaxBytesReader(rec, r.Body, maxBody)
		mux.ServeHTTP(rec, r)
	})
}

// refuse says why a request goes no further, or nil.
func (g *Gateway) refuse(r *http.Request, limits *limiters) *Problem {
	if !g.hostAllowed(r.Host) {
		return newProblem(http.StatusMisdirectedRequest, reasonHost, fmt.Sprintf("This server does not answer for the host %.80q. Use 127.0.0.1 or localhost, or add the name to the gateway's hosts.", r.Host))
	}
	if len(r.RequestURI) > maxURL {
		return newProblem(http.StatusRequestURITooLong, reasonTooLong, fmt.Sprintf("The address is longer than %d bytes. Ask for fewer points at a time.", maxURL))
	}
	if r.ContentLength > maxBody {
		return newProblem(http.StatusRequestEntityTooLarge, reasonTooLong, "No request here has a body. Send it without one.")
	}
	if wait := limits.wait(clientOf(r), time.Now()); wait > 0 {
		p := newProblem(http.StatusTooManyRequests, reasonRate, fmt.Sprintf("This client sends more than %g requests a second. Wait as Retry-After says, and ask for more at a time.", g.cfg.RatePerSecond))
		p.RetryAfter = int(wait/time.Second) + 1
		return p
	}
	return nil
}

func (g *Gateway) hostAllowed(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	return host == "localhost" || slices.Contains(g.cfg.Hosts, host)
}

func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// secure sets the headers that keep a browser from doing more than it should.
// Handlers may loosen Cache-Control.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
}

var (
	requestIDForm   = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	traceparentForm = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)
)

// originOf takes the request id and trace of the client, or makes them. The
// span is always our own, a child of the client's.
func originOf(r *http.Request) ask.Origin {
	o := ask.Origin{RequestID: r.Header.Get(ask.HeaderRequestID)}
	if !requestIDForm.MatchString(o.RequestID) {
		o.RequestID = randomHex(16)
	}
	trace, flags := randomHex(16), "01"
	if m := traceparentForm.FindStringSubmatch(r.Header.Get(ask.HeaderTraceparent)); m != nil && strings.Trim(m[1], "0") != "" && strings.Trim(m[2], "0") != "" {
		trace, flags = m[1], m[3]
	}
	o.Traceparent = "00-" + trace + "-" + randomHex(8) + "-" + flags
	return o
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (g *Gateway) panicked(rec *recorder, r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	g.cfg.Log.Error("a request made the gateway panic", "request_id", ask.OriginOf(r.Context()).RequestID, "path", r.URL.Path, "err", fmt.Sprint(v), "stack", string(debug.Stack()))
	if rec.status == 0 {
		writeProblem(rec, r, newProblem(http.StatusInternalServerError, reasonInternal, "The gateway failed in a way that it did not expect. Look for the request_id in its log."))
	}
}

func (g *Gateway) done(rec *recorder, r *http.Request, dur time.Duration) {
	code := codeOf(rec.status)
	g.metrics.request(r.Pattern, code, dur)
	level := slog.LevelInfo
	if strings.HasPrefix(r.URL.Path, "/static/") || r.URL.Path == "/healthz" || r.URL.Path == "/metrics" {
		level = slog.LevelDebug
	}
	g.cfg.Log.Log(r.Context(), level, "request answered", "request_id", ask.OriginOf(r.Context()).RequestID,
		"method", r.Method, "path", r.URL.Path, "status", rec.status, "response_code", string(code), "bytes", rec.bytes, "dur", dur, "client", clientOf(r))
}

// codeOf is the outcome class of an HTTP status.
func codeOf(status int) protocol.ResponseCode {
	switch {
	case status == http.StatusGatewayTimeout:
		return protocol.Timeout
	case status >= 500:
		return protocol.Failed
	case status >= 400:
		return protocol.Rejected
	}
	return protocol.OK
}

// writeProblem answers with a problem outside of huma.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.RequestID = ask.OriginOf(r.Context()).RequestID
	w.Header().Set("Content-Type", "application/problem+json")
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // a client that is gone needs no problem
}
