package tenant

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	xpv2 "github.com/crossplane/crossplane-runtime/v2/apis/common/v2"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// What provider-sql may do to a database.
var (
	// policiesCreate: create a database, or look at one that exists already. Under the
	// default policies provider-sql would adopt that one without a word, and
	// drop it with the tenant.
	policiesCreate = xpv1.ManagementPolicies{xpv1.ManagementActionObserve, xpv1.ManagementActionCreate, xpv1.ManagementActionLateInitialize}

	// policiesObserve: look at what is there, and no more. Alone among policies, this one has
	// provider-sql say so when there is nothing to look at.
	policiesObserve = xpv1.ManagementPolicies{xpv1.ManagementActionObserve}

	// policiesRead: look at what is there, and fill in the object with it. provider-sql
	// says nothing where there is nothing.
	policiesRead = xpv1.ManagementPolicies{xpv1.ManagementActionObserve, xpv1.ManagementActionLateInitialize}

	// policiesUpdate: keep a database as it should be. An owned database has no more than
	// these while its tenant lives. Whoever deletes its objects by hand, the guard first, can't
	// have a customer's data dropped on the way; and a database that is lost
	// isn't replaced by an empty one.
	policiesUpdate = xpv1.ManagementPolicies{xpv1.ManagementActionObserve, xpv1.ManagementActionUpdate, xpv1.ManagementActionLateInitialize}

	// policiesAll: everything, dropping it included: for the moment in which it is dropped.
	policiesAll = xpv1.ManagementPolicies{xpv1.ManagementActionAll}
)

// database composes the tenant's database.
func database(t *tenant) plan.Result {
	if o := t.databaseBlocked(); o.Blocks() {
		return plan.Say(o).With(t.toSeeDatabase())
	}
	observed, policies := t.observed.database, t.databasePolicies()
	mayBeCreated := slices.Equal(policies, policiesCreate)

	db := &sqlv1alpha1.Database{
		TypeMeta:   metav1.TypeMeta{APIVersion: sqlv1alpha1.SchemeGroupVersion.String(), Kind: sqlv1alpha1.DatabaseKind},
		ObjectMeta: t.objectMeta(t.platform.Postgres.Namespace, t.xr.GetName(), "database"),
		Spec: sqlv1alpha1.DatabaseSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{
				ProviderConfigReference: &xpv1.ProviderConfigReference{
					Kind: sqlv1alpha1.ClusterProviderConfigKind,
					Name: t.platform.Postgres.ClusterProviderConfig,
				},
				ManagementPolicies: policies,
			},
		},
	}
	db.SetAnnotations(map[string]string{meta.AnnotationKeyExternalName: t.database})
	if t.ledElsewhere() {
		// Before it goes it may drop nothing, and least of all under the tenant's name.
		db.Annotations[meta.AnnotationKeyExternalName] = meta.GetExternalName(observed)
	}
	if t.Done(effectTenantPrepare) || observed != nil && observed.GetAnnotations()[annotationPublished] != "" {
		db.Annotations[annotationPublished] = "true"
	}
	if observed != nil && !mayBeCreated {
		if failed, ok := goOn(observed); ok {
			db.Annotations[meta.AnnotationKeyExternalCreateFailed] = failed
		}
	}

	params := &db.Spec.ForProvider
	// Said explicitly: left out, it would stay at whatever it was last.
	params.AllowConnections = ptr.To(!t.databaseClosed())
	// Asked for where a database may come of it, and left out where one is to be read.
	// Where it has been read it stays, or the object would be filled in once more.
	if mayBeCreated || t.ownsDatabase() && t.hasOwnershipTag(observed) {
		params.ConnectionLimit = ptr.To(t.ownershipTag())
	}
	if t.template.database != "" {
		params.Template = ptr.To(t.template.database)
	}
	if observed != nil {
		// Neither has a meaning once the database exists, and the strategy is
		// immutable.
		params.Template = observed.Spec.ForProvider.Template
		params.Strategy = observed.Spec.ForProvider.Strategy
		// What is proven of it is proven of the server that it was proven on.
		db.Spec.ProviderConfigReference = observed.Spec.ProviderConfigReference
	}
	if owner, known := t.databaseOwner(); known {
		params.Owner = ptr.To(owner)
	}

	return plan.Desire(plan.Composed{Object: db}, t.databaseOutcome()).With(t.toSeeDatabase())
}

// databaseBlocked says why there can't be a Database object for now, if there
// can't.
func (t *tenant) databaseBlocked() plan.Outcome {
	switch there, known := t.databaseObject(); {
	case t.ledElsewhere() && !drops(t.observed.database):
		return plan.Progressing(reasonCreating, "Database %s/%s stands for database %q, and it isn't known how it came to that: it is taken away, which drops nothing, and a fresh one takes its place",
			t.observed.database.GetNamespace(), t.observed.database.GetName(), meta.GetExternalName(t.observed.database))
	case t.observed.database != nil && t.nothingToLookAt():
		// Whatever was there has filled in the object: its owner, which may be Odoo's
		// role, its tablespace, its locale. A database that came of it would be somebody
		// else's in part, and served before it is prepared.
		return plan.Progressing(reasonCreating, "the database that was in the way of %s can't be seen any more: its Database object is taken away, and a fresh one takes its place", t.database)
	case t.observed.database != nil, t.Done(effectTenantPrepare):
		return plan.Outcome{}
	case !known:
		return plan.Pending(reasonWaiting, "it isn't known yet whether there is a Database object %s", t.xr.GetName())
	case there != nil && there.GetDeletionTimestamp() != nil:
		return plan.Progressing(reasonCreating, "an earlier Database object %s/%s is being taken away", there.GetNamespace(), there.GetName())
	default:
		return t.template.undecided
	}
}

// onlyLooks tells whether an object lets provider-sql look, and no more.
func onlyLooks(db *sqlv1alpha1.Database) bool {
	return slices.Equal(db.Spec.ManagementPolicies, policiesObserve)
}

// reads tells whether an object has provider-sql read what is there.
func reads(db *sqlv1alpha1.Database) bool {
	return slices.Equal(db.Spec.ManagementPolicies, policiesRead)
}

// creates tells whether an object lets provider-sql create a database.
func creates(db *sqlv1alpha1.Database) bool {
	return slices.ContainsFunc(db.Spec.ManagementPolicies, func(action xpv1.ManagementAction) bool {
		return action == xpv1.ManagementActionCreate || action == xpv1.ManagementActionAll
	})
}

// drops tells whether a database may be dropped by an object.
func drops(db *sqlv1alpha1.Database) bool {
	return slices.ContainsFunc(db.Spec.ManagementPolicies, func(action xpv1.ManagementAction) bool {
		return action == xpv1.ManagementActionDelete || action == xpv1.ManagementActionAll
	})
}

// databasePolicies returns what provider-sql may do to the database.
func (t *tenant) databasePolicies() xpv1.ManagementPolicies {
	switch {
	case t.ownsDatabase() && t.dropping():
		return policiesAll
	case t.ownsDatabase():
		return policiesUpdate
	case t.ledElsewhere():
		return policiesObserve
	case t.unsureWhose():
		return policiesRead
	case t.observed.database == nil && (t.Done(effectTenantPrepare) || t.databaseTaken()):
		return policiesRead
	case t.Done(effectTenantPrepare) && reads(t.observed.database):
		return policiesRead // It may yet be found.
	case t.Done(effectTenantPrepare), t.leaving(), t.databaseTaken():
		return policiesObserve
	default:
		return policiesCreate
	}
}

// slowProvider is how long provider-sql may take to look at a new object.
const slowProvider = time.Minute

// databaseOutcome tells how the database stands.
func (t *tenant) databaseOutcome() plan.Outcome {
	db := t.observed.database
	at := map[string]string{
		"name": t.xr.GetName(), "home": t.platform.Postgres.Namespace, "secret": t.platform.Postgres.CredentialsSecret,
		"role": t.releaseRole(), "template": t.template.database, "declaration": t.template.object, "database": t.database,
	}

	switch {
	case t.lostDatabase():
		return troubleDatabaseLost.Outcome(at, "database %s was in service and can't be found", t.database)

	case db == nil && t.template.database == "":
		return plan.Progressing(reasonCreating, "database %s is being created, empty: there is no template %s", t.database, t.template.object)

	case db == nil:
		return plan.Progressing(reasonCreating, "database %s is being cloned from %s", t.database, t.template.database)

	case db.GetDeletionTimestamp() != nil && !t.Done(effectTenantPrepare) && !t.ownsDatabase():
		return plan.Progressing(reasonCreating, "Database %s/%s is being deleted, and a fresh one takes its place", db.GetNamespace(), db.GetName())

	case db.GetDeletionTimestamp() != nil:
		return troubleDatabaseLost.Outcome(at, "Database %s/%s is being deleted by somebody else, and database %s with it", db.GetNamespace(), db.GetName(), t.database)

	// Somebody deleted the object under a tenant that was in service.
	case available(db) && !t.ownsDatabase() && !t.unsureWhose() && t.Done(effectTenantPrepare):
		return troubleDatabaseLost.Outcome(at, "there is a database %s, and nothing proves that it is still the one that was in service: its Database object is a new one", t.database)

	case cannotTellOf(db) && !t.ownsDatabase(), t.unsureWhose() && db.Status.GetCondition(xpv1.TypeSynced).Status != corev1.ConditionFalse:
		return plan.Progressing(reasonCreating, "provider-sql is to look whose database %s is", t.database)

	case !t.ownsDatabase() && t.createdForAnother(db):
		return troubleBareDatabase.Outcome(at, "database %s was made for another tenant of the name", t.database)

	case available(db) && !t.ownsDatabase() && !t.unsureWhose():
		return troubleNameCollision.Outcome(at, "database %s existed before this tenant did", t.database)

	case available(db) && synced(db):
		return plan.Complete(reasonAvailable, "database %s is available", t.database)

	case db.Status.GetCondition(xpv1.TypeSynced).Status == corev1.ConditionFalse:
		return t.providerTrouble().Outcome(at, "database %s: %s", t.database, whyUnsynced(db))

	case db.Status.GetCondition(xpv1.TypeSynced).Status != corev1.ConditionTrue && t.now.Sub(db.GetCreationTimestamp().Time) > slowProvider:
		return troubleProviderDown.Outcome(at, "Database %s/%s was created at %s, and provider-sql hasn't looked at it",
			db.GetNamespace(), db.GetName(), db.GetCreationTimestamp().UTC().Format(time.RFC3339))

	default:
		return plan.Progressing(reasonUpdating, "database %s is being created or changed", t.database)
	}
}

// providerTrouble tells what provider-sql complains of, by PostgreSQL's own
// error codes. What isn't known is shown as it is.
func (t *tenant) providerTrouble() plan.Trouble {
	said := t.observed.database.Status.GetCondition(xpv1.TypeSynced).Message
	switch {
	case strings.Contains(said, "(3D000)") && t.ownsDatabase():
		return troubleDatabaseLost
	case strings.Contains(said, "(3D000)"):
		return troubleTemplateMissing
	case strings.Contains(said, "(55006)"):
		return troubleTemplateInUse
	default:
		return troubleProviderFails
	}
}

// publish waits for the database to be Odoo's. The step before it, by being
// done, is what makes the database step ask for that.
func publish(t *tenant) plan.Result {
	role := t.releaseRole()
	db := t.observed.database
	switch {
	case t.fenced() && t.xr.Spec.Suspended:
		return plan.Say(plan.Complete(reasonFenced, "database %s is kept behind its fence while the tenant is suspended", t.database))
	case t.fenced():
		return plan.Say(plan.Progressing(reasonUnfencing, "database %s is on its way back into service: see condition %s", t.database, conditionFenced))
	case ownerOf(db) != role || !synced(db):
		return plan.Say(plan.Progressing(reasonPublishing, "database %s is being handed over to role %s", t.database, role))
	}
	return plan.Say(plan.Complete(reasonAvailable, "database %s belongs to role %s, so Odoo serves it", t.database, role))
}

// available tells whether a database exists on the server.
func available(db *sqlv1alpha1.Database) bool {
	return db != nil && db.Status.GetCondition(xpv1.TypeReady).Status == corev1.ConditionTrue
}

// synced tells whether a database is as its object says, in the form that the
// object has now.
func synced(db *sqlv1alpha1.Database) bool {
	return db.Status.GetCondition(xpv1.TypeSynced).Status == corev1.ConditionTrue && seenByProvider(db)
}

// seenByProvider tells whether provider-sql knows the form that the object has now.
func seenByProvider(db *sqlv1alpha1.Database) bool {
	seen := db.Status.GetCondition(xpv1.TypeSynced).ObservedGeneration
	return seen == 0 || seen == db.GetGeneration()
}

// whyUnsynced returns what the provider says of a database.
func whyUnsynced(db *sqlv1alpha1.Database) string {
	if c := db.Status.GetCondition(xpv1.TypeSynced); c.Status == corev1.ConditionFalse && c.Message != "" {
		return strings.TrimSuffix(c.Message, ".")
	}
	return "provider-sql hasn't said why"
}
