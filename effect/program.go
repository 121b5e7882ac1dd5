package effect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopsWithin is how long a program that was told to stop may take to tidy up.
// An effect as a whole has five seconds.
const stopsWithin = 4 * time.Second

// A program is one run of something that isn't ours, such as pg_dump. What it
// has to say on stderr goes to the log. Its environment is what env says and
// nothing else, so that each program sees its own secrets only.
type program struct {
	name string
	args []string
	env  []string
	dir  string

	stdin  *os.File
	stdout io.Writer

	// says is told each line of stderr, if there is somebody to tell.
	says func(line string)

	// readsOnlyTheStart of its input, and may end before the rest of it.
	readsOnlyTheStart bool
}

// A programError is a program that failed, and why in its own words.
type programError struct {
	program string
	says    string
	err     error
}

func (e *programError) Error() string {
	if e.says == "" {
		return fmt.Sprintf("%s: %v", e.program, e.err)
	}
	return fmt.Sprintf("%s: %v: %s", e.program, e.err, e.says)
}

func (e *programError) Unwrap() error { return e.err }

// exitCode of the program whose failure this error tells of, or -1.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// says tells whether the error is of a program that said this on stderr.
func says(err error, what string) bool {
	var p *programError
	return errors.As(err, &p) && strings.Contains(p.says, what)
}

// run the program to its end, or until the context is done.
func (p program) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, p.name, p.args...) //nolint:gosec // No shell: an argument is an argument, whatever is in it.
	cmd.Dir = p.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, p.env...)
	cmd.Stdout = p.stdout
	if p.stdin != nil {
		cmd.Stdin = p.stdin
	}
	stderr := &stderrLog{log: func(line string) {
		slog.InfoContext(ctx, "A program says", "program", p.name, "says", line)
		if p.says != nil {
			p.says(line)
		}
	}}
	cmd.Stderr = stderr

	// SIGINT lets restic remove its lock, and makes pg_dump cancel its query.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopsWithin
	// A program that outlives us would take the end of its input for the end
	// of the data.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	err := cmd.Run()
	stderr.flush()
	if errors.Is(err, exec.ErrNotFound) {
		return Terminal(fmt.Errorf("cannot run %s: it isn't in this image, which must be the effects image: %w", p.name, err))
	}
	if err != nil {
		return &programError{program: strings.Join(append([]string{p.name}, firstWord(p.args)...), " "), says: stderr.tail(), err: err}
	}
	return nil
}

// firstWord of the arguments that is a subcommand rather than a flag.
func firstWord(args []string) []string {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[:1]
	}
	return nil
}

// pipe what one program writes into others, and into tee. The consumers see the
// end of their input only after the producer has succeeded: a producer that fails
// half-way has its consumers stopped first, because restic, for one, would keep
// half a dump as if it were whole. A consumer that fails stops them all.
func pipe(ctx context.Context, producer program, tee io.Writer, consumers ...program) error {
	consuming, stop := context.WithCancel(ctx)
	defer stop()
	producing, stopProducer := context.WithCancel(ctx)
	defer stopProducer()

	sinks, ends := []io.Writer{tee}, make([]*os.File, 0, len(consumers))
	consumed := make(chan error, len(consumers))
	for _, consumer := range consumers {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("cannot connect %s to %s: %w", producer.name, consumer.name, err)
		}
		defer w.Close() //nolint:errcheck // Closed with its error looked at below; this is for the other ways out.
		ends = append(ends, w)
		if consumer.readsOnlyTheStart {
			sinks = append(sinks, &untilClosed{w: w})
		} else {
			sinks = append(sinks, w)
		}
		consumer.stdin = r
		go func() {
			err := consumer.run(consuming)
			// The producer must not wait for a reader that is gone.
			_ = r.Close()
			if err != nil {
				stopProducer()
			}
			consumed <- err
		}()
	}
	// The first consumer to fail says why the others were stopped.
	wait := func() error {
		var first error
		for range consumers {
			if err := <-consumed; err != nil && first == nil {
				first = err
				stop()
			}
		}
		return first
	}

	producer.stdout = io.MultiWriter(sinks...)
	if err := producer.run(producing); err != nil {
		failedFirst := producing.Err() != nil && ctx.Err() == nil
		if failedFirst || errors.Is(err, syscall.EPIPE) {
			if consumerErr := wait(); consumerErr != nil {
				return consumerErr
			}
			return err
		}
		stop()
		_ = wait()
		return err
	}
	for _, w := range ends {
		if err := w.Close(); err != nil {
			stop()
			return errors.Join(fmt.Errorf("cannot hand the end of %s's output on: %w", producer.name, err), wait())
		}
	}
	return wait()
}

// untilClosed writes to a pipe for as long as somebody reads from it, and
// discards the rest.
type untilClosed struct {
	w      io.Writer
	closed bool
}

func (u *untilClosed) Write(b []byte) (int, error) {
	if u.closed {
		return len(b), nil
	}
	n, err := u.w.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		u.closed = true
		return len(b), nil
	}
	return n, err
}

// stderrLog logs what a program says, line by line, and remembers the end of it
// for the error.
type stderrLog struct {
	log  func(line string)
	line []byte
	last []string
}

func (l *stderrLog) Write(b []byte) (int, error) {
	l.line = append(l.line, b...)
	for {
		n, line, err := bufio.ScanLines(l.line, false)
		if n == 0 || err != nil {
			break
		}
		l.say(string(line))
		l.line = l.line[n:]
	}
	// A program without line ends must not fill our memory.
	if len(l.line) > 64<<10 {
		l.flush()
	}
	return len(b), nil
}

func (l *stderrLog) flush() {
	l.say(string(l.line))
	l.line = nil
}

func (l *stderrLog) say(line string) {
	line = strings.TrimSpace(line)
	if line == "" {
		return
	}
	l.log(line)
	const remembered = 6
	l.last = append(l.last, line)
	if len(l.last) > remembered {
		l.last = l.last[1:]
	}
}

func (l *stderrLog) tail() string { return strings.Join(l.last, "; ") }
