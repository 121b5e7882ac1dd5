// Package effect holds the programs that a tenant's Jobs run: the few things
// that no controller does, such as an SQL transaction, a Matrix room or a Redis
// event. It is the only code of this project that touches the world.
//
// An effect reads its configuration from the environment, does one thing, and
// exits. Kubernetes decides whether it is run again, so every effect is safe to
// run twice, at the same time as itself, and after having been killed anywhere.
package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/caarlos0/env/v11"
)

// Exit codes of an effect. A Job's podFailurePolicy tells them apart: a failed
// attempt is worth another one, a terminal one fails the Job at once.
const (
	ExitDone     = 0
	ExitFailed   = 1
	ExitTerminal = 2
)

// An Effect is one program that a Job runs.
type Effect struct {
	// Name of the effect, as in `function effect NAME`.
	Name string

	// Does says in one sentence what the effect does.
	Does string

	// Config is a zero value of the effect's configuration, from which its
	// reference page is generated.
	Config any

	run func(ctx context.Context, environ map[string]string) error
}

// Run the effect, configured by the supplied environment.
func (e Effect) Run(ctx context.Context, environ map[string]string) error {
	return e.run(ctx, environ)
}

// define an effect by the function that does it. C is its configuration: a
// struct whose fields carry the tags of github.com/caarlos0/env and a `doc` tag.
func define[C any](name, does string, do func(context.Context, C) error) Effect {
	return Effect{
		Name:   name,
		Does:   does,
		Config: *new(C),
		run: func(ctx context.Context, environ map[string]string) error {
			cfg, err := Parse[C](environ)
			if err != nil {
				return Terminal(fmt.Errorf("cannot use the configuration: %w", err))
			}
			return do(ctx, cfg)
		},
	}
}

// A Validator is a configuration with rules that no tag can state.
type Validator interface {
	// Validate returns all that is wrong, joined.
	Validate() error
}

// Parse and validate a configuration. The error lists everything that is wrong
// rather than the first thing: each round trip through a Job costs minutes.
func Parse[C any](environ map[string]string) (C, error) {
	cfg, err := env.ParseAsWithOptions[C](env.Options{Environment: environ})
	if v, ok := any(cfg).(Validator); ok {
		err = errors.Join(err, v.Validate())
	}
	return cfg, err
}

// Names of all effects, in the order in which a tenant meets them.
func Names() []string {
	names := make([]string, 0, len(Effects()))
	for _, e := range Effects() {
		names = append(names, e.Name)
	}
	return names
}

// Main runs one effect in this process' environment, logs how it went, and
// returns the exit code.
func Main(ctx context.Context, name string) int {
	environ := env.ToMap(os.Environ())
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With(
		"effect", name,
		"tenant", environ["TENANT_NAME"],
	)
	slog.SetDefault(log)

	i := slices.IndexFunc(Effects(), func(e Effect) bool { return e.Name == name })
	if i < 0 {
		log.ErrorContext(ctx, "There is no such effect", "known", Names())
		return ExitTerminal
	}

	began := time.Now()
	err := Effects()[i].Run(ctx, environ)
	took := time.Since(began).Round(time.Millisecond).String()

	var terminal *terminalError
	switch {
	case err == nil:
		log.InfoContext(ctx, "Done", "took", took)
		return ExitDone
	case errors.As(err, &terminal):
		log.ErrorContext(ctx, "Failed, and another attempt would not help", "error", err.Error(), "took", took)
		return ExitTerminal
	default:
		log.ErrorContext(ctx, "Failed", "error", err.Error(), "took", took)
		return ExitFailed
	}
}

// Terminal marks an error that no further attempt will get past, such as bad
// configuration or a database that belongs to somebody else.
func Terminal(err error) error {
	if err == nil {
		return nil
	}
	return &terminalError{err}
}

// IsTerminal tells whether another attempt is pointless.
func IsTerminal(err error) bool {
	var h *terminalError
	return errors.As(err, &h)
}

type terminalError struct{ error }

func (e *terminalError) Unwrap() error { return e.error }
