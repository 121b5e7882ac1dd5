package e2e

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// A line leads the cluster to a server outside of it, and can be cut: then the
// server is down as far as the cluster can see, and has lost nothing.
type line struct {
	// host and port at which the cluster finds the server.
	host string
	port int

	server string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
}

// lay a line to a server. It is taken away at the end of the test.
func lay(t testing.TB, server string) *line {
	t.Helper()
	l := &line{host: "127.0.0.1", port: freePort(t), server: server, conns: map[net.Conn]bool{}}
	l.mend(t)
	t.Cleanup(l.cut)
	return l
}

// address of the server as the cluster knows it.
func (l *line) address() string { return net.JoinHostPort(l.host, strconv.Itoa(l.port)) }

// mend the line.
func (l *line) mend(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		return
	}
	listener, err := net.Listen("tcp", l.address())
	if err != nil {
		t.Fatalf("cannot listen for %s: %v", l.server, err)
	}
	l.listener = listener
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(conn)
		}
	}()
}

// cut the line: connections break off, and new ones are refused.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		_ = l.listener.Close()
		l.listener = nil
	}
	for conn := range l.conns {
		_ = conn.Close()
	}
}

// hold a connection as long as the line is up.
func (l *line) hold(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener == nil {
		_ = conn.Close()
		return false
	}
	l.conns[conn] = true
	return true
}

func (l *line) release(conn net.Conn) {
	_ = conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

// carry what is said on a connection, both ways.
func (l *line) carry(from net.Conn) {
	if !l.hold(from) {
		return
	}
	defer l.release(from)
	to, err := net.Dial("tcp", l.server)
	if err != nil || !l.hold(to) {
		return
	}
	defer l.release(to)
	go func() {
		_, _ = io.Copy(to, from)
		closeWrite(to)
	}()
	_, _ = io.Copy(from, to)
	closeWrite(from)
}

// closeWrite says on a connection that nothing more will be said.
func closeWrite(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
