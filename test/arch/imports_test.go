package arch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const module = "tidemark"

// shared lists the packages below agent/ and cloud/ that siblings may import, with the reason. Every other folder there is a
// stage of the agent's path or a service of the cloud: only the wiring (the root package and cmd/) joins those.
var shared = map[string]string{
	"agent/clock":   "where a message's time comes from: stamped by every stage that makes messages",
	"agent/hops":    "counters of the time spent in each stage: data, it decides nothing",
	"agent/profile": "what a site should run: data",

	"cloud/ask":       "how the gateway and the console put a question to a service: over NATS, it knows no service's code",
	"cloud/broker":    "the MQTT broker behind an interface, embedded or external",
	"cloud/bus":       "NATS, embedded or external",
	"cloud/contract":  "the messages between services",
	"cloud/plain":     "how numbers, times and units read to a person: the console and the CLI say the same",
	"cloud/statefile": "the SQLite file of a service behind the stream: it knows no service's tables",
	"cloud/stream":    "reading the device stream from a position, and the lab in which that is tested: what every service behind the stream does",
}

// stage returns the part of agent or cloud that a package belongs to: tidemark/agent/outbox/segment is of agent/outbox. The
// wiring, the commands around it and everything outside of agent and cloud belong to none.
func stage(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) < 3 || parts[0] != module || (parts[1] != "agent" && parts[1] != "cloud") || parts[2] == "cmd" || parts[2] == "cli" {
		return ""
	}
	return parts[1] + "/" + parts[2]
}

// within tells whether path is the folder or below it.
func within(path, folder string) bool {
	folder = module + "/" + folder
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// breaks returns the law that an import breaks, or nothing. Tests may use a sibling's real code where a product package
// may not: the real thing is a better double than an imitation.
func breaks(from, to string, inTest bool) string {
	if !within(to, "protocol") && !within(to, "drivers") && !within(to, "agent") && !within(to, "cloud") && !within(to, "test") {
		return "" // not ours
	}
	fromStage, toStage := stage(from), stage(to)
	switch {
	case within(from, "agent") && within(to, "cloud"), within(from, "cloud") && within(to, "agent"):
		return "agent and cloud never import each other: what passes between them is messages of protocol"
	case within(from, "drivers") && !within(to, "drivers") && (!inTest || !within(to, "test")):
		return "drivers import nothing of ours but drivers: whoever writes a driver needs to know nothing else"
	case within(from, "protocol") && !within(to, "protocol") && (!inTest || !within(to, "test")):
		return "protocol imports nothing of ours: everything else stands on it"
	case !inTest && !within(from, "test") && within(to, "test"):
		return "product code never imports test code"
	case !inTest && fromStage != "" && toStage == "" && (within(to, "agent") || within(to, "cloud")):
		return "the wiring imports the stages, never the other way round"
	case !inTest && fromStage != "" && toStage != "" && fromStage != toStage && shared[toStage] == "":
		return "siblings never import each other: only the wiring joins " + fromStage + " and " + toStage
	}
	return ""
}

// lawless returns one sentence for each import that breaks a law.
func lawless(pkgs []pkg) []string {
	var found []string
	for _, p := range pkgs {
		for _, group := range []struct {
			imports []string
			inTest  bool
		}{{p.Imports, false}, {slices.Concat(p.TestImports, p.XTestImports), true}} {
			for _, to := range group.imports {
				if law := breaks(p.ImportPath, to, group.inTest); law != "" {
					found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, to, law))
				}
			}
		}
	}
	return found
}

func TestImportLaws(t *testing.T) {
	pkgs := list(t, "./...")
	for _, violation := range lawless(pkgs) {
		t.Error(violation)
	}
	for folder := range shared {
		if !slices.ContainsFunc(pkgs, func(p pkg) bool { return within(p.ImportPath, folder) }) {
			t.Errorf("%s is listed as shared but is not there: take it off the list", folder)
		}
	}
}

func TestImportLawsSeeViolations(t *testing.T) {
	for _, c := range []struct {
		from, to    string
		inTest, bad bool
	}{
		{"agent", "cloud/contract", false, true},
		{"agent/link", "cloud/broker", true, true},
		{"cloud/receiver", "agent/outbox", false, true},
		{"cloud/cmd/tidemark", "agent", false, true},
		{"drivers/modbus", "protocol", false, true},
		{"drivers/modbus", "protocol", true, true},
		{"drivers/modbus", "agent/sampler", false, true},
		{"drivers/modbus", "cloud/contract", false, true},
		{"drivers/modbus", "drivers", false, false},
		{"drivers/replay", "test/dataset", true, false},
		{"drivers/replay", "test/dataset", false, true},
		{"protocol", "drivers", false, true},
		{"protocol", "test/dataset", true, false},
		{"agent/sampler", "agent/outbox", false, true},
		{"agent/sampler", "agent/outbox", true, false},
		{"agent/outbox/segment", "agent/link", false, true},
		{"agent/outbox", "agent/outbox/segment", false, false},
		{"agent/sampler", "agent/profile", false, false},
		{"agent/profile", "agent/sampler", false, true},
		{"agent/sampler", "agent", false, true},
		{"agent", "agent/sampler", false, false},
		{"agent/cmd/tidemark-agent", "agent/control", false, false},
		{"agent/cli", "agent", false, false},
		{"agent/cli", "cloud/contract", false, true},
		{"cloud/rule", "cloud/data", false, true},
		{"cloud/gateway", "cloud/data/chunk", false, true},
		{"cloud/data", "cloud/data/chunk", false, false},
		{"cloud/contract", "cloud/data", false, true},
		{"cloud/rule", "cloud/stream", false, false},
		{"cloud", "cloud/rule", false, false},
		{"cloud/trace", "test/dataset", false, true},
		{"test/e2e", "agent", false, false},
		{"test/e2e", "cloud", true, false},
	} {
		p := pkg{ImportPath: module + "/" + c.from}
		if c.inTest {
			p.XTestImports = []string{"os", module + "/" + c.to}
		} else {
			p.Imports = []string{"os", module + "/" + c.to}
		}
		if got := lawless([]pkg{p}); (len(got) > 0) != c.bad {
			t.Errorf("%s imports %s (test %t): found %q, want a violation %t", c.from, c.to, c.inTest, got, c.bad)
		}
	}
}
