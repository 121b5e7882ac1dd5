package fn

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
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

	// undecided says what has to be known before the choice can be made.
	undecided string
}

// chooseTemplate decides once, before the database is created. After that, what
// the tenant was cloned from is history, whatever templates come and go.
func (t *tenancy) chooseTemplate() template {
	object := fmt.Sprintf("%s-template-%s", t.tier.Template, t.odooVersion)
	chosen := template{object: object}

	switch declared := t.observed.template; {
	case t.observed.database != nil:
		chosen.database = ptr.Deref(t.observed.database.Spec.ForProvider.Template, "")

	case t.client.Status.Template != "":
		chosen.database = t.client.Status.Template

	case !t.observed.templateKnown:
		chosen.undecided = fmt.Sprintf("it isn't known yet whether there is a template %s", object)

	case declared == nil:

	// It is declared, so it is meant to be there. To install modules for a
	// quarter of an hour because a provider was slow would help nobody.
	case declared.Status.GetCondition(xpv1.TypeReady).Status != corev1.ConditionTrue:
		chosen.undecided = fmt.Sprintf("template %s is declared, but it isn't ready: %s. Find out why: kubectl -n %s describe databases.postgresql.sql.m.crossplane.io %s. "+
			"To have modules installed instead, delete that object",
			object, whyUnsynced(declared), t.platform.Postgres.Namespace, object)

	default:
		chosen.database = object + "." + t.platform.Domain
	}
	return chosen
}

// fromTemplate tells whether the tenant is, or may yet be, cloned.
func fromTemplate(t *tenancy) bool {
	return t.template.database != "" || t.template.undecided != ""
}

// withoutTemplate tells whether Odoo installs the tenant's modules.
func withoutTemplate(t *tenancy) bool {
	return !fromTemplate(t)
}

// requirements of the next call. A database that exists needs no template.
func (t *tenancy) requirements() *fnv1.Requirements {
	if t.observed.database != nil {
		return nil
	}
	return &fnv1.Requirements{Resources: map[string]*fnv1.ResourceSelector{
		requirementTemplate: {
			ApiVersion: sqlv1alpha1.SchemeGroupVersion.String(),
			Kind:       sqlv1alpha1.DatabaseKind,
			Match:      &fnv1.ResourceSelector_MatchName{MatchName: t.template.object},
			Namespace:  ptr.To(t.platform.Postgres.Namespace),
		},
	}}
}
