package tenant_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/fn"
)

// An object is a Kubernetes object as JSON has it.
type object map[string]any

// A world is what stands around the function: Crossplane, which shows it a
// tenant and does what it says, and the controllers, which make things ready
// when a test tells them to.
type world struct {
	tb       testing.TB
	function *fn.Function
	clock    *clocktesting.FakePassiveClock

	// client is the PLANAClient, platform the pipeline step's input.
	client   object
	platform object

	// composed resources by their key in the pipeline.
	composed map[string]object

	// others are objects that the function may require, beside composed ones.
	others []object

	// required is what the function asked for when it was last called. As in
	// Crossplane, its first call is answered with that.
	required map[string]*fnv1.ResourceSelector

	// databaseExisted on the server before anybody asked for it.
	databaseExisted bool

	// filledIn are parameters of the Database that provider-sql has: they are its own,
	// and stay where they aren't asked for.
	filledIn map[string]bool

	// created counts objects, for their UIDs.
	created int
}

// newWorld returns a world with the supplied PLANAClient, an empty Platform and
// no templates.
func newWorld(tb testing.TB, client object) *world {
	tb.Helper()
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 11, 2, 8, 1, 0, 0, time.UTC))
	return &world{
		tb:       tb,
		clock:    clock,
		function: fn.New(logging.NewNopLogger(), clock),
		client:   client,
		platform: object{"apiVersion": "planaclient.fn.planapulse.com/v1beta1", "kind": "Platform"},
		composed: map[string]object{},
		filledIn: map[string]bool{},
	}
}

// acme is the runbook's tenant, as the API server has it.
func acme() object { return client("acme", 23, "pro", "18") }

func client(name string, projectID int, tier, version string) object {
	return object{
		"apiVersion": "planapulse.com/v1alpha1",
		"kind":       "PLANAClient",
		"metadata": map[string]any{
			"name":              name,
			"uid":               "5d1f6c1e-0000-4000-8000-000000000001",
			"generation":        int64(1),
			"creationTimestamp": "2026-11-02T08:00:00Z",
		},
		"spec": map[string]any{
			"subdomain":  name,
			"projectId":  int64(projectID),
			"tier":       tier,
			"ownerEmail": "ceo@acme.bg",
			"ownerName":  "Acme Corp",
			// A version that is spelled out is the usual case.
			"odooVersion": version,
		},
	}
}

// template declares a template database that is there to be cloned.
func template(name string) object {
	return object{
		"apiVersion": "postgresql.sql.m.crossplane.io/v1alpha1",
		"kind":       "Database",
		"metadata":   map[string]any{"name": name, "namespace": "crossplane-system"},
		"spec":       map[string]any{"forProvider": map[string]any{}, "managementPolicies": []any{"Observe"}},
		"status":     map[string]any{"conditions": conditions("Ready", "True", "Synced", "True")},
	}
}

// conditions of the supplied types and statuses.
func conditions(typeAndStatus ...string) []any {
	cs := make([]any, 0, len(typeAndStatus)/2)
	for pair := range slices.Chunk(typeAndStatus, 2) {
		cs = append(cs, map[string]any{
			"type": pair[0], "status": pair[1], "reason": "Because",
			"lastTransitionTime": "2026-11-02T08:00:30Z",
		})
	}
	return cs
}

// request shows the function this world.
func (w *world) request() *fnv1.RunFunctionRequest {
	w.tb.Helper()
	req := &fnv1.RunFunctionRequest{
		Meta:  &fnv1.RequestMeta{Tag: "tag"},
		Input: w.structOf(w.platform),
		Observed: &fnv1.State{
			Composite: &fnv1.Resource{Resource: w.structOf(w.client)},
			Resources: map[string]*fnv1.Resource{},
		},
		Desired:           &fnv1.State{},
		RequiredResources: map[string]*fnv1.Resources{},
	}
	for key, o := range w.composed {
		req.Observed.Resources[key] = &fnv1.Resource{Resource: w.structOf(o)}
	}
	for name, selector := range w.required {
		found := &fnv1.Resources{}
		all := slices.Clone(w.others)
		for _, key := range slices.Sorted(maps.Keys(w.composed)) {
			all = append(all, w.composed[key])
		}
		for _, o := range all {
			if o.matches(selector) {
				found.Items = append(found.Items, &fnv1.Resource{Resource: w.structOf(o)})
			}
		}
		req.RequiredResources[name] = found
	}
	return req
}

// run the function on this world as Crossplane does: again, as long as it
// requires something else than it was given.
func (w *world) run() *fnv1.RunFunctionResponse {
	w.tb.Helper()
	for range 5 {
		rsp, err := w.function.RunFunction(w.tb.Context(), w.request())
		if err != nil {
			w.tb.Fatalf("RunFunction(...): %v", err)
		}
		wanted := rsp.GetRequirements().GetResources()
		if maps.EqualFunc(wanted, w.required, func(a, b *fnv1.ResourceSelector) bool { return proto.Equal(a, b) }) {
			return rsp
		}
		w.required = wanted
	}
	w.tb.Fatal("the function's requirements don't settle")
	return nil
}

// reconcile runs the function and does what it says, as Crossplane does.
func (w *world) reconcile() *fnv1.RunFunctionResponse {
	w.tb.Helper()
	rsp := w.run()
	before := w.conditions()
	for _, c := range rsp.GetConditions() {
		before[c.GetType()] = map[string]any{
			"type": c.GetType(), "status": statusOf(c), "reason": c.GetReason(), "message": c.GetMessage(),
			"lastTransitionTime": "2026-11-02T08:00:30Z",
		}
	}
	if len(resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL)) > 0 {
		// Nothing is applied, but the conditions are recorded.
		w.client.in("status")["conditions"] = listed(before)
		return rsp
	}

	desired := rsp.GetDesired().GetResources()
	for key := range w.composed {
		if desired[key] == nil {
			delete(w.composed, key)
		}
	}
	ready := rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_FALSE
	for key, r := range desired {
		w.apply(key, clone(r.GetResource().AsMap()))
		ready = ready && r.GetReady() == fnv1.Ready_READY_TRUE
	}

	// The status is replaced, but for the conditions.
	status := clone(rsp.GetDesired().GetComposite().GetResource().AsMap()).in("status")
	isReady := map[bool]string{true: "True", false: "False"}[ready]
	before["Ready"] = conditions("Ready", isReady)[0]
	before["Synced"] = conditions("Synced", "True")[0]
	status["conditions"] = listed(before)
	w.client["status"] = map[string]any(status)
	return rsp
}

// listed are conditions in the order of their types.
func listed(byType map[string]any) []any {
	all := make([]any, 0, len(byType))
	for _, typ := range slices.Sorted(maps.Keys(byType)) {
		all = append(all, byType[typ])
	}
	return all
}

// apply what is desired of a composed resource. It is where a real API server
// and a real Crossplane would say no.
func (w *world) apply(key string, desired object) {
	w.tb.Helper()
	before, exists := w.composed[key]
	if !exists {
		w.created++
		o := clone(desired)
		meta := o.in("metadata")
		meta["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", w.created)
		meta["generation"] = int64(1)
		meta["creationTimestamp"] = "2026-11-02T08:00:10Z"
		meta["annotations"] = merged(meta["annotations"], map[string]any{"crossplane.io/composition-resource-name": key})
		meta["ownerReferences"] = []any{map[string]any{
			"apiVersion": w.client["apiVersion"], "kind": w.client["kind"], "name": w.client.at("metadata", "name"),
			"uid": w.client.at("metadata", "uid"), "controller": true, "blockOwnerDeletion": true,
		}}
		if o["kind"] == "Database" {
			clear(w.filledIn)
		}
		if o["kind"] == "Job" {
			// What the API server adds to a Job, and never lets anybody change.
			id := fmt.Sprint(meta["uid"])
			o.in("spec")["selector"] = map[string]any{"matchLabels": map[string]any{"batch.kubernetes.io/controller-uid": id}}
			o.in("spec", "template", "metadata", "labels")["batch.kubernetes.io/controller-uid"] = id
			o.in("spec")["completions"] = int64(1)
		}
		w.composed[key] = o
		return
	}

	for _, path := range [][]string{{"metadata", "name"}, {"metadata", "namespace"}, {"apiVersion"}, {"kind"}} {
		if was, is := before.at(path...), desired.at(path...); was != is {
			w.tb.Errorf("%s: %v changed from %v to %v", key, path, was, is)
		}
	}
	var frozen [][]string
	switch before["kind"] {
	case "Job":
		// What isn't asked for stays as others have it.
		desired = clone(desired)
		for _, name := range []string{"suspend", "parallelism", "ttlSecondsAfterFinished"} {
			if _, asked := desired.in("spec")[name]; !asked && before.at("spec", name) != nil {
				desired.in("spec")[name] = before.at("spec", name)
			}
		}
		frozen = [][]string{{"spec"}}
	case "Database":
		if _, whole := desired["spec"].(map[string]any); !whole {
			break
		}
		desired = clone(desired)
		params := desired.in("spec", "forProvider")
		for field := range w.filledIn {
			if value := before.at("spec", "forProvider", field); value != nil && params[field] == nil {
				params[field] = value
			}
		}
		frozen = [][]string{{"spec", "forProvider", "template"}, {"spec", "forProvider", "strategy"}}
	}
	for _, path := range frozen {
		if diff := cmp.Diff(before.at(path...), desired.at(path...)); diff != "" {
			w.tb.Errorf("%s: immutable field %v changed: -observed, +desired:\n%s", key, path, diff)
		}
	}

	o := clone(before)
	o["spec"] = desired["spec"]
	o.in("metadata")["labels"] = merged(o.at("metadata", "labels"), desired.at("metadata", "labels"))
	o.in("metadata")["annotations"] = merged(o.at("metadata", "annotations"), desired.at("metadata", "annotations"))
	if !cmp.Equal(before["spec"], o["spec"]) {
		generation, _ := o.at("metadata", "generation").(int64)
		o.in("metadata")["generation"] = generation + 1
	}
	w.composed[key] = o
}

// withDatabase returns a world in which acme's database is there and proven to be
// its own, and what comes next is begun.
func withDatabase(tb testing.TB) *world {
	tb.Helper()
	w := newWorld(tb, acme())
	w.others = []object{template("pro-template-18")}
	w.reconcile()
	for _, key := range []string{"guard", "database", "database"} {
		w.settle(key)
		w.reconcile()
	}
	return w
}

// settle makes a composed resource as ready as it gets: its controller has seen
// its latest form and done what it asks for.
func (w *world) settle(key string) {
	w.tb.Helper()
	o, ok := w.composed[key]
	if !ok {
		w.tb.Fatalf("there is no %s to settle", key)
	}
	generation := o.at("metadata", "generation")
	switch o["kind"] {
	case "ClusterUsage":
		o["status"] = map[string]any{"conditions": conditions("Ready", "True")}
	case "Database":
		cs := conditions("Ready", "True", "Synced", "True")
		for _, c := range cs {
			c.(map[string]any)["observedGeneration"] = generation
		}
		o["status"] = map[string]any{"conditions": cs}
		params := o.in("spec", "forProvider")
		for field, value := range map[string]any{"connectionLimit": int64(-1), "owner": "plana"} {
			if params[field] == nil {
				params[field] = value
				w.filledIn[field] = true
			}
		}
		if !w.databaseExisted {
			o.in("metadata", "annotations")["crossplane.io/external-create-succeeded"] = "2026-11-02T08:00:20Z"
		}
	case "HTTPRoute":
		cs := conditions("Accepted", "True", "ResolvedRefs", "True")
		for _, c := range cs {
			c.(map[string]any)["observedGeneration"] = generation
		}
		o["status"] = map[string]any{"parents": []any{map[string]any{
			"parentRef":      map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "plana-odoo", "name": "eg-gateway"},
			"controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
			"conditions":     cs,
		}}}
	case "CronJob":
	case "Job":
		o["status"] = map[string]any{
			"succeeded":      int64(1),
			"completionTime": "2026-11-02T08:01:00Z",
			"conditions":     conditions("Complete", "True"),
		}
	default:
		w.tb.Fatalf("don't know how to settle a %v", o["kind"])
	}
}

// fail a Job for good, as Kubernetes does after its last attempt.
func (w *world) fail(key string) {
	w.tb.Helper()
	w.composed[key]["status"] = map[string]any{
		"failed": int64(5),
		"conditions": []any{map[string]any{
			"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit",
			"lastTransitionTime": "2026-11-02T08:01:00Z",
		}},
	}
}

// refuse has provider-sql say that it can't do what a Database asks for.
func (w *world) refuse(db object) {
	w.tb.Helper()
	db["status"] = map[string]any{"conditions": []any{
		map[string]any{"type": "Ready", "status": "True", "reason": "Available", "lastTransitionTime": "2026-11-02T08:01:00Z"},
		map[string]any{"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "cannot log in", "lastTransitionTime": "2026-11-02T08:01:00Z"},
	}}
}

// finish provisions the tenant to its end: everything is settled as soon as it
// exists. What is left is what a steady tenant has.
func (w *world) finish() *world {
	w.tb.Helper()
	for range 30 {
		rsp := w.reconcile()
		if w.ready() && len(rsp.GetDesired().GetResources()) == 4 {
			return w
		}
		for key := range w.composed {
			w.settle(key)
		}
	}
	w.tb.Fatalf("the tenant doesn't get ready: %v", w.client["status"])
	return nil
}

// ready tells whether Crossplane would call the tenant ready.
func (w *world) ready() bool {
	c, _ := w.conditions()["Ready"].(map[string]any)
	return c["status"] == "True"
}

// conditions of the PLANAClient by type.
func (w *world) conditions() map[string]any {
	byType := map[string]any{}
	cs, _ := w.client.at("status", "conditions").([]any)
	for _, c := range cs {
		c, _ := c.(map[string]any)
		byType[fmt.Sprint(c["type"])] = c
	}
	return byType
}

func (w *world) structOf(o object) *structpb.Struct {
	w.tb.Helper()
	if o == nil {
		return nil
	}
	s, err := structpb.NewStruct(clone(o))
	if err != nil {
		w.tb.Fatalf("cannot convert %v: %v", o, err)
	}
	return s
}

// at returns the value at a path, or nil.
func (o object) at(path ...string) any {
	var v any = map[string]any(o)
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// in returns the map at a path, which it makes.
func (o object) in(path ...string) object {
	m := map[string]any(o)
	for _, name := range path {
		next, ok := m[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[name] = next
		}
		m = next
	}
	return m
}

// matches tells whether a selector finds the object.
func (o object) matches(s *fnv1.ResourceSelector) bool {
	if o["apiVersion"] != s.GetApiVersion() || o["kind"] != s.GetKind() {
		return false
	}
	if s.Namespace != nil && o.at("metadata", "namespace") != s.GetNamespace() {
		return false
	}
	if labels := s.GetMatchLabels(); labels != nil {
		for name, value := range labels.GetLabels() {
			if o.at("metadata", "labels", name) != value {
				return false
			}
		}
		return true
	}
	return o.at("metadata", "name") == s.GetMatchName()
}

// clone an object. All numbers come out as int64, so that what was sent and what
// was received compare: nothing here has a fraction.
func clone(o object) object {
	m, _ := deepCopy(map[string]any(o)).(map[string]any)
	return m
}

func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, value := range v {
			m[name] = deepCopy(value)
		}
		return m
	case []any:
		l := make([]any, 0, len(v))
		for _, value := range v {
			l = append(l, deepCopy(value))
		}
		return l
	case int:
		return int64(v)
	case float64:
		return int64(v)
	default:
		return v
	}
}

func merged(all ...any) map[string]any {
	out := map[string]any{}
	for _, m := range all {
		m, _ := m.(map[string]any)
		maps.Copy(out, m)
	}
	return out
}

// document reads YAML as an object's wire form.
func document(tb testing.TB, y string) *structpb.Struct {
	tb.Helper()
	o := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(y), &o); err != nil {
		tb.Fatalf("bad YAML: %v\n%s", err, y)
	}
	s, err := structpb.NewStruct(o)
	if err != nil {
		tb.Fatalf("bad YAML: %v\n%s", err, y)
	}
	return s
}

// comparers of protobuf messages.
var comparers = protocmp.Transform()

// diff of protobuf messages, -want, +got.
func diff(want, got any) string {
	return cmp.Diff(want, got, comparers)
}

// statusOf a condition in Kubernetes' words.
func statusOf(c *fnv1.Condition) string {
	return map[fnv1.Status]string{
		fnv1.Status_STATUS_CONDITION_TRUE:  "True",
		fnv1.Status_STATUS_CONDITION_FALSE: "False",
	}[c.GetStatus()]
}

// conditionOf a response, by type.
func conditionOf(rsp *fnv1.RunFunctionResponse, typ string) *fnv1.Condition {
	i := slices.IndexFunc(rsp.GetConditions(), func(c *fnv1.Condition) bool { return c.GetType() == typ })
	if i < 0 {
		return nil
	}
	return rsp.GetConditions()[i]
}

// keysOf what a response composes, in order.
func keysOf(rsp *fnv1.RunFunctionResponse) []string {
	return slices.Sorted(maps.Keys(rsp.GetDesired().GetResources()))
}

// resultsOf a response with a severity.
func resultsOf(rsp *fnv1.RunFunctionResponse, severity fnv1.Severity) []string {
	var messages []string
	for _, r := range rsp.GetResults() {
		if r.GetSeverity() == severity {
			messages = append(messages, r.GetMessage())
		}
	}
	return messages
}

// said is what a condition of the composite resource says. Its message has the
// supplied words in it.
type said struct {
	condition *fnv1.Condition
	words     []string
}

func isTrue(typ, reason string, words ...string) said {
	return condition(typ, fnv1.Status_STATUS_CONDITION_TRUE, reason, words)
}

func isFalse(typ, reason string, words ...string) said {
	return condition(typ, fnv1.Status_STATUS_CONDITION_FALSE, reason, words)
}

func condition(typ string, status fnv1.Status, reason string, words []string) said {
	return said{&fnv1.Condition{Type: typ, Status: status, Reason: reason, Target: fnv1.Target_TARGET_COMPOSITE.Enum()}, words}
}

// diff of the condition in a response, -want, +got.
func (s said) diff(rsp *fnv1.RunFunctionResponse) string {
	got := conditionOf(rsp, s.condition.GetType())
	var diff strings.Builder
	diff.WriteString(cmp.Diff(s.condition, got, comparers, protocmp.IgnoreFields(&fnv1.Condition{}, "message")))
	for _, w := range s.words {
		if !strings.Contains(got.GetMessage(), w) {
			diff.WriteString(fmt.Sprintf("condition %s: %q isn't in message %q\n", s.condition.GetType(), w, got.GetMessage()))
		}
	}
	return diff.String()
}

// deleted is what Crossplane writes on a PLANAClient whose delete its guard has
// refused.
const deleted = "usage.crossplane.io/deletion-attempt-with-policy"

// life goes on: until the desired state doesn't change any more, everything
// settles as soon as it exists, and time passes. It returns what was composed,
// each time that it was something else.
func (w *world) life() [][]string {
	w.tb.Helper()
	var all [][]string
	for range 40 {
		keys := keysOf(w.reconcile())
		if keys == nil {
			keys = []string{}
		}
		if n := len(all); n == 0 || !slices.Equal(all[n-1], keys) {
			all = append(all, keys)
		}
		for key := range w.composed {
			w.settle(key)
		}
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
	}
	return all
}
