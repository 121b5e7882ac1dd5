//go:build servers

package effect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// takeOver is a function that a tenant puts where others' statements run it. It
// does whatever its caller may: first as the role that logged in, whatever that
// acts as. What it got to is written down in the tenant's own table.
const takeOver = `
	CREATE TABLE public.met (who text);
	GRANT ALL ON public.met TO PUBLIC;
	CREATE FUNCTION public.take_over() RETURNS boolean LANGUAGE plpgsql AS $body$
	BEGIN
		BEGIN PERFORM set_config('role', 'none', true); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN INSERT INTO public.met VALUES (current_user); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN
			IF current_user <> 'odoo' THEN
				EXECUTE format('ALTER ROLE %I PASSWORD %L', current_user, 'taken over');
			END IF;
		EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'ALTER DATABASE "neighbour.planapulse.app" CONNECTION LIMIT 7'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'GRANT plana_backup TO odoo'; EXCEPTION WHEN OTHERS THEN NULL; END;
		RETURN true;
	END $body$;`

// roles is what no tenant may change: passwords, attributes and memberships of all
// roles, and whose each database is and with which settings.
func rolesOf(t testing.TB, s *servers.PostgresServer) []string {
	t.Helper()
	conn := s.Connect(t, servers.PostgresSuperuser, maintenanceDatabase)
	rows, err := conn.Query(t.Context(), `
		SELECT to_jsonb(a)::text FROM pg_authid a
		UNION ALL SELECT roleid::regrole || ' has ' || member::regrole FROM pg_auth_members
		UNION ALL SELECT datname || ' ' || datdba::regrole || ' ' || datconnlimit || ' ' || datallowconn FROM pg_database WHERE datname NOT LIKE 'acme%'
		UNION ALL SELECT to_jsonb(r)::text FROM pg_db_role_setting r WHERE setrole <> 0
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestTakeOver has every effect that meets a tenant's database meet one whose owner
// has put code of their own in its way. Neither role nor neighbour changes, and the
// code meets nobody who may do more than the tenant.
func TestTakeOver(t *testing.T) {
	cases := map[string]struct {
		reason string
		sql    string
	}{
		"View": {
			reason: "A view that has a table's name runs its functions as whoever asks.",
			sql: `ALTER TABLE public.ir_attachment RENAME TO attachments;
				CREATE VIEW public.ir_attachment AS SELECT * FROM public.attachments WHERE public.take_over()`,
		},
		"Trigger": {
			reason: "A trigger runs as whoever writes.",
			sql: `CREATE FUNCTION public.on_write() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.take_over(); RETURN NEW; END';
				CREATE TRIGGER take_over BEFORE INSERT OR UPDATE ON public.ir_config_parameter FOR EACH ROW EXECUTE FUNCTION public.on_write()`,
		},
		"Check": {
			reason: "A CHECK runs as whoever loads a row, out of a dump too.",
			sql:    `ALTER TABLE public.res_users ADD CONSTRAINT take_over CHECK (public.take_over())`,
		},
		"Index": {
			reason: "An index is built by whoever loads a dump.",
			sql: `CREATE FUNCTION public.indexed(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN public.take_over(); END';
				CREATE INDEX take_over ON public.res_users (public.indexed(login))`,
		},
		"Policy": {
			reason: "A policy runs as whoever reads, and FORCE has no owner spared.",
			sql: `CREATE POLICY take_over ON public.res_users USING (public.take_over());
				ALTER TABLE public.res_users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`,
		},
		"Settings": {
			reason: "What an owner sets on a database is set for all who connect.",
			sql: `CREATE FUNCTION public.count(anyelement) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN PERFORM public.take_over(); RETURN 1; END';
				ALTER DATABASE "acme.planapulse.app" SET search_path = public, pg_catalog;
				ALTER DATABASE "acme.planapulse.app" SET statement_timeout = 1;
				ALTER DATABASE "acme.planapulse.app" SET default_transaction_read_only = on;
				ALTER DATABASE "acme.planapulse.app" SET role = 'pg_read_all_data'`,
		},
		"Lock": {
			reason: "An advisory lock in a tenant's database can be held for ever.",
			sql:    `SELECT`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVault(t)
			v.pg.Exec(t, servers.PostgresAdmin, maintenanceDatabase, fmt.Sprintf("CREATE DATABASE %s OWNER %s", quote(neighbour), servers.PostgresOdoo))
			v.pg.Exec(t, servers.PostgresOdoo, acme.Database, takeOver, tc.sql, "TRUNCATE public.met")
			if name == "Lock" {
				held := v.pg.Connect(t, servers.PostgresOdoo, acme.Database)
				for _, n := range []int64{0x6261636b7570, lockOf("backup " + acme.Database), loadingLock} {
					if _, err := held.Exec(t.Context(), "SELECT pg_advisory_lock($1)", n); err != nil {
						t.Fatal(err)
					}
				}
			}
			before := rolesOf(t, v.pg)

			mustRun(t, "backup", v.environ(acme))
			for _, effect := range []string{"module-grant", "module-verify", "tenant-prepare"} {
				// Whether it does what it should isn't the point here.
				_, log := runChild(t, effect, v.environ(acme, v.pg.Environ(servers.PostgresOdoo), map[string]string{"ODOO_MODULES": "base", "ODOO_ROLE": servers.PostgresOdoo}))
				noSecrets(t, log, v.environ(acme))
			}
			v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, "ALTER DATABASE "+quote(acme.Database)+" RESET ALL")
			met(t, v.pg, tc.reason, acme.Database, servers.PostgresOdoo)
			const copied = "acme-copy.planapulse.app"
			mustRun(t, "restore", v.restores(copied, map[string]string{"RESTORE_COPY": "true"}))
			met(t, v.pg, tc.reason, copied, servers.PostgresOdoo, servers.PostgresRestore)

			if diff := cmp.Diff(before, rolesOf(t, v.pg)); diff != "" {
				t.Errorf("%s\nroles and databases: -before, +after:\n%s", tc.reason, diff)
			}
		})
	}
}

// met fails the test if a tenant's code has met another role than these.
func met(t testing.TB, s *servers.PostgresServer, reason, database string, roles ...string) {
	t.Helper()
	if others := one[string](t, s, database, "SELECT coalesce(string_agg(DISTINCT who, ' '), '') FROM public.met WHERE who <> ALL($1)", roles); others != "" {
		t.Errorf("%s\nthe tenant's code in %s ran as %s", reason, database, others)
	}
}

// TestPowerfulRoles are refused where they would meet what a tenant has made.
func TestPowerfulRoles(t *testing.T) {
	v := newVault(t)
	if code, log := runChild(t, "backup", v.environ(acme, v.pg.Environ(servers.PostgresAdmin))); code != ExitFailed || !strings.Contains(log, "must be a role that may read and nothing else") {
		t.Errorf("the role that creates databases dumps one: %d\n%s", code, log)
	}
	mustRun(t, "backup", v.environ(acme))
	v.lose(t, acme.Database)
	v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, "CREATE ROLE other", "GRANT other TO plana_restore")
	code, log := runChild(t, "restore", v.restores(acme.Database, nil))
	if code != ExitFailed || !strings.Contains(log, `REVOKE \"other\" FROM \"plana_restore\"`) {
		t.Errorf("a dump is loaded by a role that can do what another can: %d\n%s", code, log)
	}
	v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, "REVOKE other FROM plana_restore")
	mustRun(t, "restore", v.restores(acme.Database, nil))
}
