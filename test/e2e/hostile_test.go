//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/test/servers"
)

// testHostile has people do what they shouldn't.
func testHostile(t *testing.T, c *cluster) {
	t.Run("refused by the API server", func(t *testing.T) {
		good := &tenant{cluster: c, name: "massive", project: 51, tier: "pro", version: "18"}
		for reason, change := range map[string]struct{ from, to, says string }{
			"a subdomain that isn't the name": {"subdomain: massive", "subdomain: other", "must be the same"},
			"capital letters":                 {"subdomain: massive", "subdomain: Massive", "lower-case letters"},
			"no project":                      {"projectId: 51", "projectId: 0", "from 1 to 999999999"},
			"no such tier":                    {"tier: pro", "tier: gold", "Unsupported value"},
			"no such version":                 {`odooVersion: "18"`, `odooVersion: "16"`, "Unsupported value"},
			"no address":                      {"ownerEmail: ceo@massive.bg", "ownerEmail: massive", "mail address"},
			"two lines":                       {`ownerName: "massive Corp"`, `ownerName: "massive\nCorp"`, "one line"},
		} {
			bad := strings.Replace(good.yaml(), change.from, change.to, 1)
			out, err := c.tryKubectl(bad, "apply", "-f", "-")
			if err == nil || !strings.Contains(out, change.says) {
				t.Errorf("%s: want it refused with %q, got %v\n%s", reason, change.says, err, out)
			}
		}
		for _, reserved := range []string{"www", "basic-template-18"} {
			x := &tenant{cluster: c, name: reserved, project: 52, tier: "pro", version: "18"}
			if out, err := c.tryKubectl(x.yaml(), "apply", "-f", "-"); err == nil || !strings.Contains(out, "reserved") {
				t.Errorf("%s: want it refused, got %v\n%s", reserved, err, out)
			}
		}
	})

	t.Run("edited by hand", func(t *testing.T) {
		x := &tenant{cluster: c, name: "vandelay", project: 53, tier: "starter", version: "18"}
		x.apply(t)
		x.ready(t, patience)
		x.condition(t, patience, "MatrixRoomReady", "True", "")
		if rooms := x.rooms(t); len(rooms) != 1 {
			t.Errorf("want one room, got %v", rooms)
		}
		for what, edit := range map[string][]string{
			"a change of the subdomain": {"patch", "planaclient", x.name, "--type=merge", "-p", `{"spec":{"subdomain":"other"}}`},
			"a change of the project":   {"patch", "planaclient", x.name, "--type=merge", "-p", `{"spec":{"projectId":54}}`},
			"a lower version":           {"patch", "planaclient", x.name, "--type=merge", "-p", `{"spec":{"odooVersion":"17"}}`},
		} {
			if out, err := c.tryKubectl("", edit...); err == nil {
				t.Errorf("%s: want it refused, got %s", what, out)
			}
		}
		for what, edit := range map[string][]string{
			"the guard's label taken off": {"label", "planaclient", x.name, "crossplane.io/in-use-"},
			"the guard deleted":           {"delete", guards, "planaclient-" + x.name, "--wait=false"},
			"the guard moved":             {"patch", guards, "planaclient-" + x.name, "--type=merge", "-p", `{"spec":{"of":{"resourceRef":{"name":"other"}}}}`},
			"the guard paused":            {"annotate", guards, "planaclient-" + x.name, "crossplane.io/paused=true"},
			"a delete written by hand":    {"annotate", "planaclient", x.name, annotationAttempt + "=Background"},
			"another's objects":           {"patch", "planaclient", x.name, "--type=merge", "-p", `{"spec":{"crossplane":{"resourceRefs":[{"apiVersion":"postgresql.sql.m.crossplane.io/v1alpha1","kind":"Database","namespace":"crossplane-system","name":"acme"}]}}}`},
			"the database let go":         {"-n", namespaceCrossplane, "patch", databases, x.name, "--type=merge", "-p", `{"spec":{"managementPolicies":["*"]}}`},
			"the database closed":         {"-n", namespaceCrossplane, "patch", databases, x.name, "--type=merge", "-p", `{"spec":{"forProvider":{"allowConnections":false}}}`},
			"another database":            {"-n", namespaceCrossplane, "annotate", databases, x.name, "--overwrite", "crossplane.io/external-name=acme." + domain},
			"the database nobody's":       {"-n", namespaceCrossplane, "label", databases, x.name, "planapulse.com/tenant-"},
			"the database deleted":        {"-n", namespaceCrossplane, "delete", databases, x.name, "--wait=false"},
			"all databases deleted":       {"-n", namespaceCrossplane, "delete", databases, "--selector=planapulse.com/tenant=" + x.name, "--wait=false"},
		} {
			if out, err := c.tryKubectl("", edit...); err == nil || !strings.Contains(out, "nly Crossplane") {
				t.Errorf("%s: want it refused, got %v\n%s", what, err, out)
			}
		}
		for what, manifest := range map[string]string{
			"a manifest that was saved during a teardown": "apiVersion: planapulse.com/v1alpha1\nkind: PLANAClient\nmetadata: {name: saved, annotations: {" + annotationAttempt + ": Background}}\nspec: {subdomain: saved, projectId: 57, tier: starter, ownerEmail: ceo@saved.bg, ownerName: Saved}",
			"a manifest that says what there is":          "apiVersion: planapulse.com/v1alpha1\nkind: PLANAClient\nmetadata: {name: saved}\nspec: {subdomain: saved, projectId: 57, tier: starter, ownerEmail: ceo@saved.bg, ownerName: Saved, crossplane: {resourceRefs: [{apiVersion: batch/v1, kind: CronJob, name: backup-acme}]}}",
			"a second guard":                              "apiVersion: protection.crossplane.io/v1beta1\nkind: ClusterUsage\nmetadata: {name: second}\nspec: {of: {apiVersion: planapulse.com/v1alpha1, kind: PLANAClient, resourceRef: {name: " + x.name + "}}, reason: mine}",
			"a guard in a namespace":                      "apiVersion: protection.crossplane.io/v1beta1\nkind: Usage\nmetadata: {name: second, namespace: default}\nspec: {of: {apiVersion: planapulse.com/v1alpha1, kind: PLANAClient, resourceRef: {name: " + x.name + "}}, reason: mine}",
		} {
			if out, err := c.tryKubectl(manifest, "create", "-f", "-"); err == nil || !strings.Contains(out, "nly Crossplane") {
				t.Errorf("%s: want it refused, got %v\n%s", what, err, out)
			}
		}

		x.mended(t, "the route deleted", "-n", x.namespace(), "delete", "httproute", x.name)
		x.mended(t, "the route's host name changed", "-n", x.namespace(), "patch", "httproute", x.name, "--type=merge", "-p", `{"spec":{"hostnames":["somebody-else.planapulse.app"]}}`)
		x.mended(t, "the route taken to another worker", "-n", x.namespace(), "patch", "httproute", x.name, "--type=json", "-p", `[{"op":"replace","path":"/spec/rules/2/backendRefs/0/name","value":"nobody"}]`)
		x.mended(t, "the CronJob deleted", "-n", namespaceBackup, "delete", "cronjob", "backup-"+x.name)
		x.mended(t, "the CronJob changed", "-n", namespaceBackup, "patch", "cronjob", "backup-"+x.name, "--type=merge", "-p", `{"spec":{"suspend":true,"schedule":"0 0 1 1 *"}}`)
		x.mended(t, "the database closed", "-n", namespaceCrossplane, "patch", databases, x.name, "--type=merge", "-p", `{"spec":{"forProvider":{"allowConnections":false}}}`, asAdmin, inEmergency)
		x.mended(t, "the database given away", "-n", namespaceCrossplane, "patch", databases, x.name, "--type=merge", "-p", `{"spec":{"forProvider":{"owner":"plana"}}}`, asAdmin, inEmergency)

		// Without it provider-sql takes the database for half created, and does no more
		// until it is told to go on. It stays the tenant's, and served.
		c.kubectl(t, "-n", namespaceCrossplane, "annotate", databases, x.name, "crossplane.io/external-create-succeeded-", asAdmin, inEmergency)
		eventually(t, patience, "provider-sql is told to go on", func() error {
			const times = `{.metadata.annotations.crossplane\.io/external-create-pending} {.metadata.annotations.crossplane\.io/external-create-failed}`
			began, failed, _ := strings.Cut(c.kubectl(t, "-n", namespaceCrossplane, "get", databases, x.name, "-o", "jsonpath="+times), " ")
			if began == "" || failed != began {
				return fmt.Errorf("it began at %q, and is told that this failed at %q", began, failed)
			}
			return nil
		})
		x.served(t)
		x.mended(t, "the database closed, and no proof", "-n", namespaceCrossplane, "patch", databases, x.name, "--type=merge", "-p", `{"spec":{"forProvider":{"allowConnections":false}}}`, asAdmin, inEmergency)
	})

	t.Run("its Jobs", func(t *testing.T) {
		x := &tenant{cluster: c, name: "wernham", project: 56, tier: "starter", version: "18"}
		c.lines.portal.cut()
		defer c.lines.portal.mend(t)
		x.apply(t)
		const which = "planapulse.com/tenant=wernham,app.kubernetes.io/component=account-webhook"
		first := x.job(t, which, nil)
		at := []string{"-n", first.GetNamespace(), "job", first.GetName()}
		patch := func(kind, change string) (string, error) {
			return c.tryKubectl("", append([]string{"patch", "--type=" + kind, "-p", change}, at...)...)
		}
		if out, err := patch("json", `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"miner"}]`); err == nil {
			t.Errorf("another image: want it refused, got %s", out)
		}

		c.kubectl(t, append([]string{"delete"}, at...)...)
		x.job(t, which, first)

		if out, err := patch("merge", `{"spec":{"suspend":true}}`); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		x.condition(t, time.Minute, "AccountNotified", "False", "JobSuspended")
		x.follow(t, "AccountNotified", "Resume it, unless it is resumed by what suspended it")

		// So it goes the moment it is done, which may be before anybody has seen
		// that. Then it is done again, and nobody is told again.
		if out, err := patch("merge", `{"spec":{"ttlSecondsAfterFinished":0}}`); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		c.lines.portal.mend(t)
		x.ready(t, 2*patience)
		x.inService(t)
	})

	t.Run("the Database object deleted", func(t *testing.T) {
		x := &tenant{cluster: c, name: "vandelay", project: 53, tier: "starter", version: "18"}
		c.postgres.Exec(t, servers.PostgresOdoo, x.database(), "CREATE TABLE customers AS SELECT n FROM generate_series(1, 1000) n")
		before := c.uid(t, x.name)
		c.kubectl(t, "-n", namespaceCrossplane, "delete", databases, x.name, "--timeout=2m", asAdmin, inEmergency)
		eventually(t, patience, "the database is known by another object", func() error {
			if uid := c.uid(t, x.name); uid == "" || uid == before {
				return fmt.Errorf("the object is %q, and was %q", uid, before)
			}
			return nil
		})
		x.condition(t, patience, "DatabaseReady", "True", "")

		// One that a person has made, of a dump for one, has no ownership tag. Crossplane is
		// away meanwhile: it may make an object anew as it was, and provider-sql gives the
		// database an ownership tag then.
		x.ready(t, patience)
		c.scaleCore(t, 0)
		c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("ALTER DATABASE %q CONNECTION LIMIT -1", x.database()))
		c.kubectl(t, "-n", namespaceCrossplane, "delete", databases, x.name, "--timeout=2m", asAdmin, inEmergency)
		c.scaleCore(t, 1)
		x.condition(t, patience, "DatabaseReady", "False", "DatabaseLost", "its Database object is a new one")
		if got := c.owner(t, x.database()); got != "odoo" {
			t.Errorf("the database must still be there and Odoo's, its owner is %q", got)
		}
		x.follow(t, "DatabaseReady", "Then take it back")
		x.ready(t, patience)
		x.inService(t)
		if got := query[int64](t, c, x.database(), "SELECT count(*) FROM customers"); got != 1000 {
			t.Errorf("want the customer's 1000 rows, got %d", got)
		}
	})

	// From here on each has a tenant of its own.
	t.Run("two at once", func(t *testing.T) {
		t.Parallel()
		one := &tenant{cluster: c, name: "dunder", project: 61, tier: "starter", version: "18"}
		other := &tenant{cluster: c, name: "dunder", project: 62, tier: "starter", version: "18"}
		errs := make(chan error, 2)
		for _, x := range []*tenant{one, other} {
			go func() {
				_, err := c.tryKubectl(x.yaml(), "create", "-f", "-")
				errs <- err
			}()
		}
		if first, second := <-errs, <-errs; (first == nil) == (second == nil) {
			t.Fatalf("want one of two refused, got %v and %v", first, second)
		}
		client, err := one.get()
		if err != nil || client == nil {
			t.Fatalf("there is no tenant: %v", err)
		}
		won, lost := one, other
		if client.Spec.ProjectID == int64(other.project) {
			won, lost = other, one
		}
		if out, err := c.tryKubectl(lost.yaml(), "apply", "-f", "-"); err == nil || !strings.Contains(out, "can't be changed") {
			t.Errorf("the other's apply: want it refused, got %v\n%s", err, out)
		}
		won.ready(t, patience)
		won.inService(t)
	})

	t.Run("a creator", func(t *testing.T) {
		t.Parallel()
		c.apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: alice-creates-tenants}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: planaclient-creator}
subjects: [{kind: User, name: alice}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: alice-reads-events, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: planaclient-creator}
subjects: [{kind: User, name: alice}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: changes-tenants}
rules: [{apiGroups: [planapulse.com], resources: [planaclients], verbs: [get, list, watch, patch, update]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bob-changes-tenants}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: changes-tenants}
subjects: [{kind: User, name: bob}]
`)
		x := &tenant{cluster: c, name: "pendant", project: 55, tier: "starter", version: "18"}
		// What is bound takes a moment to hold.
		eventually(t, 10*time.Second, "a creator creates", func() error {
			out, err := c.tryKubectl(x.yaml(), "apply", "-f", "-", "--as=alice")
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		x.ready(t, patience)
		for _, args := range [][]string{
			{"get", "secrets", "-A"},
			{"get", "pods", "-A"},
			{"delete", "databases.postgresql.sql.m.crossplane.io", "-n", namespaceCrossplane, x.name},
			{"delete", guards, "planaclient-" + x.name},
			{"get", "events", "-A"},
			{"patch", "planaclient", x.name, "--subresource=status", "--type=merge", "-p", `{"status":{"effects":null}}`},
			{"patch", "composition", compositionName, "--type=merge", "-p", `{"metadata":{"labels":{"x":"y"}}}`},
			{"create", "job", "-n", "plana-odoo", "x", "--image=x"},
		} {
			if out, err := c.tryKubectl("", append(args, "--as=alice")...); err == nil || !strings.Contains(out, "forbidden") {
				t.Errorf("kubectl %s: want it forbidden, got %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		// Alice may delete and so cancel; bob may change a tenant, and neither.
		if out, err := c.tryKubectl("", "delete", "planaclient", x.name, "--as=alice"); err == nil || !strings.Contains(out, "this has begun") {
			t.Fatalf("want the delete refused first, got %v\n%s", err, out)
		}
		if out, err := c.tryKubectl("", "annotate", "planaclient", x.name, annotationAttempt+"-", "--as=bob"); err == nil || !strings.Contains(out, "may delete the tenant") {
			t.Errorf("bob cancels: want it refused, got %v\n%s", err, out)
		}
		if out, err := c.tryKubectl("", "annotate", "planaclient", x.name, annotationAttempt+"-", "--as=alice"); err != nil {
			t.Errorf("alice cancels: %v\n%s", err, out)
		}
		x.eventually(t, time.Minute, "the deletion is forgotten", func(client *v1alpha1.PLANAClient) error {
			if client == nil || client.Status.Deletion != nil {
				return fmt.Errorf("got %+v", client)
			}
			return nil
		})
		if out, err := c.tryKubectl("", "events", "--for=planaclient/"+x.name, "--as=alice"); err != nil || !strings.Contains(out, "PLANAClient/"+x.name) {
			t.Errorf("alice reads the tenant's events: %v\n%s", err, out)
		}
	})
}

// job that labels select, once there is another one than the supplied.
func (x *tenant) job(t *testing.T, labels string, than *batchv1.Job) *batchv1.Job {
	t.Helper()
	var jobs batchv1.JobList
	x.eventually(t, patience, "Job "+labels, func(*v1alpha1.PLANAClient) error {
		if err := x.cluster.object(&jobs, "jobs", "-A", "-l", labels); err != nil {
			return err
		}
		if len(jobs.Items) != 1 || than != nil && jobs.Items[0].GetUID() == than.GetUID() {
			return fmt.Errorf("there are %d", len(jobs.Items))
		}
		return nil
	})
	return &jobs.Items[0]
}

// databases are provider-sql's objects, and guards Crossplane's.
const (
	databases = "databases.postgresql.sql.m.crossplane.io"
	guards    = "clusterusages.protection.crossplane.io"
)

// With these an administrator breaks the glass: it takes both, since nobody can be
// impersonated by groups alone.
const (
	asAdmin     = "--as=admin"
	inEmergency = "--as-group=planaclients.planapulse.com:break-glass"
)

// uid of a tenant's Database object, if there is one.
func (c *cluster) uid(t testing.TB, name string) string {
	t.Helper()
	return c.kubectl(t, "-n", namespaceCrossplane, "get", databases, name, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
}

// mended has somebody edit what the tenant is made of, and sees it put right.
func (x *tenant) mended(t *testing.T, what string, edit ...string) {
	t.Helper()
	c := x.cluster
	c.kubectl(t, edit...)
	eventually(t, time.Minute, what+": it is as it was", func() error {
		if out := c.kubectl(t, "-n", namespaceBackup, "get", "cronjob", "backup-"+x.name, "--ignore-not-found", "-o", "jsonpath={.spec.suspend} {.spec.schedule}"); !strings.HasPrefix(out, "false ") || strings.HasSuffix(out, "0 0 1 1 *") {
			return fmt.Errorf("CronJob: %q", out)
		}
		if out := c.kubectl(t, "-n", x.namespace(), "get", "httproute", x.name, "--ignore-not-found", "-o", "jsonpath={.spec.hostnames} {.spec.rules[2].backendRefs[0].name}"); out != fmt.Sprintf("[%q] worker-odoo", x.database()) {
			return fmt.Errorf("HTTPRoute: %q", out)
		}
		if got := query[string](t, c, "postgres", "SELECT pg_get_userbyid(datdba) || ' ' || datallowconn FROM pg_database WHERE datname = $1", x.database()); got != "odoo true" {
			return fmt.Errorf("database: %q", got)
		}
		if out := c.kubectl(t, "-n", namespaceCrossplane, "get", databases, x.name, "-o", "jsonpath={.spec.forProvider.owner} {.spec.forProvider.allowConnections} {.spec.managementPolicies}"); out != `odoo true ["Observe","Update","LateInitialize"]` {
			return fmt.Errorf("Database: %q", out)
		}
		return nil
	})
	x.ready(t, time.Minute)
	x.served(t)
}
