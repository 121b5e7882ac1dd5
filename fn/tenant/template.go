package tenant

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// requirementTemplate is the required resource that declares a template.
const requirementTemplate = "template"

// A template is the database that a tenant's is cloned from.
type template struct {
	// object is the name of the Database object that declares it.
	object string

	// database is the template's name on the server. Empty: there is none, and
	// Odoo installs the modules.
	database string

	// undecided says why the choice can't be made yet, if it can't, and needs what it takes
	// to make it.
	undecided plan.Outcome
	needs     plan.Needs
}

// chooseTemplate decides once, before the database is created. After that, what
// the tenant was cloned from is history, whatever templates come and go.
func (t *tenant) chooseTemplate() template {
	object := fmt.Sprintf("%s-template-%s", t.tier.Template, t.odooVersion)
	chosen := template{object: object}

	if t.observed.database != nil {
		chosen.database = ptr.Deref(t.observed.database.Spec.ForProvider.Template, "")
		return chosen
	}

	chosen.needs = plan.Require(requirementTemplate, &fnv1.ResourceSelector{
		ApiVersion: sqlv1alpha1.SchemeGroupVersion.String(),
		Kind:       sqlv1alpha1.DatabaseKind,
		Match:      &fnv1.ResourceSelector_MatchName{MatchName: object},
		Namespace:  ptr.To(t.platform.Postgres.Namespace),
	})

	switch declared := t.observed.template; {
	case t.xr.Status.Template != "":
		chosen.database = t.xr.Status.Template

	case !t.observed.templateKnown:
		chosen.undecided = plan.Pending(reasonWaiting, "it isn't known yet whether there is a template %s", object)

	case declared == nil:
		// There is none to clone, and none is meant to be there.

	// It is declared, so it is meant to be there. To install modules for a
	// quarter of an hour because a provider was slow would help nobody.
	case declared.Status.GetCondition(xpv1.TypeReady).Status != corev1.ConditionTrue:
		chosen.undecided = troubleTemplateNotReady.Outcome(map[string]string{"home": t.platform.Postgres.Namespace, "declaration": object},
			"template %s isn't ready: %s", object, whyUnsynced(declared))

	// Said only of one that provider-sql has been told to read.
	case t.isReleaseRole(ptr.Deref(declared.Spec.ForProvider.Owner, "")):
		database := cmp.Or(meta.GetExternalName(declared), object+"."+t.platform.Domain)
		chosen.undecided = troubleTemplateExposed.Outcome(map[string]string{
			"home": t.platform.Postgres.Namespace, "declaration": object, "template": database, "role": t.platform.Postgres.ProvisioningRole,
		}, "template %s belongs to role %s, as which customers run SQL", database, *declared.Spec.ForProvider.Owner)

	default:
		chosen.database = object + "." + t.platform.Domain
	}
	return chosen
}

// clonesFiles tells whether the tenant's files are, or may yet be, its template's.
func clonesFiles(t *tenant) bool {
	return t.cloned() && !t.adopted()
}

// installsModules tells whether Odoo installs the tenant's modules.
func installsModules(t *tenant) bool {
	return !t.cloned() && !t.adopted()
}

// cloned tells whether the database is, or may yet be, a clone.
func (t *tenant) cloned() bool {
	return t.template.database != "" || t.template.undecided.Blocks()
}
