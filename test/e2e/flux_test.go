//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const namespaceFlux = "flux-system"

// TestFlux has Flux install this project and keep its tenants, with the manifests
// that the page shows.
func TestFlux(t *testing.T) {
	if os.Getenv("FLUX") == "" {
		t.Skip("it takes Flux: make e2e-flux runs it")
	}
	r := &report{}
	c := startCluster(t, func(c *cluster) {
		c.installer = (*cluster).installWithFlux
		c.more = c.fluxControllers(t)
	})
	defer end(c, r)
	r.scenario(t, c, "7 tenants in Git", func(t *testing.T) { testTenantsInGit(t, c) })
}

// installWithFlux installs this project from manifests in the registry.
func (c *cluster) installWithFlux(t testing.TB) {
	t.Helper()
	guide := c.reader.open(t, "docs/how-to/install.md")
	page := c.reader.open(t, "docs/how-to/use-flux.md")
	c.haveReady(t, guide)
	c.startFlux(t)

	const example = "registry.example.com/plana-pulse"
	here := c.registry + "/plana-pulse"
	manifests := filepath.Join(c.dir, "manifests")
	mkdir(t, filepath.Join(manifests, "function"), filepath.Join(manifests, "configuration"))
	write(t, filepath.Join(manifests, "function", "function.yaml"), page.shows("kind: Function\nmetadata:", example, here))
	write(t, filepath.Join(manifests, "configuration", "configuration.yaml"), page.shows("kind: Configuration\nmetadata:", example, here))
	c.run(t, "cp", filepath.Join(c.reader.folder, "deploy", "runtime-config.yaml"), filepath.Join(manifests, "function"))
	c.run(t, "cp", "-r", filepath.Join(c.reader.folder, "deploy"), manifests)
	layer := filepath.Join(c.dir, "manifests.tar.gz")
	c.run(t, "tar", "--create", "--gzip", "--file="+layer, "--directory="+manifests, ".")
	c.run(t, c.crane, "append", "--insecure", "--oci-empty-base", "--new_layer="+layer, "--new_tag="+here+"/manifests:v0.1.0")

	c.makeTemplate(t, guide, "pro-template-18")
	// The registry here has no TLS.
	c.apply(t, page.shows("kind: OCIRepository\n", example, here)+"  insecure: true\n")
	for _, name := range []string{"planaclient-function", "planaclient-deploy"} {
		c.apply(t, page.shows("name: "+name+"\n"))
	}
	for _, name := range []string{"planaclient-function", "planaclient-configuration", "planaclient-deploy", "planaclient-template-pro-18"} {
		c.kubectl(t, "-n", namespaceFlux, "wait", "--for=condition=Ready", "--timeout=5m", "kustomization/"+name)
	}
	c.kubectl(t, "-n", namespaceCrossplane, "wait", "--for=condition=Ready", "--timeout=10s", "databases.postgresql.sql.m.crossplane.io/pro-template-18")
}

// fluxControllers are the images of those of Flux's controllers that the page is about.
func (c *cluster) fluxControllers(t testing.TB) map[string]image {
	t.Helper()
	controller := func(name string, more func(ip string, port func(int) int) []string) image {
		return image{
			programs:   map[string]string{name: c.tool(t, name)},
			entrypoint: name,
			args: func(ip string, port func(int) int) []string {
				return append(more(ip, port), "--enable-leader-election=false",
					fmt.Sprintf("--metrics-addr=%s:%d", ip, port(8080)), fmt.Sprintf("--health-addr=%s:%d", ip, port(9440)))
			},
		}
	}
	return map[string]image{
		"fluxcd/source-controller": controller("source-controller", func(ip string, port func(int) int) []string {
			storage := net.JoinHostPort(ip, strconv.Itoa(port(9090)))
			return []string{"--storage-addr=" + storage, "--storage-adv-addr=" + storage}
		}),
		// As flux install has it.
		"fluxcd/kustomize-controller": controller("kustomize-controller", func(string, func(int) int) []string {
			return []string{"--requeue-dependency=5s"}
		}),
	}
}

// startFlux starts its controllers, with the rights that flux install gives them.
func (c *cluster) startFlux(t testing.TB) {
	t.Helper()
	c.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cluster-reconciler-%[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: default, namespace: %[1]s}]
`, namespaceFlux))
	for _, name := range []string{"source-controller", "kustomize-controller"} {
		config := filepath.Join(module(t, filepath.Join(c.root, "tools", name), "github.com/fluxcd/"+name), "config")
		c.kubectl(t, "apply", "--server-side", "-f", filepath.Join(config, "crd", "bases"))
		c.kubectl(t, "-n", namespaceFlux, "apply", "--server-side", "-f", filepath.Join(config, "manager", "deployment.yaml"))
	}
	c.kubectl(t, "-n", namespaceFlux, "rollout", "status", "--timeout=2m", "deployment/source-controller", "deployment/kustomize-controller")
}

// testTenantsInGit follows a tenant that is a file: there, gone, and back.
func testTenantsInGit(t *testing.T, c *cluster) {
	page := c.reader.open(t, "docs/how-to/use-flux.md")
	c.apply(t, c.composition("5m"))
	acme := &tenant{cluster: c, name: "acme", project: 23, tier: "pro", version: "18"}
	g := newGit(t, c)
	file := page.shows("kind: PLANAClient\nmetadata:\n  name: acme\n") + "  crossplane: {compositionRef: {name: " + compositionName + "}}\n"
	unprotected := strings.Replace(file, "deletionProtection: true", "deletionProtection: false", 1)
	tenants := page.shows("name: tenants\n")
	pruning := strings.Replace(tenants, "prune: false", "prune: true", 1)
	if unprotected == file || pruning == tenants {
		t.Fatalf("%s shows a tenant without protection, or one that is pruned", page.page)
	}
	marked := func() bool {
		t.Helper()
		client, err := acme.get()
		if err != nil || client == nil {
			t.Fatalf("want the tenant there, got %v", err)
		}
		_, ok := client.GetAnnotations()["usage.crossplane.io/deletion-attempt-with-policy"]
		return ok
	}

	g.commit("acme", file)
	c.apply(t, tenants)
	acme.ready(t, patience)
	g.reconciles("True", "Applied revision")

	// Nothing that happens to the file happens to the tenant.
	g.commit("acme", "")
	g.reconciles("True", "Applied revision")
	if marked() {
		t.Error("with prune: false, a file that is gone is a tenant that is to be deleted")
	}

	// It takes prune, and even that is refused for a tenant that is protected.
	g.commit("acme", file)
	c.apply(t, pruning)
	g.reconciles("True", "Applied revision")
	g.commit("acme", "")
	g.reconciles("False", "deletionProtection")
	if marked() {
		t.Error("the end of a protected tenant has begun")
	}
	acme.ready(t, time.Second)

	// One that isn't protected is on its way out, for all that Flux says.
	g.commit("acme", unprotected)
	g.reconciles("True", "Applied revision")
	g.commit("acme", "")
	g.reconciles("False", "this has begun")
	acme.condition(t, time.Minute, "Deprovisioned", "False", "GracePeriod")

	// And this brings it back.
	g.commit("acme", unprotected)
	page.leaves("flux reconcile kustomization tenants --with-source")
	g.reconciles("True", "Applied revision")
	page.types("kubectl annotate planaclient acme")
	acme.ready(t, patience)
	g.reconciles("True", "Applied revision")
	if marked() {
		t.Error("Flux has asked again for a tenant's end whose file is there")
	}

	// The Kustomization itself doesn't take its tenants along, if it is told so.
	c.kubectl(t, "-n", namespaceFlux, "patch", "kustomization", "tenants", "--type=merge", "-p", `{"spec":{"deletionPolicy":"Orphan"}}`)
	c.kubectl(t, "-n", namespaceFlux, "delete", "kustomization", "tenants", "--timeout=1m")
	if marked() {
		t.Error("a Kustomization that was to leave its tenants has taken one along")
	}
	acme.ready(t, time.Second)
}

// A git repository that tenants are kept in, served as a forge serves it.
type git struct {
	testing.TB
	*cluster
	folder string
}

// newGit makes the repository, and the source of it.
func newGit(t *testing.T, c *cluster) *git {
	t.Helper()
	program, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(c.dir, "git")
	g := &git{TB: t, cluster: c, folder: filepath.Join(root, "tenants")}
	mkdir(t, filepath.Join(g.folder, "tenants"))
	server := httptest.NewServer(&cgi.Handler{Path: program, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=flux"}})
	t.Cleanup(server.Close)
	g.git("init", "--quiet", "--initial-branch=main")
	// A folder that is empty is none to git, and an error to Flux.
	g.commit("about", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tenants, namespace: "+namespaceFlux+"}\n")
	c.apply(t, fmt.Sprintf(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: tenants, namespace: %s}
spec: {interval: 10m, url: %s/tenants/.git, ref: {branch: main}}
`, namespaceFlux, server.URL))
	return g
}

// commit a file. Empty: without it.
func (g *git) commit(name, content string) {
	g.Helper()
	file := filepath.Join(g.folder, "tenants", name+".yaml")
	if content == "" {
		if err := os.Remove(file); err != nil {
			g.Fatal(err)
		}
	} else {
		write(g, file, content)
	}
	g.git("add", "--all")
	g.git("commit", "--quiet", "--message="+name)
}

func (g *git) git(args ...string) {
	g.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = g.folder, g.reader.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		g.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// reconciles the tenants, with their source, as "flux reconcile kustomization tenants
// --with-source" does: that program can't be built from its module, which lacks the
// manifests that it embeds. What comes of it is a condition Ready with some words.
func (g *git) reconciles(status string, words string) {
	g.Helper()
	for _, kind := range []string{"gitrepository", "kustomization"} {
		asked := time.Now().Format(time.RFC3339Nano)
		g.kubectl(g, "-n", namespaceFlux, "annotate", "--overwrite", kind, "tenants", "reconcile.fluxcd.io/requestedAt="+asked)
		var ready metav1.Condition
		eventually(g, 2*time.Minute, kind+" is reconciled", func() error {
			var o struct {
				Metadata metav1.ObjectMeta `json:"metadata"`
				Status   struct {
					LastHandledReconcileAt string             `json:"lastHandledReconcileAt"`
					Conditions             []metav1.Condition `json:"conditions"`
				} `json:"status"`
			}
			if err := g.object(&o, "-n", namespaceFlux, kind, "tenants"); err != nil {
				return err
			}
			if o.Status.LastHandledReconcileAt != asked {
				return errors.New("it hasn't begun")
			}
			for _, ready = range o.Status.Conditions {
				// Flux looks at what tenants depend on as well, and waits for it.
				if ready.Type == "Ready" && ready.Status != metav1.ConditionUnknown && ready.Reason != "DependencyNotReady" && ready.ObservedGeneration == o.Metadata.Generation {
					return nil
				}
			}
			return fmt.Errorf("it isn't done: %v", o.Status.Conditions)
		})
		want, has := status, words
		if kind == "gitrepository" {
			want, has = "True", ""
		}
		if string(ready.Status) != want || !strings.Contains(ready.Message, has) {
			g.Errorf("%s: want Ready=%s with %q, got %s: %s", kind, want, has, ready.Status, ready.Message)
		}
	}
}
