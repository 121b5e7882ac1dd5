//go:build e2e

package e2e

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// untyped are statements on pages that nobody types here, and why not.
var untyped = []struct{ page, begins, why string }{
	{"docs/how-to/make-a-template.md", "kubectl -n plana-odoo-18 exec deploy/worker-odoo", "it takes Odoo itself: workers here have no container"},
	{"docs/how-to/make-a-template.md", "CREATE DATABASE", "Odoo would fill it"},
	{"docs/how-to/make-a-template.md", "SELECT name, state", "Odoo would have filled it"},
	{"docs/how-to/make-a-template.md", "SELECT pg_terminate_backend", "nobody has been let in"},
	{"docs/how-to/role-per-version.md", "CREATE ROLE odoo_18", "the effects' tests type it, with a tenant's database full of all that a role can own"},
	{"docs/how-to/role-per-version.md", "kubectl -n plana-odoo-18 patch secret odoo-postgres-creds", "the workers here have one role"},
	{"docs/how-to/role-per-version.md", "\\connect", "the effects' tests type it"},
	{"docs/how-to/role-per-version.md", "REVOKE odoo", "the effects' tests type it"},
	{"docs/how-to/restore-a-tenant.md", "kubectl -n plana-odoo-18 exec deploy/worker-odoo -- \\\n  mv", "workers here have no container: the test moves the folder"},
	{"docs/how-to/restore-a-tenant.md", "kubectl -n plana-odoo-18 exec deploy/worker-odoo -- odoo neutralize", "it takes Odoo itself"},
	{"docs/how-to/limit-the-network.md", "kubectl apply -k deploy/network", "it names servers that aren't this installation's, and nothing here enforces it: test/deploy evaluates it"},
	{"docs/how-to/limit-the-network.md", "kubectl -n backup create job", "nothing is denied here"},
	{"docs/how-to/limit-the-network.md", "kubectl -n backup wait", "nothing is denied here"},
	{"docs/how-to/limit-the-network.md", "kubectl delete -k deploy/network", "nothing is denied here"},
	{"docs/how-to/two-backup-keys.md", "kubectl -n backup create job --from=cronjob/expire-backups", "deploy/ names another object storage than this installation's: the effects' tests remove expired backups by that key"},
	{"docs/how-to/two-backup-keys.md", "kubectl -n backup wait --for=condition=Complete --timeout=1h", "deploy/ names another object storage than this installation's"},
	{"docs/how-to/verify-servers.md", "for namespace in", "nobody vouches for this installation's servers, which have no TLS: the effects' tests verify one that has"},
	{"docs/how-to/verify-servers.md", "kubectl patch providers.pkg.crossplane.io", "this installation's PostgreSQL has no TLS"},
	{"docs/how-to/verify-servers.md", "kubectl patch clusterproviderconfigs", "this installation's PostgreSQL has no TLS"},
	{"docs/reference/versions.md", "openssl ecparam", "it takes no cluster to make a release: tools/attest tests what signs one"},
	{"docs/reference/versions.md", "openssl ec -in", "it takes no cluster to make a release: tools/attest tests what signs one"},
	{"docs/how-to/use-flux.md", "flux reconcile", "make e2e-flux does what it does, in a cluster of its own"},
}

// testPages does what pages say that takes a cluster, all of it in the life of one
// tenant. What installs this project has been typed when this begins.
func testPages(t *testing.T, c *cluster) {
	r := c.reader
	acme := &tenant{cluster: c, name: "acme", project: 23, tier: "pro", version: "18"}
	if out, err := c.shell("make build"); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}

	for _, part := range []struct {
		name string
		read func(t *testing.T, c *cluster, acme *tenant)
	}{
		{"install", readInstall},
		{"tutorial, to a tenant", readTutorial},
		{"watch", readWatch},
		{"odds and ends", readOdds},
		{"rotate secrets", readRotate},
		{"two keys for backups", readTwoKeys},
		{"restore a tenant", readRestore},
		{"upgrade", readUpgrade},
		{"tutorial, away again", readTutorialsEnd},
		{"restore what was deleted", readRestoreDeleted},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.read(t, c, acme) }) {
			return
		}
	}

	for _, u := range untyped {
		r.open(t, u.page).leaves(u.begins)
	}
	for i, s := range r.statements {
		if !r.typed[i] {
			t.Errorf("%s:%d: nobody types this, nor does anybody say why not: %s", s.Page, s.Line, s.Run)
		}
	}
}

// readInstall reads what comes after all is installed, and what the README says of
// it all in short.
func readInstall(t *testing.T, c *cluster, _ *tenant) {
	guide := c.reader.open(t, "docs/how-to/install.md")
	guide.types("kubectl create clusterrolebinding")
	guide.types("kubectl -n default create rolebinding")
	guide.types("kubectl -n plana-odoo-18 create rolebinding")
	guide.sees("kubectl auth can-i create planaclient", "yes")
	for verb, may := range map[string]bool{
		"create planaclient": true, "delete planaclient": true,
		"delete jobs -n plana-odoo-18": true, "delete jobs -n plana-odoo": false, "create jobs -n plana-odoo-18": false,
		"list events -n default": true, "list events -A": false,
	} {
		if out, _ := c.shell("kubectl auth can-i " + verb + " --as=alice --as-group=support"); strings.HasSuffix(out, "yes\n") != may {
			t.Errorf("may support %s? %s", verb, out)
		}
	}
}

// isReady tells whether a tenant is, from what kubectl get --watch says.
func isReady(output string) bool {
	for line := range strings.Lines(output) {
		// NAME, TIER, VERSION, URL, SYNCED, READY, and more.
		if f := strings.Fields(line); len(f) > 6 && f[4] == "True" && f[5] == "True" {
			return true
		}
	}
	return false
}

func readTutorial(t *testing.T, c *cluster, acme *tenant) {
	page := c.reader.open(t, "docs/tutorial.md")
	page.types("kubectl apply -f example/planaclient.yaml")
	page.watches("kubectl get planaclient acme --watch", isReady)
	acme.ready(t, patience)
	page.sees("kubectl describe planaclient acme", "DatabaseReady", "SmokeTestPassed")
	page.sees("kubectl get jobs --all-namespaces")
	page.sees("kubectl get events", "planaclient/acme")
	page.sees("kubectl get clusterusage", "planaclient-acme")
	page.sees("kubectl -n crossplane-system get databases", "acme", "True")
	page.sees("kubectl -n plana-odoo-18 get httproute", "acme.planapulse.app")
	page.sees("kubectl -n backup get cronjob", "backup-acme")
	page.sees("curl -sI https://acme.planapulse.app/web/login", "HTTP/2 200")

	page.types("kubectl patch planaclient acme")
	page.types("kubectl wait --for=condition=Suspended --timeout")
	page.types("kubectl patch planaclient acme")
	page.types("kubectl wait --for=condition=Suspended=False")
	acme.ready(t, patience)

	page.refused("kubectl delete planaclient acme", "tenant acme is deleted in order, after a last backup, and this has begun")
	acme.condition(t, time.Minute, "Deprovisioned", "False", "GracePeriod")
	page.types("kubectl annotate planaclient acme")
	time.Sleep(time.Second)
	acme.ready(t, patience)

	// Both take the reader where they have been by now.
	c.reader.open(t, "docs/how-to/install.md").repeats("kubectl apply -f example/planaclient.yaml")
	c.reader.open(t, "docs/how-to/install.md").repeats("kubectl get planaclient acme --watch")
	readme := c.reader.open(t, "README.md")
	for _, begins := range []string{
		"kubectl apply -f deploy/runtime-config.yaml", "crossplane xpkg install function", "crossplane xpkg install configuration",
		"kubectl apply -k deploy && kubectl apply -k deploy/templates", "kubectl apply -f example/planaclient.yaml",
	} {
		readme.repeats(begins)
	}
	c.reader.open(t, "docs/how-to/use-flux.md").repeats("kubectl annotate planaclient acme")
}

func readTutorialsEnd(t *testing.T, c *cluster, acme *tenant) {
	page := c.reader.open(t, "docs/tutorial.md")
	page.refused("kubectl delete planaclient acme", "this has begun")
	acme.condition(t, time.Minute, "Deprovisioned", "False", "")
	page.sees("kubectl get planaclient acme -o yaml", "deletion:", "step:")
	page.types("kubectl wait --for=delete")
	acme.leftNothing(t)
	// It was asked to go before, by way of the secrets that are new.
	newcomer(c).gone(t, patience)
	newcomer(c).leftNothing(t)
}

// readOdds reads pages with a statement or two each.
func readOdds(t *testing.T, c *cluster, acme *tenant) {
	c.reader.open(t, "docs/how-to/use-another-gateway.md").sees("kubectl get gatewayclass", "NAME", "CONTROLLER", gatewayController)

	template := c.reader.open(t, "docs/how-to/make-a-template.md")
	template.types("kubectl apply -k deploy/templates/pro-18")
	template.sees("kubectl get planaclient acme -o jsonpath", "pro-template-18.planapulse.app")

	glass := c.reader.open(t, "docs/how-to/break-glass.md")
	glass.sees("kubectl auth can-i impersonate", "yes")
	glass.types("kubectl -n crossplane-system delete databases")
	acme.ready(t, patience)

	versions := c.reader.open(t, "docs/reference/versions.md")
	versions.types("_output/function --version")
	versions.sees("kubectl get function.pkg.crossplane.io", c.registry+"/plana-pulse/function-planaclient:v0.1.0")
}

// readRotate gives everything new secrets, and takes the old ones away.
func readRotate(t *testing.T, c *cluster, acme *tenant) {
	page := c.reader.open(t, "docs/how-to/rotate-secrets.md")
	backup := func(job string) {
		t.Helper()
		page.types("kubectl -n backup create job", "backup-acme-now", job)
		page.types("kubectl -n backup wait", "backup-acme-now", job)
	}

	// One password for all, which all that comes later has.
	password := rand.Text()
	page.queries("ALTER ROLE plana PASSWORD", "…", password)
	page.types("kubectl -n crossplane-system patch secret provider-sql-postgres-creds", "…", password)
	page.types("kubectl -n backup patch secret postgres-backup-creds", "…", password)
	page.types("for namespace in plana-odoo", "…", password)
	c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", servers.PostgresSuperuser, password))
	c.postgres.Password = password
	c.reader.environ = append(c.reader.environ, "PGPASSWORD="+password)
	for _, w := range c.workers {
		w.restart(password)
	}
	page.sees("kubectl -n crossplane-system get databases", "acme")
	backup("backup-acme-now")

	// The tenants of other scenarios have repositories too, which take as long each.
	page.types("openssl rand")
	repository := fmt.Sprintf("RESTIC_REPOSITORY=%s/%s-%d", c.repository(), acme.name, acme.project)
	page.having = []string{repository, "RESTIC_PASSWORD=" + c.resticPassword, "AWS_ACCESS_KEY_ID=" + c.s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + c.s3.SecretKey}
	page.types("restic key add")
	page.types("kubectl -n backup create secret generic backup-restic")

	access, secret := "access-"+rand.Text(), rand.Text()
	page.types("kubectl -n backup patch secret backup-s3", `"access-key":"…"`, fmt.Sprintf(`"access-key":%q`, access), `"secret-key":"…"`, fmt.Sprintf(`"secret-key":%q`, secret))
	c.s3.Stop(t)
	c.s3.AccessKey, c.s3.SecretKey = access, secret
	c.s3.Start(c.reader.whole)

	fresh, err := os.ReadFile(filepath.Join(c.reader.folder, "new-password"))
	if err != nil {
		t.Fatal(err)
	}
	page.having = []string{repository, "RESTIC_PASSWORD=" + string(fresh), "AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secret}
	keys, err := c.reader.run("restic "+strings.TrimPrefix(page.says("restic key list"), "restic "), page.having, nil)
	if err != nil {
		t.Fatalf("restic key list: %v\n%s", err, keys)
	}
	page.types("restic key remove", "5c657874", oldKey(t, keys))

	session := c.bot
	c.bot = c.matrix.LogIn(c.reader.whole, "support-bot")
	page.types("kubectl -n crossplane-system patch secret matrix-support-bot", "…", c.bot.AccessToken)
	if _, err := session.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}

	webhook := newWebhookSecret()
	c.portal.accept(t, c.portal.Secret, webhook)
	page.types("kubectl -n crossplane-system patch secret account-webhook", "whsec_…", webhook)
	c.portal.accept(t, webhook)
	c.portal.Secret = webhook

	admin := c.redis.AdminPassword()
	tell := func(inline string, instead ...string) {
		t.Helper()
		var words []any
		for word := range strings.FieldsSeq(page.says(inline, instead...)) {
			words = append(words, word)
		}
		if err := c.redis.Client(t).Do(t.Context(), words...).Err(); err != nil {
			t.Fatalf("%s: %v", inline, err)
		}
	}
	next := rand.Text()
	tell("ACL SETUSER effects >NEW", "effects", "default", "NEW", next)
	page.types("kubectl -n crossplane-system patch secret redis-credentials", "…", next)
	tell("ACL SETUSER effects <OLD", "effects", "default", "OLD", admin)
	c.redis.UseAdminPassword(next)

	page.types("kubectl -n crossplane-system delete pods")
	c.hasFunction(t)

	// What there is by now is to be found in this backup, with everything new.
	c.postgres.Exec(t, servers.PostgresOdoo, acme.database(), "CREATE TABLE customers AS SELECT n FROM generate_series(1, 1000) n")
	backup("backup-acme-once-more")
	newcomer(c).apply(t)
}

// newcomer is the first tenant that finds everything new.
func newcomer(c *cluster) *tenant {
	return &tenant{cluster: c, name: "umbra", project: 71, tier: "starter", version: "18"}
}

// oldKey is the one of a restic repository's keys that isn't in use.
func oldKey(t testing.TB, list string) string {
	t.Helper()
	for line := range strings.Lines(list) {
		if m := regexp.MustCompile(`^ ([0-9a-f]{8})`).FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	t.Fatalf("there is no other key:\n%s", list)
	return ""
}

func readRestore(t *testing.T, c *cluster, acme *tenant) {
	page := c.reader.open(t, "docs/how-to/restore-a-tenant.md")
	aside := filepath.Join(filepath.Dir(acme.files()), "acme-before-restore")

	c.postgres.Exec(t, servers.PostgresOdoo, acme.database(), "DROP TABLE customers")
	page.types("kubectl annotate planaclient acme crossplane.io/paused=true")
	page.types("kubectl -n crossplane-system annotate databases.postgresql.sql.m.crossplane.io acme crossplane.io/paused=true")
	page.queries(`ALTER DATABASE "acme.planapulse.app" ALLOW_CONNECTIONS false`)
	if err := os.Rename(acme.files(), aside); err != nil {
		t.Fatal(err)
	}
	page.restores(c, acme.database())
	page.sees("curl -sI https://acme.planapulse.app/web/login", "HTTP/2 200")
	page.types("kubectl -n crossplane-system annotate databases.postgresql.sql.m.crossplane.io acme crossplane.io/paused-")
	page.types("kubectl annotate planaclient acme crossplane.io/paused-")
	acme.ready(t, patience)
	acme.hasCustomers(t, acme.database())
	page.query(page.says(`DROP DATABASE "acme-before-restore"`))
	if err := os.RemoveAll(aside); err != nil {
		t.Fatal(err)
	}

	page.anew()
	page.restores(c, "acme-march."+domain)
	page.queries(`ALTER DATABASE "acme-march.planapulse.app" OWNER`)
	acme.hasCustomers(t, "acme-march."+domain)
	page.types("kubectl get planaclient acme -o jsonpath='{.metadata.uid}'")
	page.anew()

	x := newcomer(c)
	x.ready(t, patience)
	x.inService(t)
	if out, err := x.delete(); err == nil || !strings.Contains(out, "this has begun") {
		t.Fatalf("want the delete refused first, got %v\n%s", err, out)
	}
}

// readRestoreDeleted brings back what the tutorial has deleted.
func readRestoreDeleted(t *testing.T, c *cluster, acme *tenant) {
	page := c.reader.open(t, "docs/how-to/restore-a-tenant.md")
	page.restores(c, acme.database())
	back := *acme
	back.more = []string{"database: {adopt: true}"}
	back.apply(t)
	back.ready(t, patience)
	back.hasCustomers(t, back.database())
	client, err := back.get()
	if err != nil {
		t.Fatal(err)
	}
	const mark = "SELECT value FROM ir_config_parameter WHERE key = 'planaclient.tenant'"
	if got, want := query[string](t, c, back.database(), mark), "acme/"+string(client.GetUID()); got != want {
		t.Errorf("the database is marked as %s's, and the tenant is %s", got, want)
	}
	// The tutorial's reader, where the cluster is left up, finds none of that name.
	if out, err := back.delete(); err == nil {
		t.Errorf("want the delete refused first, got %s", out)
	}
}

// hasCustomers checks that a database of the tenant's has the rows of its backup.
func (x *tenant) hasCustomers(t testing.TB, database string) {
	t.Helper()
	if got := query[int64](t, x.cluster, database, "SELECT count(*) FROM customers"); got != 1000 {
		t.Errorf("%s: want 1000 customers, got %d", database, got)
	}
	if got := x.cluster.owner(t, database); got != servers.PostgresOdoo {
		t.Errorf("%s is %s's", database, got)
	}
	if files := filepath.Join(filepath.Dir(x.files()), database); !exists(files) {
		t.Errorf("there is no folder %s", files)
	}
}

// restores a backup by the page's Job.
func (p *reading) restores(c *cluster, as string) {
	p.Helper()
	_, _ = p.run(p.says("kubectl -n backup delete secret restore-plana restore-odoo"), nil, nil)
	for _, name := range []string{"restore-plana", "restore-odoo"} {
		p.types("kubectl -n backup create secret generic "+name, "…", c.postgres.Password)
	}
	write(p, filepath.Join(p.folder, "restore.yaml"), p.shows("kind: Job",
		"s3:https://sos-bg-sof-1.exo.io/plana-backup", c.repository(),
		"value: bg-sof-1", "value: us-east-1",
		"value: pg01.planapulse.com", fmt.Sprintf("value: %q", c.lines.postgres.host),
		`value: "5432"`, fmt.Sprintf(`value: "%d"`, c.lines.postgres.port),
		"value: require", "value: disable",
		`value: "false"`, fmt.Sprintf("value: %q", strconv.FormatBool(!strings.HasPrefix(as, "acme."))),
		"value: acme.planapulse.app", "value: "+as))
	p.types("kubectl apply -f restore.yaml")
	p.sees("until kubectl -n backup logs -f job/restore-acme-23", `"msg":"Restored"`)
}

// anew makes room for another Job of that name.
func (p *reading) anew() {
	p.Helper()
	if out, err := p.run(p.says("kubectl -n backup delete job restore-acme-23"), nil, nil); err != nil {
		p.Fatalf("%v\n%s", err, out)
	}
}

// readRoles makes what 0.1 didn't need. The roles and Secrets are taken away first, so
// that what a backup needs is what the page makes.
func readRoles(t *testing.T, c *cluster, page *reading) {
	t.Helper()
	c.postgres.Exec(t, servers.PostgresSuperuser, "template1", "DROP EXTENSION pg_trgm, unaccent", "REVOKE ALL ON SCHEMA public FROM "+servers.PostgresOdoo)
	for _, role := range []string{servers.PostgresBackup, servers.PostgresRestore} {
		c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", "DROP ROLE "+role)
	}
	c.kubectl(t, "-n", namespaceBackup, "delete", "secret", "postgres-backup-creds")
	for _, v := range versions {
		c.kubectl(t, "-n", v.namespace, "delete", "secret", "odoo-postgres-creds")
	}
	for _, ns := range []string{namespaceBackup, "plana-odoo", "plana-odoo-18", "plana-odoo-19"} {
		c.kubectl(t, "-n", ns, "create", "secret", "generic", "provider-sql-postgres-creds", "--from-literal=username="+servers.PostgresAdmin)
	}
	page.queries("CREATE ROLE plana_restore", "…", c.postgres.Password)
	page.types("kubectl -n backup create secret generic postgres-backup-creds", "…", c.postgres.Password)
	page.types("for namespace in plana-odoo", "…", c.postgres.Password)
	page.queries("ALTER DATABASE")
	page.types("for namespace in backup")
	c.kubectl(t, "-n", namespaceBackup, "create", "job", "--from=cronjob/backup-acme", "backup-acme-with-new-roles")
	c.kubectl(t, "-n", namespaceBackup, "wait", "--for=condition=Complete", "--timeout=5m", "job/backup-acme-with-new-roles")
}

// readTwoKeys gives deletions a key of their own. That the other one can't delete is what
// the effects' tests see.
func readTwoKeys(t *testing.T, c *cluster, _ *tenant) {
	page := c.reader.open(t, "docs/how-to/two-backup-keys.md")
	nightly, expires := c.s3.Others[0], c.s3.Others[1]
	page.types("kubectl -n backup create secret generic backup-s3-retention", "access-key=…", "access-key="+expires.AccessKey, "secret-key=…", "secret-key="+expires.SecretKey)
	page.types("kubectl -n backup patch secret backup-s3", `"access-key":"…"`, fmt.Sprintf(`"access-key":%q`, nightly.AccessKey), `"secret-key":"…"`, fmt.Sprintf(`"secret-key":%q`, nightly.SecretKey))
	page.types("kubectl -n backup create job --from=cronjob/backup-acme")
	page.types("kubectl -n backup wait --for=condition=Complete --timeout=4h")
}

// readUpgrade goes to the next version and back, by way of the trouble that the page
// knows a way out of.
func readUpgrade(t *testing.T, c *cluster, acme *tenant) {
	page := c.reader.open(t, "docs/how-to/upgrade.md")
	readRoles(t, c, page)
	page.types("mkdir -p _output/acme")
	for _, what := range []string{
		"kubectl get planaclient acme", "kubectl get clusterusage", "kubectl -n crossplane-system get databases",
		"kubectl -n plana-odoo-18 get httproute", "kubectl -n backup get cronjob",
	} {
		page.types(what)
	}
	write(t, filepath.Join(page.folder, "_output", "composition.yaml"), c.composition("10s"))
	page.having = []string{"COMPOSITION=_output/composition.yaml"}
	page.types("git checkout v0.1.0 && make render")
	page.types("git checkout main && make render")
	page.types("diff -u")
	rendered, err := os.ReadFile(filepath.Join(page.folder, "_output", "after.yaml"))
	if err != nil || !strings.Contains(string(rendered), "kind: HTTPRoute") {
		t.Errorf("want a tenant in service, got %v:\n%s", err, rendered)
	}

	next := filepath.Join(c.dir, "next")
	mkdir(t, next)
	c.publish(t, "v0.2.0", next)
	const example = "registry.example.com/plana-pulse"
	here := c.registry + "/plana-pulse"
	serves := func(version string) {
		t.Helper()
		// The pods of the version before take a moment to go.
		eventually(t, time.Minute, version+" serves, alone", func() error {
			out := c.kubectl(t, "-n", namespaceCrossplane, "get", "pods", "--selector=pkg.crossplane.io/function=function-planaclient", "-o", "jsonpath={.items[*].spec.containers[0].image}")
			images := strings.Fields(out)
			if len(images) == 0 || slices.ContainsFunc(images, func(image string) bool { return image != here+"/function-planaclient:"+version }) {
				return fmt.Errorf("got %q", out)
			}
			return nil
		})
	}

	c.kubectl(t, "-n", namespaceBackup, "create", "cronjob", "backup-retention", "--image=backup", "--schedule=0 0 1 1 *")
	page.types("kubectl apply -k deploy")
	page.sees("kubectl -n backup delete cronjob backup-retention", "deleted")
	page.types("kubectl patch function.pkg.crossplane.io function-planaclient --type merge -p '{\"spec\":{\"package\"", example, here)
	page.types("kubectl wait --for=jsonpath", example, here)
	page.types("kubectl wait --for=condition=Healthy")
	serves("v0.2.0")
	page.types("kubectl patch configurations.pkg.crossplane.io", example, here)
	page.sees("kubectl get planaclients", "acme")
	acme.ready(t, patience)

	page.types("kubectl patch function.pkg.crossplane.io function-planaclient --type merge -p '{\"spec\":{\"package\"", example, here)
	page.types("kubectl wait --for=jsonpath", example, here)
	page.types("kubectl wait --for=condition=Healthy")
	serves("v0.1.0")
	acme.ready(t, patience)

	c.kubectl(t, "patch", "function.pkg.crossplane.io", "function-planaclient", "--type=merge", "-p", `{"spec":{"revisionActivationPolicy":"Manual"}}`)
	eventually(t, time.Minute, "there is no function", func() error {
		out := c.kubectl(t, "-n", namespaceCrossplane, "get", "pods", "--selector=pkg.crossplane.io/function=function-planaclient", "-o", "name")
		if out != "" {
			return errors.New(out)
		}
		return nil
	})
	page.types("kubectl patch function.pkg.crossplane.io function-planaclient --type merge -p '{\"spec\":{\"revisionActivationPolicy\"")
	var stuck string
	eventually(t, time.Minute, "a revision that nobody has activated", func() error {
		page.types("kubectl get functionrevisions.pkg.crossplane.io")
		stuck = c.kubectl(t, "get", "functionrevisions.pkg.crossplane.io", "-o", `jsonpath={.items[?(@.spec.desiredState=="")].metadata.name}`)
		if stuck == "" {
			return errors.New("there is none")
		}
		return nil
	})
	page.types("kubectl patch functionrevisions.pkg.crossplane.io", "function-planaclient-4f1c2d", stuck)
	c.hasFunction(t)
}

// hasFunction waits until the function's pods are there, and ready.
func (c *cluster) hasFunction(t testing.TB) {
	t.Helper()
	eventually(t, 2*time.Minute, "there is a function", func() error {
		out, err := c.tryKubectl("", "-n", namespaceCrossplane, "wait", "--for=condition=Ready", "--timeout=10s", "pods", "--selector=pkg.crossplane.io/function=function-planaclient")
		if err != nil {
			return errors.New(out)
		}
		return nil
	})
}
