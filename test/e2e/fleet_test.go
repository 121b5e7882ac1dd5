//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plana-pulse/function-planaclient/test/fleet"
)

// syncInterval is how often Crossplane looks at everything, so short here that it
// does while the tenants are at rest.
const syncInterval = 2 * time.Minute

// TestFleet measures what TENANTS tenants cost that are applied at once, then
// left alone for REST, then deleted. Their Jobs' programs end at once. With CACHE,
// Crossplane keeps the function's answers for as long as they hold.
func TestFleet(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("TENANTS"))
	if err != nil {
		t.Skip("it takes long: make bench-fleet runs it")
	}
	rest, err := time.ParseDuration(cmp.Or(os.Getenv("REST"), "5m"))
	if err != nil {
		t.Fatalf("REST: %v", err)
	}

	cached := os.Getenv("CACHE") != ""
	c := startCluster(t, func(c *cluster) {
		c.effects = "/bin/true"
		c.coreArgs = append(c.coreArgs, "--sync-interval="+syncInterval.String())
		if cached {
			c.coreArgs = append(c.coreArgs, "--enable-function-response-cache")
		}
	})
	jobs := c.countJobs(t)
	f := &fleet.Fleet{Tenants: n, Cached: cached}
	tenants := make([]*tenant, n)
	for i := range tenants {
		tenants[i] = &tenant{cluster: c, name: fmt.Sprintf("t%05d", i), project: i + 1, tier: "pro", version: "18"}
	}

	etcd, calls, requests := c.etcdBytes(t), c.calls(t), c.requests(t)
	began := time.Now()
	for batch := range slices.Chunk(tenants, 100) {
		var all strings.Builder
		for _, x := range batch {
			all.WriteString("---\n" + x.yaml())
		}
		c.apply(t, all.String())
	}
	t.Logf("%d tenants were applied within %s", n, time.Since(began).Round(time.Second))

	for {
		ready := c.readyTenants(t)
		f.Curve = append(f.Curve, fleet.Point{At: time.Since(began), Ready: ready})
		if ready == n {
			break
		}
		if interrupted.Err() != nil || time.Since(began) > time.Hour {
			t.Fatalf("%d of %d tenants are Ready after %s", ready, n, time.Since(began))
		}
		time.Sleep(2 * time.Second)
	}
	f.Ready = time.Since(began)
	f.Calls = c.calls(t) - calls
	f.Requests = difference(c.requests(t), requests)
	f.Memory.Function = peakMemory("/image/function\x00")
	f.Memory.Core = peakMemory("crossplane\x00core\x00start")
	f.Memory.APIServer = peakMemory("kube-apiserver\x00")
	t.Logf("all are Ready after %s: %d calls, requests %v", f.Ready.Round(time.Second), f.Calls, f.Requests)

	// Every effect once for each, no more and no less.
	for _, component := range []string{"filestore-clone", "tenant-prepare", "smoke-test", "matrix-room-create", "account-webhook", "client-provisioned"} {
		if got := jobs(component); got != n {
			t.Errorf("%d tenants had %d Jobs %s", n, got, component)
		}
	}

	// The last Jobs go, and the last looks at them end.
	eventually(t, 10*time.Minute, "there are no Jobs", func() error {
		if left := c.versionsOf(t, "jobs"); len(left) > 0 {
			return fmt.Errorf("there are %d", len(left))
		}
		return nil
	})
	time.Sleep(30 * time.Second)
	f.Etcd = c.etcdBytes(t) - etcd

	before := c.versionsOf(t)
	f.Objects = len(before) - n
	calls = c.calls(t)
	rested := time.Now()
	time.Sleep(rest)
	f.Rest.Lasted = time.Since(rested)
	f.Rest.Calls = c.calls(t) - calls
	f.Rest.Looks = f.Rest.Lasted.Seconds() / syncInterval.Seconds()
	after := c.versionsOf(t)
	for object, version := range after {
		if before[object] != version {
			f.Rest.Writes++
			t.Logf("%s was written to at rest", object)
		}
	}
	t.Logf("at rest for %s: %d calls, %d writes", f.Rest.Lasted.Round(time.Second), f.Rest.Calls, f.Rest.Writes)

	began = time.Now()
	for batch := range slices.Chunk(tenants, 100) {
		args := []string{"delete", "planaclients", "--wait=false"}
		for _, x := range batch {
			args = append(args, x.name)
		}
		// Each is refused, which is how it begins.
		_, _ = c.tryKubectl("", args...)
	}
	eventually(t, time.Hour, "all tenants are gone", func() error {
		if left := len(c.versionsOf(t, "planaclients")); left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
	f.Gone = time.Since(began)
	t.Logf("all are gone after %s", f.Gone.Round(time.Second))

	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.root, "_output", "bench")
	mkdir(t, dir)
	name := fmt.Sprintf("fleet-%d.json", n)
	if cached {
		name = fmt.Sprintf("fleet-%d-cached.json", n)
	}
	write(t, filepath.Join(dir, name), string(b))
}

// ofTenants are the kinds that tenants are and consist of.
var ofTenants = append([]schema.GroupVersionResource{planaClients}, composedKinds...)

// versionsOf all tenants' objects of the supplied kinds, or of all of them.
func (c *cluster) versionsOf(t testing.TB, resources ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, kind := range ofTenants {
		if len(resources) > 0 && !slices.Contains(resources, kind.Resource) {
			continue
		}
		which := metav1.ListOptions{LabelSelector: "planapulse.com/tenant"}
		if kind == planaClients {
			which = metav1.ListOptions{}
		}
		list, err := c.dynamic.Resource(kind).List(context.Background(), which)
		if err != nil {
			t.Fatalf("cannot list %s: %v", kind.Resource, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			all[fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())] = o.GetResourceVersion()
		}
	}
	return all
}

func (c *cluster) readyTenants(t testing.TB) int {
	t.Helper()
	list, err := c.dynamic.Resource(planaClients).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("cannot list tenants: %v", err)
	}
	ready := 0
	for i := range list.Items {
		if holds(&list.Items[i], "Ready", 0) {
			ready++
		}
	}
	return ready
}

// countJobs that are created from now on, by the effect that they run.
func (c *cluster) countJobs(t testing.TB) func(component string) int {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	jobs := composedKinds[slices.IndexFunc(composedKinds, func(k schema.GroupVersionResource) bool { return k.Resource == "jobs" })]

	var mu sync.Mutex
	seen := map[string]map[string]bool{}
	everybody := &tenant{cluster: c}
	everybody.watch(ctx, jobs, metav1.ListOptions{LabelSelector: "planapulse.com/tenant"}, func(u *unstructured.Unstructured) {
		mu.Lock()
		defer mu.Unlock()
		component := u.GetLabels()["app.kubernetes.io/component"]
		if seen[component] == nil {
			seen[component] = map[string]bool{}
		}
		seen[component][string(u.GetUID())] = true
	})
	return func(component string) int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen[component])
	}
}

// calls that the function has answered, all replicas together.
func (c *cluster) calls(t testing.TB) int {
	t.Helper()
	calls, _ := c.handled(t)
	return calls
}

// handled are the calls that the function has answered, all replicas together, and
// the time that it took for them.
func (c *cluster) handled(t testing.TB) (calls int, took time.Duration) {
	t.Helper()
	for _, p := range c.node.ready() {
		if p.spec.GetLabels()["pkg.crossplane.io/function"] != "function-planaclient" {
			continue
		}
		rsp, err := http.Get("http://" + net.JoinHostPort(p.ip, strconv.Itoa(p.portOf(8080))) + "/metrics")
		if err != nil {
			t.Fatalf("cannot read the function's metrics: %v", err)
		}
		for _, m := range metrics(t, rsp.Body, "grpc_server_handling_seconds") {
			if label(m, "grpc_method") == "RunFunction" {
				calls += int(m.GetHistogram().GetSampleCount())
				took += time.Duration(m.GetHistogram().GetSampleSum() * float64(time.Second))
			}
		}
		_ = rsp.Body.Close()
	}
	return calls, took
}

// requests that the API server has answered, by verb.
func (c *cluster) requests(t testing.TB) map[string]int {
	t.Helper()
	raw, err := c.client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(context.Background())
	if err != nil {
		t.Fatalf("cannot read the API server's metrics: %v", err)
	}
	sums := map[string]int{}
	for _, m := range metrics(t, bytes.NewReader(raw), "apiserver_request_total") {
		sums[label(m, "verb")] += int(m.GetCounter().GetValue())
	}
	return sums
}

// etcdBytes that are in use.
func (c *cluster) etcdBytes(t testing.TB) int64 {
	t.Helper()
	rsp, err := http.Get(c.etcdURL + "/metrics")
	if err != nil {
		t.Fatalf("cannot read etcd's metrics: %v", err)
	}
	defer rsp.Body.Close()
	for _, m := range metrics(t, rsp.Body, "etcd_mvcc_db_total_size_in_use_in_bytes") {
		return int64(m.GetGauge().GetValue())
	}
	t.Fatal("etcd doesn't say how large it is")
	return 0
}

func metrics(t testing.TB, from io.Reader, name string) []*dto.Metric {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(from)
	if err != nil {
		t.Fatalf("cannot read metrics: %v", err)
	}
	return families[name].GetMetric()
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// difference of what was counted now and before.
func difference(now, before map[string]int) map[string]int {
	d := maps.Clone(now)
	for name, n := range before {
		d[name] -= n
	}
	return d
}

// peakMemory of the processes whose command line has a word in it: the most that
// one of them ever took.
func peakMemory(word string) int64 {
	var most int64
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte(word)) || bytes.HasPrefix(line, []byte("bwrap")) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(file), "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				most = max(most, kib<<10)
			}
		}
	}
	return most
}
