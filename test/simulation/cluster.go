package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// Kinds of objects.
const (
	kindClient   = "PLANAClient"
	kindUsage    = "ClusterUsage"
	kindDatabase = "Database"
	kindRoute    = "HTTPRoute"
	kindJob      = "Job"
	kindCronJob  = "CronJob"
	kindQuota    = "ResourceQuota"
)

// Annotations, labels and finalizers that others than the function set.
const (
	annotationKey       = "crossplane.io/composition-resource-name"
	annotationAttempt   = "usage.crossplane.io/deletion-attempt-with-policy"
	annotationExternal  = "crossplane.io/external-name"
	annotationPending   = "crossplane.io/external-create-pending"
	annotationSucceeded = "crossplane.io/external-create-succeeded"
	annotationFailed    = "crossplane.io/external-create-failed"
	annotationPaused    = "crossplane.io/paused"
	annotationRun       = "planapulse.com/run"
	annotationRerun     = "planapulse.com/rerun"
	annotationWaiver    = "planapulse.com/skip-final-backup"
	labelInUse          = "crossplane.io/in-use"
	labelComposite      = "crossplane.io/composite"
	finalizerComposite  = "composite.apiextensions.crossplane.io"
	finalizerUsage      = "usage.apiextensions.crossplane.io"
	finalizerManaged    = "finalizer.managedresource.crossplane.io"
	finalizerForeground = "foregroundDeletion"
	finalizerOrphan     = "orphan"
)

// Policies of a delete.
const (
	policyBackground = "Background"
	policyForeground = "Foreground"
	policyOrphan     = "Orphan"
)

// start of every history.
var start = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// A World is a cluster and everything that it is connected to.
type World struct {
	function Function
	clock    *clocktesting.FakePassiveClock
	elapsed  int64 // seconds since start

	objects map[ref]*object
	ordered []ref // of the objects: none if there are others since
	serial  int   // of UIDs

	installation
	platform platform
	outside

	// tenants by name: what Crossplane's controller keeps in memory of each.
	tenants map[string]*tenant

	// lives are all composite resources that there have ever been, by UID.
	lives map[string]*life

	// replays of deletes that Crossplane has in memory.
	replays []replay

	// What is out of order.
	providerDown, gatewayRefuses bool

	// ahead is by how many seconds the function's clock is ahead of the API server's.
	ahead int64

	// etcd is what was backed up of the cluster's, if anything was.
	etcd *backedUp

	// steps counts the function's calls, and version the writes of objects.
	steps, version int

	violation *Violation
	trace     func(string, ...any)
}

// A tenant is what Crossplane's controller keeps in memory of a composite
// resource: why and when to reconcile it, and what it depends on.
type tenant struct {
	name  string
	dirty bool
	due   int64

	composed map[ref]bool
	required map[string]*selector

	// read is the composite resource as the last reconcile read it. No cache shows an
	// older one.
	read map[string]any

	// seen counts reconciles, to vary what is checked at each.
	seen int
}

// A replay of a delete that was refused.
type replay struct {
	at     int64
	name   string
	policy string
}

// newWorld returns the cluster with its template databases, and no tenant.
func newWorld(f func(*clocktesting.FakePassiveClock) Function) *World {
	w := newEmptyWorld(f, theInstallation)
	for _, version := range versions {
		for _, edition := range []string{"basic", "pro"} {
			w.declareTemplate(edition, version)
		}
		w.create(&object{ref: quotaRef(version), body: map[string]any{
			"apiVersion": "v1", "kind": kindQuota,
			"spec":   map[string]any{"hard": quotaHard()},
			"status": map[string]any{"hard": quotaHard(), "used": quotaUsed(false)},
		}})
	}
	return w
}

// newEmptyWorld returns a cluster with nothing in it.
func newEmptyWorld(f func(*clocktesting.FakePassiveClock) Function, i installation) *World {
	c := clocktesting.NewFakePassiveClock(start)
	w := &World{
		installation: i,

		clock:   c,
		objects: map[ref]*object{},
		outside: newOutside(),
		tenants: map[string]*tenant{},
		lives:   map[string]*life{},
		trace:   func(string, ...any) {},
	}
	w.function = f(c)
	return w
}

func (w *World) now() time.Time    { return start.Add(time.Duration(w.elapsed) * time.Second) }
func (w *World) told() time.Time   { return w.now().Add(time.Duration(w.ahead) * time.Second) }
func (w *World) timestamp() string { return w.now().Format(time.RFC3339) }

// pass time.
func (w *World) pass(seconds int64) {
	w.elapsed += seconds
	if seconds > 1 {
		for _, name := range sorted(w.coming) {
			w.arrive(name)
		}
	}
	w.clock.SetTime(w.told())
}

// newUID returns a UID that no other object has had.
func (w *World) newUID() string {
	w.serial++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", w.serial)
}

// client returns a tenant's composite resource, or nil.
func (w *World) client(name string) *object { return w.objects[ref{kindClient, "", name}] }

// create an object.
func (w *World) create(o *object) {
	put(o.body, o.name, "metadata", "name")
	if o.namespace != "" {
		put(o.body, o.namespace, "metadata", "namespace")
	}
	put(o.body, w.newUID(), "metadata", "uid")
	put(o.body, w.timestamp(), "metadata", "creationTimestamp")
	put(o.body, 1.0, "metadata", "generation")
	defaults(o)
	w.objects[o.ref], w.ordered = o, nil
	w.changed(o)
}

// update an object as somebody other than Crossplane's composite controller.
func (w *World) update(o *object, edit func(body map[string]any)) {
	before, spec := managed(o.body), clone(o.body["spec"])
	edit(o.body)
	o.disown(before, managed(o.body))
	w.saved(o, spec)
}

// saved ends every write of an object: a new spec is a new generation.
func (w *World) saved(o *object, oldSpec any) {
	o.settled = nil
	defaults(o)
	if !same(oldSpec, o.body["spec"]) {
		g, _ := dig(o.body, "metadata", "generation").(float64)
		put(o.body, g+1, "metadata", "generation")
	}
	w.changed(o)
}

// changed tells Crossplane of an object that it watches: a composite resource,
// and what the last successful reconcile of one composed or required.
func (w *World) changed(o *object) {
	w.version++
	o.wire, o.quiet = nil, false
	for _, name := range sorted(w.tenants) {
		t := w.tenants[name]
		if (o.kind == kindClient && o.name == name) || t.composed[o.ref] || t.requires(o) {
			t.dirty = true
		}
	}
}

// erase an object for good.
func (w *World) erase(o *object) {
	delete(w.objects, o.ref)
	w.ordered = nil
	w.changed(o)
}

// destroy carries a delete out that nothing has refused.
func (w *World) destroy(o *object, policy string) {
	if o.theirs != nil {
		w.violate(invariantForeign, "%s, which is somebody else's, is deleted", o.ref)
	}
	if o.deleting() {
		return
	}
	finalizers := slices.Clone(o.finalizers())
	switch policy {
	case policyForeground:
		// The garbage collector waits for dependents: a Job's pods, finished ones
		// too, and a composite resource's composed ones.
		if (o.kind == kindJob && dig(o.body, "status", "startTime") != nil) || o.kind == kindClient {
			finalizers = append(finalizers, finalizerForeground)
		}
	case policyOrphan:
		if o.kind == kindClient {
			finalizers = append(finalizers, finalizerOrphan)
		}
	}
	if len(finalizers) == 0 {
		w.erase(o)
		return
	}
	if o.kind == kindClient {
		o.before = clone(o.body)
	}
	put(o.body, w.timestamp(), "metadata", "deletionTimestamp")
	put(o.body, finalizers, "metadata", "finalizers")
	w.changed(o)
}

// unfinalize takes a finalizer off, and erases an object that was only waiting
// for that.
func (w *World) unfinalize(o *object, name string) {
	rest := slices.DeleteFunc(slices.Clone(o.finalizers()), func(f any) bool { return f == name })
	put(o.body, rest, "metadata", "finalizers")
	if len(rest) == 0 {
		drop(o.body, "metadata", "finalizers")
		if o.deleting() {
			w.erase(o)
			return
		}
	}
	w.changed(o)
}

// finalize puts a finalizer on.
func (w *World) finalize(o *object, name string) bool {
	if slices.Contains(o.finalizers(), any(name)) {
		return false
	}
	put(o.body, append(slices.Clone(o.finalizers()), name), "metadata", "finalizers")
	return true
}

// composedBy returns the objects that a composite resource controls, in order.
func (w *World) composedBy(uid string) []*object {
	var out []*object
	for _, r := range w.refs() {
		if o := w.objects[r]; o.controller() == uid {
			out = append(out, o)
		}
	}
	return out
}

// refs of all objects, in order. They stay as they are, whatever is created or
// erased while somebody goes through them.
func (w *World) refs() []ref {
	if w.ordered == nil {
		w.ordered = slices.SortedFunc(maps.Keys(w.objects), func(a, b ref) int { return strings.Compare(a.String(), b.String()) })
	}
	return w.ordered
}

// defaults fills in what the API server does.
func defaults(o *object) {
	initial := func(value any, path ...string) {
		if dig(o.body, path...) == nil {
			put(o.body, value, path...)
		}
	}
	switch o.kind {
	case kindJob:
		initial(1.0, "spec", "completions")
		initial(1.0, "spec", "parallelism")
		initial("NonIndexed", "spec", "completionMode")
		initial(false, "spec", "suspend")
		if uid := o.uid(); uid != "" {
			initial(uid, "spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid")
			initial(uid, "spec", "template", "metadata", "labels", "batch.kubernetes.io/controller-uid")
			initial(o.name, "spec", "template", "metadata", "labels", "batch.kubernetes.io/job-name")
		}
		defaultPod(o.body, "spec", "template", "spec")
	case kindCronJob:
		initial(false, "spec", "suspend")
		defaultPod(o.body, "spec", "jobTemplate", "spec", "template", "spec")
	case kindDatabase:
		initial([]any{"*"}, "spec", "managementPolicies")
		initial(map[string]any{"kind": "ClusterProviderConfig", "name": "default"}, "spec", "providerConfigRef")
	}
}

func defaultPod(body map[string]any, path ...string) {
	pod, ok := dig(body, path...).(map[string]any)
	if !ok {
		return
	}
	for field, value := range map[string]any{"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"} {
		if pod[field] == nil {
			pod[field] = value
		}
	}
	for _, kind := range []string{"containers", "initContainers"} {
		for _, c := range list(pod, kind) {
			if c, ok := c.(map[string]any); ok && c["terminationMessagePath"] == nil {
				c["terminationMessagePath"] = "/dev/termination-log"
				c["terminationMessagePolicy"] = "File"
				c["imagePullPolicy"] = "IfNotPresent"
			}
		}
	}
}

// immutable returns the field of an update that the API server calls Invalid.
func immutable(kind string, before, after map[string]any) string {
	var paths [][]string
	switch kind {
	case kindJob:
		paths = [][]string{{"spec", "template"}, {"spec", "selector"}, {"spec", "completions"}, {"spec", "completionMode"}, {"spec", "podFailurePolicy"}}
	case kindDatabase:
		paths = [][]string{{"spec", "forProvider", "strategy"}}
	}
	for _, path := range paths {
		if !same(dig(before, path...), dig(after, path...)) {
			return fmt.Sprint(path)
		}
	}
	return ""
}

// collectGarbage is Kubernetes' garbage collector: dependents of owners that are
// gone, or are being deleted in the foreground, go too. It tells whether there
// was anything to do.
func (w *World) collectGarbage() bool {
	for _, r := range w.refs() {
		o := w.objects[r]
		switch uid := o.controller(); {
		case o.kind == kindClient && slices.Contains(o.finalizers(), any(finalizerOrphan)):
			for _, c := range w.composedBy(o.uid()) {
				w.update(c, func(body map[string]any) { drop(body, "metadata", "ownerReferences") })
			}
			l := w.lives[o.uid()]
			l.released = l.orphaned
			w.unfinalize(o, finalizerOrphan)
			return true
		case o.kind == kindClient && slices.Contains(o.finalizers(), any(finalizerForeground)):
			children := w.composedBy(o.uid())
			if len(children) == 0 {
				w.unfinalize(o, finalizerForeground)
				return true
			}
			for _, c := range children {
				if !c.deleting() {
					w.kill(c, policyForeground)
					return true
				}
			}
		case uid != "" && !o.deleting() && w.owner(uid) == nil && o.theirs == nil:
			w.kill(o, policyBackground)
			return true
		}
	}
	return false
}

// kill an object because its owner goes.
func (w *World) kill(o *object, policy string) {
	if l := w.lives[o.controller()]; l != nil && l.released {
		w.violate(invariantKept, "%s of %s, which was let go of, is given an owner again, and goes with it", o.ref, l.name)
	}
	w.trace("garbage collector deletes %s", o.ref)
	w.destroy(o, policy)
}

// owner returns the composite resource with a UID, if it still is there.
func (w *World) owner(uid string) *object {
	if l := w.lives[uid]; l != nil {
		if c := w.client(l.name); c != nil && c.uid() == uid {
			return c
		}
	}
	return nil
}
