package simulation

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// teller prints a history as it happens, if that is asked for.
func teller() func(string, ...any) {
	if !*tell {
		return nil
	}
	return func(format string, args ...any) {
		fmt.Fprintln(os.Stderr, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
	}
}

// A told history is one that a function once came to grief on, or that says in
// few words what a tenant's life is like.
type told struct {
	reason  string
	actions []Action
}

// inService is how most of them begin.
func inService(then ...Action) []Action {
	return append([]Action{
		{Do: "create", Tenant: "acme"},
		{Do: "settle"},
		{Do: "write", Tenant: "acme"},
	}, then...)
}

// creating is how those begin that are about how a database comes to be.
func creating(then ...Action) []Action {
	return append([]Action{
		{Do: "create", Tenant: "acme"},
		{Do: "reconcile", Tenant: "acme"},
		{Do: "guard", Tenant: "acme", Key: "guard"},
		{Do: "reconcile", Tenant: "acme"},
	}, then...)
}

var toldHistories = map[string]told{
	"Created": {
		reason:  "A tenant that is left in peace is Ready with four objects.",
		actions: []Action{{Do: "create", Tenant: "acme"}},
	},
	"Deleted": {
		reason:  "A tenant that is deleted leaves nothing but its backup, and its files go only when its database has gone.",
		actions: inService(Action{Do: "delete", Tenant: "acme", Key: "Background"}),
	},
	"DeletedInTheForeground": {
		reason:  "However it is deleted, it goes in order.",
		actions: inService(Action{Do: "delete", Tenant: "acme", Key: "Foreground"}),
	},
	"DeletedByMistake": {
		reason: "A delete that is cancelled leaves everything as it was, and the next one begins anew.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "cancel", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "write", Tenant: "acme"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"DeletedAndDeletedAgain": {
		reason: "A new tenant of an old name has nothing of the old one's.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "settle"},
			Action{Do: "create", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "write", Tenant: "acme"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"DeletedAfterANightlyBackup": {
		reason: "A nightly backup is no last backup.",
		actions: inService(
			Action{Do: "nightly", Tenant: "acme", Key: "backup"}, Action{Do: "settle"}, Action{Do: "write", Tenant: "acme"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"DeletedUnreferenced": {
		reason: "A Database object that somebody takes out of the tenant's references is dropped in its turn all the same, and before the files.",
		actions: inService(
			Action{Do: "hand-unref", Tenant: "acme", Key: "database"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"DeletedWithItsRouteUnreferenced": {
		reason: "A route that somebody takes out of the references goes before the last backup is made.",
		actions: inService(
			Action{Do: "hand-unref", Tenant: "acme", Key: "route"}, Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"DeletedWithItsBackupUnreferenced": {
		reason: "So do the nightly backups.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "pass", N: 400}, Action{Do: "hand-unref", Tenant: "acme", Key: "backup"},
		),
	},
	"DeletedAndUnreferenced": {
		reason: "Also if that happens while it is being taken away.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "pass", N: 400}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "hand-unref", Tenant: "acme", Key: "database"},
		),
	},
	"DeletedAfterASignWasTakenAway": {
		reason: "A tenant goes, though a Job that nobody knows the end of has been deleted by hand. What that has made stays: nobody can know of it.",
		actions: creating(
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile-conflict", Tenant: "acme"},
			Action{Do: "start", Tenant: "acme", Key: "matrix-room-create"}, Action{Do: "finish", Tenant: "acme", Key: "matrix-room-create"},
			Action{Do: "hand-delete", Tenant: "acme", Key: "matrix-room-create"}, Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"DeletedBehindACache": {
		reason: "A delete that a cache doesn't show yet isn't forgotten.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile-behind", Tenant: "acme"},
		),
	},
	"DeletedByAClockThatWasAhead": {
		reason: "A grace period that a clock has recorded which was hours ahead doesn't last for hours.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "clock", N: 4},
		},
	},
	"JobOfAnotherNamespaceUnreferenced": {
		reason: "A Job that nobody knows of any more is in nobody's way.",
		actions: creating(
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "platform", N: 4}, Action{Do: "provide", Tenant: "acme"},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "platform"},
			Action{Do: "hand-unref", Tenant: "acme", Key: "matrix-room-create"},
		),
	},
	"LedElsewhereAndRefused": {
		reason: "A Database object that somebody has made stand for another database stands for the tenant's again, also while a bad request has everything stay as it is.",
		actions: inService(
			Action{Do: "bad-spec", Tenant: "acme"}, Action{Do: "hand-annotate", Tenant: "acme", N: 3},
		),
	},
	"LedElsewhereAndBack": {
		reason: "What provider-sql has created by an object while somebody made it stand for another database proves nothing of the one that has the tenant's name.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "foreign-database", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "hand-annotate", Tenant: "acme", N: 3},
			{Do: "provide", Tenant: "acme"},
		},
	},
	"LedElsewhereAndDeleted": {
		reason: "Nor does it if the tenant is deleted then.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "foreign-database", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "hand-annotate", Tenant: "acme", N: 3},
			{Do: "provide", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
			{Do: "pass", N: 400},
		},
	},
	"RestoredFromEtcd": {
		reason: "A cluster that is restored to a state before its database was prepared finds what was done since, and does it again without harm.",
		actions: creating(
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "etcd-backup"},
			Action{Do: "settle"}, Action{Do: "write", Tenant: "acme"}, Action{Do: "etcd-restore"},
		),
	},
	"Suspended": {
		reason:  "A suspended tenant is Ready and closed.",
		actions: inService(Action{Do: "suspend", Tenant: "acme"}),
	},
	"SuspendedAndResumed": {
		reason:  "One that is resumed is Ready and open.",
		actions: inService(Action{Do: "suspend", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "resume", Tenant: "acme"}),
	},
	"SuspendedAndDeleted": {
		reason:  "A suspended tenant has a last backup all the same.",
		actions: inService(Action{Do: "suspend", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "delete", Tenant: "acme", Key: "Background"}),
	},
	"DeletedWhileAJobWorks": {
		reason: "What works on a tenant when it is deleted has stopped before the fence is raised, though nobody refers to it any more.",
		actions: inService(
			Action{Do: "tier", Tenant: "acme", N: 1}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "start", Tenant: "acme", Key: "tier-modules"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 400},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "last-gasp", Tenant: "acme", Key: "tier-modules"},
		),
	},
	"DeletedAndItsLastBackupFails": {
		reason: "Nothing goes while the last backup can't be made, however often it fails.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 400},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "start", Tenant: "acme", Key: "fence"}, Action{Do: "finish", Tenant: "acme", Key: "fence"},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "start", Tenant: "acme", Key: "final-backup"}, Action{Do: "terminal", Tenant: "acme", Key: "final-backup"},
			Action{Do: "settle"}, Action{Do: "hand-delete", Tenant: "acme", Key: "final-backup"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "start", Tenant: "acme", Key: "final-backup"}, Action{Do: "terminal", Tenant: "acme", Key: "final-backup"},
		),
	},
	"WrittenWhileItIsBackedUp": {
		reason: "Odoo's scheduled actions and those who are connected write without a route: what they write while the last backup is made isn't lost.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 400},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 60}, Action{Do: "settle"},
		),
	},
	"TornDownAndCancelledBehindTheFence": {
		reason: "A delete that is cancelled while the tenant is fenced brings it back into service, with all that it has.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 400},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "start", Tenant: "acme", Key: "fence"}, Action{Do: "finish", Tenant: "acme", Key: "fence"},
			Action{Do: "cancel", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "write", Tenant: "acme"},
		),
	},
	"SuspendedDeletedAndCancelled": {
		reason: "A suspended tenant whose delete is cancelled is suspended all along.",
		actions: inService(
			Action{Do: "suspend", Tenant: "acme"}, Action{Do: "settle"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 400},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "cancel", Tenant: "acme"}, Action{Do: "settle"},
			Action{Do: "resume", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"SuspendedWithoutItsObject": {
		reason: "A Job of a suspension that has begun is seen to its end, though the Database object was deleted meanwhile.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "suspend", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide-in-use", Tenant: "acme"},
			{Do: "hand-delete", Tenant: "acme", Key: "database"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "start", Tenant: "acme", Key: "suspend-fence"},
		},
	},
	"LetGoBehindACacheAndRefused": {
		reason: "What a refused request doesn't apply stays, however old the tenant is that the cache shows.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile-behind", Tenant: "acme"},
			{Do: "platform", N: 6},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile-behind", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
		},
	},
	"GuardedByWhatWasLeftBehind": {
		reason: "The guard of an earlier tenant, which was let go of, refuses the delete of the next one until a person hands it over; and the condition says so.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "collect-garbage"},
			{Do: "create", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "delete", Tenant: "acme", Key: "Foreground"},
		},
	},
	"GuardedByWhatAStaleCacheLeftBehind": {
		reason: "So does a guard that Crossplane makes before it has seen the delete of the earlier tenant.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "reconcile-stale", Tenant: "acme"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
		},
	},
	"GuardedByWhatWasLeftBehindAndLetGo": {
		reason: "One that is to be let go of then is kept: who is told that it isn't gone cancels, and is told why.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "collect-garbage"},
			{Do: "create", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
		},
	},
	"ResumedAndSuspendedAgain": {
		reason: "One that is suspended again on its way back is fenced again.",
		actions: inService(
			Action{Do: "suspend", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "resume", Tenant: "acme"},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "start", Tenant: "acme", Key: "unfence"},
			Action{Do: "suspend", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "last-gasp", Tenant: "acme", Key: "unfence"},
		),
	},
	"OrphanedBetweenOwnerAndFence": {
		reason: "A workspace that was let go of while it was taken out of service isn't dropped as bare.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "suspend", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme"},
		},
	},
	"SuspendedOrphanedAndAdopted": {
		reason: "A suspended workspace that was let go of can be adopted, once it is Odoo's role's again.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "suspend", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme", N: 10},
		},
	},
	"AdoptedAndTakenBack": {
		reason: "A database that was adopted isn't dropped without a backup because somebody has taken that back.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme", N: 4},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "adopt", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "unadopt", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
		},
	},
	"AdoptedAndTakenBackUnprepared": {
		reason: "Nor if it never came to be prepared.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme", N: 4},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "adopt", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "start", Tenant: "acme", Key: "tenant-prepare"},
			{Do: "terminal", Tenant: "acme", Key: "tenant-prepare"},
			{Do: "unadopt", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
		},
	},
	"AdoptionTakenBackInTime": {
		reason: "What an earlier tenant has left behind is in the way again of one that was to adopt it and no longer is.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme", N: 10},
			{Do: "unadopt", Tenant: "acme"},
		},
	},
	"LetGoAndRestoredFromEtcd": {
		reason: "A tenant that was let go of, and that a restored cluster has again, has its database again.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "etcd-backup"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "clock"},
			{Do: "replay"},
			{Do: "etcd-restore"},
			{Do: "hand-annotate", Tenant: "acme"},
		},
	},
	"WaivedOnce": {
		reason: "A waiver counts for the delete that it was given for. One that was cancelled has used it up.",
		actions: inService(
			Action{Do: "waive", Tenant: "acme"}, Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "cancel", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "write", Tenant: "acme"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"WaivedAgain": {
		reason: "Another value waives another one.",
		actions: inService(
			Action{Do: "waive", Tenant: "acme"}, Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "cancel", Tenant: "acme"}, Action{Do: "settle"}, Action{Do: "waive", Tenant: "acme", N: 2},
			Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"AnotherTier": {
		reason: "Modules of another tier are installed once, and that is on record before their Job goes.",
		actions: inService(
			Action{Do: "tier", Tenant: "acme", N: 1}, Action{Do: "settle"}, Action{Do: "tier", Tenant: "acme"}, Action{Do: "settle"},
			Action{Do: "tier", Tenant: "acme", N: 1},
		),
	},
	"RunAgain": {
		reason: "An effect is run again once the Job of its earlier run has gone.",
		actions: inService(
			Action{Do: "rerun", Tenant: "acme", Key: "smoke-test", N: 1}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "start", Tenant: "acme", Key: "smoke-test"},
			Action{Do: "rerun", Tenant: "acme", Key: "smoke-test", N: 2}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "platform", N: 1}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
		),
	},
	"OtherImagesMidway": {
		reason: "New images don't touch Jobs that are there.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "platform", N: 1},
		},
	},
	"SomebodyElsesDatabase": {
		reason:  "A database that was there before is left alone, also when the tenant goes.",
		actions: []Action{{Do: "foreign-database", Tenant: "acme"}, {Do: "create", Tenant: "acme"}, {Do: "settle"}, {Do: "delete", Tenant: "acme", Key: "Background"}},
	},
	"SomebodyElsesDatabaseIsRenamed": {
		reason: "A database that is made once a collision is cleared isn't the stranger's in part: least of all does Odoo's role own it before it is prepared.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme", N: 6},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "foreign-goes", Tenant: "acme"},
		},
	},
	"SomebodyElsesDatabaseInATablespaceIsRenamed": {
		reason: "Nor is it to be where only the stranger's may be, or as small.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme", N: 16},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "foreign-goes", Tenant: "acme"},
		},
	},
	"SomebodyIsQuicker": {
		reason: "A database that somebody makes just before provider-sql does is a collision like any other.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "foreign-database", Tenant: "acme"},
			{Do: "settle"},
			{Do: "foreign-goes", Tenant: "acme"},
		},
	},
	"AdoptedEmpty": {
		reason: "A database that is adopted before Odoo has filled it stays empty, and says so.",
		actions: []Action{
			{Do: "create", Tenant: "acme", N: 3},
			{Do: "template-vanishes", N: 18},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme", N: 34},
		},
	},
	"OrphanedBehindACache": {
		reason: "A Crossplane that hasn't seen the delete yet gives nothing an owner again, that would go with it.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Orphan"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "guard", Tenant: "acme", Key: "guard"}, Action{Do: "pass", N: 5}, Action{Do: "replay"},
			Action{Do: "collect-garbage"}, Action{Do: "reconcile-stale", Tenant: "acme"},
		),
	},
	"OrphanedBehindACacheAndRefused": {
		reason: "Nor does one whose tenant, by then, asks for what can't be had.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Orphan"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "bad-spec", Tenant: "acme"},
			Action{Do: "guard", Tenant: "acme", Key: "guard"}, Action{Do: "pass", N: 5}, Action{Do: "replay"},
			Action{Do: "collect-garbage"}, Action{Do: "reconcile-stale", Tenant: "acme"},
		),
	},
	"OrphanThenForeground": {
		reason: "Who has let go of a tenant may be too late to want it taken away.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Foreground"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "pass", N: 400},
		},
	},
	"FilesOfOneLetGo": {
		reason: "Files that an earlier tenant of the name was let go with are no later one's to wipe.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme", N: 35},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
		},
	},
	"AnotherVersionInACollision": {
		reason: "The version that is asked for while a stranger's database is in the way is the one of the database that comes after it.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme", N: 3},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "version", Tenant: "acme"},
		},
	},
	"AdoptedTemplate": {
		reason: "A template that is adopted stays one.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme", N: 29},
			{Do: "create", Tenant: "acme", N: 31},
		},
	},
	"DeletedInACollision": {
		reason: "A provider that is down when a tenant goes whose name was taken isn't waited for: it was told before to create nothing.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme"},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Foreground"},
			{Do: "provider"},
			{Do: "settle"},
		},
	},
	"ReplacedAfterOrphanAndDeleted": {
		reason: "A tenant that found its name taken goes as if it had never been.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Foreground"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "pass", N: 400},
			{Do: "reconcile", Tenant: "acme"},
		},
	},
	"OrphanedWithoutAProvider": {
		reason: "An object that was never looked at is left out once there is nothing to look at.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "provider"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "hand-drop", Tenant: "acme"},
			{Do: "replay"},
			{Do: "collect-garbage"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "create", Tenant: "acme", N: 28},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
		},
	},
	"TakenOffTheProof": {
		reason: "That provider-sql can't say whether it has created a database doesn't mean that there is none.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "hand-edit", Tenant: "acme", Key: "database", N: 2},
		},
	},
	"ProtectedAfterItsDelete": {
		reason: "A tenant that is protected after it was deleted lives on, and can be suspended.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
			{Do: "protect", Tenant: "acme"},
			{Do: "suspend", Tenant: "acme"},
			{Do: "platform", N: 9},
		},
	},
	"AdoptedAtAnotherVersion": {
		reason: "A database that is adopted is of the version that it is of, and whoever asks for a lower one is told so.",
		actions: []Action{
			{Do: "create", Tenant: "acme", N: 7},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme", N: 11},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile-refused", Tenant: "acme"},
		},
	},
	"DoneAsTheGraceEnds": {
		reason: "What is done just as the grace period ends is on record before its Job goes.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "platform", N: 9},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
			{Do: "start", Tenant: "acme", Key: "matrix-room-create"},
		},
	},
	"SomebodyElsesDatabaseIsRenamedAfterAll": {
		reason: "Whatever is wrong with a tenant, and though it was orphaned: no database is created in a stranger's image.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme", N: 18},
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "bad-spec", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "foreign-goes", Tenant: "acme"},
		},
	},
	"SuspendedWhileUnready": {
		reason: "The Jobs of a suspension stay until the tenant is Ready, like all others, though the database can't be asked for a while.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "suspend", Tenant: "acme"},
			{Do: "gateway"},
			{Do: "settle"},
			{Do: "hand-edit", Tenant: "acme", Key: "database", N: 2},
		},
	},
	"Flickers": {
		reason: "What isn't ready for a moment takes nothing with it.",
		actions: inService(
			Action{Do: "flicker", Tenant: "acme", Key: "database"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "settle"},
			Action{Do: "flicker", Tenant: "acme", Key: "guard"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "settle"},
			Action{Do: "flicker", Tenant: "acme", Key: "route"}, Action{Do: "reconcile", Tenant: "acme"},
		),
	},
	"FailedJob": {
		reason: "A Job that failed stays until somebody has looked.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "start", Tenant: "acme", Key: "filestore-clone"},
			{Do: "terminal", Tenant: "acme", Key: "filestore-clone"},
			{Do: "settle"},
		},
	},
	"BadSpec": {
		reason:  "A bad spec changes nothing of a tenant in service.",
		actions: inService(Action{Do: "bad-spec", Tenant: "acme"}, Action{Do: "settle"}),
	},
	"BadPlatform": {
		reason:  "Nor does a bad Platform.",
		actions: inService(Action{Do: "platform", N: 7}, Action{Do: "settle"}),
	},
	"ReplacedAfterOrphan": {
		reason: "What a tenant that was deleted with --cascade=orphan leaves behind isn't the next one's.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Orphan"}, Action{Do: "settle"},
			Action{Do: "create", Tenant: "acme"},
		),
	},
	"OrphanedThenDeleted": {
		reason: "A plain delete that slips in after one with --cascade=orphan drops nothing.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Orphan"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "guard", Tenant: "acme", Key: "guard"}, Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"SuspendedAndRunAgain": {
		reason:  "What can't be run while a tenant is suspended waits, and is run when it is resumed.",
		actions: inService(Action{Do: "suspend", Tenant: "acme"}, Action{Do: "rerun", Tenant: "acme", Key: "filestore-clone"}),
	},
	"DeletedCancelledAndDeleted": {
		reason: "A cancel that nobody saw is none: the grace period is the first delete's.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "cancel", Tenant: "acme"}, Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"ReplacedAfterOrphanMidway": {
		reason: "A Job that an orphaned tenant has left behind is never written to.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme", N: 9},
		},
	},
	"AdoptedDeletedAndAdopted": {
		reason: "A database that is adopted twice is the second one's.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme"},
			{Do: "create", Tenant: "acme", N: 34},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Foreground"},
			{Do: "settle"},
			{Do: "create", Tenant: "acme", N: 9},
		},
	},
	"AnotherTierThenSuspended": {
		reason: "Modules that are being installed when a tenant is suspended aren't interrupted.",
		actions: inService(
			Action{Do: "tier", Tenant: "acme", N: 1}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "start", Tenant: "acme", Key: "tier-modules"},
			Action{Do: "suspend", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "finish", Tenant: "acme", Key: "tier-modules"},
		),
	},
	"AnotherTierWhileItsDatabaseObjectGoes": {
		reason: "Modules that are being installed aren't interrupted because the Database object isn't seen for a moment, nor does anybody say that they are there.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "tier", Tenant: "acme", N: 1},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "hand-delete", Tenant: "acme", Key: "database"},
		},
	},
	"AnotherVersionAtOnce": {
		reason: "The version that a database is being created of is the tenant's, whatever is asked for a moment later.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "version", Tenant: "acme"},
		},
	},
	"AdoptedMidway": {
		reason: "A step that has begun goes on, also if its tenant wouldn't need it any more.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "hand-edit", Tenant: "acme", Key: "database", N: 2},
			{Do: "adopt", Tenant: "acme"},
		},
	},
	"CutOff": {
		reason:  "A provider that dies while it creates a database delays, and nothing else.",
		actions: creating(Action{Do: "provide-dies", Tenant: "acme"}),
	},
	"CutOffTwice": {
		reason: "However often, and though nothing was to be seen in between.",
		actions: creating(
			Action{Do: "provide-is-late", Tenant: "acme"}, Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide-dies", Tenant: "acme"},
		),
	},
	"CutOffAndLate": {
		reason:  "What is made only after it was looked for is found by whoever tries again.",
		actions: creating(Action{Do: "provide-is-late", Tenant: "acme"}),
	},
	"CutOffAndLateBehindALook": {
		reason: "Nothing is lost where it is made after somebody looked and before the function is told that there is none.",
		actions: creating(
			Action{Do: "provide-is-late", Tenant: "acme"}, Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "pass", N: 4000},
		),
	},
	"CutOffAndDeleted": {
		reason: "What was made for a tenant goes with it, though nobody was ever told of it.",
		actions: creating(
			Action{Do: "provide-dies", Tenant: "acme"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "pass", N: 400},
		),
	},
	"CutOffAndInTheWay": {
		reason: "What is left behind all the same, because the server was that slow, isn't adopted by the next tenant of the name.",
		actions: creating(
			Action{Do: "provide-is-late", Tenant: "acme"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "pass", N: 400},
			Action{Do: "settle"},
			Action{Do: "create", Tenant: "acme"}, Action{Do: "adopt", Tenant: "acme"},
		),
	},
	"SomebodyWasFaster": {
		reason: "A database that somebody makes in the moment in which provider-sql is about to isn't the tenant's, whatever its object asks for.",
		actions: creating(
			Action{Do: "foreign-database", Tenant: "acme"}, Action{Do: "provide", Tenant: "acme"},
			Action{Do: "settle"}, Action{Do: "delete", Tenant: "acme", Key: "Background"},
		),
	},
	"SomebodyWasFasterAndItIsDeleted": {
		reason: "Nor is it in the grace period of a delete, in which everything stays as it is: what it asks for would pass for what was read.",
		actions: creating(
			Action{Do: "foreign-database", Tenant: "acme"}, Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 400},
		),
	},
	"ProviderDown": {
		reason: "A provider that is down delays, and nothing else.",
		actions: []Action{
			{Do: "provider"}, {Do: "create", Tenant: "acme"}, {Do: "settle"},
		},
	},
	"SomebodyElsesObjectsWereThere": {
		reason: "What stands under the name of anything that a tenant consists of is left alone, whoever controls it.",
		actions: []Action{
			{Do: "foreign-object", Tenant: "acme", Key: "guard"},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "object-goes"},
			{Do: "foreign-object", Tenant: "acme", Key: "database"},
			{Do: "settle"},
			{Do: "object-goes"},
			{Do: "foreign-object", Tenant: "acme", Key: "route"},
			{Do: "foreign-object", Tenant: "acme", Key: "backup"},
			{Do: "settle"},
			{Do: "object-goes"},
			{Do: "foreign-object", Tenant: "acme", Key: "smoke-test"},
			{Do: "settle"},
			{Do: "object-goes"},
			{Do: "settle"},
			{Do: "foreign-object", Tenant: "acme", Key: "final-backup"},
			{Do: "write", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
			{Do: "pass", N: 400},
			{Do: "settle"},
		},
	},
	"SomebodyElsesTakeTheirPlace": {
		reason: "Nor is it taken over once the tenant's own was there, and was deleted by hand.",
		actions: inService(
			Action{Do: "hand-delete", Tenant: "acme", Key: "route"}, Action{Do: "foreign-object", Tenant: "acme", Key: "route"},
			Action{Do: "hand-delete", Tenant: "acme", Key: "backup"}, Action{Do: "foreign-object", Tenant: "acme", Key: "backup", N: 2},
			Action{Do: "settle"}, Action{Do: "misrefer", Tenant: "acme"}, Action{Do: "settle"},
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "pass", N: 400}, Action{Do: "settle"},
		),
	},
	"LeftBehindAndHandedOver": {
		reason: "What an earlier tenant of the name has left behind is the next one's only once a person says so.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Orphan"}, Action{Do: "settle"},
			Action{Do: "create", Tenant: "acme", N: 9}, Action{Do: "settle"}, Action{Do: "hand-over", Tenant: "acme"}, Action{Do: "settle"},
		),
	},
	"LetGoWhileItIsPrepared": {
		reason: "A Job that works when its tenant is let go of ends what it began.",
		actions: []Action{
			{Do: "foreign-object", Tenant: "acme", Key: "tenant-prepare", N: 9},
			{Do: "create", Tenant: "acme", N: 6},
			{Do: "settle"},
			{Do: "object-goes", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Orphan"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "break", Tenant: "acme", Key: "tenant-prepare"},
			{Do: "hand-annotate", Tenant: "acme"},
		},
	},
	"ProtectedBehindTheFence": {
		reason: "A delete that is forbidden once its fence stands is undone like one that is cancelled.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Foreground"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 4000},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "provide", Tenant: "acme"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "start", Tenant: "acme", Key: "fence"}, Action{Do: "finish", Tenant: "acme", Key: "fence"},
			Action{Do: "protect", Tenant: "acme"},
		),
	},
	"CancelledTooLate": {
		reason: "Once the guard has gone for a --cascade=orphan, a cancel may come too late: all stays, without an owner.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 400},
			Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "delete", Tenant: "acme", Key: "Orphan"}, Action{Do: "reconcile", Tenant: "acme"},
			Action{Do: "guard", Tenant: "acme", Key: "guard"}, Action{Do: "cancel", Tenant: "acme"}, Action{Do: "replay"},
		),
	},
	"RestoredIntoADelete": {
		reason: "A cluster that is restored to a time in which a tenant was being deleted goes on with that.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "etcd-backup"}, Action{Do: "cancel", Tenant: "acme"},
			Action{Do: "settle"}, Action{Do: "etcd-restore"}, Action{Do: "settle"},
		),
	},
	"RestoredIntoADeleteOfANameThatIsTaken": {
		reason: "So does the delete of a tenant that never had a database.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme"},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
			{Do: "etcd-backup"},
			{Do: "cancel", Tenant: "acme"},
			{Do: "settle"},
			{Do: "etcd-restore"},
		},
	},
	"RestoredToBeforeItsSuspension": {
		reason: "A cluster that is restored to a time before a suspended tenant was in service says what its Jobs fail of.",
		actions: []Action{
			{Do: "create", Tenant: "acme"}, {Do: "etcd-backup"}, {Do: "suspend", Tenant: "acme"}, {Do: "settle"}, {Do: "etcd-restore"},
		},
	},
	"ClockSetBackWhileItGoes": {
		reason: "A grace period that was over doesn't come back with an earlier time.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme"},
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "pass", N: 400},
			{Do: "reconcile-conflict", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile-behind", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile-behind", Tenant: "acme"},
			{Do: "reconcile-refused", Tenant: "acme"},
			{Do: "clock", N: 4},
		},
	},
	"SuspendedWhileItsDatabaseIsOutOfSight": {
		reason: "A suspension doesn't go on without its fence because a hand has taken the database out of the references.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "settle"},
			{Do: "suspend", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "hand-unref", Tenant: "acme", Key: "database"},
			{Do: "start", Tenant: "acme", Key: "suspend-fence"},
			{Do: "terminal", Tenant: "acme", Key: "suspend-fence"},
		},
	},
	"DeletedWhileAJobIsOutOfSight": {
		reason: "What a Job has done that Crossplane has lost sight of is undone too.",
		actions: []Action{
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile-lost", Tenant: "acme", N: 34},
			{Do: "provide", Tenant: "acme"},
			{Do: "provide", Tenant: "acme"},
			{Do: "reconcile", Tenant: "acme"},
			{Do: "reconcile-behind", Tenant: "acme"},
			{Do: "delete", Tenant: "acme", Key: "Background"},
		},
	},
	"LedElsewhereByHand": {
		reason: "What provider-sql makes where a hand has led it is none of the tenant's.",
		actions: []Action{
			{Do: "foreign-database", Tenant: "acme", N: 19},
			{Do: "create", Tenant: "acme"},
			{Do: "reconcile-conflict", Tenant: "acme"},
			{Do: "guard", Tenant: "acme", Key: "guard"},
			{Do: "reconcile-lost", Tenant: "acme", N: 496},
			{Do: "provide", Tenant: "acme"},
			{Do: "hand-annotate", Tenant: "acme", N: 3},
			{Do: "provide", Tenant: "acme"},
		},
	},
	"LostWhileDropping": {
		reason: "A response that is lost in the middle of a teardown is made up for.",
		actions: inService(
			Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "pass", N: 400},
			Action{Do: "reconcile-lost", Tenant: "acme", N: 1}, Action{Do: "reconcile-lost", Tenant: "acme", N: 2},
			Action{Do: "reconcile-lost", Tenant: "acme", N: 3}, Action{Do: "reconcile-lost", Tenant: "acme", N: 4},
		),
	},
}

// TestRegressions replays what is told.
func TestRegressions(t *testing.T) {
	for name, tc := range toldHistories {
		t.Run(name, func(t *testing.T) {
			if r := Replay(theFunction, tc.actions, teller()); r.Violation != nil {
				t.Errorf("%s\nReplay(...): %s", tc.reason, r.Violation)
			}
		})
	}
}
