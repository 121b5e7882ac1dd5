//go:build servers

package effect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// known is a password that a hostile tenant has chosen.
const known = "known to the tenant"

// logsIn tells whether the role that loads dumps gets in with the tenant's password.
func logsIn(t testing.TB, s *servers.PostgresServer, database string) (*pgx.Conn, bool) {
	t.Helper()
	p := postgresOf(s).as(servers.PostgresRestore, known)
	conn, err := p.connect(t.Context(), database)
	if err != nil {
		return nil, false
	}
	t.Cleanup(func() { disconnect(context.Background(), conn) })
	return conn, true
}

// locksOut is a CHECK that runs as whoever loads the dump, and keeps for the tenant
// what it can of that role.
const locksOut = `
	CREATE FUNCTION public.locks_out() RETURNS boolean LANGUAGE plpgsql AS $body$
	BEGIN
		IF session_user <> 'odoo' THEN
			EXECUTE format('ALTER ROLE %I PASSWORD ' || quote_literal('` + known + `'), session_user);
			EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = on', session_user);
			EXECUTE format('ALTER ROLE %I IN DATABASE postgres SET statement_timeout = 1', session_user);
		END IF;
		RETURN true;
	END $body$;
	ALTER TABLE public.res_users ADD CONSTRAINT locks_out CHECK (public.locks_out())`

// TestLoadingRole has code in a dump keep the role that loads it, which it can as
// long as it is loaded. Nothing of that is left, and the next restore of another
// tenant finds the role as it should be.
func TestLoadingRole(t *testing.T) {
	v := newVault(t)
	v.pg.Exec(t, servers.PostgresOdoo, acme.Database, locksOut)
	mustRun(t, "backup", v.environ(acme))
	before := rolesOf(t, v.pg)
	mustRun(t, "restore", v.restores("acme-copy.planapulse.app", map[string]string{"RESTORE_COPY": "true"}))
	if one[int64](t, v.pg, "acme-copy.planapulse.app", "SELECT count(*) FROM pg_constraint WHERE conname = 'locks_out'") != 1 {
		t.Error("the code wasn't in the dump")
	}
	if diff := cmp.Diff(before, rolesOf(t, v.pg)); diff != "" {
		t.Errorf("roles: -before, +after:\n%s", diff)
	}
	if _, in := logsIn(t, v.pg, maintenanceDatabase); in {
		t.Error("the tenant can log in as the role that loads dumps")
	}
}

// TestLoadingRoleAfterFailure has code in a dump fail the restore, after it has kept what
// it can of the role: none of it is left either.
func TestLoadingRoleAfterFailure(t *testing.T) {
	v := newVault(t)
	// An index is built once the rows are there, and what they ran is committed.
	v.pg.Exec(t, servers.PostgresOdoo, acme.Database, locksOut, `
		CREATE FUNCTION public.fails(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $body$
		BEGIN
			IF session_user <> 'odoo' THEN
				RAISE 'the tenant says no';
			END IF;
			RETURN $1;
		END $body$;
		CREATE INDEX ON public.res_users (public.fails(login))`)
	mustRun(t, "backup", v.environ(acme))
	before := rolesOf(t, v.pg)
	code, log := runChild(t, "restore", v.restores("acme-copy.planapulse.app", map[string]string{"RESTORE_COPY": "true"}))
	if code != ExitFailed || !strings.Contains(log, "the tenant says no") {
		t.Errorf("exit code %d, want %d and the tenant's own error:\n%s", code, ExitFailed, log)
	}
	after := slices.DeleteFunc(rolesOf(t, v.pg), func(line string) bool { return strings.HasPrefix(line, "unfinished-restore-") })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("roles: -before, +after:\n%s", diff)
	}
	if _, in := logsIn(t, v.pg, maintenanceDatabase); in {
		t.Error("the tenant can log in as the role that loads dumps")
	}
}

// TestLoadingRoleOccupied restores while a tenant that knows the role's password is
// logged in as it, as after a restore that was killed. It neither stays nor comes
// back, and so never sees the other tenant's database.
func TestLoadingRoleOccupied(t *testing.T) {
	v := newVault(t)
	mustRun(t, "backup", v.environ(acme))
	v.lose(t, acme.Database)
	// What a killed restore leaves at worst.
	v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase,
		fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", servers.PostgresRestore, known), "GRANT odoo TO "+servers.PostgresRestore,
		fmt.Sprintf("CREATE DATABASE \"unfinished-restore-of-another\" OWNER %s", servers.PostgresRestore))
	occupant, in := logsIn(t, v.pg, maintenanceDatabase)
	if !in {
		t.Fatal("the tenant can't log in to begin with")
	}
	work := (&restore{RestoreConfig: RestoreConfig{As: acme.Database}}).workName()

	done, seen := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(seen)
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			p := postgresOf(v.pg).as(servers.PostgresRestore, known)
			if conn, err := p.connect(context.Background(), work); err == nil {
				seen <- work
				disconnect(context.Background(), conn)
				return
			}
			_, _ = occupant.Exec(context.Background(), fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", servers.PostgresRestore, known))
		}
	}()
	mustRun(t, "restore", v.restores(acme.Database, nil))
	close(done)
	if name, got := <-seen; got {
		t.Errorf("the tenant has got into %s", name)
	}
	if occupant.Ping(t.Context()) == nil {
		t.Error("the tenant is still logged in as the role that loads dumps")
	}
	if got := one[string](t, v.pg, maintenanceDatabase, "SELECT coalesce(string_agg(roleid::regrole::text, ' '), '') FROM pg_auth_members WHERE member = 'plana_restore'::regrole"); got != "" {
		t.Errorf("the role that loads dumps is still a member of %s", got)
	}
	if got := v.owner(t, "unfinished-restore-of-another"); got != servers.PostgresAdmin {
		t.Errorf("what a killed restore left is %s's", got)
	}
}

// TestLoadingRoleOfNobodyElse has no tenant's SQL act as the role that loads dumps: as
// its member, Odoo's role could set its password at any time.
func TestLoadingRoleOfNobodyElse(t *testing.T) {
	v := newVault(t)
	mustRun(t, "backup", v.environ(acme))
	v.lose(t, acme.Database)
	tenants := v.pg.Connect(t, servers.PostgresOdoo, maintenanceDatabase)
	if _, err := tenants.Exec(t.Context(), "SET ROLE "+servers.PostgresRestore); err == nil {
		t.Error("Odoo's role can act as the one that loads dumps")
	}

	for _, tc := range []struct {
		reason    string
		do, undo  string
		wantError string
	}{
		{
			reason:    "The roles are still those of before.",
			do:        "GRANT plana_restore TO odoo",
			undo:      "REVOKE plana_restore FROM odoo",
			wantError: `role \"odoo\" is a member of RESTORE_ROLE, and could reach what is being restored: GRANT \"plana_restore\" TO \"plana\"; REVOKE \"plana_restore\" FROM \"odoo\"`,
		},
		{
			reason:    "The provisioning role isn't a member.",
			do:        "REVOKE plana_restore FROM plana",
			undo:      "GRANT plana_restore TO plana",
			wantError: `PGUSER must be a member of RESTORE_ROLE, GRANT \"plana_restore\" TO \"plana\"`,
		},
		{
			reason:    "Nobody can have Odoo's role take over what was loaded.",
			do:        "REVOKE ADMIN OPTION FOR odoo FROM plana",
			undo:      "GRANT odoo TO plana WITH ADMIN OPTION",
			wantError: `PGUSER must be able to have ODOO_ROLE take over what was loaded, GRANT \"odoo\" TO \"plana\" WITH ADMIN OPTION`,
		},
	} {
		v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, tc.do)
		code, log := runChild(t, "restore", v.restores(acme.Database, nil))
		if code != ExitFailed || !strings.Contains(log, tc.wantError) {
			t.Errorf("%s\nexit code %d, want %d and %s:\n%s", tc.reason, code, ExitFailed, tc.wantError, log)
		}
		v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, tc.undo)
	}
	mustRun(t, "restore", v.restores(acme.Database, nil))
}
