package browser

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"tidemark/cloud/ask/asktest"
	"tidemark/cloud/console"
	"tidemark/cloud/gateway"
)

// serve runs the gateway with the console in front of p.
func serve(t *testing.T, p *asktest.Platform) string {
	t.Helper()
	pages, err := console.New(console.Config{Version: "0.1.0"}, p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{Version: "0.1.0", Pages: pages.Handler()}, p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

// tab is one tab of a browser, and all that went wrong in it.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu       sync.Mutex
	mistakes []string
	calm     bool // whether mistakes count
}

func chromium(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("chromium is not installed: run test/setup.sh (%v)", err)
	}
	return path
}

// open starts a browser with a profile of its own.
func open(t *testing.T, base string) *tab {
	t.Helper()
	opts := []chromedp.ExecAllocatorOption{chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck}
	for _, flag := range []string{"headless", "no-sandbox", "disable-gpu", "disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars"} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stop := chromedp.NewContext(alloc)
	ctx, stopTime := context.WithTimeout(ctx, 2*time.Minute)
	b := &tab{t: t, ctx: ctx, base: base, calm: true}
	t.Cleanup(func() {
		stopTime()
		chromedp.Cancel(ctx) // lets the browser end by itself, so that its folder can go
		stop()
		stopAlloc()
		if t.Failed() {
			return
		}
		for _, m := range b.wrong() {
			t.Error(m)
		}
	})
	b.do("start")
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	command(b, log.Enable, cdp.Empty{}) // what listens needs no command of its own
	return b
}

// hear collects exceptions, violations of the content security policy, and requests that fail or leave the machine.
func (b *tab) hear(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.note("exception: " + e.ExceptionDetails.Text)
		if x := e.ExceptionDetails.Exception; x != nil {
			b.note(x.Description)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			b.note("console: " + e.Entry.Text + " " + e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.base+"/") && !strings.HasPrefix(e.Request.URL, "data:") && !strings.HasPrefix(e.Request.URL, "about:") {
			b.note("a page asked another host: " + e.Request.URL)
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			b.note(fmt.Sprintf("%d from %s", e.Response.Status, e.Response.URL))
		}
	}
}

func (b *tab) note(m string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calm {
		b.mistakes = append(b.mistakes, m)
	}
}

func (b *tab) wrong() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mistakes
}

// expectTrouble ends the count of mistakes: what follows breaks things on purpose.
func (b *tab) expectTrouble() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calm = false
}

func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v; so far: %q", what, err, b.wrong())
	}
}

func (b *tab) visit(path string) {
	b.t.Helper()
	b.do("visit "+path, chromedp.Navigate(b.base+path), chromedp.WaitVisible(chromedp.CSS("main")))
}

// await waits until the JavaScript expression holds, over navigations too.
func (b *tab) await(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("document.readyState === 'complete' && Boolean("+expression+")"))
		if ok && err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("still not: %s (%v); wrong so far: %q; the page says: %.2000s", expression, err, b.wrong(), b.text())
		}
	}
}

// text returns what the page says, with white space as single spaces.
func (b *tab) text() string {
	b.t.Helper()
	return strings.Join(strings.Fields(eval[string](b, `document.body.innerText`)), " ")
}

// eval returns what the JavaScript expression gives.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// command gives the browser an order that chromedp has no action for.
func command[P, R any](b *tab, c cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, c, params); err != nil {
		b.t.Fatalf("%s: %v", c.Method, err)
	}
}

func (b *tab) says(want ...string) {
	b.t.Helper()
	have := b.text()
	for _, w := range want {
		if !strings.Contains(have, w) {
			b.t.Errorf("the page does not say %q, but: %.3000s", w, have)
		}
	}
}

// view sets size and colour scheme.
func (b *tab) view(width, height int64, scheme string) {
	b.t.Helper()
	command(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// shoot keeps a screenshot of the whole page.
func (b *tab) shoot(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	dir := filepath.Join("..", "..", "build", "screens")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
