package deploy

import (
	"context"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Users as the API server knows them.
const (
	crossplane = "system:serviceaccount:crossplane-system:crossplane"
	gc         = "system:serviceaccount:kube-system:generic-garbage-collector"
	ivana      = "ivana@example.org"
)

// A request to the API server.
type request struct {
	operation admission.Operation
	user      string
	dryRun    bool
	resource  schema.GroupVersionResource
	old, new  *unstructured.Unstructured
}

var (
	planaclients = schema.GroupVersionResource{Group: "planapulse.com", Version: "v1alpha1", Resource: "planaclients"}
	usages       = schema.GroupVersionResource{Group: "protection.crossplane.io", Version: "v1beta1", Resource: "clusterusages"}
	xrds         = schema.GroupVersionResource{Group: "apiextensions.crossplane.io", Version: "v2", Resource: "compositeresourcedefinitions"}
	crds         = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// object of the supplied fields.
func object(apiVersion, kind, name string, edits ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": name}}}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	for _, edit := range edits {
		edit(u)
	}
	return u
}

// acme is a PLANAClient.
func acme(edits ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	return object("planapulse.com/v1alpha1", "PLANAClient", "acme", edits...)
}

func with(value any, path ...string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
			panic(err) // A test case that can't be built.
		}
	}
}

func guarded(value string) func(*unstructured.Unstructured) {
	return with(value, "metadata", "labels", "crossplane.io/in-use")
}

// cases of what is asked of the API server, and a part of what it answers.
// Nothing is: it agrees.
var cases = map[string]struct {
	reason string
	req    request
	want   string
}{
	"Delete": {
		reason: "A delete that is meant goes on to Crossplane, which records it.",
		req:    request{operation: admission.Delete, user: ivana, resource: planaclients, old: acme(guarded("true"), with(false, "spec", "deletionProtection"))},
	},
	"DeleteBare": {
		reason: "A PLANAClient without any of the fields that are looked at can be deleted.",
		req:    request{operation: admission.Delete, user: ivana, resource: planaclients, old: acme()},
	},
	"DeleteProtected": {
		reason: "A protected tenant isn't deleted, and the refusal says how to lift the protection.",
		req:    request{operation: admission.Delete, user: ivana, resource: planaclients, old: acme(guarded("true"), with(true, "spec", "deletionProtection"))},
		want:   `tenant acme is protected from deletion, and nothing was recorded. If it is really to go, lift the protection first: kubectl patch planaclient acme --type merge -p '{"spec":{"deletionProtection":false}}'`,
	},
	"DeleteProtectedByCrossplane": {
		reason: "Protection holds against Crossplane too, which deletes every tenant when their definition is deleted.",
		req:    request{operation: admission.Delete, user: crossplane, resource: planaclients, old: acme(with(true, "spec", "deletionProtection"))},
		want:   "tenant acme is protected from deletion",
	},
	"DeleteProtectedTooLate": {
		reason: "Once the database is being dropped, protection would only keep the remains from going.",
		req:    request{operation: admission.Delete, user: crossplane, resource: planaclients, old: acme(with(true, "spec", "deletionProtection"), with(true, "status", "deletion", "irrevocable"))},
	},
	"DeleteDryRun": {
		reason: "Crossplane would record a dry run as the real thing.",
		req:    request{operation: admission.Delete, user: ivana, dryRun: true, resource: planaclients, old: acme(guarded("true"))},
		want:   "leave --dry-run out: kubectl delete planaclient acme",
	},
	"DeleteReplayed": {
		reason: "Crossplane replays a delete once the guard has gone, and the label with it.",
		req:    request{operation: admission.Delete, user: crossplane, resource: planaclients, old: acme()},
	},
	"Update": {
		reason: "A change that leaves the label in place is none of the policy's business.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(guarded("true")), new: acme(guarded("true"), with("pro", "spec", "tier"))},
	},
	"UpdateDryRun": {
		reason: "Only deletes are recorded, so a dry run of anything else is fine.",
		req:    request{operation: admission.Update, user: ivana, dryRun: true, resource: planaclients, old: acme(guarded("true")), new: acme(guarded("true"))},
	},
	"UpdateProtected": {
		reason: "Protection is from deletion, not from change: else nobody could lift it.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(guarded("true"), with(true, "spec", "deletionProtection")), new: acme(guarded("true"), with(false, "spec", "deletionProtection"))},
	},
	"UpdateUnguarded": {
		reason: "Before the guard is in force there is no label to take off.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(), new: acme(with("pro", "spec", "tier"))},
	},
	"UpdateLabelAdded": {
		reason: "Crossplane puts the label on.",
		req:    request{operation: admission.Update, user: crossplane, resource: planaclients, old: acme(), new: acme(guarded("true"))},
	},
	"UpdateLabelTakenOff": {
		reason: "Without the label Crossplane's webhook isn't asked, and a delete would be at once.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(guarded("true")), new: acme()},
		want:   "Only Crossplane takes it off. Leave it in place (kubectl apply and kubectl patch do, kubectl replace does not). To delete the tenant: kubectl delete planaclient acme",
	},
	"UpdateLabelChanged": {
		reason: "The webhook looks for the value true, so any other is as good as none.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(guarded("true")), new: acme(guarded("false"))},
		want:   "Only Crossplane takes it off",
	},
	"UpdateLabelTakenOffByCrossplane": {
		reason: "Crossplane takes the label off when the guard goes.",
		req:    request{operation: admission.Update, user: crossplane, resource: planaclients, old: acme(guarded("true")), new: acme()},
	},
	"UpdateLabelTakenOffByAnother": {
		reason: "A ServiceAccount of the same name in another namespace isn't Crossplane's.",
		req:    request{operation: admission.Update, user: "system:serviceaccount:default:crossplane", resource: planaclients, old: acme(guarded("true")), new: acme()},
		want:   "Only Crossplane takes it off",
	},

	"DeleteGuard": {
		reason: "Whoever takes the guard away takes the label off.",
		req:    request{operation: admission.Delete, user: ivana, resource: usages, old: guardOf("PLANAClient")},
		want:   "Only Crossplane takes it away. To delete the tenant: kubectl delete planaclient acme",
	},
	"DeleteGuardByCrossplane": {
		reason: "Crossplane takes the guard away when the tenant's teardown is done.",
		req:    request{operation: admission.Delete, user: crossplane, resource: usages, old: guardOf("PLANAClient")},
	},
	"DeleteGuardByGarbageCollector": {
		reason: "Kubernetes takes away the guard of a PLANAClient that is gone.",
		req:    request{operation: admission.Delete, user: gc, resource: usages, old: guardOf("PLANAClient")},
	},
	"DeleteOtherUsage": {
		reason: "Other people's usages are none of our business.",
		req:    request{operation: admission.Delete, user: ivana, resource: usages, old: guardOf("Cluster")},
	},

	"DeleteXRD": {
		reason: "Deleting the definition deletes every tenant.",
		req:    request{operation: admission.Delete, user: ivana, resource: xrds, old: object("apiextensions.crossplane.io/v2", "CompositeResourceDefinition", "planaclients.planapulse.com")},
		want:   "kubectl annotate compositeresourcedefinitions planaclients.planapulse.com planapulse.com/delete-all-tenants=true",
	},
	"DeleteXRDByGarbageCollector": {
		reason: "Deleting the Configuration package has Kubernetes delete the definition.",
		req:    request{operation: admission.Delete, user: gc, resource: xrds, old: object("apiextensions.crossplane.io/v2", "CompositeResourceDefinition", "planaclients.planapulse.com")},
		want:   "to delete it deletes every tenant",
	},
	"DeleteXRDConfirmed": {
		reason: "The annotation is how to say that it is meant.",
		req: request{operation: admission.Delete, user: ivana, resource: xrds, old: object("apiextensions.crossplane.io/v2", "CompositeResourceDefinition", "planaclients.planapulse.com",
			with("true", "metadata", "annotations", "planapulse.com/delete-all-tenants"))},
	},
	"DeleteCRD": {
		reason: "No policy is asked about the instances of a CRD that is deleted.",
		req:    request{operation: admission.Delete, user: ivana, resource: crds, old: object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "planaclients.planapulse.com")},
		want:   "kubectl annotate customresourcedefinitions planaclients.planapulse.com planapulse.com/delete-all-tenants=true",
	},
	"DeleteCRDByCrossplane": {
		reason: "Crossplane deletes the CRD once no PLANAClient is left.",
		req:    request{operation: admission.Delete, user: crossplane, resource: crds, old: object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "planaclients.planapulse.com")},
	},
	"DeleteOtherCRD": {
		reason: "Other people's definitions are none of our business.",
		req:    request{operation: admission.Delete, user: ivana, resource: crds, old: object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.org")},
	},
}

// guardOf an object named acme.
func guardOf(kind string) *unstructured.Unstructured {
	return object("protection.crossplane.io/v1beta1", "ClusterUsage", "planaclient-acme",
		with(kind, "spec", "of", "kind"), with("acme", "spec", "of", "resourceRef", "name"))
}

func TestPolicies(t *testing.T) {
	policies := policiesOf(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := decide(t, policies, tc.req); !agrees(tc.want, got) {
				t.Errorf("\n%s\nwant: %q\ngot:  %q", tc.reason, tc.want, got)
			}
		})
	}
}

// A policy that is broken must be noticed: each rule, condition and variable in
// turn is made to say yes, and then to say no.
func TestPoliciesAllMatter(t *testing.T) {
	noticed := func(policies []*admissionv1.ValidatingAdmissionPolicy) bool {
		for _, tc := range cases {
			if !agrees(tc.want, decide(t, policies, tc.req)) {
				return true
			}
		}
		return false
	}

	for i, policy := range policiesOf(t) {
		expressions := map[string]func(*admissionv1.ValidatingAdmissionPolicy) *string{}
		for j, v := range policy.Spec.Validations {
			expressions[v.Expression] = func(p *admissionv1.ValidatingAdmissionPolicy) *string { return &p.Spec.Validations[j].Expression }
		}
		for j, v := range policy.Spec.Variables {
			expressions[v.Name] = func(p *admissionv1.ValidatingAdmissionPolicy) *string { return &p.Spec.Variables[j].Expression }
		}
		for j, c := range policy.Spec.MatchConditions {
			expressions[c.Name] = func(p *admissionv1.ValidatingAdmissionPolicy) *string { return &p.Spec.MatchConditions[j].Expression }
		}
		for name, field := range expressions {
			for _, broken := range []string{"true", "false"} {
				policies := policiesOf(t)
				*field(policies[i]) = broken
				if !noticed(policies) {
					t.Errorf("policy %s: no case notices that %q has become %s", policy.GetName(), name, broken)
				}
			}
		}
	}
}

// agrees tells whether a refusal is the wanted one.
func agrees(want, got string) bool {
	if want == "" {
		return got == ""
	}
	return strings.Contains(got, want)
}

func policiesOf(t *testing.T) []*admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	var policies []*admissionv1.ValidatingAdmissionPolicy
	for _, o := range build(t, deploy) {
		if p, ok := o.(*admissionv1.ValidatingAdmissionPolicy); ok {
			policies = append(policies, p)
		}
	}
	return policies
}

// decide a request as the API server does: every policy that matches is asked.
// The answer is the refusal, or nothing.
func decide(t *testing.T, policies []*admissionv1.ValidatingAdmissionPolicy, r request) string {
	t.Helper()
	kind := r.old.GroupVersionKind()
	attributes := &admission.VersionedAttributes{
		Attributes: admission.NewAttributesRecord(orNil(r.new), r.old, kind, "", r.old.GetName(), r.resource, "", r.operation,
			&metav1.DeleteOptions{}, r.dryRun, &user.DefaultInfo{Name: r.user}),
		VersionedOldObject: r.old,
		VersionedObject:    orNil(r.new),
		VersionedKind:      kind,
	}
	var refusals []string
	for _, p := range policies {
		if !constrained(p.Spec.MatchConstraints, r) {
			continue
		}
		result := compile(t, p).Validate(context.Background(), r.resource, attributes, nil, nil, celconfig.RuntimeCELCostBudget, nil)
		for _, d := range result.Decisions {
			if d.Action == validating.ActionDeny {
				refusals = append(refusals, d.Message)
			}
		}
	}
	return strings.Join(refusals, "\n")
}

// orNil keeps a nil pointer from becoming an interface that isn't nil.
func orNil(u *unstructured.Unstructured) runtime.Object {
	if u == nil {
		return nil
	}
	return u
}

// constrained tells whether a policy is for a request. It knows what the
// policies here use, and no more.
func constrained(m *admissionv1.MatchResources, r request) bool {
	for _, rule := range m.ResourceRules {
		if rule.APIGroups[0] != r.resource.Group || rule.Resources[0] != r.resource.Resource {
			continue
		}
		for _, o := range rule.Operations {
			if string(o) == string(r.operation) {
				return true
			}
		}
	}
	return false
}

// compile a policy with the API server's own compiler.
func compile(t *testing.T, p *admissionv1.ValidatingAdmissionPolicy) validating.Validator {
	t.Helper()
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		t.Fatal(err)
	}
	declared := cel.OptionalVariableDeclarations{HasAuthorizer: true}

	var variables []cel.NamedExpressionAccessor
	for _, v := range p.Spec.Variables {
		variables = append(variables, &validating.Variable{Name: v.Name, Expression: v.Expression})
	}
	var validations, messages, conditions []cel.ExpressionAccessor
	for _, v := range p.Spec.Validations {
		validations = append(validations, &validating.ValidationCondition{Expression: v.Expression, Reason: v.Reason})
		messages = append(messages, &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression})
	}
	for i := range p.Spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&p.Spec.MatchConditions[i]))
	}

	// NewExpressions is what the API server holds a policy to that is applied.
	compiler.CompileAndStoreVariables(variables, declared, environment.NewExpressions)
	evaluator := func(expressions []cel.ExpressionAccessor) cel.ConditionEvaluator {
		e := compiler.CompileCondition(expressions, declared, environment.NewExpressions)
		for _, err := range e.CompilationErrors() {
			t.Errorf("policy %s: %v", p.GetName(), err)
		}
		return e
	}

	matcher := matchconditions.NewMatcher(evaluator(conditions), p.Spec.FailurePolicy, "policy", "validate", p.GetName())
	return validating.NewValidator(evaluator(validations), matcher, evaluator(nil), evaluator(messages), p.Spec.FailurePolicy, nil)
}
