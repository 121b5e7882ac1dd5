//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"

	"github.com/plana-pulse/function-planaclient/test/fleet"
)

// TestFleet measures what TENANTS tenants cost that are applied at once, then left
// alone, unless REST is 0s, then deleted. Their Jobs' programs end at once. With CACHE,
// Crossplane keeps the function's answers for as long as they hold. With RESTORED,
// all but one come out of a backup of etcd, and aren't deleted.
func TestFleet(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("TENANTS"))
	if err != nil {
		t.Skip("it takes long: make bench-fleet runs it")
	}
	// Long enough to tell one look at everything from the next. On two cores one takes
	// some 200 ms for each tenant. The first may last for one and a half intervals, and a
	// later one for eight tenths of one.
	interval := max(2*time.Minute, time.Duration(n)*300*time.Millisecond)

	f := &fleetRun{result: fleet.Fleet{
		Tenants: n, Cached: os.Getenv("CACHE") != "", Restored: os.Getenv("RESTORED") != "",
		Date: time.Now().UTC().Format(time.DateOnly), Cores: runtime.NumCPU(),
	}}
	f.cluster = startCluster(t, func(c *cluster) {
		c.effects = "/bin/true"
		// A fleet isn't at rest while it is backed up.
		c.window = fmt.Sprintf("start: %q, timeZone: UTC", time.Now().UTC().Add(12*time.Hour).Format("15:04"))
		if f.result.Cached {
			c.coreArgs = append(c.coreArgs, "--enable-function-response-cache")
		}
	})
	commit, err := exec.CommandContext(t.Context(), "git", "-C", f.cluster.root, "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		t.Fatalf("cannot tell the commit: %v", err)
	}
	f.result.Commit = strings.TrimSpace(string(commit))
	f.jobs = f.cluster.countJobs(t)
	for i := range n {
		f.tenants = append(f.tenants, &tenant{cluster: f.cluster, name: fmt.Sprintf("t%05d", i), project: firstProject + i, tier: "pro", version: "18"})
	}

	etcd := f.cluster.etcdBytes(t)
	if f.result.Restored {
		f.restore(t, interval)
	} else {
		f.come(t)
	}
	f.result.Etcd = f.cluster.etcdBytes(t) - etcd
	f.keep(t)
	if os.Getenv("REST") != "0s" {
		if !f.result.Restored {
			f.lookEvery(t, interval)
		}
		f.rest(t, interval)
		f.keep(t)
		if !f.result.Restored {
			f.lookEvery(t, time.Hour)
		}
	}
	if !f.result.Restored {
		f.leave(t)
		f.keep(t)
	}
}

// firstProject of a fleet, a number that is nothing else in its objects.
const firstProject = 700000

// A fleetRun is a fleet that is being measured.
type fleetRun struct {
	cluster *cluster
	tenants []*tenant
	result  fleet.Fleet

	// started is when Crossplane was last.
	started time.Time

	// jobs that were created of an effect.
	jobs func(component string) int
}

// effects that a tenant of a fleet has when it comes.
var effects = []string{"filestore-clone", "tenant-prepare", "smoke-test", "matrix-room-create", "account-webhook", "client-provisioned"}

// keep what has been measured so far: what comes next may take an hour.
func (f *fleetRun) keep(t *testing.T) {
	t.Helper()
	b, err := json.MarshalIndent(f.result, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.cluster.root, "test", "bench", "results")
	name := "fleet-" + strconv.Itoa(f.result.Tenants)
	if f.result.Cached {
		name += "-cached"
	}
	if f.result.Restored {
		name += "-restored"
	}
	write(t, filepath.Join(dir, name+".json"), string(b)+"\n")
}

// come to be, all tenants at once.
func (f *fleetRun) come(t *testing.T) {
	t.Helper()
	c, n := f.cluster, len(f.tenants)
	calls, requests, used := c.calls(t), c.requests(t), usages(t)
	began := time.Now()
	for batch := range slices.Chunk(f.tenants, 100) {
		var all strings.Builder
		for _, x := range batch {
			all.WriteString("---\n" + x.yaml())
		}
		c.apply(t, all.String())
	}
	t.Logf("%d tenants were applied within %s", n, time.Since(began).Round(time.Second))

	// Minutes of many tenants needn't be drawn by the second.
	every := max(2*time.Second, time.Duration(n)*10*time.Millisecond)
	for {
		ready := c.readyTenants(t)
		f.result.Curve = append(f.result.Curve, fleet.Point{At: time.Since(began), Ready: ready})
		if ready == n {
			break
		}
		if interrupted.Err() != nil || time.Since(began) > time.Hour+time.Duration(n)*5*time.Second {
			t.Fatalf("%d of %d tenants are Ready after %s", ready, n, time.Since(began))
		}
		time.Sleep(every)
	}
	f.result.Ready = time.Since(began)
	f.result.Calls = c.calls(t) - calls
	f.result.Requests = difference(c.requests(t), requests)
	f.result.Programs = since(usages(t), used)
	t.Logf("all are Ready after %s: %d calls, requests %v", f.result.Ready.Round(time.Second), f.result.Calls, f.result.Requests)

	// Every effect once for each, no more and no less.
	for _, component := range effects {
		if got := f.jobs(component); got != n {
			t.Errorf("%d tenants had %d Jobs %s", n, got, component)
		}
	}

	// The last Jobs go.
	eventually(t, 10*time.Minute, "there are no Jobs", func() error {
		if left := c.versionsOf(t, "jobs"); len(left) > 0 {
			return fmt.Errorf("there are %d", len(left))
		}
		return nil
	})
	f.settle(t)
}

// lookEvery so often at everything, Crossplane is told.
func (f *fleetRun) lookEvery(t *testing.T, interval time.Duration) {
	t.Helper()
	f.restart(t, func() {
		f.tellCore(t, interval)
		f.cluster.kubectl(t, "-n", namespaceCrossplane, "rollout", "status", "deployment/crossplane", "--timeout=10m")
	})
}

// tellCore how often to look at everything, and at each guard, instead of what the
// installation guide says. A fleet larger than the memory there is meant for gives it
// more by the same measure.
func (f *fleetRun) tellCore(t *testing.T, interval time.Duration) {
	t.Helper()
	memory := resource.NewQuantity(int64(len(f.tenants))*(4<<30)/5000, resource.BinarySI)
	deployments := f.cluster.client.AppsV1().Deployments(namespaceCrossplane)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		core, err := deployments.Get(t.Context(), "crossplane", metav1.GetOptions{})
		if err != nil {
			return err
		}
		container := &core.Spec.Template.Spec.Containers[0]
		container.Args = slices.DeleteFunc(container.Args, func(arg string) bool {
			return strings.HasPrefix(arg, "--sync-interval=") || strings.HasPrefix(arg, "--poll-interval=")
		})
		container.Args = append(container.Args, "--sync-interval="+interval.String(), "--poll-interval="+interval.String())
		if limits := container.Resources.Limits; limits.Memory().Cmp(*memory) < 0 {
			limits[corev1.ResourceMemory] = *memory
		}
		_, err = deployments.Update(t.Context(), core, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatalf("cannot tell Crossplane how often to look: %v", err)
	}
}

// restart Crossplane, and wait until it has looked at all tenants and is content.
func (f *fleetRun) restart(t *testing.T, restart func()) {
	t.Helper()
	before, began := f.cluster.calls(t), time.Now()
	restart()
	f.started = time.Now()
	eventually(t, 2*time.Hour, "Crossplane has looked at all of them", func() error {
		if calls := f.cluster.calls(t) - before; calls < len(f.tenants) {
			time.Sleep(time.Second)
			return fmt.Errorf("it has called the function %d times", calls)
		}
		return nil
	})
	look := f.settle(t).Sub(began)
	if f.result.FirstLook == 0 {
		f.result.FirstLook = look
	}
	t.Logf("Crossplane has looked at all of them after %s", look.Round(time.Second))
}

// settle waits until all tenants are Ready and nobody asks the function about them
// any more, and returns since when.
func (f *fleetRun) settle(t *testing.T) time.Time {
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, 2*time.Hour, "it is quiet", func() error {
		if calls := f.cluster.calls(t); calls != last {
			last, since = calls, time.Now()
		}
		if quiet := time.Since(since); quiet < 15*time.Second {
			time.Sleep(time.Second)
			return fmt.Errorf("the function was called %s ago, for the %d. time", quiet, last)
		}
		if ready := f.cluster.readyTenants(t); ready < len(f.tenants) {
			time.Sleep(time.Second)
			return fmt.Errorf("%d of %d are Ready", ready, len(f.tenants))
		}
		return nil
	})
	return since
}

// rest leaves the tenants alone while Crossplane looks at all of them once.
//
// It looks at each kind again after nine to eleven tenths of the interval, but for the
// first time only after twice that: when a kind's watch is as old as the interval, who
// listens to it does so for a moment less. So the second time comes between 1.8 and 2.2
// intervals after its start, the third not before 2.7.
func (f *fleetRun) rest(t *testing.T, interval time.Duration) {
	t.Helper()
	c, r := f.cluster, &f.result.Rest
	into := func(intervals float64) time.Time {
		return f.started.Add(time.Duration(intervals * float64(interval)))
	}
	begins, least, most := into(1.5), into(2.3), into(2.65)
	if late := time.Since(begins); late > 0 {
		t.Fatalf("Crossplane has looked at everything %s too late to tell this look from the next: give it a longer interval", late.Round(time.Second))
	}
	restUntil(begins)

	before := c.versionsOf(t)
	f.result.Objects = len(before) - len(f.tenants)
	calls, requests, used := c.calls(t), c.requests(t), usages(t)
	rested := time.Now()
	last, quiet := calls, rested
	for now := rested; now.Before(most) && (now.Before(least) || now.Sub(quiet) < 30*time.Second); now = time.Now() {
		restUntil(now.Add(5 * time.Second))
		if called := c.calls(t); called != last {
			t.Logf("after %s at rest: %d calls", now.Sub(rested).Round(time.Second), called-calls)
			last, quiet = called, now
		}
	}
	if interrupted.Err() != nil {
		t.Fatal("interrupted")
	}
	if time.Since(quiet) < 30*time.Second {
		t.Fatal("Crossplane was still looking when the next look was due: give it a longer interval")
	}
	r.Lasted = time.Since(rested)
	r.Calls = c.calls(t) - calls
	if r.Calls < len(f.tenants) && !f.result.Cached {
		t.Errorf("Crossplane didn't look at everything: it has called the function %d times", r.Calls)
	}
	r.Requests = difference(c.requests(t), requests)
	r.Programs = since(usages(t), used)
	after := c.versionsOf(t)
	for object, version := range after {
		if before[object] != version {
			r.Writes++
			t.Logf("%s was written to at rest", object)
		}
	}
	t.Logf("at rest for %s: %d calls, %d writes, requests %v", r.Lasted.Round(time.Second), r.Calls, r.Writes, r.Requests)
}

// restUntil then, or until somebody has enough.
func restUntil(until time.Time) {
	select {
	case <-interrupted.Done():
	case <-time.After(time.Until(until)):
	}
}

// leave, all tenants at once.
func (f *fleetRun) leave(t *testing.T) {
	t.Helper()
	began := time.Now()
	for batch := range slices.Chunk(f.tenants, 100) {
		args := []string{"delete", "planaclients", "--wait=false"}
		for _, x := range batch {
			args = append(args, x.name)
		}
		// Each is refused, which is how it begins.
		_, _ = f.cluster.tryKubectl("", args...)
	}
	eventually(t, time.Hour+time.Duration(len(f.tenants))*5*time.Second, "all tenants are gone", func() error {
		if left := len(f.cluster.versionsOf(t, "planaclients")); left > 0 {
			time.Sleep(time.Second)
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
	f.result.Gone = time.Since(began)
	t.Logf("all are gone after %s", f.result.Gone.Round(time.Second))
}

// since is what programs took since they had taken so much before.
func since(now, before map[string]usage) map[string]fleet.Program {
	all := map[string]fleet.Program{}
	for program, u := range now {
		all[program] = fleet.Program{Processor: u.processor - before[program].processor, Memory: u.memory}
	}
	return all
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
		rsp, err := quick.Get("http://" + net.JoinHostPort(p.ip, strconv.Itoa(p.portOf(8080))) + "/metrics")
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

// askEtcd something about its keys and values, which are bytes in both.
func (c *cluster) askEtcd(t testing.TB, what string, question, answer any) {
	t.Helper()
	body, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := quick.Post(c.etcdURL+"/v3/kv/"+what, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatalf("cannot ask etcd: %v", err)
	}
	defer func() { _ = rsp.Body.Close() }()
	if err := json.NewDecoder(rsp.Body).Decode(answer); err != nil || rsp.StatusCode != http.StatusOK {
		t.Fatalf("etcd answers %s with %s: %v", what, rsp.Status, err)
	}
}

// etcdBytes that are in use once nothing is kept of the past.
func (c *cluster) etcdBytes(t testing.TB) int64 {
	t.Helper()
	var now struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	c.askEtcd(t, "range", map[string]any{"key": []byte{0}}, &now)
	c.askEtcd(t, "compaction", map[string]any{"revision": now.Header.Revision, "physical": true}, &struct{}{})

	rsp, err := quick.Get(c.etcdURL + "/metrics")
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
