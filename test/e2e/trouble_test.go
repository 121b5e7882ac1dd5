//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/test/servers"
)

// testTrouble provokes every row of the runbook's troubleshooting and more, reads
// what the conditions say, does it as it is printed there, and sees the tenant
// become Ready.
func testTrouble(t *testing.T, c *cluster) {
	// A pod that doesn't start is a trouble only after two minutes, so this one is
	// looked at late. No other tenant here is of its version.
	umbrella := &tenant{cluster: c, name: "umbrella", project: 42, tier: "enterprise", version: "19"}
	c.kubectl(t, "-n", umbrella.namespace(), "delete", "secret", "odoo-postgres-creds")
	umbrella.apply(t)

	t.Run("provider-sql killed while it creates", func(t *testing.T) {
		x := &tenant{cluster: c, name: "hanso", project: 38, tier: "starter", version: "18"}
		x.cutOff(t, func() {
			if c.node.kill(ofProvider) == 0 {
				t.Fatal("there is no provider-sql to kill")
			}
		})
	})
	t.Run("connection lost while it creates", func(t *testing.T) {
		x := &tenant{cluster: c, name: "dharma", project: 39, tier: "starter", version: "18"}
		x.cutOff(t, c.lines.postgres.cut)
	})

	// A room is tried for a few minutes, so this one is looked at last.
	// What else comes meanwhile gets no room either, and is Ready without.
	cyberdyne := &tenant{cluster: c, name: "cyberdyne", project: 46, tier: "starter", version: "18"}
	rightToken := func() { c.secret(t, "matrix-support-bot", "access-token", c.bot.AccessToken) }
	defer rightToken()
	c.secret(t, "matrix-support-bot", "access-token", "wrong")
	cyberdyne.apply(t)

	t.Run("quota", func(t *testing.T) {
		x := &tenant{cluster: c, name: "wonka", project: 43, tier: "starter", version: "17"}
		x.quota(t, "100m")
		x.apply(t)
		x.condition(t, patience, "FilestoreReady", "False", "QuotaExceeded")
		if out := x.follow(t, "FilestoreReady", "See what is used"); !strings.Contains(out, "limits.cpu") || !strings.Contains(out, "100m") {
			t.Errorf("the quota isn't to be seen in:\n%s", out)
		}
		x.quota(t, "10")
		x.ready(t, patience)
	})

	t.Run("no worker", func(t *testing.T) {
		x := &tenant{cluster: c, name: "stark", project: 44, tier: "starter", version: "17"}
		c.workers["17"].setDown(true)
		defer c.workers["17"].setDown(false)
		x.apply(t)
		x.condition(t, patience, "RouteReady", "True", "")
		x.condition(t, patience, "SmokeTestPassed", "False", "")
		x.condition(t, patience, "Synced", "True", "")
		eventually(t, 5*time.Second, "/web/health is a 503", func() error {
			got, err := x.visit("/web/health")
			if err == nil && got.status != http.StatusServiceUnavailable {
				err = fmt.Errorf("got %+v", got)
			}
			return err
		})
		c.workers["17"].setDown(false)
		x.ready(t, patience)
	})

	t.Run("template not there", func(t *testing.T) {
		x := &tenant{cluster: c, name: "tyrell", project: 45, tier: "pro", version: "17"}
		c.kubectl(t, "apply", "-k", filepath.Join(c.root, "deploy", "templates", "pro-17"))
		x.apply(t)
		x.condition(t, patience, "DatabaseReady", "False", "TemplateNotReady", "pro-template-17")
		x.follow(t, "DatabaseReady", "Find out why")
		x.follow(t, "DatabaseReady", "To have modules installed instead, take the declaration away")
		x.ready(t, patience)
	})

	t.Run("template in use", func(t *testing.T) {
		x := &tenant{cluster: c, name: "nakatomi", project: 48, tier: "starter", version: "17"}
		template := "basic-template-17." + domain
		c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("ALTER DATABASE %q WITH ALLOW_CONNECTIONS true", template))
		visitor, err := pgx.Connect(t.Context(), c.postgres.URL(servers.PostgresOdoo, template))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = visitor.Close(context.Background()) })
		x.apply(t)
		x.condition(t, patience, "DatabaseReady", "False", "TemplateInUse")
		x.follow(t, "DatabaseReady", "Keep everybody out of it")
		if err := visitor.Close(t.Context()); err != nil {
			t.Error(err)
		}
		x.ready(t, patience)
	})

	t.Run("route not let in", func(t *testing.T) {
		x := &tenant{cluster: c, name: "oscorp", project: 49, tier: "starter", version: "17"}
		defer c.listen(t, "plana-odoo", "plana-odoo-18", "plana-odoo-19")
		c.listen(t, "plana-odoo-18", "plana-odoo-19")
		x.apply(t)
		x.condition(t, patience, "RouteReady", "False", "NotAllowedByListeners")
		// An editor that does what a person would.
		x.follow(t, "RouteReady", "Let them in", "KUBE_EDITOR=sed -i 's/^\\( *\\)- plana-odoo-18$/&\\n\\1- plana-odoo/'")
		x.ready(t, patience)
		x.served(t)
	})

	t.Run("no key for the portal", func(t *testing.T) {
		x := &tenant{cluster: c, name: "soylent", project: 47, tier: "starter", version: "18"}
		right := func() { c.secret(t, "account-webhook", "secret", c.portal.Secret) }
		defer right()
		c.secret(t, "account-webhook", "secret", "whsec_c2hvcnQ=")
		x.apply(t)
		x.condition(t, patience, "AccountNotified", "False", "PortalFailed", c.lines.portal.address())
		if out := x.follow(t, "AccountNotified", "Check that http://"+c.lines.portal.address()+portalPath+" answers, and read why"); !strings.Contains(out, "ACCOUNT_WEBHOOK_SECRET") {
			t.Errorf("the log doesn't say why:\n%s", out)
		}
		right()
		x.follow(t, "AccountNotified", "Then have it run again")
		x.ready(t, patience)
	})

	hooli := &tenant{cluster: c, name: "hooli", project: 41, tier: "starter", version: "18"}
	c.foreign(t, hooli.database())
	precious := c.dump(t, hooli.database())
	t.Run("name collision", func(t *testing.T) { testCollision(t, hooli, precious) })

	t.Run("no credentials in the namespace", func(t *testing.T) {
		umbrella.condition(t, patience, "Prepared", "False", "PodNotStarting")
		if out := umbrella.follow(t, "Prepared", "See which"); !strings.Contains(out, "odoo-postgres-creds") {
			t.Errorf("the Secret isn't named in:\n%s", out)
		}
		c.kubectl(t, "-n", umbrella.namespace(), "create", "secret", "generic", "odoo-postgres-creds", "--from-literal=username="+servers.PostgresOdoo, "--from-literal=password="+c.postgres.Password)
		umbrella.ready(t, patience)
	})

	t.Run("no room", func(t *testing.T) {
		x := cyberdyne
		x.ready(t, patience)
		x.condition(t, 2*patience, "MatrixRoomReady", "False", "MatrixFailed")
		if out := x.follow(t, "MatrixRoomReady", "Read why"); !strings.Contains(out, "M_UNKNOWN_TOKEN") {
			t.Errorf("the log doesn't say why:\n%s", out)
		}
		rightToken()
		x.follow(t, "MatrixRoomReady", "Then have it run again")
		x.condition(t, patience, "MatrixRoomReady", "True", "")
		if x.room(t) == "" {
			t.Error("there is no room")
		}
	})

	// From here on each has tenants of its own, and a room for each.
	t.Run("name collision, out of the way", func(t *testing.T) {
		t.Parallel()
		testOutOfTheWay(t, hooli, precious)
	})

	t.Run("objects in the way", func(t *testing.T) {
		t.Parallel()
		testObjectsInTheWay(t, &tenant{cluster: c, name: "archive", project: 36, tier: "starter", version: "18"})
	})

	t.Run("a bare database left behind", func(t *testing.T) {
		t.Parallel()
		x := &tenant{cluster: c, name: "virtucon", project: 37, tier: "starter", version: "18"}
		c.postgres.Exec(t, servers.PostgresAdmin, "postgres",
			fmt.Sprintf("CREATE DATABASE %q TEMPLATE %q CONNECTION LIMIT 1234567890", x.database(), "basic-template-18."+domain))
		x.apply(t)
		x.condition(t, patience, "DatabaseReady", "False", "BareDatabase")
		if owner := x.follow(t, "DatabaseReady", "See whose it is now"); !strings.Contains(owner, servers.PostgresAdmin) {
			t.Errorf("it is said to be %s", owner)
		}
		// Both are read before the first is done, after which there may be nothing to
		// advise.
		move := x.advice(t, "DatabaseReady", "If neither is so, and neither Odoo's role nor somebody else has it, it is most likely bare. Rename it, and drop it once nobody has missed it")
		look := x.advice(t, "DatabaseReady", "Then, or to have it read anew, delete its object")
		for _, command := range []string{move, look} {
			if out, err := c.shell(command); err != nil && !strings.Contains(out, "NotFound") {
				t.Fatalf("this is advised, but: %v\n%s\n%s", err, command, out)
			}
		}
		x.ready(t, patience)
		x.inService(t)
		x.ownSecret(t)
	})
}

// testCollision has a tenant meet a database of its name that is somebody else's, and
// deletes the tenant. Not one byte of that database may change, then or later.
func testCollision(t *testing.T, x *tenant, precious string) {
	c := x.cluster
	x.apply(t)
	x.condition(t, patience, "DatabaseReady", "False", "NameCollision")
	time.Sleep(10 * time.Second)
	if out := c.kubectl(t, "get", "jobs,cronjobs,httproutes", "-A", "-l", "planapulse.com/tenant=hooli", "-o", "name"); strings.TrimSpace(out) != "" {
		t.Errorf("nothing else may happen, but there is: %s", out)
	}
	// kubectl tells of the refusal with which an orderly deletion begins.
	out, err := c.shell(x.advice(t, "DatabaseReady", "If it belongs to somebody else") + " --wait=false")
	if err == nil || !strings.Contains(out, "this has begun") {
		t.Errorf("want the delete refused first, got %v\n%s", err, out)
	}
	x.gone(t, patience)
	if after := c.dump(t, x.database()); after != precious {
		t.Error("the foreign database has changed")
	}
}

// testObjectsInTheWay has a tenant meet a route and a CronJob that have its names and no
// controller. Crossplane would take them over; neither changes, nor goes with the tenant.
func testObjectsInTheWay(t *testing.T, x *tenant) {
	c := x.cluster
	objects := [][]string{
		{"-n", namespaceBackup, "cronjob", "backup-" + x.name},
		{"-n", "plana-odoo-18", "httproute", x.name},
	}
	c.apply(t, fmt.Sprintf(`
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup-%[1]s, namespace: %[2]s, labels: {app.kubernetes.io/managed-by: somebody}}
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: theirs, image: theirs}]}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s, namespace: plana-odoo-18}
spec: {hostnames: [theirs.example]}
`, x.name, namespaceBackup))
	look := func() string {
		all := ""
		for _, o := range objects {
			all += c.kubectl(t, append([]string{"get", "-o", "jsonpath={.metadata.uid} {.metadata.generation} {.metadata.labels} {.metadata.ownerReferences} {.spec}"}, o...)...) + "\n"
		}
		return all
	}
	theirs := look()

	x.apply(t)
	x.condition(t, patience, "BackupReady", "False", "NameCollision", "it has no controller, and managed by somebody")
	x.condition(t, patience, "RouteReady", "False", "NameCollision")
	if diff := cmp.Diff(theirs, look()); diff != "" {
		t.Errorf("what is in the way has changed: -before, +after:\n%s", diff)
	}
	if out, err := x.delete(); err == nil {
		t.Errorf("want the delete refused first, got %s", out)
	}
	x.gone(t, patience)
	if diff := cmp.Diff(theirs, look()); diff != "" {
		t.Errorf("what is in the way has changed with the end of the tenant: -before, +after:\n%s", diff)
	}
	for _, o := range objects {
		c.kubectl(t, append([]string{"delete"}, o...)...)
	}

	// Once nothing is in the way, a tenant of the name comes to be.
	x.apply(t)
	x.ready(t, patience)
	x.served(t)
}

// testOutOfTheWay has the tenant meet that database anew, which is then renamed.
func testOutOfTheWay(t *testing.T, x *tenant, precious string) {
	c := x.cluster
	x.apply(t)
	x.condition(t, patience, "DatabaseReady", "False", "NameCollision")
	// Read before it is renamed: provider-sql may look again by itself right then, and
	// the object that it looks by may be gone.
	advice := x.advice(t, "DatabaseReady", "If you drop or rename it instead")
	c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("ALTER DATABASE %q RENAME TO hooli_of_before", x.database()))
	if out, err := c.shell(advice); err != nil && !strings.Contains(out, "NotFound") {
		t.Fatalf("this is advised, but: %v\n%s\n%s", err, advice, out)
	}
	x.ready(t, patience)
	x.inService(t)
	if after := c.dump(t, "hooli_of_before"); after != precious {
		t.Error("the foreign database has changed")
	}
	// What the tenant got must be as any other tenant's: nothing of the stranger's.
	plain := &tenant{cluster: c, name: "plain", project: 40, tier: "starter", version: "18"}
	plain.apply(t)
	plain.ready(t, patience)
	const shape = "SELECT format('%s %s %s %s %s %s', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, dattablespace, datconnlimit >= 1000000000) FROM pg_database WHERE datname = $1"
	if got, want := query[string](t, c, "postgres", shape, x.database()), query[string](t, c, "postgres", shape, plain.database()); got != want {
		t.Errorf("the database is shaped %s, and any other's %s", got, want)
	}
}

// cutOff provider-sql from a database that it has asked for and that the server makes
// all the same. Nobody is told then what came of it, and yet it is the tenant's.
func (x *tenant) cutOff(t *testing.T, cut func()) {
	t.Helper()
	c := x.cluster
	// Whoever creates a database waits for this, and whoever looks at one doesn't.
	holder, err := pgx.Connect(t.Context(), c.postgres.URL(servers.PostgresSuperuser, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Close(context.Background()) })
	if _, err := holder.Exec(t.Context(), "BEGIN; LOCK TABLE pg_database IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}

	x.apply(t)
	eventually(t, patience, "provider-sql asks for the database", func() error {
		const waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND starts_with(query, $1)"
		if n := query[int64](t, c, "postgres", waiting, fmt.Sprintf("CREATE DATABASE %q", x.database())); n != 1 {
			return fmt.Errorf("%d statements wait", n)
		}
		return nil
	})
	t.Cleanup(func() { c.lines.postgres.mend(t) })
	cut()
	if err := holder.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the server makes the database all the same", func() error {
		if c.owner(t, x.database()) == "" {
			return errors.New("there is none")
		}
		return nil
	})
	c.lines.postgres.mend(t)

	const made = "SELECT oid::bigint FROM pg_database WHERE datname = $1"
	oid := query[int64](t, c, "postgres", made, x.database())
	x.ready(t, patience)
	x.inService(t)
	x.ownSecret(t)
	if got := query[int64](t, c, "postgres", made, x.database()); got != oid {
		t.Error("the database that the server made has gone")
	}
}

// ownSecret of the tenant's, rather than its template's.
func (x *tenant) ownSecret(t testing.TB) {
	t.Helper()
	if got := query[string](t, x.cluster, x.database(), "SELECT value FROM ir_config_parameter WHERE key = 'database.secret'"); got == "the secret of the template" {
		t.Error("the tenant shares its template's secret")
	}
}

// quota of the tenant's namespace.
func (x *tenant) quota(t testing.TB, cpu string) {
	t.Helper()
	c := x.cluster
	c.kubectl(t, "-n", x.namespace(), "patch", "resourcequota", "plana-quota", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"hard":{"limits.cpu":%q}}}`, cpu))
	eventually(t, time.Minute, "the quota is in force", func() error {
		if out := c.kubectl(t, "-n", x.namespace(), "get", "resourcequota", "plana-quota", "-o", `jsonpath={.status.hard.limits\.cpu}`); out != cpu {
			return errors.New(out)
		}
		return nil
	})
}

// secret of the effects.
func (c *cluster) secret(t testing.TB, name, key, value string) {
	t.Helper()
	c.kubectl(t, "-n", namespaceCrossplane, "patch", "secret", name, "--type=merge", "-p", fmt.Sprintf(`{"stringData":{%q:%q}}`, key, value))
}

// nextRemedy begins a new sentence, which a command does not.
var nextRemedy = regexp.MustCompile(`\. [A-Z]`)

// advice is the command that a condition gives for a case, as it is printed. It
// may take a moment to be there again: with a status, Crossplane applies the
// conditions that it read from its cache, and corrects them some milliseconds later.
func (x *tenant) advice(t testing.TB, typ, say string) string {
	t.Helper()
	var advice string
	x.eventually(t, 10*time.Second, fmt.Sprintf("%s advises %q", typ, say), func(client *v1alpha1.PLANAClient) error {
		if client == nil {
			return errors.New("there is no such tenant")
		}
		message := client.Status.GetCondition(xpv1.ConditionType(typ)).Message
		_, rest, found := strings.Cut(message, say)
		if end := nextRemedy.FindStringIndex(rest); end != nil {
			rest = rest[:end[0]]
		}
		_, command, ok := strings.Cut(rest, ": ")
		if !found || !ok {
			return fmt.Errorf("it says: %s", message)
		}
		advice = command
		return nil
	})
	return advice
}

// follow a condition's advice, and return what the command says.
func (x *tenant) follow(t testing.TB, typ, say string, environ ...string) string {
	t.Helper()
	command := x.advice(t, typ, say)
	out, err := x.cluster.shell(command, environ...)
	if err != nil {
		t.Fatalf("%s of %s advises this, but: %v\n%s\n%s", typ, x.name, err, command, out)
	}
	return out
}

// foreign makes a database full of rows that is none of this project's.
func (c *cluster) foreign(t testing.TB, name string) {
	t.Helper()
	c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER %s", name, servers.PostgresAdmin))
	c.postgres.Exec(t, servers.PostgresAdmin, name,
		"CREATE TABLE precious AS SELECT n, md5(n::text) AS what FROM generate_series(1, 10000) n",
		"CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar UNIQUE, value text)",
		"INSERT INTO ir_config_parameter (key, value) VALUES ('database.secret', 'somebody else''s')")
}

// dump is the digest of all that a database holds, and of who owns it.
func (c *cluster) dump(t testing.TB, name string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(postgresBin(), "pg_dump"), "--dbname", c.postgres.URL(servers.PostgresSuperuser, name))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot dump %s: %v", name, err)
	}
	// Newer ones begin and end with a word of their own making.
	var kept []string
	for line := range strings.SplitSeq(string(out), "\n") {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			kept = append(kept, line)
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(kept, "\n")))
	return hex.EncodeToString(sum[:]) + " of " + c.owner(t, name)
}
