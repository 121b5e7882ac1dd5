//go:build servers

package effect

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

func drainConfig(s *servers.PostgresServer) ConnectionsDrainConfig {
	return ConnectionsDrainConfig{Tenant: acme, Postgres: postgresOf(s)}
}

// occupy creates the tenant's database and a neighbour's, both Odoo's, and
// connects to each as Odoo's workers do.
func occupy(t testing.TB, s *servers.PostgresServer, sessions int) (acmes, neighbours []*pgx.Conn) {
	t.Helper()
	for database, conns := range map[string]*[]*pgx.Conn{acme.Database: &acmes, neighbour: &neighbours} {
		s.Exec(t, servers.PostgresSuperuser, "postgres",
			"DROP DATABASE IF EXISTS "+quote(database)+" WITH (FORCE)",
			fmt.Sprintf("CREATE DATABASE %s OWNER %s", quote(database), servers.PostgresOdoo))
		for range sessions {
			*conns = append(*conns, s.Connect(t, servers.PostgresOdoo, database))
		}
	}
	return acmes, neighbours
}

// shut does what provider-sql does for allowConnections: false.
func shut(t testing.TB, s *servers.PostgresServer) {
	t.Helper()
	s.Exec(t, servers.PostgresAdmin, "postgres", "ALTER DATABASE "+quote(acme.Database)+" ALLOW_CONNECTIONS false")
}

func alive(t testing.TB, conns []*pgx.Conn) int {
	t.Helper()
	n := 0
	for _, c := range conns {
		if c.Ping(t.Context()) == nil {
			n++
		}
	}
	return n
}

func TestConnectionsDrain(t *testing.T) {
	s := servers.Postgres(t)
	acmes, neighbours := occupy(t, s, 5)

	// One in the middle of something, and one that holds a lock.
	go func() { _, _ = acmes[0].Exec(context.Background(), "SELECT pg_sleep(600)") }()
	if _, err := acmes[1].Exec(t.Context(), "BEGIN; CREATE TABLE locked (id integer)"); err != nil {
		t.Fatal(err)
	}
	shut(t, s)

	for _, run := range []string{"first run", "second run"} {
		if err := ConnectionsDrain(t.Context(), drainConfig(s)); err != nil {
			t.Fatalf("%s: %v", run, err)
		}
		if got := alive(t, acmes[1:]); got != 0 {
			t.Errorf("%s: %d sessions of the tenant's are left", run, got)
		}
		if got := alive(t, neighbours); got != len(neighbours) {
			t.Errorf("%s: only %d of %d sessions of the neighbour's are left", run, got, len(neighbours))
		}
	}
	s.Exec(t, servers.PostgresAdmin, "postgres", "DROP DATABASE "+quote(acme.Database))
	if err := ConnectionsDrain(t.Context(), drainConfig(s)); err != nil {
		t.Errorf("a database that is gone has no sessions: %v", err)
	}
	if got := alive(t, neighbours); got != len(neighbours) {
		t.Errorf("only %d of %d sessions of the neighbour's are left", got, len(neighbours))
	}
}

func TestConnectionsDrainWaits(t *testing.T) {
	s := servers.Postgres(t)

	t.Run("Open", func(t *testing.T) {
		acmes, _ := occupy(t, s, 3)
		err := drainConfig(s).drain(t.Context(), time.Second)
		if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), "it still accepts connections") {
			t.Errorf("an open database can be closed until the next attempt: %v", err)
		}
		if got := alive(t, acmes); got != len(acmes) {
			t.Errorf("only %d of %d sessions of an open database are left", got, len(acmes))
		}
	})

	t.Run("ClosedMeanwhile", func(t *testing.T) {
		acmes, _ := occupy(t, s, 3)
		admin := s.Connect(t, servers.PostgresAdmin, "postgres")
		closed := make(chan error)
		go func() {
			time.Sleep(300 * time.Millisecond)
			_, err := admin.Exec(context.Background(), "ALTER DATABASE "+quote(acme.Database)+" ALLOW_CONNECTIONS false")
			closed <- err
		}()
		if err := ConnectionsDrain(t.Context(), drainConfig(s)); err != nil {
			t.Error(err)
		}
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if got := alive(t, acmes); got != 0 {
			t.Errorf("%d sessions are left", got)
		}
	})

	t.Run("Superuser", func(t *testing.T) {
		acmes, _ := occupy(t, s, 3)
		boss := s.Connect(t, servers.PostgresSuperuser, acme.Database)
		shut(t, s)
		err := drainConfig(s).drain(t.Context(), 2*time.Second)
		for _, want := range []string{"not done after 2s", fmt.Sprintf(`%d of "postgres"`, boss.PgConn().PID()), `"plana" may not end those of "postgres"`} {
			if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("a superuser may leave until the next attempt, and somebody must tell him: want %s, got %v", want, err)
			}
		}
		if got := alive(t, acmes); got != 0 {
			t.Errorf("%d sessions are left that it may end", got)
		}
		_ = boss.Close(t.Context())
		if err := ConnectionsDrain(t.Context(), drainConfig(s)); err != nil {
			t.Errorf("once the superuser has left: %v", err)
		}
	})

	t.Run("Stopped", func(t *testing.T) {
		occupy(t, s, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := ConnectionsDrain(ctx, drainConfig(s)); err == nil || IsTerminal(err) || time.Since(began) > 5*time.Second {
			t.Errorf("want it to give up hopefully in 5 s, got %v after %s", err, time.Since(began))
		}
	})
}

func TestConnectionsDrainTwiceAtOnce(t *testing.T) {
	s := servers.Postgres(t)
	for range 5 {
		acmes, neighbours := occupy(t, s, 8)
		shut(t, s)
		atOnce(t, 3, func() error { return ConnectionsDrain(t.Context(), drainConfig(s)) })
		if a, n := alive(t, acmes), alive(t, neighbours); a != 0 || n != len(neighbours) {
			t.Errorf("want no session of the tenant's and %d of the neighbour's, got %d and %d", len(neighbours), a, n)
		}
		for _, c := range neighbours {
			_ = c.Close(t.Context())
		}
	}
}

func TestConnectionsDrainKilled(t *testing.T) {
	s := servers.Postgres(t)
	var acmes, neighbours []*pgx.Conn
	Kills{
		Effect:  "connections-drain",
		Environ: func(int) map[string]string { return acme.environ(s.Environ(servers.PostgresAdmin)) },
		Before: func(t *testing.T, _ int) {
			acmes, neighbours = occupy(t, s, 5)
			shut(t, s)
		},
		After: func(t *testing.T, _ int) {
			if a, n := alive(t, acmes), alive(t, neighbours); a != 0 || n != len(neighbours) {
				t.Errorf("want no session of the tenant's and %d of the neighbour's, got %d and %d", len(neighbours), a, n)
			}
		},
	}.survive(t)
}
