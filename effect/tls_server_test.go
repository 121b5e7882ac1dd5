//go:build servers

package effect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// TestPostgresVerified has the database effects talk to a PostgreSQL that only an
// authority of the installation's own vouches for, as the install page has it done:
// with PGSSLMODE verify-full.
func TestPostgresVerified(t *testing.T) {
	s := servers.PostgresTLS(t)
	templateOf(t, s, acme.Version)
	clone(t, s)
	verified := postgresOf(s)
	verified.SSLMode, verified.RootCert = "verify-full", s.Authority

	cases := map[string]struct {
		reason string
		change func(*Postgres)
		says   string
	}{
		"OtherAuthority": {
			reason: "Whoever sits in between has a certificate too, of another authority.",
			change: func(p *Postgres) { p.RootCert = servers.Authority(t) },
			says:   "put the certificate of the authority that signed it into what the Platform's postgres.caSecret names",
		},
		"ImagesAuthorities": {
			reason: "The image knows no such authority.",
			change: func(p *Postgres) { p.RootCert = "" },
			says:   "name its certificate in the Platform's postgres.caSecret",
		},
		"OtherName": {
			reason: "The right authority vouches for this server under another name.",
			change: func(p *Postgres) { p.Host = "localhost" },
			says:   "reach the server by a name in it, or have it certified for localhost",
		},
		"NoCertificate": {
			reason: "A Secret with something else in it.",
			change: func(p *Postgres) { p.RootCert = os.Args[0] },
			says:   "there is no certificate in",
		},
		"Missing": {
			reason: "A Secret without the key.",
			change: func(p *Postgres) { p.RootCert = filepath.Join(t.TempDir(), "ca.crt") },
			says:   "does the object that the Platform's postgres.caSecret names have that key?",
		},
		"PlainText": {
			reason: "The server lets nobody in who doesn't encrypt.",
			change: func(p *Postgres) { p.SSLMode, p.RootCert = "disable", "" },
			says:   "no encryption",
		},
	}
	for name, tc := range cases {
		p := verified
		tc.change(&p)
		for effect, run := range databaseEffects(p) {
			t.Run(name+"/"+effect, func(t *testing.T) {
				err := run(t.Context())
				if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s\nwant hope and %q; got terminal %t: %v", tc.reason, tc.says, IsTerminal(err), err)
				}
			})
		}
	}

	t.Run("VerifyCA", func(t *testing.T) {
		p := verified
		p.SSLMode, p.Host = "verify-ca", "localhost"
		if conn, err := p.connect(t.Context(), acme.Database); err != nil {
			t.Errorf("verify-ca asks for the authority only: %v", err)
		} else {
			disconnect(t.Context(), conn)
		}
		p.RootCert = servers.Authority(t)
		if _, err := p.connect(t.Context(), acme.Database); err == nil || !strings.Contains(err.Error(), "postgres.caSecret") {
			t.Errorf("verify-ca asks for the right one: %v", err)
		}
	})

	for _, effect := range []string{"module-grant", "tenant-prepare"} {
		if err := databaseEffects(verified)[effect](t.Context()); err != nil {
			t.Errorf("%s, with the server's authority: %v", effect, err)
		}
	}
}

// TestBackupVerified backs a tenant up from such a PostgreSQL into such an object
// storage: libpq, restic and this program's own clients are all told whom to trust.
func TestBackupVerified(t *testing.T) {
	v := &vault{pg: servers.PostgresTLS(t), s3: servers.S3TLS(t), root: t.TempDir()}
	v.addDatabase(t, acme.Database)
	v.addFiles(t, acme.Database, 3)

	other := servers.Authority(t)
	cases := map[string]struct {
		reason string
		more   map[string]string
		says   string
	}{
		"OtherDatabaseAuthority": {
			reason: "Another database server's dump would be somebody else's.",
			more:   map[string]string{"PGSSLROOTCERT": other},
			says:   "postgres.caSecret",
		},
		"OtherStorageAuthority": {
			reason: "What answers in the object storage's place gets nothing.",
			more:   map[string]string{"RESTIC_CACERT": other},
			says:   "put the certificate of the authority that signed it into what the Platform's backup.caSecret names",
		},
		"OtherStorageName": {
			reason: "The right authority, and another name.",
			more: map[string]string{
				"RESTIC_REPOSITORY": strings.Replace(v.s3.Repository("acme-023"), "127.0.0.1", "localhost", 1),
			},
			says: "have it certified for localhost",
		},
		"OtherDatabaseName": {
			reason: "The right authority, and another name.",
			more:   map[string]string{"PGHOST": "localhost"},
			says:   "have it certified for localhost",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if code, log := runChild(t, "backup", v.environ(acme, tc.more)); code != ExitFailed || !strings.Contains(log, tc.says) {
				t.Errorf("%s\nwant exit code %d and %q, got %d:\n%s", tc.reason, ExitFailed, tc.says, code, log)
			}
		})
	}
	if code, log := runChild(t, "backup", v.environ(acme, nil)); code != ExitDone {
		t.Fatalf("exit code %d:\n%s", code, log)
	}

	// What this program starts verifies by itself, too.
	for name, p := range map[string]Postgres{
		"authority": {Host: v.pg.Host, Port: v.pg.Port, User: servers.PostgresAdmin, Password: v.pg.Password, SSLMode: "verify-full", RootCert: other},
		"name":      {Host: "localhost", Port: v.pg.Port, User: servers.PostgresAdmin, Password: v.pg.Password, SSLMode: "verify-full", RootCert: v.pg.Authority},
	} {
		err := p.pgProgram("pg_dump", acme.Database, "--schema-only").run(t.Context())
		if err == nil || !says(err, "certificate") {
			t.Errorf("pg_dump must mind another %s, got %v", name, err)
		}
	}
}
