package tenant

import (
	"fmt"
	"strings"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"

	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/fn/wire"
)

// This file keeps the function from taking anything over. Crossplane applies with
// force, and makes a composite the controller of an object that has none: whatever
// stands under the name of a composed resource would become the tenant's, and go with
// it. So the function looks for every object by its name before it composes it first,
// and composes nothing over one that this composite doesn't control.
//
// Crossplane fetches what is required in the reconcile in which it applies. An object
// that somebody creates in between is taken over all the same, unless it has another
// controller: the API server refuses a second one.

// jobKind is the kind of what runs an effect.
var jobKind = batchv1.SchemeGroupVersion.WithKind("Job")

// A place is where an object stands: its kind, namespace and name.
type place struct {
	kind            schema.GroupVersionKind
	namespace, name string
}

func (p place) String() string {
	return strings.TrimPrefix(p.kind.Kind+" "+p.namespace+"/"+p.name, "/")
}

// selector of the object at a place.
func (p place) selector() *fnv1.ResourceSelector {
	s := &fnv1.ResourceSelector{
		ApiVersion: p.kind.GroupVersion().String(),
		Kind:       p.kind.Kind,
		Match:      &fnv1.ResourceSelector_MatchName{MatchName: p.name},
	}
	if p.namespace != "" {
		s.Namespace = &p.namespace
	}
	return s
}

// resource is the kind as kubectl takes it.
func (p place) resource() string {
	switch p.kind.Kind {
	case sqlv1alpha1.DatabaseKind:
		return "databases." + p.kind.Group
	default:
		return strings.ToLower(p.kind.Kind)
	}
}

// Admit what a step composes, unless it would stand where something is that isn't the
// tenant's.
func (t *tenant) Admit(key string, r plan.Result) plan.Result {
	if r.Object == nil || t.observed.exists(key) {
		return r
	}
	object, err := meta.Accessor(r.Object)
	if err != nil {
		// All that is composed has metadata.
		return r
	}
	at := place{r.Object.GetObjectKind().GroupVersionKind(), object.GetNamespace(), object.GetName()}
	taken := t.taken(key, at).With(r.Needs)
	if taken.Blocks() {
		return taken
	}
	if form := t.observed.foundWire[key]; form != nil && key != keyDatabase {
		// It is the tenant's own, which Crossplane doesn't refer to any more: once it
		// does, the step sees it as it is. A Job couldn't be changed anyway.
		return plan.Desire(plan.Composed{Preserved: preservedForm(key, form)},
			plan.Progressing(reasonUpdating, "%s is there already, and is looked at", at)).With(taken.Needs)
	}
	return r.With(taken.Needs)
}

// taken says what is in the way of an object that is to be composed, if anything is.
// The function asks for it until it is observed.
func (t *tenant) taken(key string, at place) plan.Result {
	if foreign := t.observed.foreign[key]; foreign != nil {
		return plan.Say(t.collision(at, foreign))
	}
	return plan.Say(t.inTheWay(key, at)).With(plan.Require(key, at.selector()))
}

// inTheWay says what was found where an object is to be composed, if anything was.
func (t *tenant) inTheWay(key string, at place) plan.Outcome {
	there, known := t.observed.found[key]
	switch {
	case !known:
		return plan.Pending(reasonWaiting, "it isn't known yet whether there is a %s", at)
	case there == nil:
		return plan.Outcome{}
	case there.GetDeletionTimestamp() != nil:
		return plan.Progressing(reasonCreating, "an earlier %s is being taken away", at)
	case !t.controls(there):
		return t.collision(at, there)
	}
	return plan.Outcome{}
}

// collision with an object that isn't the tenant's.
func (t *tenant) collision(at place, there *metav1.PartialObjectMetadata) plan.Outcome {
	x := troubleObjectInTheWay
	if at.kind == jobKind {
		x = troubleJobInTheWay
	}
	in := map[string]string{"object": at.resource() + " " + at.name, "name": t.xr.GetName(), "uid": string(t.xr.GetUID())}
	if at.namespace != "" {
		in["object"] = "-n " + at.namespace + " " + in["object"]
	}
	return x.Outcome(in, "%s is there and isn't this tenant's: %s", at, whose(there))
}

// whose an object is, as far as it says.
func whose(object metav1.Object) string {
	said := "it has no controller"
	if c := metav1.GetControllerOfNoCopy(object); c != nil {
		said = fmt.Sprintf("it is controlled by %s %s", c.Kind, c.Name)
	}
	if by := object.GetLabels()["app.kubernetes.io/managed-by"]; by != "" {
		said += ", and managed by " + by
	}
	return said
}

// controls tells whether the composite is an object's controller.
func (t *tenant) controls(object metav1.Object) bool {
	return controls(string(t.xr.GetUID()), object)
}

func controls(uid string, object metav1.Object) bool {
	c := metav1.GetControllerOfNoCopy(object)
	return c != nil && string(c.UID) == uid
}

// foreignObject returns an object that Crossplane shows as composed and that isn't the
// composite's, or nil if it is. Crossplane goes by spec.crossplane.resourceRefs, which whoever may edit
// PLANAClients could point at any object without a controller. The Database object
// that the status knows is the tenant's, whoever took the controller off. What never
// met an API server has no UID: all that a preview shows is the tenant's.
func foreignObject(xr, composed *structpb.Struct, key string) (*metav1.PartialObjectMetadata, error) {
	m, err := wire.Decoded[metav1.PartialObjectMetadata](composed)
	uid := wire.StringAt(xr, "metadata", "uid")
	switch {
	case err != nil, uid == "", m.GetUID() == "", controls(uid, m):
		return nil, err
	case key == keyDatabase && string(m.GetUID()) == wire.StringAt(xr, wire.Status, "databaseUID"):
		return nil, nil
	}
	return m, nil
}
