package effect

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"
)

// childEnv names the effect that this test binary runs, instead of tests, when
// it is started as a Job's process would be.
const childEnv = "EFFECT_CHILD"

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		// What effects log drowns what tests say.
		if flag.Parse(); !testing.Verbose() {
			slog.SetDefault(slog.New(slog.DiscardHandler))
		}
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code := Main(ctx, name)
	stop()
	os.Exit(code)
}

// child is an effect as a process of its own, not yet started, and its log. It
// sees nothing of the test's environment but where programs and temporary files
// are.
func child(t testing.TB, name string, environ map[string]string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("cannot find the test's own binary: %v", err)
	}
	log := &bytes.Buffer{}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = []string{childEnv + "=" + name, "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}
	for _, k := range slices.Sorted(maps.Keys(environ)) {
		cmd.Env = append(cmd.Env, k+"="+environ[k])
	}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, log
}

// runChild runs an effect as a process of its own, and returns its exit code and
// its log.
func runChild(t testing.TB, name string, environ map[string]string) (int, string) {
	t.Helper()
	cmd, log := child(t, name, environ)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("cannot run %s: %v", name, err)
	}
	return cmd.ProcessState.ExitCode(), log.String()
}

// Kills says how an effect is killed and run again.
type Kills struct {
	// Effect by name, and the environment of one attempt.
	Effect  string
	Environ func(attempt int) map[string]string

	// Before each attempt: the state in which the effect finds the world. May
	// be nil.
	Before func(t *testing.T, attempt int)

	// Retries that the second run may need, each after an exit code that asks for
	// one, and after as long as a Job waits. For servers that take a moment to get
	// over a request that was cut off.
	Retries int

	// Killed looks at what the killed process left, if anything is promised of
	// that. May be nil.
	Killed func(t *testing.T, attempt int)

	// After the effect was run again: fails the test unless the world is in the
	// one right state.
	After func(t *testing.T, attempt int)
}

// jobBackoff is how long a Job waits before its first retry. Each wait is twice
// the one before.
const jobBackoff = 10 * time.Second

// survive kills the effect 50 times, each at a random moment of its life, and
// runs it again. The first attempts aren't killed: they tell how long that life
// is, once the file system and the page cache are warm.
func (k Kills) survive(t *testing.T) {
	t.Helper()
	const times, warm = 50, 2
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	life := time.Hour
	killed := 0
	for attempt := range warm + times {
		if k.Before != nil {
			k.Before(t, attempt)
		}
		if attempt >= warm {
			cmd, _ := child(t, k.Effect, k.Environ(attempt))
			if err := cmd.Start(); err != nil {
				t.Fatalf("cannot start %s: %v", k.Effect, err)
			}
			time.Sleep(time.Duration(random.Int64N(int64(life))))
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			// A machine that is busy for a while makes a life look longer or
			// shorter than the next one will be.
			if !cmd.ProcessState.Exited() {
				killed++
				life += life / 50
			} else {
				life -= life / 10
			}
			if k.Killed != nil {
				k.Killed(t, attempt)
			}
		}

		began := time.Now()
		code, log := runChild(t, k.Effect, k.Environ(attempt))
		if attempt < warm {
			life = min(life, time.Since(began))
		}
		for retry := 0; retry < k.Retries && code == ExitFailed; retry++ {
			t.Logf("attempt %d (seed %d): %s runs once more:\n%s", attempt, seed, k.Effect, log)
			time.Sleep(jobBackoff << retry)
			code, log = runChild(t, k.Effect, k.Environ(attempt))
		}
		if code != ExitDone {
			t.Fatalf("attempt %d (seed %d): run again, %s exits with %d:\n%s", attempt, seed, k.Effect, code, log)
		}
		k.After(t, attempt)
		if t.Failed() {
			t.Fatalf("attempt %d (seed %d) went wrong; the log of the second run:\n%s", attempt, seed, log)
		}
	}
	t.Logf("%d of %d runs were killed before their end, within %s of their start", killed, times, life)
	if killed < times/5 {
		t.Errorf("only %d of %d runs were killed: the others had ended before", killed, times)
	}
}
