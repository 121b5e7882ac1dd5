// Package servers starts real servers for tests: on loopback, on a free port,
// each for one test, and stopped when that ends.
package servers

import (
	"net"
	"net/netip"
	"testing"
)

// freePort is a TCP port of loopback that nobody listens on at this moment.
func freePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatalf("cannot find a free port: %v", err)
	}
	defer l.Close() //nolint:errcheck // Only its number is wanted.
	port, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatalf("cannot find a free port: %v", err)
	}
	return port.Port()
}
