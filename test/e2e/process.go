package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a server on this machine, outside of the cluster. It can be
// killed and started again, with all that it was started with.
type process struct {
	name  string
	log   string
	build func() *exec.Cmd
	ready func() error

	mu      sync.Mutex
	cmd     *exec.Cmd
	stopped chan struct{}
}

// startProcess starts a server and waits until it is ready. It is stopped at the
// end of the test.
func startProcess(t testing.TB, logs, name string, ready func() error, program string, args ...string) *process {
	t.Helper()
	p := &process{
		name:  name,
		log:   filepath.Join(logs, name+".log"),
		build: func() *exec.Cmd { return exec.Command(program, args...) },
		ready: ready,
	}
	t.Cleanup(p.stop)
	began := time.Now()
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s is ready after %s", name, time.Since(began).Round(time.Millisecond))
	return p
}

// start the server, without waiting for it.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("cannot create the log of %s: %w", p.name, err)
	}
	defer log.Close() //nolint:errcheck // The server has its own handle.
	cmd := p.build()
	cmd.Stdout, cmd.Stderr = log, log
	// Whatever becomes of this process, its servers don't outlive it. A group of
	// its own keeps a terminal's Ctrl-C from stopping them before their time.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", p.name, err)
	}
	p.cmd, p.stopped = cmd, make(chan struct{})
	go func(stopped chan struct{}) {
		defer close(stopped)
		_ = cmd.Wait()
	}(p.stopped)
	return nil
}

// wait until the server is ready.
func (p *process) wait(patience time.Duration) error {
	err := errors.New("it was never asked")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = p.ready(); err == nil {
			return nil
		}
		select {
		case <-p.stopped:
			return fmt.Errorf("%s stopped:\n%s", p.name, tail(p.log, 30))
		default:
		}
	}
	return fmt.Errorf("%s isn't ready after %s: %w\n%s", p.name, patience, err, tail(p.log, 30))
}

// kill the server, as a crash does.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.stopped
}

// stop the server.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.stopped:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.stopped
	}
}

// tail returns the last lines of a file.
func tail(file string, lines int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

var (
	portsMu sync.Mutex
	ports   []int
)

// freePort returns a port that nothing on this machine listens at, and that it
// hasn't returned before.
func freePort(t testing.TB) int {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 100 {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatalf("cannot find a free port: %v", err)
		}
		port := portOf(t, l)
		_ = l.Close()
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
			return port
		}
	}
	t.Fatal("cannot find a free port")
	return 0
}

// portOf a listener.
func portOf(t testing.TB, l net.Listener) int {
	t.Helper()
	address, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatalf("a listener has no port: %v", err)
	}
	return int(address.Port())
}
