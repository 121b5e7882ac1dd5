package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plana-pulse/function-planaclient/test/pages"
	"github.com/plana-pulse/function-planaclient/test/servers"
)

// A reader does what the pages say, as the administrator of the cluster and of the
// servers around it, and remembers what they have typed.
type reader struct {
	// whole is the test that the cluster is up for.
	whole testing.TB

	// folder is a clone of this project, with the few changes that the pages ask
	// an installation to make.
	folder  string
	environ []string

	// home is a folder that curl reads its configuration from.
	home string

	// statements on all pages that need a cluster, in order, and those of them
	// that have been typed.
	statements []pages.Command
	typed      []bool

	// calls of programs that have been made, one line each.
	calls map[string]bool
}

// newReader clones the project as it is here, and opens its pages.
func newReader(t testing.TB, c *cluster) *reader {
	t.Helper()
	statements, err := pages.ForCluster(c.root)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{
		whole:  t,
		folder: filepath.Join(c.dir, "clone"), home: filepath.Join(c.dir, "home"),
		statements: statements, typed: make([]bool, len(statements)),
		calls: map[string]bool{},
	}
	bin := filepath.Join(c.dir, "bin")
	mkdir(t, r.folder, r.home, bin)
	for name, program := range map[string]string{"kubectl": c.kubectlBinary, "crossplane": c.tool(t, "crossplane-cli")} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.environ = append(os.Environ(),
		"PATH="+bin+":"+postgresBin()+":"+os.Getenv("PATH"), "KUBECONFIG="+c.kubeconfig, "KUBERC=off", "CURL_HOME="+r.home,
		"PGHOST="+c.postgres.Host, "PGPORT="+strconv.Itoa(int(c.postgres.Port)), "PGUSER="+servers.PostgresSuperuser, "PGPASSWORD="+c.postgres.Password, "PGDATABASE=postgres",
		"REGISTRY="+c.registry+"/plana-pulse",
		// What was built elsewhere needn't be built again in this folder.
		"GOFLAGS=-trimpath",
		"GIT_AUTHOR_NAME=reader", "GIT_AUTHOR_EMAIL=reader@example.com", "GIT_COMMITTER_NAME=reader", "GIT_COMMITTER_EMAIL=reader@example.com")

	// What isn't committed yet is read as well.
	r.prepare(t, c.root, `git ls-files -z --cached --others --exclude-standard |
		tar --create --null --files-from=- --ignore-failed-read --warning=no-failed-read | tar --extract --directory="$0"`)
	c.adapt(t, r.folder)
	r.prepare(t, r.folder, "git init --quiet --initial-branch=main && git add --all && git commit --quiet --message=clone && git tag v0.1.0")
	return r
}

// prepare the reader's folder, which a script has as $0.
func (r *reader) prepare(t testing.TB, dir, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script, r.folder)
	cmd.Dir, cmd.Env = dir, r.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot prepare a reader's clone: %v\n%s", err, out)
	}
}

// shell runs a command in the reader's folder and returns all that it says.
func (c *cluster) shell(command string, environ ...string) (string, error) {
	return c.reader.run(command, environ, nil)
}

// run a command to its end, or until enough has been seen of what it says: then it
// is interrupted, as by Ctrl-C, and that is no error.
func (r *reader) run(command string, environ []string, enough func(output string) bool) (string, error) {
	ctx, cancel := context.WithTimeout(interrupted, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", command)
	cmd.Dir = r.folder
	cmd.Env = slices.Concat(r.environ, environ)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out saying
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	seen := false
	if enough != nil {
		ended := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(ended)
			for !seen {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
				if enough(out.String()) {
					seen = true
					_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
				}
			}
		}()
		err := cmd.Wait()
		close(stop)
		<-ended
		if !seen {
			return out.String(), errors.Join(errors.New("it ended before enough was seen"), err)
		}
		return out.String(), nil
	}
	err := cmd.Wait()
	return out.String(), err
}

// saying is what a program has said so far.
type saying struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *saying) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *saying) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A reading is of one page.
type reading struct {
	testing.TB
	*reader
	page string

	// having is what the environment has beside the reader's own.
	having []string
}

// open a page.
func (r *reader) open(t testing.TB, page string) *reading {
	return &reading{TB: t, reader: r, page: page}
}

// find the next statement of the page that begins so, or else the last, and have
// it say other values instead of the page's example's. It counts as typed.
func (p *reading) find(begins string, instead []string) pages.Command {
	p.Helper()
	found := -1
	for i, s := range p.statements {
		if s.Page == p.page && strings.HasPrefix(s.Run, begins) {
			found = i
			if !p.typed[i] {
				break
			}
		}
	}
	if found < 0 {
		p.Fatalf("%s has no %s", p.page, begins)
	}
	p.typed[found] = true
	s := p.statements[found]
	calls, err := s.Calls()
	if err != nil {
		p.Fatal(err)
	}
	for _, call := range calls {
		p.calls[strings.Join(call, "\x00")] = true
	}
	for i := 0; i+1 < len(instead); i += 2 {
		if !strings.Contains(s.Run, instead[i]) {
			p.Fatalf("%s:%d has no %q: %s", s.Page, s.Line, instead[i], s.Run)
		}
		s.Run = strings.ReplaceAll(s.Run, instead[i], instead[i+1])
	}
	return s
}

// types what the page says, with other values instead of its examples, and returns
// what comes of it.
func (p *reading) types(begins string, instead ...string) string {
	p.Helper()
	return p.enters(p.find(begins, instead))
}

// enters a statement that was found, and returns what comes of it.
func (p *reading) enters(s pages.Command) string {
	p.Helper()
	began := time.Now()
	out, err := p.run(s.Run, p.having, nil)
	if err != nil {
		p.Fatalf("%s:%d: %s: %v\n%s", s.Page, s.Line, s.Run, err, out)
	}
	if took := time.Since(began); took > 2*time.Second {
		p.Logf("%s:%d took %s", s.Page, s.Line, took.Round(100*time.Millisecond))
	}
	if s.Shows != "" && !s.Matches(out) {
		p.Errorf("%s:%d: this is shown:\n%s\nand this is what comes of it:\n%s", s.Page, s.Line, s.Shows, out)
	}
	return out
}

// sees that what comes of a statement has some words in it, if need be when it is
// typed again: what has just been done may take a moment to show.
func (p *reading) sees(begins string, words ...string) {
	p.Helper()
	s := p.find(begins, nil)
	// Crossplane looks for a function whose pods are new every half minute.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		out := p.enters(s)
		lacks := slices.DeleteFunc(slices.Clone(words), func(word string) bool { return strings.Contains(out, word) })
		if len(lacks) == 0 {
			return
		}
		if time.Now().After(deadline) {
			p.Errorf("%s: %s: want %q in:\n%s", p.page, begins, lacks, out)
			return
		}
	}
}

// refused is what a statement has to be, in these words.
func (p *reading) refused(begins, says string) {
	p.Helper()
	s := p.find(begins, nil)
	out, err := p.run(s.Run, p.having, nil)
	if err == nil || !strings.Contains(out, says) {
		p.Fatalf("%s:%d: %s: want it refused with %q, got %v\n%s", s.Page, s.Line, s.Run, says, err, out)
	}
}

// watches what a statement says until enough has been seen.
func (p *reading) watches(begins string, enough func(output string) bool) {
	p.Helper()
	s := p.find(begins, nil)
	if out, err := p.run(s.Run, p.having, enough); err != nil {
		p.Fatalf("%s:%d: %s: %v\n%s", s.Page, s.Line, s.Run, err, out)
	}
}

// queries the PostgreSQL server with what the page says in SQL, as its superuser.
func (p *reading) queries(begins string, instead ...string) {
	p.Helper()
	p.query(p.find(begins, instead).Run)
}

// query the PostgreSQL server as its superuser.
func (p *reading) query(sql string) {
	p.Helper()
	out, err := p.run("psql --no-psqlrc --set=ON_ERROR_STOP=1 <<'SQL'\n"+sql+"\nSQL\n", p.having, nil)
	if err != nil {
		p.Fatalf("%s: %s: %v\n%s", p.page, sql, err, out)
	}
}

// says returns what the page has in the middle of a sentence, with other values.
func (p *reading) says(inline string, instead ...string) string {
	p.Helper()
	if !strings.Contains(p.text(), "`"+inline+"`") {
		p.Fatalf("%s doesn't say `%s`", p.page, inline)
	}
	return strings.NewReplacer(instead...).Replace(inline)
}

// shows returns the page's first block of YAML that has some words, with other values
// instead of the page's examples.
func (p *reading) shows(words string, instead ...string) string {
	p.Helper()
	for _, b := range (pages.Page{Path: p.page, Text: p.text()}).Blocks() {
		if b.Language != "yaml" || !strings.Contains(b.Text, words) {
			continue
		}
		for i := 0; i < len(instead); i += 2 {
			if !strings.Contains(b.Text, instead[i]) {
				p.Fatalf("%s:%d has no %q", b.Page, b.Line, instead[i])
			}
		}
		return strings.NewReplacer(instead...).Replace(b.Text)
	}
	p.Fatalf("%s shows no YAML with %q", p.page, words)
	return ""
}

// text of the page.
func (p *reading) text() string {
	p.Helper()
	text, err := os.ReadFile(filepath.Join(p.folder, p.page))
	if err != nil {
		p.Fatal(err)
	}
	return string(text)
}

// repeats a statement of another page, or some: each call of a program in it has
// been made before.
func (p *reading) repeats(begins string) {
	p.Helper()
	for i, s := range p.statements {
		if s.Page != p.page || !strings.HasPrefix(s.Run, begins) || p.typed[i] {
			continue
		}
		calls, err := s.Calls()
		if err != nil {
			p.Fatal(err)
		}
		for _, call := range calls {
			if !p.calls[strings.Join(call, "\x00")] {
				p.Errorf("%s:%d: no other page has this: %s", s.Page, s.Line, strings.Join(call, " "))
			}
		}
		p.typed[i] = true
		return
	}
	p.Errorf("%s has no %s", p.page, begins)
}

// leaves a statement untyped, which must be there and not have been typed.
func (p *reading) leaves(begins string) {
	p.Helper()
	for i, s := range p.statements {
		if s.Page == p.page && strings.HasPrefix(s.Run, begins) && !p.typed[i] {
			p.typed[i] = true
			return
		}
	}
	p.Errorf("%s has no %s that isn't typed", p.page, begins)
}
