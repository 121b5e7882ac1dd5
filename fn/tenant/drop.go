package tenant

import (
	"slices"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// This file has the steps that end a database: it is left alone, or dropped.

// noOwnDatabase is why a step that closes a database isn't taken.
const noOwnDatabase = "there is no database that is the tenant's own"

// noData is why a step that keeps data safe isn't taken.
const noData = "there is no database that holds anybody's data"

// observesOwnDatabase tells whether there is a database to be dropped.
func observesOwnDatabase(t *tenant) bool {
	return t.ownsDatabase() && !t.dropping()
}

// observesForeignDatabase tells whether there is a database that isn't proven to
// be the tenant's.
func observesForeignDatabase(t *tenant) bool {
	return t.observed.database != nil && !t.ownsDatabase() && !t.dropping()
}

// releaseDatabase waits until provider-sql knows that it isn't to create a
// database any more. An object that is taken away just as it does would leave
// the database behind, and nobody would know whose it is.
func releaseDatabase(t *tenant) plan.Result {
	db := t.observed.database
	switch {
	case creates(db):
		return plan.Say(plan.Progressing(reasonDropping, "provider-sql is being told to leave database %s alone", t.database))
	// What never began to create won't: it would have to say so first, on an object
	// that it doesn't know any more.
	case t.unsureWhose() && !meta.GetExternalCreatePending(db).IsZero():
		return plan.Say(t.changing(db, reasonDropping, "looked at"))
	case !seenByProvider(db):
		return plan.Say(plan.Progressing(reasonDropping, "provider-sql is being told to leave database %s alone", t.database))
	}
	return plan.Say(plan.Complete(reasonCompleted, "database %s is left alone", t.database))
}

// dropDatabase waits until the database is seen gone: the object goes only once
// provider-sql has dropped the database, if it is ours to drop.
func dropDatabase(t *tenant) plan.Result {
	db := t.observed.database
	switch {
	case db == nil:
		return plan.Say(t.databaseGone()).With(t.toSeeDatabase())
	case !t.mayDrop():
		return plan.Say(plan.Progressing(reasonDropping, "database %s is about to be dropped", t.database)).With(plan.Again(plan.Soon))
	case !t.ownsDatabase():
		return plan.Say(plan.Progressing(reasonDropping, "database %s isn't this tenant's and stays; its Database object is being taken away", t.database))
	default:
		return plan.Say(t.changing(db, reasonDropping, "dropped"))
	}
}

// databaseGone tells whether the database is seen gone, once its object isn't composed.
func (t *tenant) databaseGone() plan.Outcome {
	switch object, known := t.databaseObject(); {
	case !known:
		return plan.Progressing(reasonDropping, "it isn't known yet whether database %s is gone", t.database)
	// One that nobody is deleting is somebody else's, and none of ours to wait for.
	case object != nil && object.GetDeletionTimestamp() != nil && t.controls(object):
		return t.changing(object, reasonDropping, "dropped")
	}
	return plan.Complete(reasonCompleted, "database %s is gone", t.database)
}

// mayDrop tells whether the Database object may go: the status says so, and
// provider-sql will do with the database what it should.
func (t *tenant) mayDrop() bool {
	db := t.observed.database
	return t.dropping() && (!t.ownsDatabase() || db.GetDeletionTimestamp() != nil || slices.Equal(db.Spec.ManagementPolicies, policiesAll))
}
