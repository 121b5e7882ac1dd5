// Package render renders tenants with Crossplane's real engine, compares the
// output with what it should be, and validates it as an API server would.
//
// It is a module of its own. The validators of Crossplane's CLI and of
// Kubernetes need other versions of libraries than the function does, and the
// function's own dependencies shouldn't grow by theirs.
package render

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

var update = flag.Bool("update", false, "Rewrite what the cases want, rather than compare with it.")

// Paths from this package's folder.
const (
	root        = "../.."
	definition  = root + "/apis/definition.yaml"
	composition = root + "/apis/composition.yaml"
	functions   = root + "/example/functions.yaml"
)

// Set up by TestMain, and shared by all tests.
var (
	theEngine     *engine
	theValidators *validators
	theXRD        *extv1.CustomResourceDefinition
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var err error
	if theXRD, err = loadXRD(definition); err != nil {
		return 0, err
	}
	if theValidators, err = newValidators(ctx, theXRD); err != nil {
		return 0, err
	}
	var stop func() string
	if theEngine, stop, err = startEngine(ctx); err != nil {
		return 0, err
	}
	code := m.Run()
	if log := stop(); code != 0 {
		fmt.Fprintf(os.Stderr, "The function's log:\n%s", log)
	}
	return code, nil
}

// An engine renders with the real Crossplane and a running function.
type engine struct {
	core     string
	cli      string
	function string // Address at which the function listens.
}

// startEngine builds the tools and the function, and starts the latter on a free
// loopback port. What stops it returns its log.
func startEngine(ctx context.Context) (*engine, func() string, error) {
	e := &engine{}
	for name, path := range map[string]*string{"crossplane": &e.core, "crossplane-cli": &e.cli} {
		out, err := command(ctx, root, "hack/tool", name)
		if err != nil {
			return nil, nil, err
		}
		*path = strings.TrimSpace(string(out))
	}

	dir, err := os.MkdirTemp("", "render")
	if err != nil {
		return nil, nil, err
	}
	binary := filepath.Join(dir, "function")
	if _, err := command(ctx, root, "go", "build", "-o", binary, "."); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}

	cmd := exec.CommandContext(ctx, binary, "serve", "--insecure", "--address=127.0.0.1:0", "--metrics-address=")
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	said := &strings.Builder{}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		fmt.Fprintln(said, lines.Text())
		line := struct {
			Msg     string `json:"msg"`
			Address string `json:"address"`
		}{}
		if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line.Msg == "Serving" {
			e.function = line.Address
			break
		}
	}
	drained := make(chan struct{})
	go func() {
		_, _ = io.Copy(said, log)
		close(drained)
	}()
	stop := func() string {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
		return said.String()
	}
	if e.function == "" {
		return nil, nil, fmt.Errorf("the function has not started: %s", stop())
	}
	return e, stop, nil
}

// A scene is what is rendered: files and folders, of which only the XR and the
// Composition are needed. Functions are those of the pipeline, if it has others.
type scene struct {
	xr, composition, observed, required, functions string
}

// A refusal is the message of a function that won't go on.
type refusal string

func (r refusal) Error() string { return string(r) }

// render the scene. The error is a refusal if the function has refused.
func (e *engine) render(ctx context.Context, s scene) ([]byte, error) {
	args := []string{
		"composition", "render", "--crossplane-binary=" + e.core,
		"--include-function-results", "--xrd=" + definition,
	}
	if s.functions == "" {
		// Nobody knows beforehand where this one listens.
		s.functions = functions
		args = append(args,
			"--function-annotations=render.crossplane.io/runtime=Development",
			"--function-annotations=render.crossplane.io/runtime-development-target="+e.function)
	}
	if s.observed != "" {
		args = append(args, "--observed-resources="+s.observed)
	}
	if s.required != "" {
		args = append(args, "--required-resources="+s.required)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := command(ctx, ".", e.cli, append(args, s.xr, s.composition, s.functions)...)
	if err != nil {
		if _, message, refused := strings.Cut(err.Error(), "returned a fatal result: "); refused {
			return nil, refusal(strings.TrimSpace(message))
		}
	}
	return out, err
}

// command runs a program in a folder and returns its output. What it says on
// stderr is part of the error, and shown as it comes if it is built by it.
func command(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(name), err, stderr.String())
	}
	return out, nil
}
