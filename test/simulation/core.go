package simulation

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// This file is Crossplane's composite reconciler: what it does around a call of
// a function, in its order.

// Function is what is under test.
type Function interface {
	RunFunction(context.Context, *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error)
}

// A selector of required resources: by name, or by labels in one namespace or in
// all of them.
type selector struct {
	ref    ref
	labels map[string]string
}

func (s *selector) matches(o *object) bool {
	if s.labels == nil {
		return o.ref == s.ref
	}
	if o.kind != s.ref.kind || (s.ref.namespace != "" && o.namespace != s.ref.namespace) {
		return false
	}
	for name, value := range s.labels {
		if text(o.body, "metadata", "labels", name) != value {
			return false
		}
	}
	return true
}

// An ending is how a reconcile may come out, other than well.
type ending int

const (
	endsWell ending = iota
	// endsLost: Crossplane dies somewhere after it got the response.
	endsLost
	// endsStale: the composite resource was read from a cache that hadn't seen its
	// delete. All that comes after is as if there were none, but for what is written
	// to the composite resource itself, which conflicts.
	endsStale
	// endsBehind: the composite resource was read from a cache that hasn't seen more of
	// it than the last reconcile had, though the status was written then, and people
	// may have written since. What comes of that is applied all the same: by a
	// server-side apply, which asks for no version. What fails is an update, which does.
	endsBehind
	// endsConflict: the status can't be written. All that was composed is applied.
	endsConflict
	// endsRefused: the API server refuses to apply one of the objects, for
	// anything but being invalid.
	endsRefused
)

// mostIterations of a function whose requirements change.
const mostIterations = 5

// apiServerConditions are Crossplane's own, which a function can't set.
var systemConditions = map[string]bool{"Ready": true, "Synced": true, "Responsive": true}

// requires tells whether the last successful reconcile required an object.
func (t *tenant) requires(o *object) bool {
	for _, s := range t.required {
		if s.matches(o) {
			return true
		}
	}
	return false
}

// reconcile a composite resource. The choice decides about what is otherwise
// left to chance: the order in which objects are applied, and where an
// unfortunate reconcile ends.
func (w *World) reconcile(name string, end ending, choice int) {
	t := w.tenants[name]
	if t == nil {
		return
	}
	t.dirty, t.due = false, 0
	t.seen++

	xr := w.client(name)
	if xr == nil {
		delete(w.tenants, name)
		return
	}
	if end == endsStale && xr.deleting() {
		// The delete is heard of later.
		t.dirty = true
		xr = &object{ref: xr.ref, body: clone(xr.before)}
	}
	// What of the composite resource has been applied, which asks for no version.
	var written struct{ references, status bool }
	if end == endsBehind && !xr.deleting() && t.read != nil && text(t.read, "metadata", "uid") == xr.uid() {
		actual := xr
		xr = &object{ref: actual.ref, body: clone(t.read)}
		defer func() {
			w.commit(actual, xr, written.references, written.status)
			// The cache hears of the rest later.
			t.dirty = true
		}()
	}
	if xr.annotation(annotationPaused) == "true" {
		// That comes first: not even a finalizer is taken off.
		paused := clone(xr.body["status"])
		setCondition(xr.body, w.timestamp(), map[string]any{"type": "Synced", "status": "False", "reason": "ReconcilePaused", "message": "Reconciliation is paused via the pause annotation"})
		if !same(paused, xr.body["status"]) {
			w.changed(xr)
		}
		return
	}
	if xr.deleting() {
		// No function is asked. All that it composed is the garbage collector's.
		if slices.Contains(xr.finalizers(), any(finalizerComposite)) {
			w.unfinalize(xr, finalizerComposite)
		}
		return
	}
	if w.finalize(xr, finalizerComposite) {
		put(xr.body, name, "metadata", "labels", labelComposite)
		w.changed(xr)
		t.dirty = false
	}

	t.read = clone(xr.body)

	// Only what the references name is observed, and what somebody else
	// controls isn't there at all.
	observed := map[string]*object{}
	for _, r := range references(xr) {
		if o := w.objects[r]; o != nil && (o.controller() == "" || o.controller() == xr.uid()) {
			observed[o.key()] = o
		}
	}
	req := &fnv1.RunFunctionRequest{
		Observed:          &fnv1.State{Composite: &fnv1.Resource{Resource: xr.message()}, Resources: map[string]*fnv1.Resource{}},
		Desired:           &fnv1.State{},
		Context:           &structpb.Struct{Fields: map[string]*structpb.Value{}},
		Input:             w.platform.wire(),
		RequiredResources: map[string]*fnv1.Resources{},
		Meta:              &fnv1.RequestMeta{Tag: "simulation"},
	}
	for key, o := range observed {
		// Nobody composed here has connection details. These stand for all
		// that a function might be handed and must not pass on.
		req.Observed.Resources[key] = &fnv1.Resource{Resource: o.message(), ConnectionDetails: map[string][]byte{"password": []byte(secretsMarker + key)}}
	}
	for name, s := range t.required {
		req.RequiredResources[name] = w.fetch(s)
	}

	rsp, required, err := w.run(xr, t, req)
	switch {
	case err != nil:
		w.fail(xr, t, nil, err.Error())
		return
	case fatal(rsp) != "":
		w.fail(xr, t, rsp, fatal(rsp))
		return
	}

	desired, err := w.desired(xr, observed, rsp)
	if err != nil {
		w.fail(xr, t, nil, err.Error())
		return
	}
	before := w.beforeApply(xr, req)
	before.checkResponse(rsp, observed, desired)

	random := rand.New(rand.NewPCG(uint64(choice), 1))
	// Ends are: before anything, after garbage was collected, after the
	// references were written, after any of the objects, after the status.
	lostAt := -1
	if end == endsLost {
		lostAt = random.IntN(len(desired) + 4)
	}
	if lostAt == 0 {
		w.lost(t)
		return
	}

	for _, key := range sorted(observed) {
		o := observed[key]
		if desired[key] != nil || w.objects[o.ref] != o {
			continue
		}
		if o.controller() == xr.uid() {
			w.checkRemoval(xr, o)
			w.trace("  Crossplane deletes %s", o.ref)
			w.destroy(o, policyForeground)
		}
	}
	if lostAt == 1 {
		w.lost(t)
		return
	}

	w.refer(xr, desired)
	written.references = true
	if lostAt == 2 {
		w.lost(t)
		return
	}

	keys := sorted(desired)
	random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	refusedAt := -1
	if end == endsRefused && len(keys) > 0 {
		refusedAt = random.IntN(len(keys))
	}
	unsynced := false
	for i, key := range keys {
		if i == refusedAt {
			w.fail(xr, t, nil, "cannot apply composed resource "+key)
			return
		}
		if !w.apply(xr, key, desired[key]) {
			unsynced = true
		}
		if lostAt == 3+i {
			w.lost(t)
			return
		}
	}

	if end == endsConflict {
		w.trace("  the status of %s can't be written", xr.name)
		t.dirty = true
		return
	}

	// The status is applied with full intent: what isn't in it is erased. The
	// conditions are carried over, and the function's are merged in after that.
	old := clone(xr.body["status"])
	status := map[string]any{}
	if s, ok := rsp.GetDesired().GetComposite().GetResource().AsMap()["status"].(map[string]any); ok {
		status = s
	}
	delete(status, "conditions")
	if c := list(xr.body, "status", "conditions"); len(c) > 0 {
		status["conditions"] = clone(any(c))
	}
	xr.body["status"] = status
	written.status = true
	w.checkIrrevocable(xr)
	if lostAt == len(desired)+3 {
		w.changed(xr)
		w.lost(t)
		return
	}

	w.setConditions(xr, rsp)
	w.conclude(xr, rsp, desired, unsynced)

	t.composed = map[ref]bool{}
	for _, o := range desired {
		t.composed[o.ref] = true
	}
	t.required = required
	if !same(old, xr.body["status"]) {
		w.changed(xr)
	}
	if ttl := rsp.GetMeta().GetTtl().GetSeconds(); ttl > 0 {
		t.due = w.elapsed + ttl
	}
	before.checkApplied(rsp, desired)
}

// commit to a composite resource what was applied to it as it was read from a cache.
// What is updated rather than applied, as the conditions of a reconcile that failed,
// conflicts.
func (w *World) commit(actual, xr *object, references, status bool) {
	if w.objects[actual.ref] != actual || !references {
		return
	}
	spec := clone(actual.body["spec"])
	put(actual.body, clone(dig(xr.body, "spec", "crossplane", "resourceRefs")), "spec", "crossplane", "resourceRefs")
	if status {
		actual.body["status"] = clone(xr.body["status"])
	}
	w.saved(actual, spec)
}

// run the function until its requirements have settled.
func (w *World) run(xr *object, t *tenant, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, map[string]*selector, error) {
	seeded := maps.Clone(req.GetRequiredResources())
	var settled *fnv1.Requirements
	for i := 0; i <= mostIterations; i++ {
		rsp, err := w.call(xr, t, req)
		if err != nil {
			return nil, nil, err
		}
		if fatal(rsp) != "" {
			return rsp, nil, nil
		}
		required := selectors(rsp.GetRequirements())
		if proto.Equal(rsp.GetRequirements(), settled) {
			return rsp, required, nil
		}
		next := maps.Clone(seeded)
		for name, s := range required {
			next[name] = w.fetch(s)
		}
		if i == 0 && sameRequired(req.GetRequiredResources(), next) {
			return rsp, required, nil
		}
		settled = rsp.GetRequirements()
		req.RequiredResources = next
		req.Context = rsp.GetContext()
	}
	w.violate(invariantCore, "requirements of %s didn't settle after %d calls", xr.name, mostIterations)
	return nil, nil, fmt.Errorf("requirements didn't stabilize")
}

// selectors of a response's requirements.
func selectors(r *fnv1.Requirements) map[string]*selector {
	out := map[string]*selector{}
	for name, s := range r.GetResources() {
		out[name] = &selector{ref{s.GetKind(), s.GetNamespace(), s.GetMatchName()}, s.GetMatchLabels().GetLabels()}
	}
	return out
}

// fetch required resources. One that is looked for by name and isn't found is nil.
func (w *World) fetch(s *selector) *fnv1.Resources {
	if s.labels != nil {
		found := &fnv1.Resources{}
		for _, r := range w.refs() {
			if o := w.objects[r]; s.matches(o) {
				found.Items = append(found.Items, &fnv1.Resource{Resource: o.message()})
			}
		}
		return found
	}
	o := w.objects[s.ref]
	if o == nil {
		return nil
	}
	return &fnv1.Resources{Items: []*fnv1.Resource{{Resource: o.message()}}}
}

// fatal result of a response, if it has one.
func fatal(rsp *fnv1.RunFunctionResponse) string {
	for _, r := range rsp.GetResults() {
		if r.GetSeverity() == fnv1.Severity_SEVERITY_FATAL {
			return r.GetMessage()
		}
	}
	return ""
}

// desired composed resources of a response, as they will be applied.
func (w *World) desired(xr *object, observed map[string]*object, rsp *fnv1.RunFunctionResponse) (map[string]*object, error) {
	out := map[string]*object{}
	for key, r := range rsp.GetDesired().GetResources() {
		if was := observed[key]; was != nil && was.settled != nil && was.controller() == xr.uid() && sameWire(was.settled, r.GetResource()) {
			out[key] = &object{ref: was.ref}
			continue
		}
		body := r.GetResource().AsMap()
		o := &object{ref: ref{text(body, "kind"), text(body, "metadata", "namespace"), text(body, "metadata", "name")}, body: body}
		// Under its key, what exists keeps its name and namespace.
		if was := observed[key]; was != nil {
			o.namespace, o.name = was.namespace, was.name
		}
		if o.name == "" || o.kind == "" {
			return nil, fmt.Errorf("composed resource %q has no name or kind", key)
		}
		put(body, key, "metadata", "annotations", annotationKey)
		put(body, xr.name, "metadata", "labels", labelComposite)
		o.settled = r.GetResource()
		out[key] = o
	}
	return out, nil
}

// references of a composite resource to what it composes.
func references(xr *object) []ref {
	var out []ref
	for _, r := range list(xr.body, "spec", "crossplane", "resourceRefs") {
		if m, ok := r.(map[string]any); ok {
			out = append(out, ref{text(m, "kind"), text(m, "namespace"), text(m, "name")})
		}
	}
	return out
}

// refer to exactly what is desired, before any of it is applied.
func (w *World) refer(xr *object, desired map[string]*object) {
	refs := make([]ref, 0, len(desired))
	for _, o := range desired {
		refs = append(refs, o.ref)
	}
	slices.SortFunc(refs, func(a, b ref) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	out := make([]any, 0, len(refs))
	for _, r := range refs {
		m := map[string]any{"kind": r.kind, "name": r.name, "apiVersion": apiVersions[r.kind]}
		if r.namespace != "" {
			m["namespace"] = r.namespace
		}
		out = append(out, m)
	}
	if same(dig(xr.body, "spec", "crossplane", "resourceRefs"), any(out)) {
		return
	}
	spec := clone(xr.body["spec"])
	put(xr.body, out, "spec", "crossplane", "resourceRefs")
	w.saved(xr, spec)
}

var apiVersions = map[string]string{
	kindUsage:    "protection.crossplane.io/v1beta1",
	kindDatabase: "postgresql.sql.m.crossplane.io/v1alpha1",
	kindRoute:    "gateway.networking.k8s.io/v1",
	kindJob:      "batch/v1",
	kindCronJob:  "batch/v1",
}

// apply an object, and tell whether the API server took it.
func (w *World) apply(xr *object, key string, desired *object) bool {
	o := w.objects[desired.ref]
	if desired.body == nil && o != nil {
		return true
	}
	// It is among the references now.
	unseen := o != nil && o.unreferenced
	if unseen {
		o.unreferenced = false
	}
	if o == nil {
		w.checkCreation(xr, key, desired)
		body := map[string]any{"apiVersion": desired.body["apiVersion"], "kind": desired.kind, "metadata": map[string]any{
			"ownerReferences": []any{ownerReference(xr)},
		}}
		o = &object{ref: desired.ref, body: body}
		o.applied, o.others = merge(o.body, nil, nil, desired.body)
		w.trace("  Crossplane creates %s", o.ref)
		w.create(o)
		o.settled = desired.settled
		w.checkObject(xr, o)
		return true
	}

	if c := o.controller(); c != xr.uid() {
		if c != "" || list(o.body, "metadata", "ownerReferences") != nil {
			// An object has one controller. This is Invalid too, and nothing
			// that a function could know of: it isn't shown the object.
			w.trace("  %s belongs to somebody else", o.ref)
			return false
		}
		// What nobody controls is taken over.
		if o.theirs != nil {
			w.violate(invariantForeign, "%s, which is somebody else's, becomes %s's", o.ref, xr.name)
		}
		put(o.body, []any{ownerReference(xr)}, "metadata", "ownerReferences")
		w.changed(o)
	}

	body := clone(o.body)
	applied, others := merge(body, o.applied, o.others, desired.body)
	next := &object{ref: o.ref, body: body}
	defaults(next)
	if field := immutable(o.kind, o.body, body); field != "" {
		if unseen {
			return false
		}
		w.violate(invariantFrozen, "%s was applied with another %s, which is immutable (terminating: %v)", o.ref, field, o.deleting())
		return false
	}
	if same(body, o.body) {
		o.applied, o.others, o.settled = applied, others, desired.settled
		return true
	}
	spec := o.body["spec"]
	o.body, o.applied, o.others = body, applied, others
	w.saved(o, spec)
	o.settled = desired.settled
	w.checkObject(xr, o)
	return true
}

func ownerReference(xr *object) any {
	return map[string]any{
		"apiVersion": "planapulse.com/v1alpha1", "kind": kindClient, "name": xr.name, "uid": xr.uid(),
		"controller": true, "blockOwnerDeletion": true,
	}
}

// setConditions merges those of a response into a composite resource's.
func (w *World) setConditions(xr *object, rsp *fnv1.RunFunctionResponse) map[string]bool {
	seen := map[string]bool{}
	for _, c := range rsp.GetConditions() {
		if systemConditions[c.GetType()] {
			continue
		}
		seen[c.GetType()] = true
		status := "Unknown"
		switch c.GetStatus() {
		case fnv1.Status_STATUS_CONDITION_TRUE:
			status = "True"
		case fnv1.Status_STATUS_CONDITION_FALSE:
			status = "False"
		case fnv1.Status_STATUS_CONDITION_UNKNOWN, fnv1.Status_STATUS_CONDITION_UNSPECIFIED:
		}
		m := map[string]any{"type": c.GetType(), "status": status, "reason": c.GetReason()}
		if c.GetMessage() != "" {
			m["message"] = c.GetMessage()
		}
		setCondition(xr.body, w.timestamp(), m)
	}
	return seen
}

// conclude what Crossplane itself says of a composite resource.
func (w *World) conclude(xr *object, rsp *fnv1.RunFunctionResponse, desired map[string]*object, unsynced bool) {
	synced := map[string]any{"type": "Synced", "status": "True", "reason": "ReconcileSuccess"}
	if unsynced {
		synced = map[string]any{"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "unsynced resources"}
	}
	setCondition(xr.body, w.timestamp(), synced)

	ready := true
	for key := range desired {
		ready = ready && rsp.GetDesired().GetResources()[key].GetReady() == fnv1.Ready_READY_TRUE
	}
	switch rsp.GetDesired().GetComposite().GetReady() {
	case fnv1.Ready_READY_TRUE:
		ready = true
	case fnv1.Ready_READY_FALSE:
		ready = false
	case fnv1.Ready_READY_UNSPECIFIED:
	}
	c := map[string]any{"type": "Ready", "status": "False", "reason": "Creating"}
	if ready {
		c = map[string]any{"type": "Ready", "status": "True", "reason": "Available"}
	}
	setCondition(xr.body, w.timestamp(), c)
}

// fail a reconcile: nothing is applied any more, the function's conditions that
// didn't come are unknown, and it is tried again.
func (w *World) fail(xr *object, t *tenant, rsp *fnv1.RunFunctionResponse, message string) {
	w.trace("  reconcile of %s fails: %s", xr.name, message)
	old := clone(xr.body["status"])
	setCondition(xr.body, w.timestamp(), map[string]any{"type": "Synced", "status": "False", "reason": "ReconcileError", "message": message})
	seen := w.setConditions(xr, rsp)
	for _, c := range slices.Clone(list(xr.body, "status", "conditions")) {
		m, ok := c.(map[string]any)
		if typ := text(m, "type"); ok && !systemConditions[typ] && !seen[typ] {
			setCondition(xr.body, w.timestamp(), map[string]any{
				"type": typ, "status": "Unknown", "reason": "FatalError",
				"message": "A fatal error occurred before the status of this condition could be determined.",
			})
		}
	}
	if !same(old, xr.body["status"]) {
		w.changed(xr)
	}
	t.due = w.elapsed + 30
}

// lost is a reconcile that Crossplane didn't live to finish. It knows nothing
// any more, and reconciles everything when it is back.
func (w *World) lost(*tenant) {
	w.trace("  Crossplane dies")
	w.restartCore()
}

// restartCore makes Crossplane forget: what it watches, what functions required,
// and the deletes that it was to replay.
func (w *World) restartCore() {
	w.replays = nil
	for _, t := range w.tenants {
		t.composed, t.required, t.read = nil, nil, nil
		t.dirty = true
	}
}
