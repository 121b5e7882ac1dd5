package fn

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/structpb"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/fn/tenant"
	"github.com/plana-pulse/function-planaclient/fn/wire"
)

// A greetingKind is the smallest kind of composite that there can be: a Greeting is a card,
// which a Job posts once, and another Job burns once the Greeting is to go.
type greetingKind struct{}

// A greeting is what a request says of one Greeting.
type greeting struct {
	plan.Effects

	name     string
	observed map[string]*fnv1.Resource
}

var (
	greetings = []plan.Step[*greeting]{
		{Name: "card", Does: "writes the card", Condition: "CardReady", Key: "card", Take: (*greeting).card},
		{Name: "post", Does: "posts it", Condition: "Posted", Key: "post", After: []string{"card"}, Take: job("post")},
	}
	farewell = []plan.Step[*greeting]{
		{Name: "burn", Does: "burns the card", Key: "burn", Take: job("burn")},
		{Name: "sweep", Does: "sweeps the ashes", Key: "sweep", Take: job("sweep")},
	}
)

func (greetingKind) GroupKind() schema.GroupKind {
	return schema.GroupKind{Group: "example.com", Kind: "Greeting"}
}

func (greetingKind) Conditions() []string { return []string{"CardReady", "Posted", "Gone"} }

func (greetingKind) Answer(req plan.Request, rsp *fnv1.RunFunctionResponse) (plan.Report, error) {
	xr := req.GetObserved().GetComposite().GetResource()
	g, err := readGreeting(req)
	if err != nil {
		return plan.Report{}, err
	}
	p, outcome := plan.NewProgress(), plan.CallWorking
	if wire.StringAt(xr, "metadata", "annotations", "example.com/going") != "" {
		outcome = plan.CallLeaving
		if step, o := plan.Follow(g, p, farewell); step != nil {
			p.Say("Gone", o)
		} else {
			p.Say("Gone", plan.Complete("Burnt", "nothing is left"))
		}
	} else if plan.Walk(g, p, greetings); p.Finished {
		outcome = plan.CallReady
	}

	status, err := wire.EncodeValue(&greetingStatus{Effects: g.Ledger})
	if err != nil {
		return plan.Report{}, err
	}
	plan.WriteStatus(rsp, status, p.Finished)
	p.WriteConditions(rsp, func(string) xpv1.Condition { return xpv1.Condition{} })
	return plan.Report{Outcome: outcome, Composed: len(p.Composed)}, p.WriteComposed(rsp)
}

// A greetingXR is as much of a Greeting as its steps go by.
type greetingXR struct {
	metav1.ObjectMeta `json:"metadata"`

	Status greetingStatus `json:"status"`
}

type greetingStatus struct {
	Effects map[string]v1alpha1.EffectStatus `json:"effects,omitempty"`
}

func readGreeting(req plan.Request) (*greeting, error) {
	xr, err := wire.Decoded[greetingXR](req.GetObserved().GetComposite().GetResource(), wire.Status)
	if err != nil {
		return nil, err
	}
	jobs := map[string]*batchv1.Job{}
	for key, r := range req.GetObserved().GetResources() {
		if wire.StringAt(r.GetResource(), "kind") != "Job" {
			continue
		}
		if jobs[key], err = wire.Decoded[batchv1.Job](r.GetResource(), wire.Status); err != nil {
			return nil, err
		}
	}
	never := func(string, v1alpha1.EffectStatus) bool { return false }
	return &greeting{
		Effects: plan.NewEffects(jobs, xr.Status.Effects, never),
		name:    xr.Name, observed: req.GetObserved().GetResources(),
	}, nil
}

func (g *greeting) card() plan.Result {
	c := plan.Composed{Object: &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "post", Name: g.name},
	}}
	if !g.Exists("card") {
		return plan.Desire(c, plan.Progressing("Creating", "the card is being written"))
	}
	return plan.Desire(c, plan.Complete("Available", "the card is written"))
}

// job makes a step of a Job that is run once.
func job(key string) func(*greeting) plan.Result {
	return func(g *greeting) plan.Result {
		return g.Once(plan.Run{
			Effect:   key,
			Released: true,
			Preserve: func() plan.Composed { return plan.Composed{Preserved: g.observed[key].GetResource()} },
			Stands:   func(*batchv1.Job) plan.Outcome { return plan.Progressing("Running", "%s is running", key) },
			Blocked:  func() plan.Result { return plan.Result{} },
			Create: func() *batchv1.Job {
				return &batchv1.Job{
					TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
					ObjectMeta: metav1.ObjectMeta{Namespace: "post", Name: g.name + "-" + key},
				}
			},
		})
	}
}

func (g *greeting) Exists(key string) bool { return g.observed[key] != nil }
func (g *greeting) Working(string) bool    { return false }

func (g *greeting) Begun(key string) plan.Composed {
	if g.Jobs[key] == nil || g.Done(key) {
		return plan.Composed{}
	}
	return plan.Composed{Preserved: g.observed[key].GetResource()}
}

// Nobody has anything where a Greeting's objects are.
func (g *greeting) Admit(_ string, r plan.Result) plan.Result { return r }

// TestKinds has a function compose a second kind, of which nothing outside of this file
// knows.
func TestKinds(t *testing.T) {
	f := newFunction(logging.NewNopLogger(), clocktesting.NewFakePassiveClock(time.Now()), []plan.Kind{tenant.Kind{}, greetingKind{}})
	resource := func(o map[string]any) *fnv1.Resource {
		s, err := structpb.NewStruct(o)
		if err != nil {
			t.Fatal(err)
		}
		return &fnv1.Resource{Resource: s}
	}
	xr := func(apiVersion, kind string) *fnv1.Resource {
		return resource(map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "hello"}})
	}
	greeting := func(annotations, effects map[string]any) *fnv1.Resource {
		return resource(map[string]any{
			"apiVersion": "example.com/v1", "kind": "Greeting",
			"metadata": map[string]any{"name": "hello", "annotations": annotations}, "status": map[string]any{"effects": effects},
		})
	}
	done := map[string]any{"completedAt": "2026-01-01T00:00:00Z"}
	going := map[string]any{"example.com/going": "yes"}
	card := resource(map[string]any{"apiVersion": "v1", "kind": "ConfigMap"})
	running := resource(map[string]any{"apiVersion": "batch/v1", "kind": "Job"})
	complete := resource(map[string]any{"apiVersion": "batch/v1", "kind": "Job", "status": map[string]any{
		"completionTime": "2026-01-01T00:00:00Z", "conditions": []any{map[string]any{"type": "Complete", "status": "True"}},
	}})
	cases := map[string]struct {
		reason    string
		composite *fnv1.Resource
		observed  map[string]*fnv1.Resource

		composed []string
		effects  []string
		ready    bool
		fatal    string
	}{
		"First": {
			reason: "A kind's plan begins with its first step.", composite: xr("example.com/v1", "Greeting"),
			composed: []string{"card"},
		},
		"Second": {
			reason: "The next step begins once the one before it is done.", composite: xr("example.com/v1", "Greeting"),
			observed: map[string]*fnv1.Resource{"card": card},
			composed: []string{"card", "post"},
		},
		"Running": {
			reason: "A Job that runs stays.", composite: xr("example.com/v1", "Greeting"),
			observed: map[string]*fnv1.Resource{"card": card, "post": running},
			composed: []string{"card", "post"},
		},
		"Completed": {
			reason: "A Job that has completed is recorded, and stays until that is seen.", composite: xr("example.com/v1", "Greeting"),
			observed: map[string]*fnv1.Resource{"card": card, "post": complete},
			composed: []string{"card", "post"}, effects: []string{"post"}, ready: true,
		},
		"Recorded": {
			reason: "Once the ledger has the effect, its Job goes, and no other comes.", composite: greeting(nil, map[string]any{"post": done}),
			observed: map[string]*fnv1.Resource{"card": card, "post": complete},
			composed: []string{"card"}, effects: []string{"post"}, ready: true,
		},
		"Going": {
			reason: "A sequence begins with its first step.", composite: greeting(going, map[string]any{"post": done}),
			observed: map[string]*fnv1.Resource{"card": card},
			composed: []string{"burn"}, effects: []string{"post"},
		},
		"Swept": {
			reason: "And goes on with the next once that is done.", composite: greeting(going, map[string]any{"post": done, "burn": done}),
			composed: []string{"sweep"}, effects: []string{"burn", "post"},
		},
		"Gone": {
			reason: "In the end nothing is left.", composite: greeting(going, map[string]any{"post": done, "burn": done, "sweep": done}),
			effects: []string{"burn", "post", "sweep"},
		},
		"Unknown": {
			reason: "A kind that isn't in the registry is refused with those that are.", composite: xr("example.com/v1", "Letter"),
			fatal: "cannot compose a Letter of example.com/v1: this function composes PLANAClient.planapulse.com, Greeting.example.com",
		},
		"OtherGroup": {
			reason: "A kind is known by its group too.", composite: xr("example.org/v1", "Greeting"),
			fatal: "cannot compose a Greeting of example.org/v1",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp, err := f.RunFunction(t.Context(), &fnv1.RunFunctionRequest{Observed: &fnv1.State{Composite: tc.composite, Resources: tc.observed}})
			if err != nil {
				t.Fatal(err)
			}
			if tc.fatal != "" {
				if r := rsp.GetResults(); len(r) != 1 || r[0].GetSeverity() != fnv1.Severity_SEVERITY_FATAL || !strings.HasPrefix(r[0].GetMessage(), tc.fatal) {
					t.Errorf("%s\nwant %q, got %v", tc.reason, tc.fatal, r)
				}
				return
			}
			if got := len(rsp.GetDesired().GetResources()); got != len(tc.composed) {
				t.Errorf("%s\nwant %v, got %v", tc.reason, tc.composed, rsp.GetDesired().GetResources())
			}
			for _, key := range tc.composed {
				if rsp.GetDesired().GetResources()[key] == nil {
					t.Errorf("%s\nwant %s to be composed", tc.reason, key)
				}
			}
			var effects []string
			for effect := range rsp.GetDesired().GetComposite().GetResource().GetFields()["status"].GetStructValue().GetFields()["effects"].GetStructValue().GetFields() {
				effects = append(effects, effect)
			}
			slices.Sort(effects)
			if diff := cmp.Diff(tc.effects, effects, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s\neffects on record, -want, +got:\n%s", tc.reason, diff)
			}
			if ready := rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_FALSE; ready != tc.ready {
				t.Errorf("%s\nwant ready %t, got %t", tc.reason, tc.ready, ready)
			}
		})
	}
}
