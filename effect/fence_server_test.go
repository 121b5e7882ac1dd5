//go:build servers

package effect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

const testBackupRole = "fence_backup"

func fenceConfig(s *servers.PostgresServer) FenceConfig {
	return FenceConfig{Tenant: acme, Postgres: postgresOf(s), BackupRole: testBackupRole}
}

// handOver does what provider-sql does for owner.
func handOver(t testing.TB, s *servers.PostgresServer, owner string) {
	t.Helper()
	s.Exec(t, servers.PostgresAdmin, "postgres", "ALTER DATABASE "+quote(acme.Database)+" OWNER TO "+owner)
}

// withBackupRole makes the role that may connect behind the fence.
func withBackupRole(t testing.TB, s *servers.PostgresServer) {
	t.Helper()
	s.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' IN ROLE pg_read_all_data", testBackupRole, s.Password))
}

// mayConnect tells whether a role gets into a database.
func mayConnect(t testing.TB, s *servers.PostgresServer, role, database string) bool {
	t.Helper()
	p := postgresOf(s)
	p.User = role
	conn, err := p.connect(t.Context(), database)
	if err != nil {
		return false
	}
	disconnect(t.Context(), conn)
	return true
}

// settingsOf a database, and who has rights on it.
func settingsOf(t testing.TB, s *servers.PostgresServer) (settings string, rights string) {
	t.Helper()
	conn := s.Connect(t, servers.PostgresSuperuser, "postgres")
	if err := conn.QueryRow(t.Context(), `
		SELECT coalesce((SELECT array_to_string(setconfig, ',') FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0), ''), coalesce(datacl::text, '')
		FROM pg_database d WHERE datname = $1`, acme.Database).Scan(&settings, &rights); err != nil {
		t.Fatal(err)
	}
	return settings, rights
}

// TestFence shuts everybody out, whatever the tenant has done beforehand so that it
// can get in again, and lets them in again.
func TestFence(t *testing.T) {
	s := servers.Postgres(t)
	withBackupRole(t, s)
	acmes, neighbours := occupy(t, s, 4)
	s.Exec(t, servers.PostgresSuperuser, "postgres",
		"CREATE ROLE partner LOGIN PASSWORD '"+s.Password+"'", `CREATE ROLE "Odd ""one" LOGIN`)
	s.Exec(t, servers.PostgresOdoo, "postgres",
		"GRANT CONNECT ON DATABASE "+quote(acme.Database)+" TO odoo, partner WITH GRANT OPTION",
		"GRANT ALL ON DATABASE "+quote(acme.Database)+` TO "Odd ""one"`,
		"ALTER DATABASE "+quote(acme.Database)+" SET statement_timeout = '1ms'",
		"ALTER DATABASE "+quote(acme.Database)+" SET search_path = evil")
	s.Exec(t, "partner", acme.Database, "GRANT CONNECT ON DATABASE "+quote(acme.Database)+` TO "Odd ""one" WITH GRANT OPTION`)

	// One in the middle of something, and one that holds a lock.
	go func() { _, _ = acmes[0].Exec(context.Background(), "SELECT pg_sleep(600)") }()
	if _, err := acmes[1].Exec(t.Context(), "BEGIN; CREATE TABLE locked (id integer)"); err != nil {
		t.Fatal(err)
	}
	backing := s.Connect(t, testBackupRole, acme.Database)
	handOver(t, s, servers.PostgresAdmin)

	for _, run := range []string{"first run", "second run"} {
		if err := Fence(t.Context(), fenceConfig(s)); err != nil {
			t.Fatalf("%s: %v", run, err)
		}
		if got := alive(t, acmes[1:]); got != 0 {
			t.Errorf("%s: %d sessions of the tenant's are left", run, got)
		}
		for _, role := range []string{servers.PostgresOdoo, "partner"} {
			if mayConnect(t, s, role, acme.Database) {
				t.Errorf("%s: %s may still connect", run, role)
			}
		}
		if !mayConnect(t, s, testBackupRole, acme.Database) || backing.Ping(t.Context()) != nil {
			t.Errorf("%s: the backup role is shut out too", run)
		}
		if got := alive(t, neighbours); got != len(neighbours) {
			t.Errorf("%s: only %d of %d sessions of the neighbour's are left", run, got, len(neighbours))
		}
		settings, rights := settingsOf(t, s)
		if settings != "" {
			t.Errorf("%s: what the tenant has set would hold for the backup too: %s", run, settings)
		}
		if got := strings.Split(strings.Trim(rights, "{}"), ","); len(got) != 2 || !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, testBackupRole+"=c/") }) {
			t.Errorf("%s: others than the owner and the backup role have rights: %s", run, rights)
		}
	}

	for _, run := range []string{"first run", "second run"} {
		if err := Unfence(t.Context(), fenceConfig(s)); err != nil {
			t.Fatalf("unfence, %s: %v", run, err)
		}
	}
	handOver(t, s, servers.PostgresOdoo)
	if !mayConnect(t, s, servers.PostgresOdoo, acme.Database) {
		t.Error("Odoo's role is still shut out of a database that is back in service")
	}

	s.Exec(t, servers.PostgresSuperuser, "postgres", "DROP DATABASE IF EXISTS "+quote(acme.Database)+" WITH (FORCE)")
	for name, do := range map[string]func(context.Context, FenceConfig) error{"fence": Fence, "unfence": Unfence} {
		if err := do(t.Context(), fenceConfig(s)); err != nil {
			t.Errorf("%s of a database that is gone: %v", name, err)
		}
	}
}

// TestFenceOfAClosedDatabase raises the fence of one that was suspended before there
// were fences.
func TestFenceOfAClosedDatabase(t *testing.T) {
	s := servers.Postgres(t)
	withBackupRole(t, s)
	acmes, _ := occupy(t, s, 2)
	shut(t, s)
	handOver(t, s, servers.PostgresAdmin)
	if err := Fence(t.Context(), fenceConfig(s)); err != nil {
		t.Fatal(err)
	}
	if got := alive(t, acmes); got != 0 {
		t.Errorf("%d sessions of the tenant's are left", got)
	}
	s.Exec(t, servers.PostgresAdmin, "postgres", "ALTER DATABASE "+quote(acme.Database)+" ALLOW_CONNECTIONS true")
	if mayConnect(t, s, servers.PostgresOdoo, acme.Database) {
		t.Error("a database that is opened for its backup lets Odoo in")
	}
	if !mayConnect(t, s, testBackupRole, acme.Database) {
		t.Error("a database that is opened for its backup doesn't let the backup in")
	}
	if err := Unfence(t.Context(), fenceConfig(s)); err != nil {
		t.Error(err)
	}
}

func TestFenceRefuses(t *testing.T) {
	s := servers.Postgres(t)

	t.Run("NoBackupRole", func(t *testing.T) {
		occupy(t, s, 1)
		handOver(t, s, servers.PostgresAdmin)
		err := Fence(t.Context(), fenceConfig(s))
		if err == nil || !strings.Contains(err.Error(), "postgres.backupRole of the Platform names \""+testBackupRole+"\": create that role") {
			t.Errorf("want it to say which role is missing, got %v", err)
		}
	})
	withBackupRole(t, s)

	t.Run("AnothersDatabase", func(t *testing.T) {
		acmes, _ := occupy(t, s, 2)
		err := Fence(t.Context(), fenceConfig(s))
		for _, want := range []string{`it belongs to role "odoo"`, `rather than to PGUSER "plana"`, "postgres.provisioningRole of the Platform"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q, got %v", want, err)
			}
		}
		if got := alive(t, acmes); got != len(acmes) {
			t.Errorf("only %d of %d sessions of a database that can't be fenced are left", got, len(acmes))
		}
	})

	t.Run("Superuser", func(t *testing.T) {
		acmes, _ := occupy(t, s, 2)
		handOver(t, s, servers.PostgresAdmin)
		boss := s.Connect(t, servers.PostgresSuperuser, acme.Database)
		err := fenceConfig(s).fence(t.Context(), 3*time.Second)
		for _, want := range []string{"not done after 3s", fmt.Sprintf(`%d of "postgres"`, boss.PgConn().PID()), `"plana" may not end those of "postgres"`} {
			if err == nil || IsHopeless(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("want it to say whose session is left: want %s, got %v", want, err)
			}
		}
		if got := alive(t, acmes); got != 0 {
			t.Errorf("%d sessions are left that it may end", got)
		}
		_ = boss.Close(t.Context())
		if err := Fence(t.Context(), fenceConfig(s)); err != nil {
			t.Errorf("once the superuser has left: %v", err)
		}
	})
}

// TestFenceHeldUp ends a session that has the database's row locked, rather than wait
// for it.
func TestFenceHeldUp(t *testing.T) {
	s := servers.Postgres(t)
	withBackupRole(t, s)
	acmes, _ := occupy(t, s, 2)
	// The tenant gave a right away in a transaction, which is still open when the
	// database isn't its any more: a superuser stands for the handing over.
	s.Exec(t, servers.PostgresSuperuser, "postgres", "ALTER ROLE odoo IN DATABASE "+quote(acme.Database)+" SET idle_in_transaction_session_timeout = 0")
	handOver(t, s, servers.PostgresAdmin)
	s.Exec(t, servers.PostgresAdmin, "postgres", "GRANT ALL ON DATABASE "+quote(acme.Database)+" TO odoo WITH GRANT OPTION")
	if _, err := acmes[0].Exec(t.Context(), "BEGIN; GRANT CONNECT ON DATABASE "+quote(acme.Database)+" TO "+testBackupRole); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := Fence(t.Context(), fenceConfig(s)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	if mayConnect(t, s, servers.PostgresOdoo, acme.Database) {
		t.Error("Odoo's role may still connect")
	}
}

// TestFenceAgainstAStorm fences a database that many connect to all the time.
func TestFenceAgainstAStorm(t *testing.T) {
	s := servers.Postgres(t)
	withBackupRole(t, s)
	occupy(t, s, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan int)
	wrote := func() (n int) {
		p := postgresOf(s)
		p.User = servers.PostgresOdoo
		for ctx.Err() == nil {
			conn, err := p.connect(ctx, acme.Database)
			if err != nil {
				continue
			}
			for {
				if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS public.storm (at timestamptz); INSERT INTO public.storm VALUES (clock_timestamp())"); err != nil {
					break
				}
				n++
			}
			_ = conn.Close(context.WithoutCancel(ctx))
		}
		return n
	}
	const writers = 6
	for range writers {
		go func() { done <- wrote() }()
	}
	for one[*string](t, s, acme.Database, "SELECT to_regclass('public.storm')::text") == nil {
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond)
	handOver(t, s, servers.PostgresAdmin)
	if err := Fence(t.Context(), fenceConfig(s)); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		conn := s.Connect(t, servers.PostgresSuperuser, acme.Database)
		defer conn.Close(t.Context())
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM public.storm").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	behind := count()
	time.Sleep(time.Second)
	if after := count(); after != behind || behind == 0 {
		t.Errorf("%d rows when the fence was said to stand, %d a second later", behind, after)
	}
	stop()
	for range writers {
		<-done
	}
}

func TestFenceTwiceAtOnce(t *testing.T) {
	s := servers.Postgres(t)
	withBackupRole(t, s)
	for range 3 {
		acmes, neighbours := occupy(t, s, 6)
		handOver(t, s, servers.PostgresAdmin)
		atOnce(t, 3, func() error { return Fence(t.Context(), fenceConfig(s)) })
		if a, n := alive(t, acmes), alive(t, neighbours); a != 0 || n != len(neighbours) {
			t.Errorf("want no session of the tenant's and %d of the neighbour's, got %d and %d", len(neighbours), a, n)
		}
		atOnce(t, 3, func() error { return Unfence(t.Context(), fenceConfig(s)) })
		for _, c := range neighbours {
			_ = c.Close(t.Context())
		}
	}
}

func TestFenceKilled(t *testing.T) {
	s := servers.Postgres(t)
	withBackupRole(t, s)
	var acmes []*pgx.Conn
	environ := func(int) map[string]string {
		env := acme.environ(s.Environ(servers.PostgresAdmin))
		env["BACKUP_ROLE"] = testBackupRole
		return env
	}
	Kills{
		Effect:  "fence",
		Environ: environ,
		Before: func(t *testing.T, _ int) {
			acmes, _ = occupy(t, s, 4)
			handOver(t, s, servers.PostgresAdmin)
		},
		After: func(t *testing.T, _ int) {
			if a := alive(t, acmes); a != 0 || mayConnect(t, s, servers.PostgresOdoo, acme.Database) {
				t.Errorf("%d sessions of the tenant's are left, or it may connect", a)
			}
		},
	}.survive(t)
	Kills{
		Effect:  "unfence",
		Environ: environ,
		Before: func(t *testing.T, _ int) {
			occupy(t, s, 0)
			handOver(t, s, servers.PostgresAdmin)
			s.Exec(t, servers.PostgresAdmin, "postgres", "REVOKE ALL ON DATABASE "+quote(acme.Database)+" FROM PUBLIC")
		},
		After: func(t *testing.T, _ int) {
			handOver(t, s, servers.PostgresOdoo)
			if !mayConnect(t, s, servers.PostgresOdoo, acme.Database) {
				t.Error("Odoo's role is still shut out")
			}
		},
	}.survive(t)
}
