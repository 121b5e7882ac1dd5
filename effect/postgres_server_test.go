//go:build servers

package effect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// postgresOf is how effects reach a server that create databases, or look at them
// from outside.
func postgresOf(s *servers.PostgresServer) Postgres {
	return Postgres{Host: s.Host, Port: s.Port, User: servers.PostgresAdmin, Password: s.Password, SSLMode: "disable"}
}

// odooOf is how effects reach a server that work in a tenant's database.
func odooOf(s *servers.PostgresServer) Postgres {
	return postgresOf(s).as(servers.PostgresOdoo, s.Password)
}

// release is the tests' only one.
var release = Release{OdooRole: servers.PostgresOdoo}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// templateOf creates a database as Odoo's templates are, of a version's tables. It
// belongs to the admin, and what is in it to Odoo's role.
func templateOf(t testing.TB, s *servers.PostgresServer, version string) {
	t.Helper()
	s.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("CREATE DATABASE %s OWNER %s", quote(template), servers.PostgresAdmin))
	for _, file := range []string{"odoo.sql", "odoo-" + version + ".sql"} {
		sql, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		s.Exec(t, servers.PostgresOdoo, template, string(sql))
	}
}

// restoreDump makes a template of a real Odoo 17 database, where there is one.
func restoreDump(t testing.TB, s *servers.PostgresServer) {
	t.Helper()
	dump := os.Getenv("ODOO_DUMP")
	if dump == "" {
		dump = filepath.Join("..", "..", "shared", "odoo", "basic-template-17.dump")
	}
	if _, err := os.Stat(dump); err != nil {
		t.Skipf("there is no dump of a real Odoo database; ODOO_DUMP names one: %v", err)
	}
	s.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE template0", quote(template), servers.PostgresOdoo))
	restore := exec.CommandContext(t.Context(), s.Program(t, "pg_restore"), "--no-owner", "--no-privileges", "--dbname", s.URL(servers.PostgresOdoo, template), dump)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("cannot restore %s: %v\n%s", dump, err, out)
	}
	s.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", quote(template), servers.PostgresAdmin))
}

// clone makes the tenant's database anew, as provider-sql does: by the admin, of
// the template, and owned by the admin.
func clone(t testing.TB, s *servers.PostgresServer) {
	t.Helper()
	s.Exec(t, servers.PostgresSuperuser, "postgres", "DROP DATABASE IF EXISTS "+quote(acme.Database)+" WITH (FORCE)")
	s.Exec(t, servers.PostgresAdmin, "postgres", fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", quote(acme.Database), quote(template)))
}

// one is the one value that a query of a database has.
func one[T any](t testing.TB, s *servers.PostgresServer, database, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL(servers.PostgresSuperuser, database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var got T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

// databaseEffects are those that a broken server must not confuse.
func databaseEffects(p Postgres) map[string]func(context.Context) error {
	modules := Modules{Modules: []string{"base"}}
	odoo := p.as(servers.PostgresOdoo, p.Password)
	return map[string]func(context.Context) error{
		"module-grant": func(ctx context.Context) error {
			return ModuleGrant(ctx, ModuleGrantConfig{Tenant: acme, Postgres: odoo, Release: release, Modules: modules})
		},
		"module-verify": func(ctx context.Context) error {
			return ModuleVerify(ctx, ModuleVerifyConfig{Tenant: acme, Postgres: odoo, Release: release, Modules: modules})
		},
		"tenant-prepare": func(ctx context.Context) error {
			return TenantPrepare(ctx, TenantPrepareConfig{Tenant: acme, Postgres: odoo, Release: release})
		},
		"connections-drain": func(ctx context.Context) error {
			return ConnectionsDrain(ctx, ConnectionsDrainConfig{Tenant: acme, Postgres: p})
		},
	}
}

// TestPostgresFails shows every database effect a server that is of no use. None
// of that is for ever, so every error leaves hope, says what is wrong with which
// server, and keeps the password to itself.
func TestPostgresFails(t *testing.T) {
	s := servers.Postgres(t)
	templateOf(t, s, acme.Version)
	clone(t, s)

	// A server that says something, but not what PostgreSQL would.
	garbage, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = garbage.Close() })
	go func() {
		for {
			conn, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n\x00\xff\xff\xff\xff"))
			_ = conn.Close()
		}
	}()
	// A server that never says anything.
	mute, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	port := func(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }

	cases := map[string]struct {
		reason string
		change func(*Postgres)
		want   string
	}{
		"Down": {
			reason: "A server that is down comes back.",
			change: func(p *Postgres) { p.Port = 1 },
			want:   "connection refused",
		},
		"WrongPassword": {
			reason: "A password that was rotated is in the Secret at the next attempt.",
			change: func(p *Postgres) { p.Password = "not-the-password" },
			want:   "28P01",
		},
		"NoTLS": {
			reason: "A server that can't do TLS can be taught to.",
			change: func(p *Postgres) { p.SSLMode = "require" },
			want:   "server refused TLS connection",
		},
		"Garbage": {
			reason: "Something else on PostgreSQL's port is replaced.",
			change: func(p *Postgres) { p.Port = port(garbage) },
			want:   "cannot connect to database",
		},
		"Mute": {
			reason: "A server that accepts connections and never answers gets well.",
			change: func(p *Postgres) { p.Port = port(mute) },
			want:   "timeout",
		},
	}
	for name, tc := range cases {
		p := postgresOf(s)
		tc.change(&p)
		for effect, run := range databaseEffects(p) {
			t.Run(name+"/"+effect, func(t *testing.T) {
				t.Parallel()
				err := run(t.Context())
				if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), fmt.Sprintf("127.0.0.1:%d", p.Port)) {
					t.Errorf("%s\nwant hope, the server and %q; got terminal %t: %v", tc.reason, tc.want, IsTerminal(err), err)
				}
				if err != nil && strings.Contains(err.Error(), p.Password) {
					t.Errorf("the error says the password: %v", err)
				}
			})
		}
	}

	t.Run("AnotherRole", func(t *testing.T) {
		p, modules := postgresOf(s), Modules{Modules: []string{"base"}}
		for effect, run := range map[string]func() error{
			"module-grant": func() error {
				return ModuleGrant(t.Context(), ModuleGrantConfig{Tenant: acme, Postgres: p, Release: release, Modules: modules})
			},
			"module-verify": func() error {
				return ModuleVerify(t.Context(), ModuleVerifyConfig{Tenant: acme, Postgres: p, Release: release, Modules: modules})
			},
			"tenant-prepare": func() error {
				return TenantPrepare(t.Context(), TenantPrepareConfig{Tenant: acme, Postgres: p, Release: release})
			},
		} {
			if err := run(); err == nil || IsTerminal(err) || !strings.Contains(err.Error(), `PGUSER is "plana", and must be ODOO_ROLE, "odoo"`) {
				t.Errorf("%s: the role that creates databases is let into a tenant's: %v", effect, err)
			}
		}
	})
}

// TestPostgresHangs stops a server dead, in the middle of a session, and then
// the effect: it must be gone in 5 s.
func TestPostgresHangs(t *testing.T) {
	s := servers.Postgres(t)
	templateOf(t, s, acme.Version)
	clone(t, s)

	for _, effect := range []string{"module-grant", "module-verify", "tenant-prepare"} {
		t.Run(effect, func(t *testing.T) {
			// Whoever holds this lock is another run that takes its time.
			lock := s.Connect(t, servers.PostgresOdoo, acme.Database)
			if _, err := lock.Exec(t.Context(), "SELECT pg_advisory_lock($1)", int64(preparationLock)); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = lock.Close(context.Background())
				settle(t, s)
			}()
			cmd, log := child(t, effect, acme.environ(s.Environ(servers.PostgresOdoo), map[string]string{"ODOO_MODULES": "base"}))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waiting := "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
			for deadline := time.Now().Add(20 * time.Second); !one[bool](t, s, acme.Database, waiting); {
				if time.Now().After(deadline) {
					t.Fatal("the effect never waited for the lock")
				}
				time.Sleep(20 * time.Millisecond)
			}
			began := time.Now()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if took := time.Since(began); took > 5*time.Second || cmd.ProcessState.ExitCode() != ExitFailed {
				t.Errorf("want exit code %d within 5 s of SIGTERM, got %d after %s:\n%s", ExitFailed, cmd.ProcessState.ExitCode(), took, log)
			}
		})
	}

	t.Run("Frozen", func(t *testing.T) {
		freeze := func(sig syscall.Signal) {
			if err := s.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
		freeze(syscall.SIGSTOP)
		defer freeze(syscall.SIGCONT)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for effect, run := range databaseEffects(postgresOf(s)) {
			began := time.Now()
			err := run(ctx)
			if took := time.Since(began); err == nil || IsTerminal(err) || !errors.Is(ctx.Err(), context.DeadlineExceeded) || took > 5*time.Second {
				t.Errorf("%s: want it to give up hopefully in 5 s, got %v after %s", effect, err, took)
			}
		}
	})
}
