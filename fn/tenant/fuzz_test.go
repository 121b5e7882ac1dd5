package tenant_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ours are the keys of everything that this function composes.
var ours = []string{
	"guard", "database", "route", "backup",
	"filestore-clone", "module-install", "tenant-prepare", "smoke-test", "matrix-room-create", "account-webhook", "client-provisioned",
	"tier-modules", "suspend-fence", "suspend-backup", "suspend-drain", "unfence",
	"fence", "final-backup", "connections-drain", "filestore-wipe", "backup-tombstone", "matrix-room-retire", "deprovision-webhook", "client-deprovisioned",
}

// answer a request twice, and check what holds for every answer to any request.
func answer(tb testing.TB, w *world, req *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
	tb.Helper()
	raw, err := proto.Marshal(req)
	if err != nil {
		tb.Skip("not a request that can be sent")
	}
	// As it is received: a response may share parts with its request.
	received := func() *fnv1.RunFunctionRequest {
		req := &fnv1.RunFunctionRequest{}
		if err := proto.Unmarshal(raw, req); err != nil {
			tb.Skip("not a request that can be received")
		}
		return req
	}
	req = received()

	rsp, err := w.function.RunFunction(tb.Context(), received())
	if err != nil || rsp == nil {
		tb.Fatalf("RunFunction(...): %v, %v", rsp, err)
	}
	got, err := proto.MarshalOptions{Deterministic: true}.Marshal(rsp)
	if err != nil {
		tb.Fatalf("the response can't be sent: %v", err)
	}
	if fatal := resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL); len(fatal) == 1 && strings.HasPrefix(fatal[0], "cannot compose a ") {
		// Another kind is none of this function's, and nothing of it is touched.
		if keys := keysOf(rsp); len(keys) > 0 {
			tb.Errorf("a composite of another kind has %v: %v", keys, fatal)
		}
		return rsp
	}
	if conditionOf(rsp, "Accepted") == nil {
		tb.Errorf("the response doesn't say whether the request is accepted: %v", rsp)
	}
	if rsp.GetMeta().GetTtl().AsDuration() <= 0 {
		tb.Errorf("the response has no TTL: %v", rsp.GetMeta())
	}

	// Unless the tenant is taken away or resumed, what is there stays: a request
	// that is refused keeps everything, and one that isn't drops Jobs at most.
	fatal := len(resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL)) > 0
	refused := statusOf(conditionOf(rsp, "Accepted")) == "False"
	for _, key := range ours {
		o := req.GetObserved().GetResources()[key]
		if o.GetResource() == nil || fatal || rsp.GetDesired().GetResources()[key] != nil || stranger(req, o) {
			continue
		}
		gone := conditionOf(rsp, "Deprovisioned") != nil && conditionOf(rsp, "Deprovisioned").GetReason() != "InService"
		if refused || !gone && slices.Contains(ours[:4], key) {
			tb.Errorf("%s is dropped: %v", key, rsp)
		}
	}
	if fatal && slices.ContainsFunc(ours, func(key string) bool { return req.GetObserved().GetResources()[key].GetResource() != nil }) {
		tb.Errorf("a tenant that has something gets a fatal result: %v", rsp.GetResults())
	}

	again, err := w.function.RunFunction(tb.Context(), received())
	if err != nil {
		tb.Fatal(err)
	}
	second, err := proto.MarshalOptions{Deterministic: true}.Marshal(again)
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(got, second) {
		tb.Errorf("the same request is answered in another way the second time: -first, +second:\n%s", diff(rsp, again))
	}
	return rsp
}

// stranger tells whether an object isn't controlled by the composite. Crossplane
// doesn't take such a one away, whether it is desired or not.
func stranger(req *fnv1.RunFunctionRequest, o *fnv1.Resource) bool {
	object := &unstructured.Unstructured{Object: o.GetResource().AsMap()}
	uid, _, _ := unstructured.NestedString(req.GetObserved().GetComposite().GetResource().AsMap(), "metadata", "uid")
	c := metav1.GetControllerOf(object)
	return uid != "" && object.GetUID() != "" && (c == nil || string(c.UID) != uid)
}

// requests of tenants in all walks of life.
func requests(tb testing.TB) []*fnv1.RunFunctionRequest {
	tb.Helper()
	var all []*fnv1.RunFunctionRequest
	for _, hasTemplate := range []bool{true, false} {
		w := newWorld(tb, acme())
		stages := installed
		if hasTemplate {
			w.others = []object{template("pro-template-18")}
			stages = cloned
		}
		w.others = append(w.others, object{
			"apiVersion": "v1", "kind": "ResourceQuota",
			"metadata": map[string]any{"name": "plana-quota", "namespace": "plana-odoo-18"},
			"status": map[string]any{
				"hard": map[string]any{"limits.cpu": "10", "limits.memory": "14Gi", "pods": "14"},
				"used": map[string]any{"limits.cpu": "2", "limits.memory": "3Gi", "pods": "5"},
			},
		})
		for _, s := range stages {
			all = append(all, w.request())
			if s.settles != "" {
				w.settle(s.settles)
			}
			w.reconcile()
			all = append(all, w.request())
		}
		w.reconcile()
		for _, change := range []func(){
			func() { w.client.in("spec")["suspended"] = true },
			func() { w.client.in("spec")["suspended"] = false },
			func() { w.client.in("spec")["odooVersion"] = "19" },
			func() { w.client.in("metadata", "annotations")["planapulse.com/rerun"] = "smoke-test/1" },
			func() {
				w.client.in("metadata", "annotations")["usage.crossplane.io/deletion-attempt-with-policy"] = "Foreground"
			},
		} {
			change()
			for range 14 {
				w.clock.SetTime(w.clock.Now().Add(5 * 60e9))
				w.reconcile()
				all = append(all, w.request())
				for key := range w.composed {
					w.settle(key)
				}
			}
		}
	}
	return all
}

func FuzzRunFunction(f *testing.F) {
	add := func(req *fnv1.RunFunctionRequest) {
		raw, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, req := range requests(f) {
		add(req)
	}
	// Small ones, of which the fuzzer makes the most.
	add(&fnv1.RunFunctionRequest{})
	add(&fnv1.RunFunctionRequest{Observed: &fnv1.State{Composite: &fnv1.Resource{}}})
	small := &fnv1.RunFunctionRequest{Observed: &fnv1.State{
		Composite: &fnv1.Resource{Resource: document(f, `{metadata: {name: a}, spec: {subdomain: a, projectId: 1, ownerEmail: a@b.c, ownerName: a}}`)},
		Resources: map[string]*fnv1.Resource{},
	}}
	add(small)
	for _, key := range ours {
		s := proto.CloneOf(small)
		s.Observed.Resources = map[string]*fnv1.Resource{}
		s.Observed.Resources[key] = &fnv1.Resource{Resource: document(f, `{metadata: {generation: 1, annotations: {a: b}}, spec: {}, status: {conditions: [{type: Ready, status: "True"}], parents: [{}], startTime: "2026-11-02T08:00:00Z"}}`)}
		add(s)
		s.Observed.Composite.Resource.Fields["status"] = structpb.NewStructValue(document(f, `{effects: {tenant-prepare: {completedAt: "2026-11-02T08:00:00Z"}}, conditions: [{type: Ready, status: "True"}], deletion: {step: drop}}`))
		add(s)
	}

	f.Fuzz(func(t *testing.T, raw []byte) {
		req := &fnv1.RunFunctionRequest{}
		if err := proto.Unmarshal(raw, req); err != nil {
			t.Skip("not a request")
		}
		answer(t, newWorld(t, nil), req)
	})
}

// TestMangled replaces one value after the other, all over requests of real
// tenants, with what should never stand there.
func TestMangled(t *testing.T) {
	garbage := []*structpb.Value{
		nil,
		{},
		structpb.NewNullValue(),
		structpb.NewBoolValue(true),
		structpb.NewNumberValue(-1.5),
		structpb.NewNumberValue(1e300),
		structpb.NewStringValue(""),
		structpb.NewStringValue("garbage"),
		structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("x"), nil}}),
		structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"": nil, "x": structpb.NewNumberValue(1)}}),
	}
	random := rand.New(rand.NewPCG(3, 4))
	times := 1500
	if testing.Short() {
		times = 300
	}
	all := requests(t)
	w := newWorld(t, nil)
	for range times {
		req := proto.CloneOf(all[random.IntN(len(all))])
		structs := []*structpb.Struct{req.GetInput(), req.GetObserved().GetComposite().GetResource()}
		for _, key := range slices.Sorted(maps.Keys(req.GetObserved().GetResources())) {
			structs = append(structs, req.GetObserved().GetResources()[key].GetResource())
		}
		for _, name := range slices.Sorted(maps.Keys(req.GetRequiredResources())) {
			for _, r := range req.GetRequiredResources()[name].GetItems() {
				structs = append(structs, r.GetResource())
			}
		}
		for range 1 + random.IntN(3) {
			mangle(random, structs[random.IntN(len(structs))], garbage)
		}
		answer(t, w, req)
		if t.Failed() {
			t.Fatalf("the request was: %v", req)
		}
	}
}

// mangle one value of a struct, at any depth.
func mangle(random *rand.Rand, s *structpb.Struct, garbage []*structpb.Value) {
	names := slices.Sorted(maps.Keys(s.GetFields()))
	if len(names) == 0 {
		return
	}
	name := names[random.IntN(len(names))]
	v := s.GetFields()[name]
	if items := v.GetListValue().GetValues(); len(items) > 0 && random.IntN(4) > 0 {
		i := random.IntN(len(items))
		if below := items[i].GetStructValue(); below != nil && random.IntN(4) > 0 {
			mangle(random, below, garbage)
			return
		}
		items[i] = garbage[random.IntN(len(garbage))]
		return
	}
	if below := v.GetStructValue(); below != nil && random.IntN(5) > 0 {
		mangle(random, below, garbage)
		return
	}
	if i := random.IntN(len(garbage) + 1); i < len(garbage) {
		s.Fields[name] = garbage[i]
	} else {
		delete(s.GetFields(), name)
	}
}

// TestHuge sends requests of 4 MB, which is what gRPC takes.
func TestHuge(t *testing.T) {
	long := strings.Repeat("Ж", 2<<20)
	many := map[string]any{}
	for i := range 40000 {
		many[strings.Repeat("k", 30)+string(rune('A'+i%26))+strings.Repeat("v", i%7)+long[:2*(i%30)]] = strings.Repeat("v", 80)
	}
	deep := map[string]any{}
	for range 3000 {
		deep = map[string]any{"d": deep}
	}
	cases := map[string]struct {
		reason string
		change func(w *world)
	}{
		"OwnerName":  {reason: "A name that the XRD would never let through.", change: func(w *world) { w.client.in("spec")["ownerName"] = long }},
		"Annotation": {reason: "An annotation on a composed resource.", change: func(w *world) { w.composed["database"].in("metadata", "annotations")["long"] = long }},
		"Message": {reason: "A provider that has much to say.", change: func(w *world) {
			w.composed["database"]["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Synced", "status": "False", "message": long}}}
		}},
		"Status": {reason: "A ledger with much in it.", change: func(w *world) { w.client.in("status")["effects"] = many }},
		"Labels": {reason: "Labels that others have put there.", change: func(w *world) { w.composed["route"].in("metadata")["labels"] = many }},
		"Deep":   {reason: "A deep spec.", change: func(w *world) { w.composed["guard"].in("spec")["deep"] = deep }},
		"Others": {reason: "What other functions compose.", change: func(w *world) {
			for i := range 40 {
				w.composed[strings.Repeat("o", i+1)] = object{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"long": long[:100000]}}
			}
		}},
		"Platform": {reason: "A Platform with much in it.", change: func(w *world) { w.platform.in("tiers", "pro")["modules"] = []any{long} }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := finished(t)
			tc.change(w)
			rsp := answer(t, w, w.request())
			for _, key := range []string{"guard", "database", "route", "backup"} {
				if rsp.GetDesired().GetResources()[key] == nil {
					t.Errorf("%s\nRunFunction(...): %s is dropped", tc.reason, key)
				}
			}
		})
	}
}
