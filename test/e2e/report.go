package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

// interrupted is done once somebody asks these tests to stop: what was started
// is then stopped as at their end.
var interrupted = func() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second time, it ends at once.
	context.AfterFunc(ctx, stop)
	return ctx
}()

// A report is what the scenarios came to.
type report struct {
	mu    sync.Mutex
	lines []string
	notes []string
}

// scenario runs one, and reports it. On failure it collects what a person would
// ask for.
func (r *report) scenario(t *testing.T, c *cluster, name string, run func(t *testing.T)) {
	began := time.Now()
	// Those that aren't asked for, with -test.run, and those that come after an
	// interrupt, have no result.
	result := "not run"
	t.Run(name, func(t *testing.T) {
		if interrupted.Err() != nil {
			t.Skip("interrupted")
		}
		t.Cleanup(func() {
			switch {
			case t.Failed():
				result = "FAILED"
				c.collect(name)
			case interrupted.Err() != nil:
				result = "interrupted"
			default:
				result = "ok"
			}
		})
		run(t)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%s\t%s\t%s", name, result, time.Since(began).Round(100*time.Millisecond)))
}

// note something to be read below the table.
func (r *report) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// print the report.
func (r *report) print() {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\nscenario\tresult\ttime")
	for _, line := range r.lines {
		_, _ = fmt.Fprintln(w, line)
	}
	_ = w.Flush()
	for _, note := range r.notes {
		_, _ = fmt.Println("\n" + note)
	}
}

// collect objects and events. The logs are in the same folder anyhow.
func (c *cluster) collect(name string) {
	dir := filepath.Join(c.out, strings.NewReplacer(" ", "-", "/", "-", ":", "").Replace(name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return
	}
	for file, args := range map[string][]string{
		"tenants.yaml":   {"get", "planaclients", "-o", "yaml"},
		"databases.yaml": {"get", "databases.postgresql.sql.m.crossplane.io", "-A", "-o", "yaml"},
		"jobs.yaml":      {"get", "jobs,cronjobs,pods", "-A", "-o", "yaml"},
		"routes.yaml":    {"get", "httproutes", "-A", "-o", "yaml"},
		"guards.yaml":    {"get", "clusterusages.protection.crossplane.io", "-o", "yaml"},
		"packages.yaml":  {"get", "pkg", "-o", "yaml"},
		"events.txt":     {"get", "events", "-A", "--sort-by=.lastTimestamp"},
	} {
		out, _ := c.tryKubectl("", args...)
		_ = os.WriteFile(filepath.Join(dir, file), []byte(out), 0o644)
	}
	fmt.Printf("what there is to see of it is in %s, and logs in %s\n", dir, filepath.Join(c.out, "logs"))
}
