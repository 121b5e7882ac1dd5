//go:build servers

package effect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// emptyDatabase makes the tenant's database anew where there is no template, as
// provider-sql does: owned by the admin.
func emptyDatabase(t testing.TB, s *servers.PostgresServer) {
	t.Helper()
	s.Exec(t, servers.PostgresSuperuser, "postgres", "DROP DATABASE IF EXISTS "+quote(acme.Database)+" WITH (FORCE)")
	s.Exec(t, servers.PostgresAdmin, "postgres", "CREATE DATABASE "+quote(acme.Database))
}

func grantConfig(s *servers.PostgresServer) ModuleGrantConfig {
	return ModuleGrantConfig{Tenant: acme, Postgres: odooOf(s), Release: release, Modules: Modules{Modules: []string{"base"}}}
}

// TestModuleGrantScheme follows a database from its creation to its end: looked at,
// installed into, published and dropped.
func TestModuleGrantScheme(t *testing.T) {
	s := servers.Postgres(t)
	emptyDatabase(t, s)
	for _, run := range []string{"first run", "second run"} {
		if err := ModuleGrant(t.Context(), grantConfig(s)); err != nil {
			t.Fatalf("%s: %v", run, err)
		}
	}
	if got := one[string](t, s, acme.Database, "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()"); got != servers.PostgresAdmin {
		t.Errorf("the database belongs to %s already: workers would list it", got)
	}

	installer := s.Connect(t, servers.PostgresOdoo, acme.Database)
	for _, sql := range []string{
		"CREATE EXTENSION IF NOT EXISTS unaccent",
		"CREATE TABLE ir_module_module (id serial PRIMARY KEY, name varchar, state varchar)",
		"CREATE INDEX ON ir_module_module USING gin (name gin_trgm_ops)",
		"CREATE VIEW installed AS SELECT name FROM ir_module_module WHERE state = 'installed'",
		"CREATE FUNCTION plus_one(i integer) RETURNS integer LANGUAGE sql AS 'SELECT i + 1'",
		"CREATE SEQUENCE ir_sequence_001",
		"CREATE TEMPORARY TABLE scratch (id integer)",
		"INSERT INTO ir_module_module (name, state) VALUES ('base', 'installed')",
	} {
		if _, err := installer.Exec(t.Context(), sql); err != nil {
			t.Errorf("Odoo's installer cannot: %s: %v", sql, err)
		}
	}
	notOdoos := one[int64](t, s, acme.Database, `
		SELECT count(*) FROM (
			SELECT relowner AS owner FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT IN (SELECT indexrelid::regclass::text FROM pg_index)
			UNION ALL SELECT proowner FROM pg_proc WHERE proname = 'plus_one'
		) AS o WHERE owner <> 'odoo'::regrole`)
	if notOdoos != 0 {
		t.Errorf("%d objects don't belong to Odoo's role", notOdoos)
	}
	if err := ModuleVerify(t.Context(), ModuleVerifyConfig{Tenant: acme, Postgres: odooOf(s), Release: release, Modules: Modules{Modules: []string{"base"}}}); err != nil {
		t.Error(err)
	}
	_ = installer.Close(t.Context())

	// Published: provider-sql changes the owner, and Odoo logs in as itself.
	s.Exec(t, servers.PostgresAdmin, "postgres", fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", quote(acme.Database), servers.PostgresOdoo))
	s.Exec(t, servers.PostgresOdoo, acme.Database,
		"ALTER TABLE ir_module_module ADD COLUMN latest_version varchar",
		"UPDATE ir_module_module SET latest_version = '18.0.1.3'",
		"CREATE TABLE sale_order (id serial)",
		"CREATE EXTENSION citext",
		"CREATE SCHEMA reporting",
		"DROP VIEW installed",
		"ALTER SCHEMA reporting RENAME TO reports",
		"DROP TABLE sale_order, ir_module_module",
		"VACUUM",
	)
	// And looking once more does no harm.
	if err := ModuleGrant(t.Context(), grantConfig(s)); err != nil {
		t.Errorf("after the tenant was published: %v", err)
	}
	// In the end the admin closes the database, drains and drops it.
	shut(t, s)
	if err := ConnectionsDrain(t.Context(), drainConfig(s)); err != nil {
		t.Error(err)
	}
	s.Exec(t, servers.PostgresAdmin, "postgres", "DROP DATABASE "+quote(acme.Database))
}

func TestModuleGrantFails(t *testing.T) {
	s := servers.Postgres(t)
	// As on a server whose template1 nobody has prepared.
	s.Exec(t, servers.PostgresSuperuser, "template1", "REVOKE CREATE ON SCHEMA public FROM odoo")
	cases := map[string]struct {
		reason   string
		sql      string
		want     string
		terminal bool
	}{
		"OtherTenant": {
			reason:   "Nobody is let into another tenant's database.",
			sql:      "GRANT CREATE ON SCHEMA public TO odoo; SET ROLE odoo; CREATE TABLE ir_config_parameter (key varchar, value text); INSERT INTO ir_config_parameter VALUES ('planaclient.tenant', 'beta/1234')",
			want:     `it belongs to tenant "beta/1234"`,
			terminal: true,
		},
		"NotGranted": {
			reason: "The page on installing says what template1 needs, and so does the error.",
			sql:    "SELECT",
			want:   `in this database and, for those to come, in template1, GRANT USAGE, CREATE ON SCHEMA public TO "odoo"`,
		},
		"SchemaOfAnother": {
			reason: "The schema may be somebody else's in a server that was upgraded.",
			sql:    "ALTER SCHEMA public OWNER TO postgres",
			want:   `"odoo" may not create tables in schema public`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			emptyDatabase(t, s)
			s.Exec(t, servers.PostgresSuperuser, acme.Database, tc.sql)
			err := ModuleGrant(t.Context(), grantConfig(s))
			if err == nil || IsTerminal(err) != tc.terminal || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nwant terminal %t: %s\ngot  terminal %t: %v", tc.reason, tc.terminal, tc.want, IsTerminal(err), err)
			}
		})
	}
}

func TestModuleGrantTwiceAtOnce(t *testing.T) {
	s := servers.Postgres(t)
	for range 5 {
		emptyDatabase(t, s)
		atOnce(t, 4, func() error { return ModuleGrant(t.Context(), grantConfig(s)) })
	}
}

func TestModuleGrantKilled(t *testing.T) {
	s := servers.Postgres(t)
	Kills{
		Effect: "module-grant",
		Environ: func(int) map[string]string {
			return acme.environ(s.Environ(servers.PostgresOdoo), map[string]string{"ODOO_MODULES": "base,web"})
		},
		Before: func(t *testing.T, _ int) { emptyDatabase(t, s) },
		After: func(t *testing.T, _ int) {
			if !one[bool](t, s, acme.Database, `SELECT has_database_privilege('odoo', current_database(), 'CONNECT, TEMPORARY')
				AND has_schema_privilege('odoo', 'public', 'CREATE') AND EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')`) {
				t.Error("Odoo's role can't do what it needs to")
			}
		},
	}.survive(t)
}

func TestModuleVerify(t *testing.T) {
	s := servers.Postgres(t)
	templateOf(t, s, acme.Version)
	clone(t, s)
	before := readRows(t, s, acme.Database)
	cases := map[string]struct {
		reason   string
		modules  string
		want     string
		terminal bool
	}{
		"Installed": {
			reason:  "What is installed is all that counts, however often it was asked for.",
			modules: "sale,base,web,sale",
		},
		"Pending": {
			reason:  "What Odoo was killed over it installs at the next attempt.",
			modules: "base,crm,website",
			want:    `2 modules of database "acme.planapulse.app" are not installed: crm (to install), website (uninstalled)`,
		},
		"Unknown": {
			reason:   "Odoo says nothing about a module that it doesn't have, and never will have.",
			modules:  "base,subscription_oca,crm",
			want:     "are not installed: crm (to install), subscription_oca (not among the addons of this Odoo)",
			terminal: true,
		},
		"Uninstallable": {
			reason:   "No attempt installs what can't be installed.",
			modules:  "account_accountant",
			want:     "account_accountant (uninstallable with this Odoo)",
			terminal: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			config := ModuleVerifyConfig{Tenant: acme, Postgres: odooOf(s), Release: release, Modules: Modules{Modules: strings.Split(tc.modules, ",")}}
			atOnce(t, 2, func() error {
				err := ModuleVerify(t.Context(), config)
				if (err == nil) != (tc.want == "") || IsTerminal(err) != tc.terminal || err != nil && !strings.Contains(err.Error(), tc.want) {
					return fmt.Errorf("%s\nwant terminal %t: %s\ngot  terminal %t: %w", tc.reason, tc.terminal, tc.want, IsTerminal(err), err)
				}
				return nil
			})
		})
	}
	if diff := changes(before, readRows(t, s, acme.Database)); len(diff) > 0 {
		t.Errorf("a look has changed something: %s", diff)
	}

	t.Run("NeverInitialised", func(t *testing.T) {
		emptyDatabase(t, s)
		err := ModuleVerify(t.Context(), ModuleVerifyConfig{Tenant: acme, Postgres: odooOf(s), Release: release, Modules: Modules{Modules: []string{"base"}}})
		if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), "Odoo has never initialised it") {
			t.Errorf("an installer that did nothing can do it at the next attempt: %v", err)
		}
	})
	t.Run("NoDatabase", func(t *testing.T) {
		s.Exec(t, servers.PostgresSuperuser, "postgres", "DROP DATABASE "+quote(acme.Database)+" WITH (FORCE)")
		err := ModuleVerify(t.Context(), ModuleVerifyConfig{Tenant: acme, Postgres: odooOf(s), Release: release, Modules: Modules{Modules: []string{"base"}}})
		if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("a database that isn't there yet can come: %v", err)
		}
	})
}
