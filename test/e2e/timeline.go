package e2e

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// planned is what the steps of a tenant come after, by the components that their
// objects are labelled with. A step without a mark in a time line was none.
var planned = map[string][]string{
	"guard":              nil,
	"database":           {"guard"},
	"filestore-clone":    {"database"},
	"module-install":     {"database"},
	"matrix-room-create": {"database"},
	"tenant-prepare":     {"database", "filestore-clone", "module-install"},
	stepPublish:          {"tenant-prepare"},
	"route":              {stepPublish},
	"backup":             {stepPublish},
	"smoke-test":         {"route"},
	"account-webhook":    {"smoke-test"},
	"client-provisioned": {"backup", "account-webhook"},
}

// stepPublish has no object of its own: it changes the Database.
const stepPublish = "publish"

// composedKinds are those of which a tenant is composed.
var composedKinds = []schema.GroupVersionResource{
	{Group: "protection.crossplane.io", Version: "v1beta1", Resource: "clusterusages"},
	{Group: "postgresql.sql.m.crossplane.io", Version: "v1alpha1", Resource: "databases"},
	{Group: gwv1.GroupName, Version: "v1", Resource: "httproutes"},
	{Group: batchv1.GroupName, Version: "v1", Resource: "cronjobs"},
	{Group: batchv1.GroupName, Version: "v1", Resource: "jobs"},
}

// A mark is when a step of a tenant was seen to begin, and to be done.
type mark struct{ begun, done time.Duration }

// A timeline is what a watch sees of a tenant, and when: the API server's own
// timestamps are of whole seconds.
type timeline struct {
	began time.Time
	stop  context.CancelFunc

	mu       sync.Mutex
	created  time.Duration
	ready    time.Duration
	marks    map[string]*mark
	deletion []string
}

// timeline of the tenant from now on.
func (x *tenant) timeline(t testing.TB) *timeline {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l := &timeline{began: time.Now(), marks: map[string]*mark{}, stop: cancel}
	x.watch(ctx, planaClients, metav1.ListOptions{FieldSelector: "metadata.name=" + x.name}, l.seeTenant)
	for _, kind := range composedKinds {
		x.watch(ctx, kind, metav1.ListOptions{LabelSelector: "planapulse.com/tenant=" + x.name}, l.seeComposed)
	}
	return l
}

// watch a kind, and begin again when a watch ends.
func (x *tenant) watch(ctx context.Context, kind schema.GroupVersionResource, which metav1.ListOptions, see func(*unstructured.Unstructured)) {
	begin := func() watch.Interface {
		for ctx.Err() == nil {
			if w, err := x.cluster.dynamic.Resource(kind).Watch(ctx, which); err == nil {
				return w
			}
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	}
	w := begin()
	go func() {
		for ; w != nil; w = begin() {
			for e := range w.ResultChan() {
				if u, ok := e.Object.(*unstructured.Unstructured); ok && e.Type != watch.Error {
					see(u)
				}
			}
		}
	}()
}

func (l *timeline) seeTenant(u *unstructured.Unstructured) {
	client, err := planaClient(u)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.began)
	if l.created == 0 {
		l.created = now
	}
	if l.ready == 0 && holds(u, "Ready", 0) {
		l.ready = now
	}
	if d := client.Status.Deletion; d != nil && (len(l.deletion) == 0 || l.deletion[len(l.deletion)-1] != d.Step) {
		l.deletion = append(l.deletion, d.Step)
	}
}

func (l *timeline) seeComposed(u *unstructured.Unstructured) {
	l.mu.Lock()
	defer l.mu.Unlock()
	component := u.GetLabels()["app.kubernetes.io/component"]
	switch u.GetKind() {
	case "Database":
		synced := holds(u, "Ready", 0) && holds(u, "Synced", u.GetGeneration())
		l.mark(component, synced)
		if owner, _, _ := unstructured.NestedString(u.Object, "spec", "forProvider", "owner"); owner == "odoo" {
			l.mark(stepPublish, synced)
		}
	case "HTTPRoute":
		parents, _, _ := unstructured.NestedSlice(u.Object, "status", "parents")
		accepted := len(parents) > 0
		for _, p := range parents {
			parent, ok := p.(map[string]any)
			accepted = accepted && ok && holds(&unstructured.Unstructured{Object: map[string]any{"status": parent}}, "Accepted", u.GetGeneration())
		}
		l.mark(component, accepted)
	case "CronJob":
		l.mark(component, true)
	case "Job":
		l.mark(component, holds(u, string(batchv1.JobComplete), 0))
	default:
		l.mark(component, holds(u, "Ready", 0))
	}
}

// mark a step as begun, and perhaps as done. The lock is held.
func (l *timeline) mark(step string, done bool) {
	now := time.Since(l.began)
	m := l.marks[step]
	if m == nil {
		m = &mark{begun: now}
		l.marks[step] = m
	}
	if done && m.done == 0 {
		m.done = now
	}
}

// holds tells whether a condition of an object is True, at a generation unless
// that is zero.
func holds(u *unstructured.Unstructured, typ string, generation int64) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, entry := range conditions {
		c, ok := entry.(map[string]any)
		if !ok || c["type"] != typ {
			continue
		}
		at, known := c["observedGeneration"].(int64)
		return c["status"] == "True" && (generation == 0 || !known || at == generation)
	}
	return false
}

// waits is how long it took to begin a step once it could, and what it had waited
// for until then: of all that it comes after, whatever was done last.
func (l *timeline) waits(after []string, begun time.Duration) (between time.Duration, last string) {
	done := l.created
	for _, step := range after {
		if m := l.marks[step]; m != nil && m.done >= done {
			done, last = m.done, step
		}
	}
	return max(0, begun-done), last
}

// between is the time, from the tenant's creation to its being Ready, in which
// Crossplane and this function alone were awaited: a reconcile that was under way,
// the one that follows, and what it applies before it comes to what is new. It is
// summed up on the way back from Ready, each time to what was done last of what came
// before.
func (l *timeline) between() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum, last := l.waits([]string{"client-provisioned"}, l.ready)
	for last != "" {
		var between time.Duration
		between, last = l.waits(planned[last], l.marks[last].begun)
		sum += between
	}
	return sum
}

// String lists the steps in the order in which they began.
func (l *timeline) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	steps := make([]string, 0, len(l.marks))
	for step := range l.marks {
		steps = append(steps, step)
	}
	slices.SortFunc(steps, func(a, b string) int { return int(l.marks[a].begun - l.marks[b].begun) })

	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "  step\tbegun\tdone\tbetween\tafter")
	_, _ = fmt.Fprintf(w, "  kubectl apply\t0s\t%s\t\t\n", ms(l.created))
	for _, step := range steps {
		m := l.marks[step]
		before, last := l.waits(planned[step], m.begun)
		done := "-"
		if m.done > 0 {
			done = ms(m.done)
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", step, ms(m.begun), done, ms(before), last)
	}
	before, last := l.waits([]string{"client-provisioned"}, l.ready)
	_, _ = fmt.Fprintf(w, "  Ready\t%s\t\t%s\t%s\n", ms(l.ready), ms(before), last)
	_ = w.Flush()
	return b.String()
}

// verdict compares what was seen with what is aimed at: the time to Ready, and what
// the function itself took of it in so many calls.
func (l *timeline) verdict(calls int, ours time.Duration) string {
	between := l.between()
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("  target: Ready within %s, of which ours %s; it took %s, of which ours %s, in %d calls: %s. Crossplane and we took %s between steps",
		targetReady, targetOurs, l.ready.Round(time.Millisecond), ours.Round(time.Millisecond), calls,
		map[bool]string{true: "met", false: "MISSED"}[l.ready <= targetReady && ours <= targetOurs], between.Round(time.Millisecond))
}

// breaker tells what Crossplane's circuit breaker made of the events about what
// tenants are composed of. Once it is open, a tenant goes on when the function
// has asked to be called again, and no sooner.
func (c *cluster) breaker() (string, error) {
	rsp, err := quick.Get(c.metrics)
	if err != nil {
		return "", err
	}
	defer rsp.Body.Close() //nolint:errcheck // It was only read from.
	var lines []string
	for scanner := bufio.NewScanner(rsp.Body); scanner.Scan(); {
		if line := scanner.Text(); strings.HasPrefix(line, "circuit_breaker_") && strings.Contains(line, "planaclients") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n"), nil
}

// Targets of a tenant that is cloned from a template, on an idle machine.
const (
	targetReady = 10 * time.Second
	targetOurs  = time.Second
)

// teardown is the steps of the teardown, in order.
func (l *timeline) teardown() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.deletion)
}
