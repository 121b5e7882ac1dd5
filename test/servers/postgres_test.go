//go:build servers

package servers

import (
	"testing"
)

func TestPostgres(t *testing.T) {
	s := Postgres(t)
	for _, role := range []string{PostgresSuperuser, PostgresAdmin, PostgresOdoo} {
		var got string
		if err := s.Connect(t, role, "postgres").QueryRow(t.Context(), "SELECT current_user").Scan(&got); err != nil {
			t.Errorf("%s: %v", role, err)
		}
		if got != role {
			t.Errorf("current_user: want %s, got %s", role, got)
		}
	}
	var super bool
	admin := s.Connect(t, PostgresAdmin, "postgres")
	if err := admin.QueryRow(t.Context(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&super); err != nil || super {
		t.Errorf("the admin must not be a superuser: %t, %v", super, err)
	}
}
