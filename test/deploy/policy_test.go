package deploy

import (
	"context"
	"slices"
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
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Users as the API server knows them.
const (
	crossplane = "system:serviceaccount:crossplane-system:crossplane"
	gc         = "system:serviceaccount:kube-system:generic-garbage-collector"
	provider   = "system:serviceaccount:crossplane-system:provider-sql-4f1c2d9ab83e"
	dependency = "system:serviceaccount:crossplane-system:crossplane-contrib-provider-sql-4f1c2d9ab83e"
	ivana      = "ivana@example.org"
	velero     = "system:serviceaccount:velero:velero"

	glass = "planaclients.planapulse.com:break-glass"
)

// mayDelete are the users who may delete tenants.
var mayDelete = []string{crossplane, ivana}

// A request to the API server.
type request struct {
	operation admission.Operation
	user      string
	groups    []string
	dryRun    bool
	resource  schema.GroupVersionResource
	old, new  *unstructured.Unstructured
}

var (
	planaclients = schema.GroupVersionResource{Group: "planapulse.com", Version: "v1alpha1", Resource: "planaclients"}
	usages       = schema.GroupVersionResource{Group: "protection.crossplane.io", Version: "v1beta1", Resource: "clusterusages"}
	oldUsages    = schema.GroupVersionResource{Group: "apiextensions.crossplane.io", Version: "v1beta1", Resource: "usages"}
	inNamespaces = schema.GroupVersionResource{Group: "protection.crossplane.io", Version: "v1beta1", Resource: "usages"}
	databases    = schema.GroupVersionResource{Group: "postgresql.sql.m.crossplane.io", Version: "v1alpha1", Resource: "databases"}
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

// asked is what Crossplane writes when it refuses a delete.
func asked(policy string) func(*unstructured.Unstructured) {
	return with(policy, "metadata", "annotations", "usage.crossplane.io/deletion-attempt-with-policy")
}

// consistsOf what Crossplane has composed.
func consistsOf(names ...string) func(*unstructured.Unstructured) {
	var refs []any
	for _, name := range names {
		refs = append(refs, map[string]any{"apiVersion": "postgresql.sql.m.crossplane.io/v1alpha1", "kind": "Database", "name": name})
	}
	return with(refs, "spec", "crossplane", "resourceRefs")
}

// database of a tenant.
func database(edits ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	return object("postgresql.sql.m.crossplane.io/v1alpha1", "Database", "acme", append([]func(*unstructured.Unstructured){
		with("crossplane-system", "metadata", "namespace"),
		with([]any{map[string]any{"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "acme", "controller": true}}, "metadata", "ownerReferences"),
		with("acme", "metadata", "labels", "planapulse.com/tenant"),
		with("acme.planapulse.app", "metadata", "annotations", "crossplane.io/external-name"),
		with([]any{"Observe", "Update", "LateInitialize"}, "spec", "managementPolicies"),
		with("odoo", "spec", "forProvider", "owner"),
	}, edits...)...)
}

func without(path ...string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) { unstructured.RemoveNestedField(u.Object, path...) }
}

// template of tenants, as it is declared.
func template(edits ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	return object("postgresql.sql.m.crossplane.io/v1alpha1", "Database", "pro-template-18", append([]func(*unstructured.Unstructured){
		with("crossplane-system", "metadata", "namespace"),
		with("function-planaclient", "metadata", "labels", "app.kubernetes.io/name"),
		with([]any{"Observe"}, "spec", "managementPolicies"),
	}, edits...)...)
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

	"UpdateLabelTakenOffInEmergency": {
		reason: "Who has broken the glass may do what only Crossplane may.",
		req:    request{operation: admission.Update, user: ivana, groups: []string{glass}, resource: planaclients, old: acme(guarded("true")), new: acme()},
	},

	"Create": {
		reason: "A manifest as a person writes it.",
		req:    request{operation: admission.Create, user: ivana, resource: planaclients, new: acme(with("pro", "spec", "tier"))},
	},
	"CreateAsked": {
		reason: "A manifest that was saved during a teardown would begin one, on a tenant that has only just been restored.",
		req:    request{operation: admission.Create, user: velero, resource: planaclients, new: acme(asked("Background"))},
		want:   "If this is a saved manifest, take the annotation out of it. To delete the tenant: kubectl delete planaclient acme",
	},
	"CreateAskedByWhoMayDelete": {
		reason: "Whoever means to delete a tenant doesn't create it for that.",
		req:    request{operation: admission.Create, user: ivana, resource: planaclients, new: acme(asked("Background"))},
		want:   "Only Crossplane writes it",
	},
	"CreateConsisting": {
		reason: "A saved manifest may name objects that are another tenant's by now.",
		req:    request{operation: admission.Create, user: ivana, resource: planaclients, new: acme(consistsOf("globex"))},
		want:   "If this is a saved manifest, take it out: Crossplane fills it in",
	},
	"CreateInEmergency": {
		reason: "Who has broken the glass restores tenants as they were.",
		req:    request{operation: admission.Create, user: velero, groups: []string{"system:authenticated", glass}, resource: planaclients, new: acme(asked("Background"), consistsOf("acme"))},
	},
	"UpdateAsked": {
		reason: "An annotation isn't how to delete a tenant: nothing would ask for its protection.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(guarded("true")), new: acme(guarded("true"), asked("Background"))},
		want:   "Only Crossplane writes it, when it is asked for a delete.",
	},
	"UpdateAskedByCrossplane": {
		reason: "Crossplane's webhook records a delete.",
		req:    request{operation: admission.Update, user: crossplane, resource: planaclients, old: acme(guarded("true")), new: acme(guarded("true"), asked("Background"))},
	},
	"UpdateAskedOtherwise": {
		reason: "The policy with which the delete is repeated is whoever deletes' to choose, and nobody else's.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(asked("Orphan")), new: acme(asked("Background"))},
		want:   "Only Crossplane writes it",
	},
	"UpdateWhileAsked": {
		reason: "A tenant can be changed during its grace period.",
		req:    request{operation: admission.Update, user: velero, resource: planaclients, old: acme(asked("Background")), new: acme(asked("Background"), with(true, "spec", "deletionProtection"))},
	},
	"UpdateCancelled": {
		reason: "Who may delete a tenant may cancel it.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(asked("Background")), new: acme()},
	},
	"UpdateCancelledByAnother": {
		reason: "Who may only change a tenant doesn't stop its deletion, not even by replacing it.",
		req:    request{operation: admission.Update, user: velero, resource: planaclients, old: acme(asked("Background")), new: acme()},
		want:   "Only those do so who may delete the tenant. Leave it in place",
	},
	"UpdateCancelledInEmergency": {
		reason: "Who has broken the glass may cancel a deletion.",
		req:    request{operation: admission.Update, user: velero, groups: []string{glass}, resource: planaclients, old: acme(asked("Background")), new: acme()},
	},
	"UpdateCancelledByCrossplane": {
		reason: "Crossplane is asked nothing.",
		req:    request{operation: admission.Update, user: crossplane, resource: planaclients, old: acme(asked("Background")), new: acme()},
	},
	"UpdateConsisting": {
		reason: "Crossplane would take another's object for this tenant's.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(consistsOf("acme")), new: acme(consistsOf("acme", "globex"))},
		want:   "Leave it as it is (kubectl apply and kubectl patch do)",
	},
	"UpdateConsistingOfNothing": {
		reason: "What is left out Crossplane forgets.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(consistsOf("acme")), new: acme()},
		want:   "Only Crossplane writes it",
	},
	"UpdateConsistingAsBefore": {
		reason: "kubectl edit sends all of it back.",
		req:    request{operation: admission.Update, user: ivana, resource: planaclients, old: acme(consistsOf("acme")), new: acme(consistsOf("acme"), with("pro", "spec", "tier"))},
	},
	"UpdateConsistingByCrossplane": {
		reason: "Crossplane writes down what it composes.",
		req:    request{operation: admission.Update, user: crossplane, resource: planaclients, old: acme(), new: acme(consistsOf("acme"))},
	},
	"UpdateConsistingInEmergency": {
		reason: "Who has broken the glass may mend what Crossplane has written.",
		req:    request{operation: admission.Update, user: ivana, groups: []string{glass}, resource: planaclients, old: acme(consistsOf("acme")), new: acme()},
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
	"DeleteGuardInEmergency": {
		reason: "Who has broken the glass may take a guard away.",
		req:    request{operation: admission.Delete, user: ivana, groups: []string{glass}, resource: usages, old: guardOf("PLANAClient")},
	},
	"DeleteOldUsage": {
		reason: "A usage of the old kind is a guard as well as any.",
		req:    request{operation: admission.Delete, user: ivana, resource: oldUsages, old: guardOf("PLANAClient")},
		want:   "Only Crossplane takes it away",
	},
	"UpdateGuard": {
		reason: "A guard of another tenant is none of this one.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("PLANAClient"), new: guardOf("PLANAClient", with("globex", "spec", "of", "resourceRef", "name"))},
		want:   "ClusterUsage planaclient-acme is or would be what guards a tenant. Only Crossplane changes it",
	},
	"UpdateGuardToOtherKind": {
		reason: "A guard of another kind is none.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("PLANAClient"), new: guardOf("Cluster")},
		want:   "Only Crossplane changes it",
	},
	"UpdateOtherUsageToGuard": {
		reason: "Another usage of the tenant takes the label along when it goes.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("Cluster"), new: guardOf("PLANAClient")},
		want:   "Only Crossplane changes it",
	},
	"UpdateGuardsFinalizers": {
		reason: "Without its finalizer a guard goes without Crossplane's having let go of the tenant.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("PLANAClient", with([]any{"usage.apiextensions.crossplane.io"}, "metadata", "finalizers")), new: guardOf("PLANAClient")},
		want:   "Only Crossplane changes it",
	},
	"UpdateGuardsLabels": {
		reason: "By its labels a guard is known as the tenant's.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("PLANAClient"), new: guardOf("PLANAClient", with("globex", "metadata", "labels", "planapulse.com/tenant"))},
		want:   "Only Crossplane changes it",
	},
	"UpdateGuardsAnnotations": {
		reason: "A guard that is paused isn't looked at.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("PLANAClient"), new: guardOf("PLANAClient", with("true", "metadata", "annotations", "crossplane.io/paused"))},
		want:   "Only Crossplane changes it",
	},
	"UpdateGuardsOwners": {
		reason: "A guard goes with its owner.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("PLANAClient"), new: guardOf("PLANAClient", with([]any{map[string]any{"kind": "ConfigMap", "name": "x"}}, "metadata", "ownerReferences"))},
		want:   "Only Crossplane changes it",
	},
	"HandGuardOver": {
		reason: "A guard that an earlier tenant has left behind refuses the delete of the one that has its name now, which it is handed over to.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("PLANAClient"), new: guardOf("PLANAClient", with([]any{map[string]any{"kind": "PLANAClient", "name": "acme"}}, "metadata", "ownerReferences"))},
	},
	"HandGuardOverToAnother": {
		reason: "It guards no other tenant.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("PLANAClient"), new: guardOf("PLANAClient", with([]any{map[string]any{"kind": "PLANAClient", "name": "globex"}}, "metadata", "ownerReferences"))},
		want:   "Only Crossplane changes it",
	},
	"HandGuardOnFromAnother": {
		reason: "A guard that is a tenant's stays that tenant's: with another owner it would be collected as garbage.",
		req: request{
			operation: admission.Update, user: ivana, resource: usages,
			old: guardOf("PLANAClient", with([]any{map[string]any{"kind": "PLANAClient", "name": "acme", "uid": "1"}}, "metadata", "ownerReferences")),
			new: guardOf("PLANAClient", with([]any{map[string]any{"kind": "PLANAClient", "name": "acme", "uid": "2"}}, "metadata", "ownerReferences")),
		},
		want: "Only Crossplane changes it",
	},
	"UpdateGuardAsItWas": {
		reason: "A write that changes nothing is no change, as when all that is stored is stored anew.",
		req:    request{operation: admission.Update, user: velero, resource: usages, old: guardOf("PLANAClient"), new: guardOf("PLANAClient")},
	},
	"UpdateGuardByCrossplane": {
		reason: "Crossplane puts a finalizer on.",
		req:    request{operation: admission.Update, user: crossplane, resource: usages, old: guardOf("PLANAClient"), new: guardOf("PLANAClient", with([]any{"usage.apiextensions.crossplane.io"}, "metadata", "finalizers"))},
	},
	"UpdateGuardInEmergency": {
		reason: "Who has broken the glass may take a finalizer off.",
		req:    request{operation: admission.Update, user: ivana, groups: []string{glass}, resource: usages, old: guardOf("PLANAClient", with([]any{"usage.apiextensions.crossplane.io"}, "metadata", "finalizers")), new: guardOf("PLANAClient")},
	},
	"CreateGuard": {
		reason: "A usage beside the guard would keep a tenant from going whose data has gone.",
		req:    request{operation: admission.Create, user: ivana, resource: usages, new: guardOf("PLANAClient")},
		want:   `To keep the tenant from being deleted: kubectl patch planaclient acme --type merge -p '{"spec":{"deletionProtection":true}}'`,
	},
	"CreateGuardInNamespace": {
		reason: "When a usage in a namespace goes, Crossplane takes the tenant's label off, guard or no guard.",
		req:    request{operation: admission.Create, user: ivana, resource: inNamespaces, new: guardOf("PLANAClient")},
		want:   "any other usage of a PLANAClient would undo it",
	},
	"CreateGuardByCrossplane": {
		reason: "Crossplane makes the guard.",
		req:    request{operation: admission.Create, user: crossplane, resource: usages, new: guardOf("PLANAClient")},
	},
	"CreateGuardInEmergency": {
		reason: "Who has broken the glass may put a guard back.",
		req:    request{operation: admission.Create, user: ivana, groups: []string{glass}, resource: usages, new: guardOf("PLANAClient")},
	},
	"CreateOtherUsage": {
		reason: "Other people's usages are none of our business.",
		req:    request{operation: admission.Create, user: ivana, resource: usages, new: guardOf("Cluster")},
	},
	"UpdateOtherUsage": {
		reason: "Other people's usages are none of our business.",
		req:    request{operation: admission.Update, user: ivana, resource: usages, old: guardOf("Cluster"), new: guardOf("Cluster", with("globex", "spec", "of", "resourceRef", "name"))},
	},
	"DeleteOtherUsage": {
		reason: "Other people's usages are none of our business.",
		req:    request{operation: admission.Delete, user: ivana, resource: usages, old: guardOf("Cluster")},
	},

	"DeleteDatabase": {
		reason: "With the object goes what proves whose the database is.",
		req:    request{operation: admission.Delete, user: ivana, resource: databases, old: database()},
		want:   "Database crossplane-system/acme is a tenant's, and with it goes what proves whose the database is. Only Crossplane takes it away. To delete the tenant: kubectl delete planaclient acme",
	},
	"DeleteDatabaseBeingDropped": {
		reason: "Provider-sql would drop the database, whatever Crossplane is waiting for.",
		req:    request{operation: admission.Delete, user: ivana, resource: databases, old: database(with([]any{"*"}, "spec", "managementPolicies"))},
		want:   "Only Crossplane takes it away",
	},
	"DeleteDatabaseOfNoPolicy": {
		reason: "provider-sql may do all to a database whose object doesn't say.",
		req:    request{operation: admission.Delete, user: ivana, resource: databases, old: database(without("spec", "managementPolicies"))},
		want:   "Only Crossplane takes it away",
	},
	"DeleteDatabaseLeftBehind": {
		reason: "What a tenant left behind that was deleted with --cascade=orphan is served on.",
		req:    request{operation: admission.Delete, user: ivana, resource: databases, old: database(without("metadata", "ownerReferences"))},
		want:   "Only Crossplane takes it away",
	},
	"DeleteDatabaseOfNoLabel": {
		reason: "A label can be taken off, by those who broke the glass, say. The owner is who it is.",
		req:    request{operation: admission.Delete, user: ivana, resource: databases, old: database(without("metadata", "labels"))},
		want:   "Only Crossplane takes it away",
	},
	"DeleteDatabaseLookedAt": {
		reason: "A condition tells people to delete an object that looks at a bare database.",
		req:    request{operation: admission.Delete, user: ivana, resource: databases, old: database(with([]any{"Observe", "LateInitialize"}, "spec", "managementPolicies"))},
	},
	"DeleteDatabaseAttempt": {
		reason: "A condition tells people to delete an attempt to clone a template that isn't there.",
		req:    request{operation: admission.Delete, user: ivana, resource: databases, old: database(with([]any{"Observe", "Create", "LateInitialize"}, "spec", "managementPolicies"))},
	},
	"DeleteDatabaseByCrossplane": {
		reason: "Crossplane takes the object away once the tenant's data may go.",
		req:    request{operation: admission.Delete, user: crossplane, resource: databases, old: database()},
	},
	"DeleteDatabaseByGarbageCollector": {
		reason: "Kubernetes takes away what was a tenant's that is gone.",
		req:    request{operation: admission.Delete, user: gc, resource: databases, old: database()},
	},
	"DeleteDatabaseInEmergency": {
		reason: "Who has broken the glass may take the object away.",
		req:    request{operation: admission.Delete, user: ivana, groups: []string{glass}, resource: databases, old: database()},
	},
	"DeleteTemplate": {
		reason: "Templates come and go with their declarations.",
		req:    request{operation: admission.Delete, user: ivana, resource: databases, old: template()},
	},
	"DeleteOthersDatabase": {
		reason: "Other people's databases are none of our business.",
		req: request{operation: admission.Delete, user: ivana, resource: databases, old: database(
			with([]any{map[string]any{"apiVersion": "example.org/v1", "kind": "Wiki", "name": "acme"}}, "metadata", "ownerReferences"), without("metadata", "labels"))},
	},
	"UpdateDatabasesPolicies": {
		reason: "A database that provider-sql may drop is dropped with the object.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(), new: database(with([]any{"*"}, "spec", "managementPolicies"))},
		want:   "It says which database that is, whose, and whether it may be dropped: only Crossplane and provider-sql change it. Change the tenant instead: kubectl edit planaclient acme",
	},
	"UpdateDatabasesOwner": {
		reason: "Odoo serves what its role owns.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(), new: database(with("plana", "spec", "forProvider", "owner"))},
		want:   "only Crossplane and provider-sql change it",
	},
	"UpdateDatabasesName": {
		reason: "Another name is another tenant's database.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(), new: database(with("globex.planapulse.app", "metadata", "annotations", "crossplane.io/external-name"))},
		want:   "only Crossplane and provider-sql change it",
	},
	"UpdateDatabasesProof": {
		reason: "What provider-sql has made it says in an annotation.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(), new: database(with("2026-11-02T09:00:00Z", "metadata", "annotations", "crossplane.io/external-create-succeeded"))},
		want:   "only Crossplane and provider-sql change it",
	},
	"UpdateDatabasesLabel": {
		reason: "Without its label it would be nobody's once its owner is gone.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(), new: database(without("metadata", "labels"))},
		want:   "only Crossplane and provider-sql change it",
	},
	"UpdateDatabasesOwnerReference": {
		reason: "Without its owner it would be nobody's.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(), new: database(without("metadata", "ownerReferences"))},
		want:   "only Crossplane and provider-sql change it",
	},
	"UpdateDatabaseHandedOver": {
		reason: "A condition tells people to hand over what an earlier tenant of the name left behind.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(without("metadata", "ownerReferences")), new: database()},
	},
	"UpdateDatabaseHandedToAnother": {
		reason: "What one tenant left behind is none of another's.",
		req: request{operation: admission.Update, user: ivana, resource: databases, old: database(without("metadata", "ownerReferences")), new: database(
			with([]any{map[string]any{"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "globex", "controller": true}}, "metadata", "ownerReferences"))},
		want: "only Crossplane and provider-sql change it",
	},
	"UpdateDatabasesFinalizers": {
		reason: "Without its finalizer it goes before the database does.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(with([]any{"finalizer.managedresource.crossplane.io"}, "metadata", "finalizers")), new: database()},
		want:   "only Crossplane and provider-sql change it",
	},
	"UpdateDatabasePaused": {
		reason: "Restoring a tenant begins with pausing it.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(), new: database(with("true", "metadata", "annotations", "crossplane.io/paused"))},
	},
	"UpdateDatabaseLookedAt": {
		reason: "A condition tells people to have provider-sql look.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: database(), new: database(with("now", "metadata", "annotations", "planapulse.com/look"))},
	},
	"UpdateDatabaseByCrossplane": {
		reason: "Crossplane applies what the function says.",
		req:    request{operation: admission.Update, user: crossplane, resource: databases, old: database(), new: database(with([]any{"*"}, "spec", "managementPolicies"))},
	},
	"UpdateDatabaseByProvider": {
		reason: "provider-sql fills the object in.",
		req:    request{operation: admission.Update, user: provider, resource: databases, old: database(), new: database(with("UTF8", "spec", "forProvider", "encoding"))},
	},
	"UpdateDatabaseByDependency": {
		reason: "A provider that came with the Configuration is called as where it came from.",
		req:    request{operation: admission.Update, user: dependency, resource: databases, old: database(), new: database(with("UTF8", "spec", "forProvider", "encoding"))},
	},
	"UpdateDatabaseByAnotherProvider": {
		reason: "A ServiceAccount of such a name in another namespace isn't provider-sql's.",
		req:    request{operation: admission.Update, user: "system:serviceaccount:default:provider-sql-4f1c2d9ab83e", resource: databases, old: database(), new: database(with("plana", "spec", "forProvider", "owner"))},
		want:   "only Crossplane and provider-sql change it",
	},
	"UpdateDatabaseInEmergency": {
		reason: "Who has broken the glass may change it.",
		req:    request{operation: admission.Update, user: ivana, groups: []string{glass}, resource: databases, old: database(), new: database(with("plana", "spec", "forProvider", "owner"))},
	},
	"UpdateTemplate": {
		reason: "A template is whoever declares it's.",
		req:    request{operation: admission.Update, user: ivana, resource: databases, old: template(), new: template(with("pg02", "spec", "providerConfigRef", "name"))},
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
func guardOf(kind string, edits ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	return object("protection.crossplane.io/v1beta1", "ClusterUsage", "planaclient-acme", append([]func(*unstructured.Unstructured){
		with(kind, "spec", "of", "kind"), with("acme", "spec", "of", "resourceRef", "name"),
	}, edits...)...)
}

func TestPolicies(t *testing.T) {
	policies := compiled(t, policiesOf(t))
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := decide(policies, tc.req); !agrees(tc.want, got) {
				t.Errorf("\n%s\nwant: %q\ngot:  %q", tc.reason, tc.want, got)
			}
		})
	}
}

// A policy that is broken must be noticed: each rule, condition and variable in
// turn is made to say yes, and then to say no.
func TestPoliciesAllMatter(t *testing.T) {
	whole := compiled(t, policiesOf(t))
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
				p := policy.DeepCopy()
				*field(p) = broken
				policies := slices.Clone(whole)
				policies[i] = compile(t, p)
				noticed := false
				for _, tc := range cases {
					if noticed = !agrees(tc.want, decide(policies, tc.req)); noticed {
						break
					}
				}
				if !noticed {
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
func decide(policies []enforced, r request) string {
	o := r.old
	if o == nil {
		o = r.new
	}
	kind := o.GroupVersionKind()
	attributes := &admission.VersionedAttributes{
		Attributes: admission.NewAttributesRecord(orNil(r.new), orNil(r.old), kind, o.GetNamespace(), o.GetName(), r.resource, "", r.operation,
			&metav1.DeleteOptions{}, r.dryRun, &user.DefaultInfo{Name: r.user, Groups: r.groups}),
		VersionedOldObject: orNil(r.old),
		VersionedObject:    orNil(r.new),
		VersionedKind:      kind,
	}
	authorize := authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetAPIGroup() == "planapulse.com" && a.GetResource() == "planaclients" && a.GetVerb() == "delete" && slices.Contains(mayDelete, a.GetUser().GetName()) {
			return authorizer.DecisionAllow, "", nil
		}
		return authorizer.DecisionNoOpinion, "", nil
	})
	var refusals []string
	for _, p := range policies {
		if !constrained(p.matches, r) {
			continue
		}
		result := p.Validate(context.Background(), r.resource, attributes, nil, nil, celconfig.RuntimeCELCostBudget, authorize)
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
		if rule.APIGroups[0] == r.resource.Group && slices.Contains(rule.Resources, r.resource.Resource) &&
			slices.Contains(rule.Operations, admissionv1.OperationType(r.operation)) {
			return true
		}
	}
	return false
}

// An enforced policy is asked about requests that match.
type enforced struct {
	validating.Validator
	matches *admissionv1.MatchResources
}

func compiled(t *testing.T, policies []*admissionv1.ValidatingAdmissionPolicy) []enforced {
	t.Helper()
	all := make([]enforced, 0, len(policies))
	for _, p := range policies {
		all = append(all, compile(t, p))
	}
	return all
}

// compile a policy with the API server's own compiler.
func compile(t *testing.T, p *admissionv1.ValidatingAdmissionPolicy) enforced {
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
	return enforced{
		Validator: validating.NewValidator(evaluator(validations), matcher, evaluator(nil), evaluator(messages), p.Spec.FailurePolicy, nil),
		matches:   p.Spec.MatchConstraints,
	}
}
