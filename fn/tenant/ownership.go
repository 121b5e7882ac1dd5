package tenant

import (
	"hash/fnv"
	"math"
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
// tenant's: because provider-sql created it for this very object, because it bears
// the tenant's ownership tag, or because a person said that it is to be adopted. Only
// then may anything write to it.
func (t *tenant) ownsDatabase() bool {
	db := t.observed.database
	switch {
	case db == nil:
		return false
	// Proven before. An annotation that somebody takes off doesn't turn a
	// customer's database into somebody else's.
	case db.GetUID() != "" && string(db.GetUID()) == t.xr.Status.DatabaseUID:
		return true
	// What an object proves it proves of the database that it stands for. Until one
	// is on record, a Platform with another domain gives the tenant's another name.
	case meta.GetExternalName(db) != t.database:
		return false
	case t.createdDatabase(), t.createdForTenant(db):
		return true
	default:
		// What isn't synced may have gone: nobody tells Ready of that. What was made
		// for another has its template's secrets, and an adopted database keeps those
		// that it has.
		return t.xr.Spec.Database.Adopt && available(db) && synced(db) && !t.unread(db) && !t.createdForAnother(db)
	}
}

// hadDatabase tells whether a database is, or was, proven to be the tenant's.
func hadDatabase(t *tenant) bool {
	return t.ownsDatabase() || t.xr.Status.DatabaseUID != ""
}

// adopted tells whether the database was there before the tenant, with whatever
// it holds: a customer's modules and files, not a template's.
func (t *tenant) adopted() bool {
	return t.xr.Spec.Database.Adopt && t.ownsDatabase() && !t.createdDatabase() && !t.hasOwnershipTag(t.observed.database)
}

// createdDatabase tells whether provider-sql created the database for this
// tenant. An object that is older than the tenant was left behind by another one
// of its name, with --cascade=orphan: what was created for that one isn't ours.
func (t *tenant) createdDatabase() bool {
	db := t.observed.database
	return db != nil && db.GetAnnotations()[meta.AnnotationKeyExternalCreateSucceeded] != "" && !t.inherited(db)
}

// leastOwnershipTag is more connections than any server takes, so that a limit from here
// on limits nothing.
const leastOwnershipTag = 1_000_000_000

// ownershipTag is the connection limit that the tenant's database is created with. The
// server writes it down together with the database, or neither; a database that is
// cloned from it doesn't have it; and nobody else asks for the same. So it tells whose
// a database is even if provider-sql was cut off before it could say what it had done.
func (t *tenant) ownershipTag() int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(t.xr.GetUID()))
	return leastOwnershipTag + int(hash.Sum32()%(math.MaxInt32-leastOwnershipTag))
}

// hasOwnershipTag tells whether an object has the tenant's ownership tag for a limit: one
// that it asks for, or one that was read.
func (t *tenant) hasOwnershipTag(db *sqlv1alpha1.Database) bool {
	return ptr.Deref(db.Spec.ForProvider.ConnectionLimit, -1) == t.ownershipTag()
}

// createdForTenant tells whether a database was read to bear the tenant's ownership tag. An
// object that it may be created by asks for it, and so does one by which it is kept,
// which Crossplane makes anew if somebody deletes it in the moment in which it is
// applied. Only one that has provider-sql read leaves it out.
func (t *tenant) createdForTenant(db *sqlv1alpha1.Database) bool {
	return reads(db) && t.hasOwnershipTag(db)
}

// createdForAnother tells whether a database was made for another tenant of the name and
// is none that Odoo's role, which gets it last, is known to own. As far as was read:
// what is filled in stays, whatever becomes of the database.
func (t *tenant) createdForAnother(db *sqlv1alpha1.Database) bool {
	params := db.Spec.ForProvider
	return available(db) && !t.hasOwnershipTag(db) && ptr.Deref(params.ConnectionLimit, -1) >= leastOwnershipTag &&
		params.Owner != nil && !t.isReleaseRole(*params.Owner)
}

// ledElsewhere tells whether an object that isn't on record stands for another database
// than the tenant's: somebody has changed its annotation, or the Platform's domain.
// Whatever provider-sql has said of its creation it has said of that database, and would
// pass for a proof of the tenant's, were the object made to stand for that again.
func (t *tenant) ledElsewhere() bool {
	db := t.observed.database
	if db == nil || t.ownsDatabase() {
		return false
	}
	// One that names none was led nowhere: no object of a cluster's is without.
	name := meta.GetExternalName(db)
	return name != "" && name != t.database
}

// unread tells whether an object doesn't show what is on the server: it has what is
// asked for, or what provider-sql has yet to fill in.
func (t *tenant) unread(db *sqlv1alpha1.Database) bool {
	return creates(db) && t.hasOwnershipTag(db) || reads(db) && !filledIn(db)
}

// filledIn tells whether provider-sql has filled in an object with what it saw.
func filledIn(db *sqlv1alpha1.Database) bool {
	return db.Spec.ForProvider.ConnectionLimit != nil && db.Spec.ForProvider.Owner != nil
}

// unsureWhose tells whether a database has to be read to know whose it is: one that
// is there, though provider-sql doesn't say that it has created it; one that may be
// there, because provider-sql was cut off while it did, or may be about to; and one
// whose object another tenant, or somebody's hand, has left as it is.
func (t *tenant) unsureWhose() bool {
	db := t.observed.database
	switch {
	case db == nil, t.ownsDatabase():
		return false
	case reads(db):
		return t.unread(db) && !sawNothing(db)
	case onlyLooks(db):
		return !filledIn(db)
	case creates(db):
		return t.unread(db) && available(db) || cutOff(db) || t.leaving() || t.inherited(db)
	default:
		return true
	}
}

// cutOff tells whether provider-sql says of a database that it began to create it and
// doesn't know what came of that. It does nothing more until it is told to.
func cutOff(db *sqlv1alpha1.Database) bool {
	return meta.ExternalCreateIncomplete(db) && cannotTellOf(db)
}

// cannotTellOf tells whether that is what provider-sql has said last of a database.
// It stays there until it has looked again.
func cannotTellOf(db *sqlv1alpha1.Database) bool {
	c := db.Status.GetCondition(xpv1.TypeSynced)
	return c.Status == corev1.ConditionFalse && strings.Contains(c.Message, "cannot determine creation result")
}

// goOn is what to tell provider-sql of a creation, if there is anything to tell: that
// it has failed. Where it creates nothing any more that does no harm, and without it
// an object whose creation was cut off isn't looked at again.
func goOn(db *sqlv1alpha1.Database) (string, bool) {
	pending := meta.GetExternalCreatePending(db)
	if !pending.After(meta.GetExternalCreateSucceeded(db)) || meta.GetExternalCreateFailed(db).After(pending) {
		return "", false
	}
	return db.GetAnnotations()[meta.AnnotationKeyExternalCreatePending], true
}

// inherited tells whether a Database object is older than the tenant.
func (t *tenant) inherited(db *sqlv1alpha1.Database) bool {
	since := db.GetCreationTimestamp()
	return !since.IsZero() && since.Add(clockSkew).Before(t.xr.GetCreationTimestamp().Time)
}

// clockSkew is how far the clocks of two API servers may be apart.
const clockSkew = 5 * time.Second

// lostDatabase tells whether the tenant once had a database, prepared and
// published, that can't be found. To create another in its place would give a
// customer an empty workspace, and hide that the real one is gone.
func (t *tenant) lostDatabase() bool {
	return t.Done(effectTenantPrepare) && !t.ownsDatabase() && !available(t.observed.database)
}

// databaseTaken tells whether the name of the tenant's database is, or may be,
// somebody else's. An object that has ever met another's database bears its
// marks, so it is never again one to create by.
func (t *tenant) databaseTaken() bool {
	if db := t.observed.database; db != nil {
		return available(db) || onlyLooks(db) || reads(db) || t.inherited(db)
	}
	// Whoever left it behind, the object that is there will be composed upon.
	there, _ := t.databaseObject()
	return there != nil
}

// nothingToLookAt tells whether provider-sql was told to only look at a database
// that isn't proven to be this tenant's, knows that, and sees none.
func (t *tenant) nothingToLookAt() bool {
	db := t.observed.database
	if t.ownsDatabase() || t.Done(effectTenantPrepare) {
		return false
	}
	c := db.Status.GetCondition(xpv1.TypeSynced)
	return onlyLooks(db) && seenByProvider(db) && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, notThere) ||
		reads(db) && sawNothing(db)
}

// sawNothing tells whether provider-sql, told to read a database, found none: it is
// content, and has filled in nothing.
func sawNothing(db *sqlv1alpha1.Database) bool {
	c := db.Status.GetCondition(xpv1.TypeSynced)
	return !filledIn(db) && c.Status == corev1.ConditionTrue && c.ObservedGeneration == db.GetGeneration()
}

// notThere is what the library that providers are made with says of something
// that it may only look at, and that doesn't exist. Of that it says nothing else.
const notThere = "external resource does not exist"
