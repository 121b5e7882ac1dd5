package servers

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A process is a server that a test may freeze and stop. Its log is a file,
// which can be read while the server writes to it.
type process struct {
	name    string
	log     string
	process *os.Process
	stopped chan struct{}
}

// start a server and wait until it is ready. It is stopped at the end of the
// test.
func start(t testing.TB, name string, server *exec.Cmd, ready func() error) *process {
	t.Helper()
	began := time.Now()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatalf("cannot create the log of %s: %v", name, err)
	}
	defer log.Close() //nolint:errcheck // The server has its own handle.
	server.Stdout, server.Stderr = log, log
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", name, err)
	}
	p := &process{name: name, log: log.Name(), process: server.Process, stopped: make(chan struct{})}
	go func() {
		defer close(p.stopped)
		_ = server.Wait()
	}()
	t.Cleanup(func() { p.Stop(t) })

	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ready(); err == nil {
			t.Logf("%s listens after %s", name, time.Since(began).Round(time.Millisecond))
			return p
		}
		select {
		case <-p.stopped:
			t.Fatalf("%s stopped:\n%s", name, p.Log())
		default:
		}
	}
	t.Fatalf("%s isn't ready after 30 s: %v\n%s", name, err, p.Log())
	return nil
}

// Log of the server.
func (p *process) Log() string {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// Stop the server, as a crash does. Stopping it twice is harmless.
func (p *process) Stop(t testing.TB) {
	t.Helper()
	_ = p.process.Kill()
	select {
	case <-p.stopped:
	case <-time.After(10 * time.Second):
		t.Errorf("%s with pid %d doesn't stop", p.name, p.process.Pid)
	}
}

// Freeze the server: it accepts connections and never answers, until it is
// stopped or thawed.
func (p *process) Freeze(t testing.TB) {
	t.Helper()
	if err := p.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("cannot freeze %s: %v", p.name, err)
	}
}

// Thaw a frozen server.
func (p *process) Thaw(t testing.TB) {
	t.Helper()
	if err := p.process.Signal(syscall.SIGCONT); err != nil {
		t.Fatalf("cannot thaw %s: %v", p.name, err)
	}
}
