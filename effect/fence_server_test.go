//go:build servers

package effect

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
			if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), want) {
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

// TestFencePrepared says of transactions that a tenant has prepared what a person has
// to do: they outlive their sessions, and neither the provisioning role nor DROP
// DATABASE gets past them.
func TestFencePrepared(t *testing.T) {
	s := servers.PostgresWith(t, "max_prepared_transactions=2")
	withBackupRole(t, s)
	acmes, neighbours := occupy(t, s, 1)
	const prepare = "BEGIN; CREATE TABLE public.prepared (id integer); PREPARE TRANSACTION '%s'"
	if _, err := acmes[0].Exec(t.Context(), fmt.Sprintf(prepare, "it''s acme''s")); err != nil {
		t.Fatal(err)
	}
	if _, err := neighbours[0].Exec(t.Context(), fmt.Sprintf(prepare, "beta''s")); err != nil {
		t.Fatal(err)
	}
	handOver(t, s, servers.PostgresAdmin)

	err := Fence(t.Context(), fenceConfig(s))
	if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), "as a superuser, in that database, ROLLBACK PREPARED 'it''s acme''s'") || strings.Contains(err.Error(), "beta") {
		t.Errorf("want it to say how to end acme's, and acme's only: %v", err)
	}
	if mayConnect(t, s, servers.PostgresOdoo, acme.Database) || alive(t, acmes) > 0 {
		t.Error("the tenant isn't shut out meanwhile")
	}
	if alive(t, neighbours) == 0 {
		t.Error("the neighbour's session has ended")
	}
	s.Exec(t, servers.PostgresSuperuser, acme.Database, "ROLLBACK PREPARED 'it''s acme''s'")
	if err := Fence(t.Context(), fenceConfig(s)); err != nil {
		t.Error(err)
	}
	if err := Unfence(t.Context(), fenceConfig(s)); err != nil {
		t.Error(err)
	}
	s.Exec(t, servers.PostgresSuperuser, neighbour, "ROLLBACK PREPARED 'beta''s'")
}

// TestFenceDecoding ends the session of somebody who reads a database's changes as
// they are made, and comes back whenever it is ended. The slot alone, which stays,
// keeps nobody from dropping the database.
func TestFenceDecoding(t *testing.T) {
	s := servers.PostgresWith(t, "wal_level=logical")
	withBackupRole(t, s)
	occupy(t, s, 1)
	// Only a superuser can give a tenant that much.
	s.Exec(t, servers.PostgresSuperuser, "postgres", "ALTER ROLE odoo REPLICATION")
	s.Exec(t, servers.PostgresOdoo, acme.Database, "SELECT pg_create_logical_replication_slot('tenants', 'test_decoding')")
	reader := exec.CommandContext(t.Context(), s.Program(t, "pg_recvlogical"), "--dbname", s.URL(servers.PostgresOdoo, acme.Database), "--slot", "tenants", "--start", "--file", filepath.Join(t.TempDir(), "changes"))
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = reader.Process.Kill()
		_ = reader.Wait()
	})
	const active = "SELECT count(*) FROM pg_replication_slots WHERE active"
	for began := time.Now(); one[int64](t, s, "postgres", active) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("nobody reads the slot")
		}
	}

	handOver(t, s, servers.PostgresAdmin)
	if err := Fence(t.Context(), fenceConfig(s)); err != nil {
		t.Fatal(err)
	}
	// It tries again every five seconds.
	time.Sleep(6 * time.Second)
	if one[int64](t, s, "postgres", active) != 0 {
		t.Error("the changes are read behind the fence")
	}
	s.Exec(t, servers.PostgresAdmin, "postgres", "DROP DATABASE "+quote(acme.Database))
}

// TestFenceStormed has Odoo's role try from a database that is its own to get back
// into one that is fenced, all the while that the fence is raised, stands and is
// raised once more.
func TestFenceStormed(t *testing.T) {
	s := servers.Postgres(t)
	withBackupRole(t, s)
	occupy(t, s, 2)
	database := quote(acme.Database)
	tries := []string{
		"GRANT ALL ON DATABASE " + database + " TO odoo, PUBLIC",
		"ALTER DATABASE " + database + " OWNER TO odoo",
		"ALTER DATABASE " + database + " SET search_path = evil",
		"ALTER DATABASE " + database + " RENAME TO mine",
		"DROP DATABASE " + database,
		"REVOKE ALL ON DATABASE " + database + " FROM plana, " + testBackupRole,
		"GRANT odoo TO " + testBackupRole,
		"REVOKE odoo FROM plana",
		"SET ROLE plana",
		"SET ROLE plana_restore",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> 'odoo'",
		"COMMENT ON DATABASE " + database + " IS 'mine'",
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan map[string]bool)
	handOver(t, s, servers.PostgresAdmin)
	before := rolesOf(t, s)
	tried := make(chan struct{}, 1)
	go func() {
		succeeded := map[string]bool{}
		defer func() { done <- succeeded }()
		for ctx.Err() == nil {
			conn, err := odooOf(s).connect(ctx, neighbour)
			if err != nil {
				continue
			}
			for _, sql := range tries {
				// What only warns that nothing was changed is looked at below.
				if _, err := conn.Exec(ctx, sql); err == nil && !strings.HasPrefix(sql, "GRANT ALL") && !strings.HasPrefix(sql, "REVOKE ALL") {
					succeeded[sql] = true
				}
			}
			_ = conn.Close(context.WithoutCancel(ctx))
			if conn, err := odooOf(s).connect(ctx, acme.Database); err == nil {
				_ = conn.Close(context.WithoutCancel(ctx))
			}
			select {
			case tried <- struct{}{}:
			default:
			}
		}
	}()
	<-tried
	for _, run := range []string{"first run", "second run"} {
		if err := Fence(t.Context(), fenceConfig(s)); err != nil {
			t.Fatalf("%s: %v", run, err)
		}
		if mayConnect(t, s, servers.PostgresOdoo, acme.Database) {
			t.Errorf("%s: Odoo's role may connect", run)
		}
		if !mayConnect(t, s, testBackupRole, acme.Database) {
			t.Errorf("%s: the backup role may not connect", run)
		}
		<-tried
	}
	stop()
	if succeeded := <-done; len(succeeded) > 0 {
		t.Errorf("Odoo's role did %v", slices.Sorted(maps.Keys(succeeded)))
	}
	if settings, rights := settingsOf(t, s); settings != "" || strings.Contains(rights, "odoo") || strings.Contains(","+strings.Trim(rights, "{}"), ",=") {
		t.Errorf("Odoo's role has rights: %s, or has set %q", rights, settings)
	}
	if diff := cmp.Diff(before, rolesOf(t, s)); diff != "" {
		t.Errorf("roles and databases: -before, +after:\n%s", diff)
	}
}

// TestFenceBadInput says what is wrong, before it touches anything.
func TestFenceBadInput(t *testing.T) {
	s := servers.Postgres(t)
	withBackupRole(t, s)
	acmes, _ := occupy(t, s, 2)
	// As behind a fence that another role has raised.
	s.Exec(t, servers.PostgresOdoo, maintenanceDatabase, "REVOKE ALL ON DATABASE "+quote(acme.Database)+" FROM PUBLIC",
		"GRANT CONNECT ON DATABASE "+quote(acme.Database)+" TO "+servers.PostgresBackup)
	good := acme.environ(s.Environ(servers.PostgresAdmin), map[string]string{"BACKUP_ROLE": testBackupRole})
	for name, tc := range map[string]struct {
		environ map[string]string
		code    int
		want    string

		// unfence says, "" for the same.
		unfence string
	}{
		"NoDatabase":      {map[string]string{"TENANT_DATABASE": ""}, ExitTerminal, "TENANT_DATABASE", ""},
		"AnothersName":    {map[string]string{"TENANT_DATABASE": neighbour}, ExitTerminal, "must start with the tenant's name", ""},
		"Template":        {map[string]string{"TENANT_DATABASE": "template1"}, ExitTerminal, "must be lower-case DNS labels", ""},
		"WrongPassword":   {map[string]string{"PGPASSWORD": "no"}, ExitFailed, "password authentication failed", ""},
		"NotProvisioning": {map[string]string{"PGUSER": servers.PostgresBackup}, ExitFailed, "rather than to PGUSER", `it belongs to role "odoo", for whom PGUSER "plana_backup" can't do this: as the owner or a superuser, GRANT CONNECT`},
	} {
		for _, effect := range []string{"fence", "unfence"} {
			environ, want := maps.Clone(good), tc.want
			maps.Copy(environ, tc.environ)
			if effect == "unfence" && tc.unfence != "" {
				want = tc.unfence
			}
			if code, log := runChild(t, effect, environ); code != tc.code || !strings.Contains(lastError(log), want) {
				t.Errorf("%s, %s: exit code %d, want %d and %q:\n%s", effect, name, code, tc.code, want, log)
			}
		}
	}
	if got := alive(t, acmes); got != len(acmes) {
		t.Errorf("only %d of %d sessions are left", got, len(acmes))
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
