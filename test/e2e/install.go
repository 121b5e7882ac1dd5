package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// installPackages builds the packages, pushes them to the registry, and has
// Crossplane's package manager install them.
func (c *cluster) installPackages(t testing.TB) {
	t.Helper()
	provider := module(t, filepath.Join(c.root, "tools", "provider-sql"), "github.com/crossplane-contrib/provider-sql")
	c.push(t, filepath.Join(provider, "package"), "crossplane-contrib/provider-sql:v0.16.0")

	c.buildPackages(t, "v0.1.0")
	cli := c.tool(t, "crossplane-cli")
	c.run(t, cli, "xpkg", "push", "--package-files="+filepath.Join(c.root, "_output", "function-planaclient.xpkg"), c.registry+"/plana-pulse/function-planaclient:v0.1.0")
	c.run(t, cli, "xpkg", "push", "--package-files="+filepath.Join(c.root, "_output", "configuration-planaclient.xpkg"), c.registry+"/plana-pulse/configuration-planaclient:v0.1.0")

	// In the order of the installation guide.
	c.kubectl(t, "apply", "-f", filepath.Join(c.root, "deploy", "runtime-config.yaml"))
	c.apply(t, strings.ReplaceAll(`
apiVersion: pkg.crossplane.io/v1
kind: Function
metadata: {name: function-planaclient}
spec:
  package: "REGISTRY/plana-pulse/function-planaclient:v0.1.0"
  runtimeConfigRef: {name: function-planaclient}
`, "REGISTRY", c.registry))
	c.kubectl(t, "wait", "--for=condition=Healthy", "--timeout=3m", "function.pkg/function-planaclient")

	// provider-sql comes with the Configuration, which depends on it.
	c.apply(t, strings.ReplaceAll(`
apiVersion: pkg.crossplane.io/v1
kind: Configuration
metadata: {name: planaclient}
spec: {package: "REGISTRY/plana-pulse/configuration-planaclient:v0.1.0"}
`, "REGISTRY", c.registry))
	c.kubectl(t, "wait", "--for=create", "--timeout=5m", "crd/clusterproviderconfigs.postgresql.sql.m.crossplane.io")
}

// buildPackages builds this project's two packages as a release does.
func (c *cluster) buildPackages(t testing.TB, version string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(c.root, "hack", "package"))
	cmd.Env = append(os.Environ(), "REGISTRY="+c.registry+"/plana-pulse", "VERSION="+version)
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

// installPlatform makes what an installation has before its first tenant.
func (c *cluster) installPlatform(t testing.TB) {
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

	c.resticPassword = "e2e-restic"
	secret := func(ns, name string, data map[string]string) {
		pairs, err := yaml.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		add("apiVersion: v1\nkind: Secret\nmetadata: {namespace: %s, name: %s}\nstringData:\n  %s", ns, name, strings.ReplaceAll(strings.TrimSpace(string(pairs)), "\n", "\n  "))
	}
	for _, ns := range append(namespaces, namespaceCrossplane) {
		y.WriteString(c.credentials(ns))
	}
	secret(namespaceCrossplane, "matrix-support-bot", map[string]string{"access-token": c.bot.AccessToken})
	secret(namespaceCrossplane, "account-webhook", map[string]string{"secret": c.portal.Secret})
	secret(namespaceCrossplane, "redis-credentials", map[string]string{"password": c.redis.AdminPassword()})
	secret(namespaceBackup, "backup-restic", map[string]string{"password": c.resticPassword})
	secret(namespaceBackup, "backup-s3", map[string]string{"access-key": c.s3.AccessKey, "secret-key": c.s3.SecretKey})
	c.apply(t, y.String())

	c.installDeploy(t)
	c.apply(t, c.composition("10s"))
	c.makeTemplates(t)
}

// credentials of PostgreSQL in a namespace.
func (c *cluster) credentials(ns string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {namespace: %s, name: provider-sql-postgres-creds}\n"+
		"stringData: {endpoint: %q, port: \"%d\", username: %q, password: %q}\n", ns, c.lines.postgres.host, c.lines.postgres.port, servers.PostgresAdmin, c.postgres.Password)
}

// installDeploy applies deploy/, with a patch for a server that has no TLS.
func (c *cluster) installDeploy(t testing.TB) {
	t.Helper()
	overlay := filepath.Join(c.dir, "deploy")
	mkdir(t, overlay)
	c.run(t, "cp", "-R", filepath.Join(c.root, "deploy"), filepath.Join(overlay, "base"))
	write(t, filepath.Join(overlay, "kustomization.yaml"), `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [base, base/templates/basic-17, base/templates/basic-18, base/templates/pro-18, base/templates/pro-19]
patches:
  - target: {kind: ClusterProviderConfig}
    patch: '[{"op": "replace", "path": "/spec/sslMode", "value": "disable"}]'
`)
	eventually(t, time.Minute, "kubectl apply -k deploy", func() error {
		out, err := c.tryKubectl("", "apply", "-k", overlay)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	c.kubectl(t, "wait", "--for=condition=Healthy", "--timeout=5m", "providers.pkg.crossplane.io,functions.pkg.crossplane.io,configurations.pkg.crossplane.io", "--all")
}

// compositionName is of the Composition with this installation's Platform.
const compositionName = "planaclients-e2e"

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
        backup: {repository: %q, region: us-east-1}
        deletion: {gracePeriod: %s}
`, compositionName, c.lines.postgres.host, c.lines.postgres.port, gatewayController, "http://"+c.lines.matrix.address(), c.matrix.Name,
		"http://"+c.lines.portal.address()+portalPath, c.lines.redis.address(), "s3:http://"+c.lines.s3.address()+"/"+c.s3.Bucket, grace)
}

// templates that this installation has: all but that of one pair, pro on 17.
var templates = []string{"basic-template-17", "basic-template-18", "pro-template-18", "pro-template-19"}

// makeTemplates makes the template databases and their files.
func (c *cluster) makeTemplates(t testing.TB) {
	t.Helper()
	for _, name := range templates {
		database := name + "." + domain
		version := name[len(name)-2:]
		c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER %s", database, servers.PostgresAdmin))
		c.postgres.Exec(t, servers.PostgresSuperuser, database, "GRANT CREATE ON SCHEMA public TO "+servers.PostgresOdoo)
		for _, file := range []string{"odoo.sql", "odoo-" + version + ".sql"} {
			sql, err := os.ReadFile(filepath.Join(c.root, "effect", "testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			c.postgres.Exec(t, servers.PostgresOdoo, database, string(sql))
		}
		c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("ALTER DATABASE %q WITH IS_TEMPLATE true ALLOW_CONNECTIONS false", database))

		files := filepath.Join(c.exports, "odoo-"+version, database, "ab")
		mkdir(t, files)
		write(t, filepath.Join(files, "ab"+strings.Repeat("0", 38)), "a file of "+name)
		c.kubectl(t, "-n", namespaceCrossplane, "annotate", "databases.postgresql.sql.m.crossplane.io", name, "e2e/made=true", "--overwrite")
	}
	for _, name := range templates {
		c.kubectl(t, "-n", namespaceCrossplane, "wait", "--for=condition=Ready", "--timeout=2m", "databases.postgresql.sql.m.crossplane.io/"+name)
	}
}
