package fn

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
)

// This file has the steps that take a database out of service: it is opened for its
// last backup, closed, drained, and dropped.

// noOwnDatabase is why a step that closes a database isn't taken.
const noOwnDatabase = "there is no database that is the tenant's own"

// observesOwnDatabase tells whether there is a database to be dropped.
func observesOwnDatabase(t *tenancy) bool {
	return t.ownsDatabase() && !t.dropping()
}

// observesForeignDatabase tells whether there is a database that isn't proven to
// be the tenant's.
func observesForeignDatabase(t *tenancy) bool {
	return t.observed.database != nil && !t.ownsDatabase() && !t.dropping()
}

// needsOpenDatabase tells whether the last backup is still to be made.
func needsOpenDatabase(t *tenancy) bool {
	return needsFinalBackup(t) && observesOwnDatabase(t) && !t.doneRun(effectFinalBackup, t.teardownRun())
}

// openDatabase waits until the server takes connections to it.
func openDatabase(t *tenancy) (composed, outcome) {
	db := t.observed.database
	if !ptr.Deref(db.Spec.ForProvider.AllowConnections, true) || !synced(db) {
		return composed{}, t.changing(db, reasonOpening, "opened for its last backup")
	}
	return composed{}, arrived(reasonCompleted, "database %s is open", t.database)
}

// changing tells how a database stands that provider-sql has been told to change.
// Whatever it complains of, it is somebody's turn to look: it tries again, but
// nothing else here would ever say why a tenant doesn't go.
func (t *tenancy) changing(db *sqlv1alpha1.Database, reason, how string) outcome {
	if db.Status.GetCondition(xpv1.TypeSynced).Status != corev1.ConditionFalse {
		return settling(reason, "database %s is being %s", t.database, how)
	}
	at := map[string]string{"name": t.client.GetName(), "home": t.platform.Postgres.Namespace, "secret": t.platform.Postgres.CredentialsSecret}
	return troubleProviderFails.outcome(at, "database %s is being %s: %s", t.database, how, whyUnsynced(db))
}

// databaseClosed tells whether the tenant's database may refuse connections.
func (t *tenancy) databaseClosed() bool {
	if t.leaving() {
		return !needsFinalBackup(t) || t.doneRun(effectFinalBackup, t.teardownRun())
	}
	return t.suspending() && t.doneRun(effectSuspendBackup, t.suspensionRun())
}

// closeDatabase waits until the server takes no more connections to it.
func closeDatabase(t *tenancy) (composed, outcome) {
	db := t.observed.database
	if ptr.Deref(db.Spec.ForProvider.AllowConnections, true) || !synced(db) {
		return composed{}, t.changing(db, reasonClosing, "closed to connections")
	}
	return composed{}, arrived(reasonCompleted, "database %s is closed", t.database)
}

// suspendDrain ends the sessions that were there before the database was closed.
func suspendDrain(t *tenancy) jobSpec {
	return t.drain(effectSuspendDrain)
}

// connectionsDrain ends the sessions that were there before it was closed.
func connectionsDrain(t *tenancy) jobSpec {
	return t.drain(effectConnectionsDrain)
}

// drain ends the sessions of the tenant's database.
func (t *tenancy) drain(key string) jobSpec {
	return jobSpec{
		key:       key,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod: func() corev1.PodSpec {
			return t.pod(t.container(effectConnectionsDrain, t.postgresEnv(t.platform.Postgres.CredentialsSecret)))
		},
	}
}

// releaseDatabase waits until provider-sql knows that it isn't to create a
// database any more. An object that is taken away just as it does would leave
// the database behind, and nobody would know whose it is.
func releaseDatabase(t *tenancy) (composed, outcome) {
	db := t.observed.database
	switch {
	case creates(db):
		return composed{}, settling(reasonDropping, "provider-sql is being told to leave database %s alone", t.database)
	// What never began to create won't: it would have to say so first, on an object
	// that it doesn't know any more.
	case t.unsureWhose() && !meta.GetExternalCreatePending(db).IsZero():
		return composed{}, t.changing(db, reasonDropping, "looked at")
	case !heard(db):
		return composed{}, settling(reasonDropping, "provider-sql is being told to leave database %s alone", t.database)
	}
	return composed{}, arrived(reasonCompleted, "database %s is left alone", t.database)
}

// dropDatabase waits until the database is seen gone: the object goes only once
// provider-sql has dropped the database, if it is ours to drop.
func dropDatabase(t *tenancy) (composed, outcome) {
	db := t.observed.database
	switch {
	case db == nil:
		switch object, known := t.databaseObject(); {
		case !known:
			return composed{}, settling(reasonDropping, "it isn't known yet whether database %s is gone", t.database)
		// One that nobody is deleting is somebody else's, and none of ours to wait for.
		case object != nil && object.GetDeletionTimestamp() != nil && t.controls(object):
			return composed{}, t.changing(object, reasonDropping, "dropped")
		}
		return composed{}, arrived(reasonCompleted, "database %s is gone", t.database)
	case !t.mayDrop():
		t.callAgain(soon)
		return composed{}, settling(reasonDropping, "database %s is about to be dropped", t.database)
	case !t.ownsDatabase():
		return composed{}, settling(reasonDropping, "database %s isn't this tenant's and stays; its Database object is being taken away", t.database)
	default:
		return composed{}, t.changing(db, reasonDropping, "dropped")
	}
}

// mayDrop tells whether the Database object may go: the status says so, and
// provider-sql will do with the database what it should.
func (t *tenancy) mayDrop() bool {
	db := t.observed.database
	return t.dropping() && (!t.ownsDatabase() || db.GetDeletionTimestamp() != nil || slices.Equal(db.Spec.ManagementPolicies, mayDoAll))
}
