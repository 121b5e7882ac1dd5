package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	"maunium.net/go/mautrix"

	"github.com/plana-pulse/function-planaclient/test/pages"
	"github.com/plana-pulse/function-planaclient/test/servers"
)

const (
	namespaceCrossplane = "crossplane-system"
	namespaceBackup     = "backup"
	domain              = "planapulse.app"
)

// versions of Odoo, with the namespace of each and the address of its workers'
// Service.
var versions = []struct{ version, namespace, ip string }{
	{"17", "plana-odoo", "127.64.17.17"},
	{"18", "plana-odoo-18", "127.64.18.18"},
	{"19", "plana-odoo-19", "127.64.19.19"},
}

// A cluster with this project installed in it.
type cluster struct {
	*controlPlane
	node *node

	// root of the repository, dir of what is thrown away, and out of what stays.
	root, dir, out, logs string
	kubectlBinary        string

	registry string
	crane    string

	// metrics of Crossplane's core.
	metrics string
	// function is the effects' program, and exports what NFS servers export.
	function, exports string
	// effects is the program that Jobs run, and coreArgs are more of Crossplane's.
	effects  string
	coreArgs []string
	// window of backups, if it isn't the usual one.
	window string
	// installer installs this project, and more are images that it takes.
	installer func(*cluster, testing.TB)
	more      map[string]image
	pulling   sync.Mutex

	postgres *servers.PostgresServer
	redis    *servers.RedisServer
	matrix   *servers.MatrixServer
	bot      *mautrix.Client
	s3       *servers.S3Server
	portal   *portal
	gateway  *gateway
	workers  map[string]*worker

	// lines that lead the cluster to the servers above. The tests themselves
	// have ways of their own.
	lines struct{ postgres, redis, matrix, s3, portal *line }

	resticPassword string

	reader *reader
}

// startCluster brings everything up. It is all stopped at the end of the test.
func startCluster(t testing.TB, options ...func(*cluster)) *cluster {
	t.Helper()
	c := &cluster{
		workers:   map[string]*worker{},
		installer: (*cluster).install,
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	c.root = root
	c.out = filepath.Join(root, "_output", "e2e", t.Name())
	if err := os.RemoveAll(c.out); err != nil {
		t.Fatalf("cannot clear %s: %v", c.out, err)
	}
	c.logs = filepath.Join(c.out, "logs")
	mkdir(t, filepath.Join(c.logs, "pods"))
	if c.dir, err = os.MkdirTemp("", "e2e-"); err != nil { //nolint:usetesting // What a process writes while this is removed is no failure.
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(c.dir) })
	c.exports = filepath.Join(c.dir, "exports")
	mkdir(t, c.exports)

	began := time.Now()
	step := func(what string) {
		t.Logf("%s after %s", what, time.Since(began).Round(time.Millisecond))
	}

	c.function = filepath.Join(root, "_output", "function")
	c.effects = c.function
	for _, o := range options {
		o(c)
	}
	kubernetes := c.tool(t, "kubernetes")
	c.kubectlBinary = filepath.Join(c.dir, "kubectl")
	if err := os.Symlink(kubernetes, c.kubectlBinary); err != nil {
		t.Fatal(err)
	}
	c.crane = c.tool(t, "crane")
	images := c.images(t)

	c.controlPlane = startControlPlane(t, c.dir, c.logs, c.tool(t, "etcd"), kubernetes)
	c.hostsAndNode(t, images)
	step("the control plane is up")

	c.startServers(t)
	step("the servers outside of the cluster are up")

	c.startRegistry(t)
	c.installGatewayAPI(t)
	c.installCrossplane(t)
	step("Crossplane is up")
	provider := module(t, filepath.Join(c.root, "tools", "provider-sql"), "github.com/crossplane-contrib/provider-sql")
	c.push(t, filepath.Join(provider, "package"), "crossplane-contrib/provider-sql:v0.16.0")
	c.publish(t, "v0.1.0", filepath.Join(c.root, "_output"))
	step("the packages are published")
	c.reader = newReader(t, c)
	c.installer(c, t)
	c.startGateway(t)
	step("everything is installed")
	return c
}

// tool is the path of one of the tools in tools/.
func (c *cluster) tool(t testing.TB, name string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(c.root, "hack", "tool"), name)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot build %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// module is the folder of a module that a Go module depends on.
func module(t testing.TB, dir, path string) string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot find module %s: %v", path, err)
	}
	return strings.TrimSpace(string(out))
}

// images that the cluster's pods are run from.
func (c *cluster) images(t testing.TB) func(string) (image, bool) {
	t.Helper()
	crossplane := module(t, filepath.Join(c.root, "tools", "crossplane"), "github.com/crossplane/crossplane/v2")
	testdata := filepath.Join(c.root, "effect", "testdata")

	table := map[string]image{
		"crossplane/crossplane": {
			programs:   map[string]string{"crossplane": c.tool(t, "crossplane")},
			entrypoint: "crossplane",
			mounts: map[string]string{
				"/crds":                  filepath.Join(crossplane, "cluster", "crds"),
				"/webhookconfigurations": filepath.Join(crossplane, "cluster", "webhookconfigurations"),
			},
		},
		"crossplane-contrib/provider-sql": {
			programs:   map[string]string{"provider": c.tool(t, "provider-sql")},
			entrypoint: "provider",
			args: func(ip string, port func(int) int) []string {
				return []string{fmt.Sprintf("--metrics-bind-address=%s:%d", ip, port(8080))}
			},
		},
		"registry.k8s.io/kube-state-metrics/kube-state-metrics": {
			programs:   map[string]string{"kube-state-metrics": c.tool(t, "kube-state-metrics")},
			entrypoint: "kube-state-metrics",
			args: func(ip string, _ func(int) int) []string {
				return []string{"--host=" + ip, "--telemetry-host=" + ip}
			},
		},
		"plana-pulse/function-planaclient-effects": {
			programs:   map[string]string{"function": c.effects},
			entrypoint: "function",
		},
	}
	for _, v := range versions {
		table["plana-pulse/odoo:"+v.version+".0"] = image{programs: map[string]string{
			"odoo":             filepath.Join(c.root, "test", "e2e", "testdata", "odoo"),
			"odoo.sql":         filepath.Join(testdata, "odoo.sql"),
			"odoo-version.sql": filepath.Join(testdata, "odoo-"+v.version+".sql"),
		}}
	}
	maps.Copy(table, c.more)
	return func(name string) (image, bool) {
		if rest, ok := strings.CutPrefix(name, c.registry+"/"); ok {
			if strings.HasPrefix(rest, "plana-pulse/function-planaclient") {
				return c.pull(name)
			}
			name = rest
		}
		if i, ok := table[name]; ok {
			return i, true
		}
		// The tag or digest tells packages apart, not programs.
		name, _, _ = strings.Cut(name, "@")
		if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
			name = name[:colon]
		}
		i, ok := table[name]
		return i, ok
	}
}

// pull the function's own image, which its package holds, from the registry.
func (c *cluster) pull(name string) (image, bool) {
	dir := filepath.Join(c.dir, "images", strings.NewReplacer("/", "-", ":", "-", "@", "-").Replace(name))
	program := filepath.Join(dir, "function")
	c.pulling.Lock()
	defer c.pulling.Unlock()
	if !exists(program) {
		// Unpacked under a name of its own, so that half a program is never run.
		script := `mkdir -p "$2" && "$0" export --insecure "$1" - | tar --extract --directory="$2" --transform=s/^function$/function.part/ function && mv "$2/function.part" "$2/function"`
		if out, err := exec.Command("sh", "-euc", script, c.crane, name, dir).CombinedOutput(); err != nil {
			fmt.Printf("cannot pull %s: %v\n%s\n", name, err, out)
			return image{}, false
		}
	}
	return image{
		programs:   map[string]string{"function": program},
		entrypoint: "function",
		args: func(ip string, port func(int) int) []string {
			return []string{fmt.Sprintf("--address=%s:9443", ip), fmt.Sprintf("--metrics-address=%s:%d", ip, port(8080))}
		},
	}, true
}

func (c *cluster) hostsAndNode(t testing.TB, images func(string) (image, bool)) {
	t.Helper()
	h := startHosts(t, filepath.Join(c.dir, "hosts"))
	c.node = &node{
		client: c.client, dir: filepath.Join(c.dir, "pods"), logs: c.logs, exports: c.exports,
		host: "127.0.0.1", port: strconv.Itoa(c.port),
		images: images, hosts: h,
		free: func() int { return freePort(t) },
	}
	h.node = c.node
	c.node.serveLogs(t, c.ca)
	startNode(t, c.node)
	h.watch(t, c.node)
}

// startServers starts what a tenant is made of.
func (c *cluster) startServers(t testing.TB) {
	t.Helper()
	c.postgres = servers.Postgres(t)
	c.redis = servers.Redis(t)
	c.matrix = servers.Matrix(t)
	c.bot = c.matrix.Register(t, "support-bot")
	c.s3 = servers.S3(t)
	c.lines.postgres = lay(t, net.JoinHostPort(c.postgres.Host, strconv.Itoa(int(c.postgres.Port))))
	c.lines.redis = lay(t, c.redis.Address)
	c.lines.matrix = lay(t, strings.TrimPrefix(c.matrix.URL, "http://"))
	c.lines.s3 = lay(t, strings.TrimPrefix(c.s3.Endpoint, "http://"))
	c.portal = startPortal(t)
	c.lines.portal = lay(t, c.portal.address)
	behind := *c.postgres
	behind.Host, behind.Port = c.lines.postgres.host, uint16(c.lines.postgres.port)
	for _, v := range versions {
		c.workers[v.version] = startWorker(t, &behind, v.version, v.ip)
	}
}

func (c *cluster) startRegistry(t testing.TB) {
	t.Helper()
	port := strconv.Itoa(freePort(t))
	disk := filepath.Join(c.dir, "registry")
	mkdir(t, disk)
	c.registry = "127.0.0.1:" + port
	startProcess(t, c.logs, "registry", httpReady(quick, "http://"+c.registry+"/v2/"), c.crane,
		"registry", "serve", "--address="+c.registry, "--disk="+disk)
}

// installCrossplane installs Crossplane's own chart, all of it.
func (c *cluster) installCrossplane(t testing.TB) {
	t.Helper()
	dir := module(t, filepath.Join(c.root, "tools", "crossplane"), "github.com/crossplane/crossplane/v2")
	chart, err := loader.Load(filepath.Join(dir, "cluster", "charts", "crossplane"))
	if err != nil {
		t.Fatalf("cannot load Crossplane's chart: %v", err)
	}
	// All pods share one network, so none may have the usual ports.
	port := func() string { return strconv.Itoa(freePort(t)) }
	metrics := port()
	c.metrics = "http://127.0.0.1:" + metrics + "/metrics"
	values, err := pages.CrossplaneValues(c.root)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(values, map[string]any{
		"image":     map[string]any{"repository": "crossplane/crossplane", "tag": "e2e"},
		"args":      append(pages.CrossplaneArgs(values), c.coreArgs...),
		"webhooks":  map[string]any{"port": port()},
		"readiness": map[string]any{"port": port()},
		// There is one of each, and one that was killed needn't wait until its own
		// lease has run out.
		"leaderElection": false,
		"rbacManager":    map[string]any{"leaderElection": false},
		"extraEnvVarsCrossplane": map[string]any{
			"METRICS_PORT": metrics,
		},
	})
	full, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "crossplane", Namespace: namespaceCrossplane, IsInstall: true}, nil)
	if err != nil {
		t.Fatalf("cannot use Crossplane's chart: %v", err)
	}
	rendered, err := engine.Render(chart, full)
	if err != nil {
		t.Fatalf("cannot render Crossplane's chart: %v", err)
	}
	var all strings.Builder
	for name, text := range rendered {
		if strings.HasSuffix(name, ".yaml") {
			all.WriteString("---\n" + text + "\n")
		}
	}
	c.apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespaceCrossplane+"}\n")
	c.apply(t, all.String(), "--namespace", namespaceCrossplane)
	c.kubectl(t, "--namespace", namespaceCrossplane, "rollout", "status", "deployment/crossplane", "deployment/crossplane-rbac-manager", "--timeout=3m")
}

func (c *cluster) installGatewayAPI(t testing.TB) {
	t.Helper()
	dir := filepath.Join(module(t, c.root, "sigs.k8s.io/gateway-api"), "config", "crd", "standard")
	args := []string{"apply", "--server-side"}
	for _, kind := range []string{"gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "backendtlspolicies"} {
		args = append(args, "-f", filepath.Join(dir, "gateway.networking.k8s.io_"+kind+".yaml"))
	}
	c.kubectl(t, args...)
}

// kubectl runs kubectl as the cluster's administrator and returns what it says.
func (c *cluster) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.tryKubectl("", args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// tryKubectl runs kubectl, with some input, and returns all that it says.
func (c *cluster) tryKubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(interrupted, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.kubectlBinary, append([]string{"--kubeconfig=" + c.kubeconfig}, args...)...)
	cmd.Env = append(os.Environ(), "KUBERC=off")
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// apply manifests.
func (c *cluster) apply(t testing.TB, manifests string, args ...string) {
	t.Helper()
	args = append([]string{"apply", "--server-side", "--force-conflicts", "-f", "-"}, args...)
	var out string
	var err error
	// A kind that has just been defined isn't served at once.
	for range 50 {
		if out, err = c.tryKubectl(manifests, args...); err == nil {
			return
		}
		if !strings.Contains(out, "no matches for kind") && !strings.Contains(out, "ensure CRDs are installed first") {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("kubectl apply: %v\n%s\n%s", err, out, manifests)
}

// object returns an object as JSON says it, or an error.
func (c *cluster) object(into any, args ...string) error {
	out, err := c.tryKubectl("", append([]string{"get", "-o", "json"}, args...)...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return json.Unmarshal([]byte(out), into)
}

// quick asks servers that answer soon, or are down.
var quick = &http.Client{Timeout: 30 * time.Second}

// eventually asks until there is no error.
func eventually(t testing.TB, patience time.Duration, what string, ask func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
		if interrupted.Err() != nil {
			t.Fatalf("%s: interrupted", what)
		}
	}
	t.Fatalf("%s: not after %s: %v", what, patience, err)
}

// labelled tells whether a pod has a label.
func labelled(name, value string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return p.GetLabels()[name] == value }
}
