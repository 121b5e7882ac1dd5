//go:build servers

package servers

import "testing"

func TestMatrix(t *testing.T) {
	s := Matrix(t)
	owner := s.Register(t, "owner")
	me, err := owner.Whoami(t.Context())
	if err != nil {
		t.Fatalf("whoami: %v", err)
	}
	if me.UserID != owner.UserID {
		t.Errorf("whoami: want %s, got %s", owner.UserID, me.UserID)
	}
}
