package fn

import (
	"strings"
	"testing"
	"time"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"

	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/fn/tenant"
	"github.com/plana-pulse/function-planaclient/fn/wire"
)

// A greetingKind is the smallest kind of composite that there can be: a Greeting has a
// ConfigMap, and then a second one.
type greetingKind struct{}

// A greeting is what a request says of one Greeting.
type greeting struct {
	name     string
	observed map[string]*fnv1.Resource
}

var greetings = []plan.Step[*greeting]{
	{Name: "card", Does: "writes the card", Condition: "CardReady", Key: "card", Take: (*greeting).card},
	{Name: "envelope", Does: "puts it in an envelope", Condition: "EnvelopeReady", Key: "envelope", After: []string{"card"}, Take: (*greeting).envelope},
}

func (greetingKind) GroupKind() schema.GroupKind {
	return schema.GroupKind{Group: "example.com", Kind: "Greeting"}
}

func (greetingKind) Conditions() []string { return []string{"CardReady", "EnvelopeReady"} }

func (greetingKind) Answer(req plan.Request, rsp *fnv1.RunFunctionResponse) (plan.Report, error) {
	xr := req.GetObserved().GetComposite().GetResource()
	g := &greeting{name: wire.StringAt(xr, "metadata", "name"), observed: req.GetObserved().GetResources()}
	p := plan.NewProgress()
	plan.Walk(g, p, greetings)
	plan.WriteStatus(rsp, &structpb.Struct{}, p.Finished)
	p.WriteConditions(rsp, func(string) xpv1.Condition { return xpv1.Condition{} })
	outcome := plan.CallWorking
	if p.Finished {
		outcome = plan.CallReady
	}
	return plan.Report{Outcome: outcome, Composed: len(p.Composed)}, p.WriteComposed(rsp)
}

func (g *greeting) card() plan.Result     { return g.paper("card") }
func (g *greeting) envelope() plan.Result { return g.paper("envelope") }

func (g *greeting) paper(key string) plan.Result {
	c := plan.Composed{Object: &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "post", Name: g.name + "-" + key},
	}}
	if !g.Exists(key) {
		return plan.Desire(c, plan.Progressing("Creating", "ConfigMap %s-%s is being created", g.name, key))
	}
	return plan.Desire(c, plan.Complete("Available", "ConfigMap %s-%s is there", g.name, key))
}

// A Greeting has no Jobs, and takes over whatever stands in its way.
func (g *greeting) Exists(key string) bool { return g.observed[key] != nil }
func (*greeting) Done(string) bool         { return false }
func (*greeting) Working(string) bool      { return false }
func (*greeting) Begun(string) plan.Composed {
	return plan.Composed{}
}

func (*greeting) Admit(_ string, r plan.Result) plan.Result { return r }

// TestKinds has a function compose a second kind, of which nothing outside of this file
// knows.
func TestKinds(t *testing.T) {
	f := newFunction(logging.NewNopLogger(), clocktesting.NewFakePassiveClock(time.Now()), []plan.Kind{tenant.Kind{}, greetingKind{}})
	xr := func(apiVersion, kind string) *fnv1.Resource {
		s, err := structpb.NewStruct(map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "hello"}})
		if err != nil {
			t.Fatal(err)
		}
		return &fnv1.Resource{Resource: s}
	}
	there := &fnv1.Resource{Resource: &structpb.Struct{}}
	cases := map[string]struct {
		reason    string
		composite *fnv1.Resource
		observed  map[string]*fnv1.Resource

		composed []string
		ready    bool
		fatal    string
	}{
		"First": {
			reason: "A kind's plan begins with its first step.", composite: xr("example.com/v1", "Greeting"),
			composed: []string{"card"},
		},
		"Second": {
			reason: "The next step begins once the one before it is done.", composite: xr("example.com/v1", "Greeting"),
			observed: map[string]*fnv1.Resource{"card": there},
			composed: []string{"card", "envelope"},
		},
		"Last": {
			reason: "Once all steps are done, Crossplane decides whether the composite is ready.", composite: xr("example.com/v1", "Greeting"),
			observed: map[string]*fnv1.Resource{"card": there, "envelope": there},
			composed: []string{"card", "envelope"}, ready: true,
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
			if ready := rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_FALSE; ready != tc.ready {
				t.Errorf("%s\nwant ready %t, got %t", tc.reason, tc.ready, ready)
			}
		})
	}
}
