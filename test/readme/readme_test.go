package readme

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wait bounds every wait for something that has to happen; a heartbeat comes every 30 s.
const wait = 90 * time.Second

// proven says, for a target of make, which file runs it, and by which words.
var proven = map[string]struct{ file, words string }{
	"demo":  {"test/demo/demo_test.go", "func Test"},
	"test":  {".ci/run", "make --no-print-directory test"},
	"lint":  {".ci/run", "make --no-print-directory lint"},
	"crash": {"test/crash/kill_test.go", "func Test"},
	"bench": {"test/bench/main.go", "func main"},
}

// runner is a kind of command, and how such a command is run.
type runner struct {
	of  *regexp.Regexp
	run func(t *testing.T, p *platform, c command)
}

var runners = []runner{
	{regexp.MustCompile(`^make build$`), makeBuild},
	{regexp.MustCompile(`^make [a-z]+$`), makeTarget},
	{regexp.MustCompile(`^bin/tidemark-cloud( --(data|rules) \S+)*$`), runCloud},
	{regexp.MustCompile(`^bin/tidemark-agent run `), runAgent},
	{regexp.MustCompile(`^bin/tidemark readings .*--follow$`), follow},
	{regexp.MustCompile(`^bin/tidemark(-agent)? `), ask},
}

func TestCommands(t *testing.T) {
	all := commands(blocks(readme(t)))
	if len(all) < 15 {
		t.Errorf("README.md has only %d commands: are its blocks fenced as sh?", len(all))
	}
	p := newPlatform(t)
	t.Run("flags", func(t *testing.T) { flags(t, p) })
	for _, c := range all {
		t.Run(c.text, func(t *testing.T) {
			r := runnerOf(c)
			if r == nil {
				t.Fatalf("README.md:%d: no runner for %q: add one, or change the command", c.line, c.text)
			}
			r.run(t, p, c)
		})
	}
}

func runnerOf(c command) *runner {
	for i := range runners {
		if runners[i].of.MatchString(c.text) {
			return &runners[i]
		}
	}
	return nil
}

func TestAnUnknownCommandHasNoRunner(t *testing.T) {
	for _, text := range []string{"rm -rf x", "sudo make demo", "bin/other sites", "tidemark sites", "make demo && make test"} {
		if runnerOf(command{text: text}) != nil {
			t.Errorf("%q has a runner", text)
		}
	}
}

func makeTarget(t *testing.T, _ *platform, c command) {
	target := strings.TrimPrefix(c.text, "make ")
	by, ok := proven[target]
	if !ok {
		t.Fatalf("README.md:%d: nothing runs %q: name in proven what does", c.line, c.text)
	}
	if out, err := exec.Command("make", "-C", root, "-n", target).CombinedOutput(); err != nil {
		t.Errorf("README.md:%d: %s: %v\n%s", c.line, c.text, err, out)
	}
	text, err := os.ReadFile(filepath.Join(root, by.file))
	if err != nil || !strings.Contains(string(text), by.words) {
		t.Errorf("README.md:%d: %s is to be run by %s, which does not hold %q (%v)", c.line, c.text, by.file, by.words, err)
	}
}

// makeBuild looks at what newPlatform had make build.
func makeBuild(t *testing.T, p *platform, _ command) {
	for _, name := range []string{"tidemark-agent", "tidemark-cloud", "tidemark"} {
		if s, err := os.Stat(filepath.Join(p.dir, "bin", name)); err != nil || s.Mode()&0o111 == 0 {
			t.Errorf("make build left no program %s (%v)", name, err)
		}
	}
}

var traceID = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

// ask runs a command until it prints what README.md shows below it: a gateway's state, for one, is known only with its next heartbeat.
func ask(t *testing.T, p *platform, c command) {
	text := traceID.ReplaceAllStringFunc(c.text, func(string) string { return p.aTrace(t) })
	var out string
	var missing []string
	for end := time.Now().Add(wait); ; {
		var err error
		if out, err = p.sh(t, text); err != nil {
			t.Fatalf("README.md:%d: %v\n%s", c.line, err, out)
		}
		missing = unlike(c.shown, out)
		if len(missing) == 0 && strings.TrimSpace(out) != "" {
			return
		}
		if time.Now().After(end) {
			break
		}
		p.breathe(t)
	}
	t.Errorf("README.md:%d: %s prints\n%s\nwhich has nothing like these lines of README.md:\n%s", c.line, text, out, strings.Join(missing, "\n"))
}

// follow runs a command that goes on until Ctrl-C.
func follow(t *testing.T, p *platform, c command) {
	pr := p.start(t, c.text)
	pr.await(t, "\n")
	pr.stop(t, syscall.SIGINT)
	if missing := unlike(c.shown, pr.said()); len(missing) > 0 {
		t.Errorf("README.md:%d: nothing like\n%s\nin\n%s", c.line, strings.Join(missing, "\n"), pr.said())
	}
}

// runCloud starts a cloud on free ports, which runs until all commands have.
func runCloud(t *testing.T, p *platform, c command) {
	pr := p.start(p.t, c.text+" --mqtt-listen 127.0.0.1:0 --http-listen 127.0.0.1:0")
	p.t.Cleanup(func() { pr.stop(p.t, syscall.SIGTERM) })
	pr.await(t, "the cloud is running")
	p.mqtt = pr.find(t, `mqtt=(\S+)`)
}

// runAgent starts an agent at the cloud that a command before started.
func runAgent(t *testing.T, p *platform, c command) {
	if p.mqtt == "" {
		t.Fatalf("README.md:%d: %s: no command before starts a cloud", c.line, c.text)
	}
	pr := p.start(p.t, c.text+" --broker mqtt://"+p.mqtt)
	p.t.Cleanup(func() { pr.stop(p.t, syscall.SIGTERM) })
	pr.await(t, "the link is up")
}

var (
	numbers = regexp.MustCompile(`[0-9]+`)
	hashes  = regexp.MustCompile(`\b[0-9a-f]{16,}\b`)
)

// unlike returns the shown lines that have nothing alike in what was printed: the same first word, whatever its digits; and for the
// head of a table, the same words.
func unlike(shown []string, printed string) []string {
	var out []string
	for _, line := range shown {
		if line = strings.TrimSpace(line); line == "" || line == "…" {
			continue
		}
		found := false
		for got := range strings.Lines(printed) {
			found = found || alike(line, strings.TrimSpace(got))
		}
		if !found {
			out = append(out, line)
		}
	}
	return out
}

func alike(a, b string) bool {
	if a == strings.ToUpper(a) && strings.Contains(a, "  ") && numbers.FindString(a) == "" {
		return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
	}
	return shape(a) == shape(b)
}

// shape is the first word of a line without what differs from run to run.
func shape(line string) string {
	word, _, _ := strings.Cut(hashes.ReplaceAllString(line, "hash"), " ")
	return numbers.ReplaceAllString(word, "0")
}

func TestUnlike(t *testing.T) {
	printed := "SITE    ONLINE\nplant-1      2\n12:01 x\n"
	for shown, want := range map[string]int{"SITE  ONLINE": 0, "SITE  OFFLINE": 1, "plant-7 x": 0, "house-7": 1, "09:59 y": 0, "…": 0} {
		if got := unlike([]string{shown}, printed); len(got) != want {
			t.Errorf("%q: unlike %q, want %d", shown, got, want)
		}
	}
}

var flagName = regexp.MustCompile(`--[a-z][a-z-]+`)

// flags looks for every flag that README.md names in what the programs say about themselves.
func flags(t *testing.T, p *platform) {
	known := map[string]bool{"--help": true}
	for _, args := range []string{"tidemark-cloud", "tidemark", "tidemark readings", "tidemark messages", "tidemark-agent run", "tidemark-agent tail"} {
		out, err := p.sh(t, "bin/"+args+" --help")
		if err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
		for _, f := range flagName.FindAllString(out, -1) {
			known[f] = true
		}
	}
	for _, f := range flagName.FindAllString(readme(t), -1) {
		if !known[f] {
			t.Errorf("README.md names %s, which no program knows", f)
		}
	}
}

// within fails a command that does not end.
func within(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.Join(errors.New("it did not end in time"), err)
	}
	return err
}
