//go:build servers

package servers

import "testing"

func TestRedis(t *testing.T) {
	s := Redis(t)
	if pong, err := s.Client(t).Ping(t.Context()).Result(); err != nil || pong != "PONG" {
		t.Errorf("ping: %q, %v", pong, err)
	}
	s.Stop(t)
	if err := s.Client(t).Ping(t.Context()).Err(); err == nil {
		t.Error("a stopped server answers")
	}
}
