package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plana-pulse/function-planaclient/fn"
)

// podsOf a tenant's whole life: podTemplatesOf without what is around them.
func podsOf(t *testing.T, version string, template bool) map[string]corev1.PodSpec {
	t.Helper()
	pods := map[string]corev1.PodSpec{}
	for name, pod := range podTemplatesOf(t, version, template) {
		pods[name] = pod.Spec
	}
	return pods
}

// podTemplatesOf runs a tenant's whole life, in which everything goes well, and
// returns the pods of all its Jobs, by namespace and name of the Job.
func podTemplatesOf(t *testing.T, version string, template bool) map[string]corev1.PodTemplateSpec {
	t.Helper()

	// What happens to the tenant, each once all before it has been seen to.
	events := []func(xr map[string]any){
		func(xr map[string]any) { xr["spec"].(map[string]any)["tier"] = "pro" },
		func(xr map[string]any) { xr["spec"].(map[string]any)["suspended"] = true },
		func(xr map[string]any) { xr["spec"].(map[string]any)["suspended"] = false },
		func(xr map[string]any) {
			xr["metadata"].(map[string]any)["annotations"] = map[string]any{"usage.crossplane.io/deletion-attempt-with-policy": "Background"}
		},
	}

	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC))
	f := fn.New(logging.NewNopLogger(), clock)
	xr := map[string]any{
		"apiVersion": "planapulse.com/v1alpha1",
		"kind":       "PLANAClient",
		"metadata":   map[string]any{"name": "acme", "uid": "a"},
		"spec": map[string]any{
			"subdomain": "acme", "projectId": 23, "tier": "starter", "odooVersion": version,
			"ownerEmail": "ceo@acme.bg", "ownerName": "Acme Corp",
		},
	}
	observed := map[string]*fnv1.Resource{}
	required := map[string]*fnv1.Resources{}
	pods := map[string]corev1.PodTemplateSpec{}

	for range 200 {
		clock.SetTime(clock.Now().Add(10 * time.Minute))
		rsp, err := f.RunFunction(context.Background(), &fnv1.RunFunctionRequest{
			Observed:          &fnv1.State{Composite: &fnv1.Resource{Resource: structOf(t, xr)}, Resources: observed},
			Desired:           &fnv1.State{},
			RequiredResources: required,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rsp.GetResults() {
			if r.GetSeverity() == fnv1.Severity_SEVERITY_FATAL {
				t.Fatal(r.GetMessage())
			}
		}

		known := len(required)
		for name, selector := range rsp.GetRequirements().GetResources() {
			required[name] = &fnv1.Resources{}
			if template && selector.GetKind() == "Database" && strings.Contains(selector.GetMatchName(), "-template-") {
				db := structOf(t, map[string]any{"apiVersion": selector.GetApiVersion(), "kind": "Database"})
				required[name].Items = []*fnv1.Resource{{Resource: happy(t, db)}}
			}
		}

		next := map[string]*fnv1.Resource{}
		for key, r := range rsp.GetDesired().GetResources() {
			composed := happy(t, r.GetResource()).AsMap()
			composed["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{
				"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "acme", "uid": "a", "controller": true,
			}}
			next[key] = &fnv1.Resource{Resource: structOf(t, composed)}
			collect(t, r.GetResource(), pods)
		}
		settled := known == len(required) && slices.Equal(slices.Sorted(maps.Keys(observed)), slices.Sorted(maps.Keys(next)))
		observed = next

		status := rsp.GetDesired().GetComposite().GetResource().GetFields()["status"].GetStructValue().AsMap()
		ready := rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_FALSE
		conditions := []any{map[string]any{"type": "Ready", "status": map[bool]string{true: "True", false: "False"}[ready]}}
		for _, c := range rsp.GetConditions() {
			conditions = append(conditions, map[string]any{
				"type": c.GetType(), "reason": c.GetReason(), "message": c.GetMessage(),
				"status": map[fnv1.Status]string{fnv1.Status_STATUS_CONDITION_TRUE: "True", fnv1.Status_STATUS_CONDITION_FALSE: "False"}[c.GetStatus()],
			})
		}
		status["conditions"] = conditions
		before := fmt.Sprint(xr["status"])
		xr["status"] = status

		switch {
		case len(next) == 0 && len(events) == 0:
			return pods
		case settled && before == fmt.Sprint(status) && len(events) > 0:
			events[0](xr)
			events = events[1:]
		}
	}
	t.Fatalf("the tenant hasn't gone, and is left with: %v; status: %v", slices.Sorted(maps.Keys(observed)), xr["status"])
	return nil
}

// happy returns an object as it is when all is well with it.
func happy(t *testing.T, desired *structpb.Struct) *structpb.Struct {
	t.Helper()
	o := desired.AsMap()
	meta, _ := o["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		o["metadata"] = meta
	}
	annotations, _ := meta["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
	}
	is := func(typ string) map[string]any {
		return map[string]any{"type": typ, "status": "True", "lastTransitionTime": "2026-11-02T09:00:00Z"}
	}
	meta["ownerReferences"] = []any{map[string]any{"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "acme", "uid": "a", "controller": true}}
	switch o["kind"] {
	case "Database":
		meta["uid"] = "d"
		annotations["crossplane.io/external-create-succeeded"] = "2026-11-02T09:00:00Z"
		meta["annotations"] = annotations
		o["status"] = map[string]any{"conditions": []any{is("Ready"), is("Synced")}}
	case "ClusterUsage":
		o["status"] = map[string]any{"conditions": []any{is("Ready")}}
	case "HTTPRoute":
		o["status"] = map[string]any{"parents": []any{map[string]any{
			"parentRef":      o["spec"].(map[string]any)["parentRefs"].([]any)[0],
			"controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
			"conditions":     []any{is("Accepted"), is("ResolvedRefs")},
		}}}
	case "Job":
		o["status"] = map[string]any{"conditions": []any{is("Complete")}, "completionTime": "2026-11-02T09:00:00Z"}
	}
	return structOf(t, o)
}

// collect the pod of a Job or CronJob.
func collect(t *testing.T, s *structpb.Struct, into map[string]corev1.PodTemplateSpec) {
	t.Helper()
	convert := func(o any) {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(s.AsMap(), o); err != nil {
			t.Fatal(err)
		}
	}
	switch s.GetFields()["kind"].GetStringValue() {
	case "Job":
		j := &batchv1.Job{}
		convert(j)
		into[j.GetNamespace()+"/"+j.GetName()] = j.Spec.Template
	case "CronJob":
		c := &batchv1.CronJob{}
		convert(c)
		into[c.GetNamespace()+"/"+c.GetName()] = c.Spec.JobTemplate.Spec.Template
	}
}

func structOf(t *testing.T, o map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
