package fn

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
)

// This file tells whose a database is: the tenant's own, somebody else's, or lost.
// That it has the tenant's name proves nothing.

// ownsDatabase tells whether the observed database is proven to be this
// tenant's: because provider-sql created it for this very object, or because a
// person said that it is to be adopted. Only then may anything write to it.
func (t *tenancy) ownsDatabase() bool {
	db := t.observed.database
	switch {
	case db == nil:
		return false
	case t.createdDatabase():
		return true
	// Proven before. An annotation that somebody takes off doesn't turn a
	// customer's database into a stranger's.
	case db.GetUID() != "" && string(db.GetUID()) == t.client.Status.DatabaseUID:
		return true
	default:
		// What isn't synced may have gone: nobody tells Ready of that. What is bare
		// has its template's secrets, and an adopted database keeps those that it has.
		return t.client.Spec.Database.Adopt && available(db) && synced(db) && !t.mayBeBare(db)
	}
}

// hadDatabase tells whether a database is, or was, proven to be the tenant's.
func hadDatabase(t *tenancy) bool {
	return t.ownsDatabase() || t.client.Status.DatabaseUID != ""
}

// adopted tells whether the database was there before the tenant, with whatever
// it holds: a customer's modules and files, not a template's.
func (t *tenancy) adopted() bool {
	db := t.observed.database
	return t.client.Spec.Database.Adopt && available(db) && !t.createdDatabase()
}

// createdDatabase tells whether provider-sql created the database for this
// tenant. An object that is older than the tenant was left behind by another one
// of its name, with --cascade=orphan: what was created for that one isn't ours.
func (t *tenancy) createdDatabase() bool {
	db := t.observed.database
	return db != nil && db.GetAnnotations()[meta.AnnotationKeyExternalCreateSucceeded] != "" && !t.inherited(db)
}

// creationCutOff tells whether provider-sql was killed, or couldn't reach the API
// server, between asking for the database and noting that it has created it. When it
// asked there was none. Now there is none, or there is one that nothing proves.
func (t *tenancy) creationCutOff() bool {
	db := t.observed.database
	if !cannotTellOf(db) || t.ownsDatabase() || t.inherited(db) || !meta.ExternalCreateIncomplete(db) {
		return false
	}
	// What provider-sql says stays there while it tries once more. If it is cut off
	// again it says the same, and when it said so first is all that is known of that.
	begun := meta.GetExternalCreatePending(db)
	return !begun.After(db.Status.GetCondition(xpv1.TypeSynced).LastTransitionTime.Time) || t.now.Sub(begun) > slowCreation
}

// slowCreation is longer than provider-sql waits for a database.
const slowCreation = 2 * time.Minute

// cannotTellOf tells whether provider-sql says of a database that it began to create
// it and doesn't know what came of that. It does nothing more until it is told to.
func cannotTellOf(db *sqlv1alpha1.Database) bool {
	c := db.Status.GetCondition(xpv1.TypeSynced)
	return c.Status == corev1.ConditionFalse && strings.Contains(c.Message, "cannot determine creation result")
}

// creationMistaken tells whether a database is there that provider-sql was to create,
// and believes it couldn't.
func (t *tenancy) creationMistaken() bool {
	db := t.observed.database
	return available(db) && !t.ownsDatabase() && !t.inherited(db) && t.mayBeBare(db)
}

// mayBeBare tells whether a database may be what a server made for this tenant
// without provider-sql knowing: it wasn't there when it was to be created, which is
// said to have failed, and Odoo's role, which gets it last, doesn't own it. A server
// goes on with what it was asked for after the connection is lost.
func (t *tenancy) mayBeBare(db *sqlv1alpha1.Database) bool {
	return !meta.GetExternalCreateFailed(db).IsZero() && ptr.Deref(db.Spec.ForProvider.Owner, "") != t.platform.Postgres.OdooRole
}

// inherited tells whether a Database object is older than the tenant.
func (t *tenancy) inherited(db *sqlv1alpha1.Database) bool {
	since := db.GetCreationTimestamp()
	return !since.IsZero() && since.Add(clockSkew).Before(t.client.GetCreationTimestamp().Time)
}

// clockSkew is how far the clocks of two API servers may be apart.
const clockSkew = 5 * time.Second

// lostDatabase tells whether the tenant once had a database, prepared and
// published, that can't be found. To create another in its place would give a
// customer an empty workspace, and hide that the real one is gone.
func (t *tenancy) lostDatabase() bool {
	return t.done(effectTenantPrepare) && !t.ownsDatabase() && !available(t.observed.database)
}

// databaseTaken tells whether the name of the tenant's database is, or may be,
// somebody else's. An object that has ever met another's database bears its
// marks, so it is never again one to create by.
func (t *tenancy) databaseTaken() bool {
	if db := t.observed.database; db != nil {
		return available(db) || onlyLooks(db) || t.inherited(db)
	}
	// Whoever left it behind, the object that is there will be composed upon.
	there, _ := t.databaseObject()
	return there != nil
}

// nothingToLookAt tells whether provider-sql was told to only look at a database
// that isn't proven to be this tenant's, knows that, and sees none.
func (t *tenancy) nothingToLookAt() bool {
	db := t.observed.database
	c := db.Status.GetCondition(xpv1.TypeSynced)
	return onlyLooks(db) && !t.ownsDatabase() && !t.done(effectTenantPrepare) && heard(db) &&
		c.Status == corev1.ConditionFalse && strings.Contains(c.Message, notThere)
}

// notThere is what the library that providers are made with says of something
// that it may only look at, and that doesn't exist. Of that it says nothing else.
const notThere = "external resource does not exist"
