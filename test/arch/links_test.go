package arch

import (
	"fmt"
	"strings"
	"testing"
)

// never lists what a program must not link, with the reason. A name ending in / stands for all below it.
var never = map[string]map[string]string{
	"./agent/cmd/tidemark-agent": {
		"net/http/pprof":                       "a gateway offers no profiles to whoever can reach it",
		"expvar":                               "it registers a handler of its own on the default mux",
		"testing":                              "test code in a product",
		module + "/cloud/":                     "the agent knows the cloud by messages only",
		module + "/test/":                      "test code in a product",
		"github.com/nats-io/":                  "the cloud's bus: megabytes that a gateway does not need",
		"modernc.org/":                         "the cloud's warehouse",
		"cel.dev/":                             "the cloud's rules",
		"github.com/wind-c/":                   "the cloud's broker",
		"github.com/prometheus/client_golang/": "2.6 MB; the agent counts with VictoriaMetrics/metrics",
		"github.com/eclipse/paho.golang/autopaho/queue/file/": "its file queue never syncs: the outbox is the queue",
	},
	"./cloud/cmd/tidemark-cloud": {
		"testing":            "test code in a product",
		module + "/agent/":   "the cloud knows agents by messages only",
		module + "/drivers/": "hardware is the agent's",
		module + "/test/":    "test code in a product",
	},
	"./cloud/cmd/tidemark": {
		"net/http/pprof":                  "a command line tool serves nothing",
		"testing":                         "test code in a product",
		module + "/agent/":                "the CLI asks the API only",
		module + "/test/":                 "test code in a product",
		"github.com/nats-io/nats-server/": "the CLI asks the API only",
		"modernc.org/":                    "the CLI asks the API only",
		"github.com/wind-c/":              "the CLI asks the API only",
	},
}

// linked returns one sentence for each package in deps that the program must not link.
func linked(program string, deps []pkg) []string {
	var found []string
	for _, p := range deps {
		for name, why := range never[program] {
			below, folder := strings.CutSuffix(name, "/")
			if p.ImportPath == below || folder && strings.HasPrefix(p.ImportPath, name) {
				found = append(found, fmt.Sprintf("%s links %s: %s", program, p.ImportPath, why))
			}
		}
	}
	return found
}

func TestProgramsLinkNothingForbidden(t *testing.T) {
	for program := range never {
		deps := list(t, "-deps", program)
		if len(deps) < 50 {
			t.Errorf("%s links only %d packages: is it there?", program, len(deps))
		}
		for _, violation := range linked(program, deps) {
			t.Error(violation)
		}
	}
}

func TestLinkRulesSeeViolations(t *testing.T) {
	for program, list := range never {
		for name := range list {
			deps := []pkg{{ImportPath: "net/http"}, {ImportPath: strings.TrimSuffix(name, "/")}}
			if strings.HasSuffix(name, "/") {
				deps = append(deps, pkg{ImportPath: name + "v2"})
			}
			if got := linked(program, deps); len(got) != len(deps)-1 {
				t.Errorf("%s with %v: found %q", program, deps, got)
			}
		}
	}
}
