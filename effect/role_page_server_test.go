//go:build servers

package effect

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// TestRolePerVersionPage types what the page says to a database full of what a role can
// own: all of it is handed over, and nothing of another version's database.
func TestRolePerVersionPage(t *testing.T) {
	v := newVault(t)
	v.addDatabase(t, neighbour)
	v.pg.Exec(t, servers.PostgresOdoo, acme.Database,
		"CREATE SCHEMA reporting", "CREATE FUNCTION reporting.f(integer, text) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
		"CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'", "CREATE TYPE mood AS ENUM ('sad')", "CREATE DOMAIN short AS text CHECK (length(VALUE) < 9)",
		"CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM res_users", `CREATE TABLE reporting."Odd Name" (id int GENERATED ALWAYS AS IDENTITY, m mood)`,
		"CREATE TABLE parts (n int) PARTITION BY RANGE (n)", "CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (1) TO (2)")
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(read(t, "docs", "how-to", "role-per-version.md")), -1)
	if len(blocks) != 3 {
		t.Fatalf("the page has %d blocks of SQL, and this test knows 3", len(blocks))
	}
	for _, block := range blocks {
		psql := exec.CommandContext(t.Context(), v.pg.Program(t, "psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1", v.pg.URL(servers.PostgresSuperuser, maintenanceDatabase))
		psql.Stdin = strings.NewReader(strings.NewReplacer("   \\", "\\", "…", v.pg.Password).Replace(block[1]))
		if out, err := psql.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, block[1])
		}
	}

	if got := v.owner(t, acme.Database); got != "odoo_18" {
		t.Errorf("the database belongs to %s", got)
	}
	if got := v.owner(t, neighbour); got != servers.PostgresOdoo {
		t.Errorf("another version's database belongs to %s", got)
	}
	const left = `SELECT coalesce(string_agg(pg_describe_object(classid, objid, objsubid), ', '), '') FROM pg_shdepend
		WHERE refobjid = 'odoo'::regrole AND deptype = 'o' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())`
	if got := one[string](t, v.pg, acme.Database, left); got != "" {
		t.Errorf("the old role still owns %s", got)
	}

	// The new role serves it alone, and effects work as it.
	environ := v.environ(acme, v.pg.Environ("odoo_18"), map[string]string{"ODOO_ROLE": "odoo_18", "ODOO_MODULES": "base", "TENANT_ADOPTED": "true"})
	if log := mustRun(t, "tenant-prepare", environ); !strings.Contains(log, "adopted") {
		t.Errorf("it isn't the tenant's:\n%s", log)
	}
	if code, log := runChild(t, "tenant-prepare", v.environ(acme, v.pg.Environ(servers.PostgresOdoo), map[string]string{"ODOO_ROLE": servers.PostgresOdoo, "TENANT_ADOPTED": "true"})); code != ExitFailed || !strings.Contains(log, "belongs to role") {
		t.Errorf("the old role works in a database that isn't its own: %d\n%s", code, log)
	}
	mustRun(t, "backup", v.environ(acme))
	rows := content(t, v.pg, acme.Database)
	v.lose(t, acme.Database)
	mustRun(t, "restore", v.restores(acme.Database, map[string]string{"ODOO_ROLE": "odoo_18"}))
	if diff := cmp.Diff(rows, content(t, v.pg, acme.Database)); diff != "" {
		t.Errorf("the restored database: -want, +got:\n%s", diff)
	}
}
