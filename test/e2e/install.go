package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// compositionName is of the Composition with this installation's Platform.
const compositionName = "planaclients-e2e"

// adapt a clone to this installation, as far as the installation guide asks for it:
// its PostgreSQL server has no TLS, and its tenants name its own Composition.
func (c *cluster) adapt(t testing.TB, clone string) {
	t.Helper()
	extend(t, filepath.Join(clone, "deploy", "kustomization.yaml"), `
patches:
  - target: {kind: ClusterProviderConfig}
    patch: '[{"op": "replace", "path": "/spec/sslMode", "value": "disable"}]'
`)
	extend(t, filepath.Join(clone, "example", "planaclient.yaml"), "  crossplane: {compositionRef: {name: "+compositionName+"}}\n")
}

// extend a file at its end.
func extend(t testing.TB, file, more string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("cannot read %s: %v", file, err)
	}
	write(t, file, string(content)+more)
}

// publish this project's packages of a version in the installation's registry. They
// are built in a folder.
func (c *cluster) publish(t testing.TB, version, folder string) {
	t.Helper()
	c.buildPackages(t, version, "OUT="+folder)
	cli := c.tool(t, "crossplane-cli")
	for _, name := range []string{"function-planaclient", "configuration-planaclient"} {
		c.run(t, cli, "xpkg", "push", "--package-files="+filepath.Join(folder, name+".xpkg"), c.registry+"/plana-pulse/"+name+":"+version)
	}
}

// install this project by the commands of its installation guide.
func (c *cluster) install(t testing.TB) {
	t.Helper()
	guide := c.reader.open(t, "docs/how-to/install.md")
	c.haveReady(t, guide)

	guide.types("kubectl apply -f deploy/runtime-config.yaml")
	guide.types("crossplane xpkg install function")
	guide.types("kubectl wait --for=condition=Healthy")
	guide.types("crossplane xpkg install configuration")

	guide.types("until kubectl get clusterproviderconfigs")
	guide.types("kubectl apply -k deploy")
	c.apply(t, c.composition("10s"))

	c.makeTemplates(t, guide)
	c.kubectl(t, "wait", "--for=condition=Healthy", "--timeout=5m", "providers.pkg.crossplane.io,functions.pkg.crossplane.io,configurations.pkg.crossplane.io", "--all")
}

// buildPackages builds this project's two packages as a release does.
func (c *cluster) buildPackages(t testing.TB, version string, environ ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(c.root, "hack", "package"))
	cmd.Env = append(os.Environ(), "REGISTRY="+c.registry+"/plana-pulse", "VERSION="+version)
	cmd.Env = append(cmd.Env, environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the packages: %v\n%s", err, out)
	}
}

// push a package that is built from a folder.
func (c *cluster) push(t testing.TB, dir, name string) {
	t.Helper()
	cli := c.tool(t, "crossplane-cli")
	file := filepath.Join(c.dir, strings.NewReplacer("/", "-", ":", "-").Replace(name)+".xpkg")
	c.run(t, cli, "xpkg", "build", "--package-root="+dir, "--package-file="+file)
	c.run(t, cli, "xpkg", "push", "--package-files="+file, c.registry+"/"+name)
}

// run a program to its end.
func (c *cluster) run(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatalf("cannot write %s: %v", file, err)
	}
}

// haveReady what the guide says to have ready: namespaces, Secrets and volumes.
func (c *cluster) haveReady(t testing.TB, guide *reading) {
	t.Helper()
	var y strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&y, "---\n"+format+"\n", args...) }

	namespaces := []string{namespaceBackup}
	for _, v := range versions {
		namespaces = append(namespaces, v.namespace)
	}
	for _, ns := range namespaces {
		add("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: restricted}}", ns)
	}
	claim := func(ns, name, volume, version string) {
		add(`apiVersion: v1
kind: PersistentVolume
metadata: {name: %[3]s}
spec:
  capacity: {storage: 100Gi}
  accessModes: [ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {namespace: %[1]s, name: %[2]s}
  nfs: {server: nfs01.planapulse.com, path: /odoo-%[4]s}`, ns, name, volume, version)
		add(`apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: %s, name: %s}
spec: {accessModes: [ReadWriteMany], storageClassName: "", volumeName: %s, resources: {requests: {storage: 100Gi}}}`, ns, name, volume)
	}
	for _, v := range versions {
		mkdir(t, filepath.Join(c.exports, "odoo-"+v.version))
		claim(v.namespace, "odoo-filestore", "filestore-"+v.version, v.version)
		claim(namespaceBackup, "odoo-filestore-"+v.version, "filestore-backup-"+v.version, v.version)
		add(`apiVersion: v1
kind: ResourceQuota
metadata: {namespace: %s, name: plana-quota}
spec: {hard: {limits.cpu: "10", limits.memory: 14Gi, pods: "14"}}`, v.namespace)
		add(`apiVersion: v1
kind: Service
metadata: {namespace: %s, name: worker-odoo}
spec: {clusterIP: %s, ports: [{name: http, port: 8069}, {name: websocket, port: 8072}]}`, v.namespace, v.ip)
	}

	// The roles are the page's, and not those that the server came with.
	c.postgres.Exec(t, servers.PostgresSuperuser, "template1", "DROP EXTENSION pg_trgm, unaccent", "REVOKE ALL ON SCHEMA public FROM "+servers.PostgresOdoo)
	for _, role := range []string{servers.PostgresAdmin, servers.PostgresBackup, servers.PostgresOdoo, servers.PostgresRestore} {
		c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", "DROP ROLE "+role)
	}
	guide.queries("CREATE ROLE plana_restore", "…", c.postgres.Password)

	c.resticPassword = "e2e-restic"
	secret := func(ns, name string, data map[string]string) {
		pairs, err := yaml.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		add("apiVersion: v1\nkind: Secret\nmetadata: {namespace: %s, name: %s}\nstringData:\n  %s", ns, name, strings.ReplaceAll(strings.TrimSpace(string(pairs)), "\n", "\n  "))
	}
	secret(namespaceCrossplane, "provider-sql-postgres-creds", map[string]string{
		"endpoint": c.lines.postgres.host, "port": strconv.Itoa(c.lines.postgres.port), "username": servers.PostgresAdmin, "password": c.postgres.Password,
	})
	secret(namespaceCrossplane, "matrix-support-bot", map[string]string{"access-token": c.bot.AccessToken})
	secret(namespaceCrossplane, "account-webhook", map[string]string{"secret": c.portal.Secret})
	secret(namespaceCrossplane, "redis-credentials", map[string]string{"password": c.redis.AdminPassword()})
	secret(namespaceBackup, "postgres-backup-creds", map[string]string{"username": servers.PostgresBackup, "password": c.postgres.Password})
	secret(namespaceBackup, "backup-restic", map[string]string{"password": c.resticPassword})
	secret(namespaceBackup, "backup-s3", map[string]string{"access-key": c.s3.AccessKey, "secret-key": c.s3.SecretKey})
	c.apply(t, y.String())
	guide.types("for namespace in plana-odoo plana-odoo-18 plana-odoo-19", "…", c.postgres.Password)
}

// composition is the one of this installation, with its servers.
func (c *cluster) composition(grace string) string {
	return fmt.Sprintf(`
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: %s}
spec:
  compositeTypeRef: {apiVersion: planapulse.com/v1alpha1, kind: PLANAClient}
  mode: Pipeline
  pipeline:
    - step: provision-tenant
      functionRef: {name: function-planaclient}
      input:
        apiVersion: planaclient.fn.planapulse.com/v1beta1
        kind: Platform
        postgres: {host: %q, port: %d, sslMode: disable}
        gateway: {controllerName: %q}
        matrix: {homeserver: %q, serverName: %q}
        account: {webhookURL: %q}
        events: {address: %q}
        backup: {repository: %q, region: us-east-1, window: {%s}}
        deletion: {gracePeriod: %s}
        # What doesn't start is looked at after much else has been.
        effects: {deadline: 30m}
`, compositionName, c.lines.postgres.host, c.lines.postgres.port, gatewayController, "http://"+c.lines.matrix.address(), c.matrix.Name,
		"http://"+c.lines.portal.address()+portalPath, c.lines.redis.address(), c.repository(), c.window, grace)
}

// repository of backups, as the cluster finds it.
func (c *cluster) repository() string {
	return "s3:http://" + c.lines.s3.address() + "/" + c.s3.Bucket
}

// templates that this installation has: all but that of one pair, pro on 17. The
// guide declares two of them.
var templates = []string{"basic-template-17", "basic-template-18", "pro-template-18", "pro-template-19"}

// makeTemplates makes the template databases and their files, and declares them.
func (c *cluster) makeTemplates(t testing.TB, guide *reading) {
	t.Helper()
	for _, name := range templates {
		c.makeTemplate(t, guide, name)
	}
	guide.types("kubectl apply -k deploy/templates/basic-18")
	guide.types("kubectl apply -k deploy/templates/basic-18", "basic-18", "basic-17")
	guide.types("kubectl apply -k deploy/templates/pro-18")
	guide.types("kubectl apply -k deploy/templates/pro-18", "pro-18", "pro-19")
	for _, name := range templates {
		c.kubectl(t, "-n", namespaceCrossplane, "wait", "--for=condition=Ready", "--timeout=2m", "databases.postgresql.sql.m.crossplane.io/"+name)
	}
	guide.sees("kubectl -n crossplane-system get databases.postgresql.sql.m.crossplane.io", templates...)
}

// makeTemplate makes one of the template databases and its files.
func (c *cluster) makeTemplate(t testing.TB, guide *reading, name string) {
	t.Helper()
	database := name + "." + domain
	version := name[len(name)-2:]
	c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER %s", database, servers.PostgresAdmin))
	for _, file := range []string{"odoo.sql", "odoo-" + version + ".sql"} {
		sql, err := os.ReadFile(filepath.Join(c.root, "effect", "testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		c.postgres.Exec(t, servers.PostgresOdoo, database, string(sql))
	}
	guide.queries("ALTER DATABASE", "pro-template-18."+domain, database)

	files := filepath.Join(c.exports, "odoo-"+version, database, "ab")
	mkdir(t, files)
	write(t, filepath.Join(files, "ab"+strings.Repeat("0", 38)), "a file of "+name)
}
