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

// hold has sessions of Odoo's role hold locks of the maintenance database, or queue
// for them, and come back at once when they are ended, until the test ends or stop is
// called.
func hold(t *testing.T, s *servers.PostgresServer, sessions int, numbers ...int64) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended, held := make(chan struct{}), make(chan struct{}, sessions)
	for range sessions {
		go func() {
			defer func() { ended <- struct{}{} }()
			for ctx.Err() == nil {
				conn, err := odooOf(s).connect(ctx, maintenanceDatabase)
				if err != nil {
					continue
				}
				for _, n := range numbers {
					_, _ = conn.Exec(ctx, "SELECT pg_advisory_lock($1)", n)
				}
				select {
				case held <- struct{}{}:
				default:
				}
				_, _ = conn.Exec(ctx, "SELECT pg_sleep(600)")
				_ = conn.Close(context.WithoutCancel(ctx))
			}
		}()
	}
	<-held
	return func() {
		cancel()
		for range sessions {
			<-ended
		}
		// The server notices a moment later.
		for one[int64](t, s, maintenanceDatabase, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'odoo'") > 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// TestTurnOfStrangers holds every lock that an effect waits for, as Odoo's role can:
// it must be let into the database that they are in. Nobody waits for that.
func TestTurnOfStrangers(t *testing.T) {
	v := newVault(t)
	run := func(effect string, environ map[string]string) (code int, log string) {
		code, took, log := (&siege{}).run(t, effect, environ, 2*time.Minute)
		t.Logf("%s: exit code %d after %s: %s", effect, code, took.Round(time.Millisecond), lastError(log))
		return code, log
	}

	stop := hold(t, v.pg, 1, lockOf("backup "+acme.Database))
	if code, log := run("backup", v.environ(acme)); code != ExitFailed || !strings.Contains(lastError(log), `as a superuser, SELECT pg_terminate_backend(`) {
		t.Errorf("a first backup needs its turn, and says whose session is in the way; got %d:\n%s", code, log)
	}
	stop()
	mustRun(t, "backup", v.environ(acme))

	stop = hold(t, v.pg, 3, lockOf("backup "+acme.Database))
	if code, log := run("backup", v.environ(acme)); code != ExitDone || !strings.Contains(log, "doesn't wait for its turn") {
		t.Errorf("a backup waits for a stranger: %d\n%s", code, log)
	}
	stop()

	const copied = "acme-copy.planapulse.app"
	stop = hold(t, v.pg, 6, lockOf("restore "+copied), loadingLock)
	defer stop()
	if code, log := run("restore", v.restores(copied, map[string]string{"RESTORE_COPY": "true"})); code != ExitDone {
		t.Errorf("a restore waits for a stranger: %d\n%s", code, log)
	}
}

// TestTurnOfOurs waits for a session of the effect's own role.
func TestTurnOfOurs(t *testing.T) {
	s := servers.Postgres(t)
	first, second := s.Connect(t, servers.PostgresBackup, maintenanceDatabase), s.Connect(t, servers.PostgresBackup, maintenanceDatabase)
	take := func(conn *pgx.Conn, patience time.Duration) error {
		ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("not done after %s", patience))
		defer cancel()
		return turn{postgresOf(s).as(servers.PostgresBackup, s.Password), conn, -7}.take(ctx, "Another one is under way")
	}
	if err := take(first, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := take(second, 2*time.Second); err == nil {
		t.Error("two have the turn at once")
	}
	if _, err := first.Exec(t.Context(), "SELECT pg_advisory_unlock(-7)"); err != nil {
		t.Fatal(err)
	}
	if err := take(s.Connect(t, servers.PostgresBackup, maintenanceDatabase), time.Minute); err != nil {
		t.Error(err)
	}
}

// TestStalledBackup has a tenant stall its own backup by every means that it has: a
// view in place of a table, code that doesn't end, and locks that pg_dump waits for
// without a limit. It fails by its own deadline and leaves no session behind, and
// another tenant's backup doesn't notice.
func TestStalledBackup(t *testing.T) {
	v := newVault(t)
	v.addDatabase(t, neighbour)
	beta := acme
	beta.Name, beta.Database, beta.UID, beta.ProjectID = "beta", neighbour, "0d9a7c7e-9d3b-4e4e-8a36-3f4e7a0a7b11", 24

	for name, tc := range map[string]struct {
		reason string
		sql    string
		holds  string
		// stalls tells that it ends by its deadline only.
		stalls bool
	}{
		"View": {
			reason: "pg_dump writes down what a view is, and asks it nothing.",
			sql: `CREATE FUNCTION public.forever() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN LOOP PERFORM pg_sleep(3600); END LOOP; END';
				ALTER TABLE public.res_users RENAME TO users;
				CREATE VIEW public.res_users AS SELECT * FROM public.users WHERE public.forever()`,
		},
		"LockedTable": {
			reason: "pg_dump locks each table, and waits for that.",
			holds:  "LOCK TABLE public.res_partner IN ACCESS EXCLUSIVE MODE",
			stalls: true,
		},
		"LockedView": {
			reason: "pg_dump asks for a view's definition, for which it waits without a limit of its own.",
			holds:  "LOCK TABLE public.logins IN ACCESS EXCLUSIVE MODE",
			stalls: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", quote(acme.Database)))
			v.addDatabase(t, acme.Database)
			v.pg.Exec(t, servers.PostgresOdoo, acme.Database, tc.sql)
			if tc.holds != "" {
				tenants := v.pg.Connect(t, servers.PostgresOdoo, acme.Database)
				if _, err := tenants.Exec(t.Context(), "BEGIN; "+tc.holds); err != nil {
					t.Fatal(err)
				}
				defer tenants.Close(context.Background())
			}

			const deadline = 20 * time.Second
			cmd, log := child(t, "backup", v.environ(beta, map[string]string{"RESTIC_REPOSITORY": v.s3.Repository("beta-024")}))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			code, took, stalled := (&siege{}).run(t, "backup", v.environ(acme), deadline)
			t.Logf("exit code %d after %s: %s", code, took.Round(time.Millisecond), lastError(stalled))
			if code != ExitFailed || (took > deadline) != tc.stalls {
				t.Errorf("%s\nexit code %d after %s:\n%s", tc.reason, code, took, stalled)
			}
			endsWell(t, "backup", code, stalled)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s\nanother tenant's backup: %v\n%s", tc.reason, err, log)
			}
			const left = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'plana_backup'"
			for began := time.Now(); one[int64](t, v.pg, maintenanceDatabase, left) > 0; time.Sleep(50 * time.Millisecond) {
				if time.Since(began) > 10*time.Second {
					t.Fatalf("%s\nsessions of the backup are left", tc.reason)
				}
			}
		})
	}
}
