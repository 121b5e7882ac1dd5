//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/test/servers"
)

// annotationAttempt is what a refused delete leaves on a tenant.
const annotationAttempt = "usage.crossplane.io/deletion-attempt-with-policy"

// testCleanup takes tenants away in every way that kubectl knows.
func testCleanup(t *testing.T, c *cluster, r *report) {
	acme := &tenant{cluster: c, name: "acme", project: 23, tier: "pro", version: "18"}
	acme.apply(t)
	acme.ready(t, patience)
	c.postgres.Exec(t, servers.PostgresOdoo, acme.database(), "CREATE TABLE customers AS SELECT n, 'row ' || n AS name FROM generate_series(1, 1000) n")
	before, err := acme.get()
	if err != nil {
		t.Fatal(err)
	}

	// Each has tenants of its own.
	t.Run("one after the other", func(t *testing.T) {
		t.Parallel()
		t.Run("a dry run changes nothing", func(t *testing.T) {
			out, err := acme.delete("--dry-run=server")
			if err == nil || !strings.Contains(out, "leave --dry-run out") {
				t.Errorf("want it refused, got %v\n%s", err, out)
			}
			acme.untouched(t)
		})

		t.Run("protected", func(t *testing.T) {
			c.kubectl(t, "patch", "planaclient", "acme", "--type=merge", "-p", `{"spec":{"deletionProtection":true}}`)
			out, err := acme.delete()
			if err == nil || !strings.Contains(out, "protected from deletion") {
				t.Errorf("want it refused, got %v\n%s", err, out)
			}
			acme.untouched(t)
			c.kubectl(t, "patch", "planaclient", "acme", "--type=merge", "-p", `{"spec":{"deletionProtection":false}}`)
		})

		t.Run("cancelled", func(t *testing.T) {
			out, err := acme.delete()
			if err == nil || !strings.Contains(out, "Cancel it: kubectl annotate planaclient acme "+annotationAttempt+"-") {
				t.Fatalf("want it refused and told how to cancel it, got %v\n%s", err, out)
			}
			acme.condition(t, time.Minute, "Deprovisioned", "False", "GracePeriod")
			acme.ready(t, time.Second)
			c.kubectl(t, "annotate", "planaclient", "acme", annotationAttempt+"-")
			acme.eventually(t, time.Minute, "the deletion is forgotten", func(client *v1alpha1.PLANAClient) error {
				if client.Status.Deletion != nil {
					return fmt.Errorf("it is at %s", client.Status.Deletion.Step)
				}
				return nil
			})
			time.Sleep(12 * time.Second)
			acme.untouched(t)
			acme.inService(t)
		})

		t.Run("deleted", func(t *testing.T) {
			line := acme.timeline(t)
			began := time.Now()
			out, err := acme.delete()
			if err == nil || !strings.Contains(out, "tenant acme is deleted in order, after a last backup, and this has begun") {
				t.Fatalf("want it refused and told that it has begun, got %v\n%s", err, out)
			}
			acme.gone(t, patience)
			line.stop()
			r.note("from the delete of acme until it was gone, with 10 s of grace: %s, by %s",
				time.Since(began).Round(100*time.Millisecond), strings.Join(line.teardown(), ", "))
			want := []string{"grace", "withdraw", "disown", "fence", "open", "final-backup", "close", "drain", "drop", "wipe", "tombstone", "retire", "account", "announce", "gone"}
			if !inOrder(line.teardown(), want) {
				t.Errorf("steps: want an order of %v, got %v", want, line.teardown())
			}
			acme.leftNothing(t)
			if diff := cmp.Diff([]string{"client.provisioned", "client.deprovisioned"}, acme.events(t)); diff != "" {
				t.Errorf("events: -want, +got:\n%s", diff)
			}
			if diff := cmp.Diff([]string{"tenant.provisioned", "tenant.deprovisioned"}, c.portal.about("acme")); diff != "" {
				t.Errorf("webhooks: -want, +got:\n%s", diff)
			}
		})

		t.Run("restored", func(t *testing.T) {
			acme.restore(t, "acme-restored."+domain)
			if got := query[int64](t, c, "acme-restored."+domain, "SELECT count(*) FROM customers"); got != 1000 {
				t.Errorf("want 1000 rows, got %d", got)
			}
		})

		t.Run("again", func(t *testing.T) {
			acme.apply(t)
			acme.ready(t, patience)
			after, err := acme.get()
			if err != nil || after.GetUID() == before.GetUID() {
				t.Fatalf("want another tenant of that name: %v", err)
			}
			if got := query[bool](t, c, acme.database(), "SELECT to_regclass('customers') IS NULL"); !got {
				t.Error("the new tenant has the old one's rows")
			}
			acme.condition(t, patience, "MatrixRoomReady", "True", "")
			if acme.room(t) == "" {
				t.Error("the new tenant has no room")
			}
		})
	})

	t.Run("foreground", func(t *testing.T) {
		t.Parallel()
		x := &tenant{cluster: c, name: "foreground", project: 31, tier: "starter", version: "18"}
		x.apply(t)
		x.ready(t, patience)
		if out, err := x.delete("--cascade=foreground"); err == nil {
			t.Fatalf("want it refused, got %s", out)
		}
		x.gone(t, patience)
		x.leftNothing(t)
	})

	// Several at once: what Crossplane applies while the garbage collector lets go of
	// it would be collected with the tenant, once in a while.
	t.Run("orphan", func(t *testing.T) {
		t.Parallel()
		var all []*tenant
		for n := range 4 {
			all = append(all, &tenant{cluster: c, name: fmt.Sprintf("orphan-%d", n), project: 32 + n, tier: "starter", version: "18"})
		}
		for _, x := range all {
			x.apply(t)
		}
		for _, x := range all {
			x.ready(t, patience)
		}
		for _, x := range all {
			if out, err := x.delete("--cascade=orphan"); err == nil {
				t.Fatalf("want it refused, got %s", out)
			}
		}
		for _, x := range all {
			x.gone(t, patience)
		}
		time.Sleep(5 * time.Second)
		for _, x := range all {
			if got := c.owner(t, x.database()); got != "odoo" {
				t.Errorf("the database of %s must stay Odoo's, its owner is %q", x, got)
			}
			if got, err := x.visit("/web/login"); err != nil || got.status != 200 {
				t.Errorf("%s must still be served: %v %v", x, got, err)
			}
			c.kubectl(t, "-n", namespaceBackup, "get", "cronjob", "backup-"+x.name)
			c.kubectl(t, "-n", namespaceCrossplane, "get", "databases.postgresql.sql.m.crossplane.io", x.name)
		}
	})
}

// untouched checks that no delete is recorded and nothing is missing.
func (x *tenant) untouched(t testing.TB) {
	t.Helper()
	client, err := x.get()
	if err != nil || client == nil {
		t.Fatalf("%s is gone: %v", x.name, err)
	}
	if client.GetAnnotations()[annotationAttempt] != "" || client.Status.Deletion != nil {
		t.Errorf("%s: a deletion is recorded: %v %v", x.name, client.GetAnnotations(), client.Status.Deletion)
	}
	x.ready(t, time.Second)
}

// leftNothing checks that of the tenant nothing is left but its backups.
func (x *tenant) leftNothing(t testing.TB) {
	t.Helper()
	c := x.cluster
	if got := c.owner(t, x.database()); got != "" {
		t.Errorf("database %s is still there, and %s's", x.database(), got)
	}
	if exists(x.files()) {
		t.Errorf("folder %s is still there", x.files())
	}
	if room := x.room(t); room != "" {
		t.Errorf("the support room still has its alias: %s", room)
	}
	eventually(t, time.Minute, "no object is left", func() error {
		out := c.kubectl(t, "get", "httproutes,cronjobs,jobs,databases.postgresql.sql.m.crossplane.io,clusterusages.protection.crossplane.io", "-A", "-l", "planapulse.com/tenant="+x.name, "-o", "name")
		if strings.TrimSpace(out) != "" {
			return errors.New(out)
		}
		return nil
	})
	if size := c.s3.Size(t, fmt.Sprintf("%s-%d", x.name, x.project)); size == 0 {
		t.Errorf("there is no backup of %s", x.name)
	}
}

// restore the tenant's latest backup under another name.
func (x *tenant) restore(t testing.TB, as string) {
	t.Helper()
	c := x.cluster
	cmd := exec.Command(c.function, "effect", "restore")
	cmd.Env = append(os.Environ(),
		"RESTORE_AS="+as, fmt.Sprintf("RESTORE_COPY=%t", as != x.database()), "FILESTORE_ROOT="+c.exports+"/odoo-"+x.version, "RESTIC_PASSWORD="+c.resticPassword, "AWS_DEFAULT_REGION=us-east-1",
		"RESTIC_REPOSITORY="+c.s3.Repository(fmt.Sprintf("%s-%d", x.name, x.project)), "PATH="+postgresBin()+":"+os.Getenv("PATH"))
	roles := map[string]string{
		"ODOO_ROLE": servers.PostgresOdoo, "ODOO_PASSWORD": c.postgres.Password,
		"RESTORE_ROLE": servers.PostgresRestore,
	}
	for _, environ := range []map[string]string{c.postgres.Environ(servers.PostgresAdmin), roles, c.s3.Environ()} {
		for k, v := range environ {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot restore %s: %v\n%s", x.name, err, out)
	}
}

// inOrder tells whether all that was seen is wanted, in the wanted order. A step
// that took no time is not seen.
func inOrder(seen, want []string) bool {
	last := -1
	for _, s := range seen {
		i := slices.Index(want, s)
		if i <= last {
			return false
		}
		last = i
	}
	return len(seen) > 0
}
