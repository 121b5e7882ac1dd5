package tenant

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// This file has the steps behind the fence: the database is opened for its last
// backup, where it was closed, then closed, and drained.

// needsOpenDatabase tells whether the last backup is still to be made.
func needsOpenDatabase(t *tenant) bool {
	return needsFinalBackup(t) && observesOwnDatabase(t) && !t.DoneRun(effectFinalBackup, t.runOfStage(effectFinalBackup))
}

// openDatabase waits until the server takes connections to it.
func openDatabase(t *tenant) plan.Result {
	db := t.observed.database
	if !ptr.Deref(db.Spec.ForProvider.AllowConnections, true) || !synced(db) {
		return plan.Say(t.changing(db, reasonOpening, "opened for its last backup"))
	}
	return plan.Say(plan.Complete(reasonCompleted, "database %s is open", t.database))
}

// closeDatabase waits until the server takes no more connections to it.
func closeDatabase(t *tenant) plan.Result {
	db := t.observed.database
	if ptr.Deref(db.Spec.ForProvider.AllowConnections, true) || !synced(db) {
		return plan.Say(t.changing(db, reasonClosing, "closed to connections"))
	}
	return plan.Say(plan.Complete(reasonCompleted, "database %s is closed", t.database))
}

// suspendDrain ends the sessions that were there before the database was closed.
func suspendDrain(t *tenant) jobSpec {
	return t.drain(effectSuspendDrain)
}

// connectionsDrain ends the sessions that were there before it was closed.
func connectionsDrain(t *tenant) jobSpec {
	return t.drain(effectConnectionsDrain)
}

// drain ends the sessions of the tenant's database.
func (t *tenant) drain(key string) jobSpec {
	return jobSpec{
		key:       key,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod: func() corev1.PodSpec {
			return t.pod(t.container(effectConnectionsDrain, t.postgresEnv(t.platform.Postgres.CredentialsSecret)))
		},
	}
}
