// Package main measures what the function costs, beside an echo of the same
// messages, and writes docs/performance.md from what it has measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	if err := run(ctx); err != nil {
		log.Fatal(err) //nolint:gocritic // What is deferred is of no use to a process that ends.
	}
}

// run what the command line asks for.
func run(ctx context.Context) error {
	var (
		root   = flag.String("root", "../..", "the project")
		out    = flag.String("out", "", "where the binaries that are measured are built (<root>/_output/bench)")
		docs   = flag.String("docs", "", "where -report writes the page (<root>/docs)")
		echo   = flag.String("echo", "", "serve the responses in this folder, and do nothing else: the program runs itself so")
		certs  = flag.String("certs", "", "certificates for -echo")
		report = flag.Bool("report", false, "write the page from what was measured before")
		calls  = flag.Int("calls", 3000, "calls of each kind, in each of the rounds")
		rounds = flag.Int("rounds", 7, "rounds, in each of which echo and function take turns")
	)
	flag.Parse()
	if *out == "" {
		*out = filepath.Join(*root, "_output", "bench")
	}
	if *docs == "" {
		*docs = filepath.Join(*root, "docs")
	}
	results := filepath.Join(*root, "test", "bench", "results")

	switch {
	case *echo != "":
		return serveEcho(ctx, *echo, *certs)
	case *report:
		return writeReport(*root, results, *docs)
	default:
		return measure(ctx, *root, *out, results, *calls, *rounds)
	}
}

// A result is all that one run has measured.
type result struct {
	Machine machine
	Calls   []callResult
	Start   startResult
	Size    sizeResult
	Scale   scaleResult
}

// A machine is where it was measured.
type machine struct {
	Date   string
	Commit string
	Go     string
	CPU    string
	Cores  int
	// Load average when it began: what else the machine had to do.
	Load string
}

// measure everything that needs no cluster.
func measure(ctx context.Context, root, out, results string, calls, rounds int) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	function, err := build(ctx, root, out)
	if err != nil {
		return err
	}

	r := result{Machine: thisMachine(ctx, root)}
	requests, err := readRequests(filepath.Join(root, "fn", "testdata", "requests"))
	if err != nil {
		return err
	}

	dir, err := os.MkdirTemp("", "planaclient-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // A temporary folder.
	certs, err := newCertificates(dir)
	if err != nil {
		return err
	}
	if r.Calls, err = measureCalls(ctx, certs, function, requests, calls, rounds); err != nil {
		return fmt.Errorf("cannot measure calls: %w", err)
	}
	if r.Start, err = measureStart(ctx, certs, function, requests[0]); err != nil {
		return fmt.Errorf("cannot measure the start: %w", err)
	}
	if r.Scale, err = measureScale(ctx, certs, function, requests[2], requests[1]); err != nil {
		return fmt.Errorf("cannot measure two replicas: %w", err)
	}
	if r.Size, err = measureSize(ctx, root, function); err != nil {
		return fmt.Errorf("cannot measure sizes: %w", err)
	}

	b, err := json.MarshalIndent(r, "", "  ") //nolint:musttag // Only this program reads it.
	if err != nil {
		return err
	}
	path := filepath.Join(results, "calls.json")
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return err
	}
	printCalls(r)
	log.Printf("wrote %s; make bench-report makes docs/performance.md of it, and both are to be committed", path)
	return nil
}

// build the function as it is released.
func build(ctx context.Context, root, out string) (string, error) {
	path, err := filepath.Abs(filepath.Join(out, "function"))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the function: %w: %s", err, b)
	}
	return path, nil
}

func thisMachine(ctx context.Context, root string) machine {
	m := machine{
		Date:   time.Now().UTC().Format(time.DateOnly),
		Commit: "unknown",
		Go:     runtime.Version(),
		CPU:    "unknown",
		Cores:  runtime.NumCPU(),
		Load:   "unknown",
	}
	if b, err := exec.CommandContext(ctx, "git", "-C", root, "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(b), " ")
	}
	return m
}

// errNoProc is what is missing where there is no Linux.
var errNoProc = errors.New("the time that a process has taken is read from /proc, so this needs Linux")
