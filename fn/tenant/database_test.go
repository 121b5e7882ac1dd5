package tenant_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
)

// A want is what a step composes, how ready that is, and what it says.
type want struct {
	resource  *fnv1.Resource
	condition said
}

// diff of what a response has to say of a step, -want, +got.
func (w want) diff(rsp *fnv1.RunFunctionResponse, key string) string {
	return diff(w.resource, rsp.GetDesired().GetResources()[key]) + w.condition.diff(rsp)
}

// aDatabase as acme's should be, with the supplied policies (as a YAML list) and
// parameters.
func aDatabase(tb testing.TB, ready fnv1.Ready, policies string, params ...string) *fnv1.Resource {
	tb.Helper()
	if policies == mayCreate {
		params = append(params, birthmark)
	}
	published := ""
	if slices.Contains(params, ownedByOdoo) {
		published = `
    planapulse.com/published: "true"`
	}
	return &fnv1.Resource{Ready: ready, Resource: document(tb, `
apiVersion: postgresql.sql.m.crossplane.io/v1alpha1
kind: Database
metadata:
  name: acme
  namespace: crossplane-system
  annotations:
    crossplane.io/external-name: acme.planapulse.app`+published+`
  labels:
    app.kubernetes.io/name: planaclient
    app.kubernetes.io/instance: acme
    app.kubernetes.io/component: database
    app.kubernetes.io/part-of: plana-pulse
    app.kubernetes.io/managed-by: function-planaclient
    planapulse.com/tenant: acme
    planapulse.com/tier: pro
    planapulse.com/odoo-version: "18"
spec:
  managementPolicies: `+policies+`
  providerConfigRef:
    kind: ClusterProviderConfig
    name: pg01
  forProvider: {`+strings.Join(append(params, "allowConnections: true"), ", ")+`}
`)}
}

const (
	mayCreate   = "[Observe, Create, LateInitialize]"
	mayOnlyLook = "[Observe]"
	mayRead     = "[Observe, LateInitialize]"
	mayKeep     = "[Observe, Update, LateInitialize]"

	// birthmark of what is created for acme.
	birthmark = "connectionLimit: 1737465572"

	fromTemplate = "template: pro-template-18.planapulse.app"
	ownedByOdoo  = "owner: odoo"
)

func TestDatabase(t *testing.T) {
	// guarded is a tenant whose guard is in force.
	guarded := func(t *testing.T, others ...object) *world {
		t.Helper()
		w := newWorld(t, acme())
		w.others = others
		w.reconcile()
		w.settle("guard")
		return w
	}
	// found is a tenant whose database is there, and it isn't known whose it is.
	found := func(t *testing.T) *world {
		t.Helper()
		w := guarded(t, template("pro-template-18"))
		w.databaseExisted = true
		w.reconcile()
		w.settle("database")
		return w
	}
	// observed is a tenant whose database is there, and was there before.
	observed := func(t *testing.T) *world {
		t.Helper()
		w := found(t)
		w.reconcile()
		w.settle("database")
		return w
	}
	// read is a tenant whose database was found, and read to have a limit.
	read := func(t *testing.T, limit int64) *world {
		t.Helper()
		w := found(t)
		w.reconcile()
		w.composed["database"].in("spec", "forProvider")["connectionLimit"] = limit
		return w
	}
	// foundBy is one whose database was found by an object that then had other policies,
	// and still asked for what it had asked for.
	foundBy := func(policies ...any) func(*testing.T) *world {
		return func(t *testing.T) *world {
			t.Helper()
			w := found(t)
			w.composed["database"].in("spec")["managementPolicies"] = slices.Clone(policies)
			return w
		}
	}
	// wasCutOff is a tenant whose provider was, while it created the database.
	wasCutOff := func(t *testing.T) *world {
		t.Helper()
		w := guarded(t, template("pro-template-18"))
		w.reconcile()
		w.composed["database"].in("metadata", "annotations")["crossplane.io/external-create-pending"] = "2026-11-02T08:00:20Z"
		w.composed["database"]["status"] = map[string]any{"conditions": []any{map[string]any{
			"type": "Synced", "status": "False",
			"message": "cannot determine creation result - remove the crossplane.io/external-create-pending annotation if it is safe to proceed",
		}}}
		return w
	}
	// sawNothing is one where provider-sql looked after that, and there is nothing.
	sawNothing := func(t *testing.T) *world {
		t.Helper()
		w := wasCutOff(t)
		w.reconcile()
		w.composed["database"]["status"] = map[string]any{"conditions": []any{map[string]any{
			"type": "Synced", "status": "True", "observedGeneration": w.composed["database"].at("metadata", "generation"),
		}}}
		return w
	}
	// toldToGoOn is a database that provider-sql is told of that it wasn't created.
	toldToGoOn := func(db *fnv1.Resource) *fnv1.Resource {
		annotations := db.GetResource().GetFields()["metadata"].GetStructValue().GetFields()["annotations"].GetStructValue()
		annotations.Fields["crossplane.io/external-create-failed"] = structpb.NewStringValue("2026-11-02T08:00:20Z")
		return db
	}
	looking := isFalse("DatabaseReady", "Creating", "provider-sql is to look whose database acme.planapulse.app is")
	// cleared is a tenant whose name was somebody else's database's, until that one
	// was renamed and provider-sql has seen it.
	cleared := func(t *testing.T) *world {
		t.Helper()
		w := observed(t)
		w.reconcile()
		w.databaseExisted = false
		w.composed["database"]["status"] = map[string]any{"conditions": []any{
			map[string]any{"type": "Ready", "status": "True"},
			map[string]any{"type": "Synced", "status": "False", "message": "observe failed: external resource does not exist"},
		}}
		return w
	}
	// finished is a tenant that has been provisioned to its end.
	finished := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t, acme())
		w.others = []object{template("pro-template-18")}
		return w.finish()
	}

	// Both ways out of a collision.
	collision := isFalse("DatabaseReady", "NameCollision", "acme.planapulse.app",
		"kubectl delete planaclient acme",
		`kubectl patch planaclient acme --type merge -p '{"spec":{"database":{"adopt":true}}}'`)
	lost := isFalse("DatabaseReady", "DatabaseLost", "acme.planapulse.app",
		`kubectl patch planaclient acme --type merge -p '{"spec":{"database":{"adopt":true}}}'`)
	replaced := isFalse("DatabaseReady", "DatabaseLost", "acme.planapulse.app", "nothing proves that it is still the one that was in service",
		`kubectl patch planaclient acme --type merge -p '{"spec":{"database":{"adopt":true}}}'`)

	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		want   want

		// alone: nothing but this and the guard may be composed.
		alone bool
	}{
		"Cloned": {
			reason: "A new database is cloned from the tier's template, and may be created, but not yet dropped.",
			world: func(t *testing.T) *world {
				t.Helper()
				return guarded(t, template("pro-template-18"))
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayCreate, fromTemplate),
				condition: isFalse("DatabaseReady", "Creating", "acme.planapulse.app", "cloned from pro-template-18.planapulse.app"),
			},
			alone: true,
		},
		"NoTemplate": {
			reason: "Without a template for this edition and version there must be no TEMPLATE clause, though others have one.",
			world: func(t *testing.T) *world {
				t.Helper()
				return guarded(t, template("pro-template-17"), template("basic-template-18"))
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayCreate),
				condition: isFalse("DatabaseReady", "Creating", "there is no template pro-template-18"),
			},
			alone: true,
		},
		"TemplateNotReady": {
			reason: "A template that is declared but not ready is waited for.",
			world: func(t *testing.T) *world {
				t.Helper()
				slow := template("pro-template-18")
				slow["status"] = map[string]any{"conditions": []any{map[string]any{
					"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "cannot reach pg01.",
				}}}
				return guarded(t, slow)
			},
			want: want{condition: isFalse("DatabaseReady", "TemplateNotReady", "pro-template-18", "cannot reach pg01",
				"kubectl -n crossplane-system describe databases.postgresql.sql.m.crossplane.io pro-template-18")},
			alone: true,
		},
		"TemplateChosenBefore": {
			reason: "A template that the database was asked to be cloned from stays the one, though it is no longer declared.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := guarded(t, template("pro-template-18"))
				w.reconcile()
				w.others = nil
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayCreate, fromTemplate),
				condition: isFalse("DatabaseReady", "Updating"),
			},
			alone: true,
		},
		"TemplateGoneBefore": {
			reason: "A template that is withdrawn before there is a database wasn't chosen.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := guarded(t, template("pro-template-18"))
				w.others = nil
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayCreate),
				condition: isFalse("DatabaseReady", "Creating", "there is no template pro-template-18"),
			},
			alone: true,
		},
		"NotAvailableYet": {
			reason: "What the provider says of a database that it can't create is passed on.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := guarded(t, template("pro-template-18"))
				w.reconcile()
				w.composed["database"]["status"] = map[string]any{"conditions": []any{map[string]any{
					"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "source database is being accessed by other users (55006)",
				}}}
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayCreate, fromTemplate),
				condition: isFalse("DatabaseReady", "TemplateInUse", "source database is being accessed by other users (55006)", `ALTER DATABASE "pro-template-18.planapulse.app"`),
			},
			alone: true,
		},
		"Found": {
			reason: "A database that provider-sql hasn't created may have been there before, or be what came of a creation that it takes for failed. So it is read, as it is.",
			world:  found,
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate),
				condition: looking,
			},
			alone: true,
		},
		"FoundAndAdopted": {
			reason: "Nobody adopts what hasn't been read: what it asks for would be written to it.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := found(t)
				w.client.in("spec", "database")["adopt"] = true
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate),
				condition: looking,
			},
			alone: true,
		},
		"FoundToBeOurs": {
			reason: "What bears the tenant's birthmark was created for it, though provider-sql never said so.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := read(t, 1737465572)
				w.settle("database")
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_TRUE, mayKeep, fromTemplate, birthmark),
				condition: isTrue("DatabaseReady", "Available"),
			},
		},
		"FoundByAnObjectThatSomebodyEdited": {
			reason: "What an object asks for doesn't become what was read because somebody gives it other policies.",
			world:  foundBy("*"),
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate),
				condition: looking,
			},
			alone: true,
		},
		"FoundByAnObjectThatSomebodyPaused": {
			reason: "Whichever.",
			world:  foundBy(),
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate),
				condition: looking,
			},
			alone: true,
		},
		"MadeAnewUnread": {
			reason: "Crossplane makes an object anew that somebody deletes just as it is applied, with all that is asked for. That proves nothing.",
			world:  foundBy("Observe", "Update", "LateInitialize"),
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate),
				condition: looking,
			},
			alone: true,
		},
		"FoundUnreadable": {
			reason: "A provider that can't look is what there is to look after.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := found(t)
				w.reconcile()
				w.refuse(w.composed["database"])
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate),
				condition: isFalse("DatabaseReady", "ProviderFails", "cannot log in"),
			},
			alone: true,
		},
		"CutOff": {
			reason: "A provider that is killed while it creates a database looks again only once it is told to go on. What it says to do instead ends in a clone that is served with its template's secrets.",
			world:  wasCutOff,
			want: want{
				resource:  toldToGoOn(aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate)),
				condition: looking,
			},
			alone: true,
		},
		"CutOffAndToldToGoOn": {
			reason: "It takes a moment to hear that. Until then, and after that, it is what it was told.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := wasCutOff(t)
				w.reconcile()
				return w
			},
			want: want{
				resource:  toldToGoOn(aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate)),
				condition: looking,
			},
			alone: true,
		},
		"CutOffAndOurs": {
			reason: "A database that is the tenant's own is kept by an object that provider-sql still has to be told to go on with.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := wasCutOff(t)
				w.reconcile()
				w.composed["database"].in("spec", "forProvider")["connectionLimit"] = int64(1737465572)
				w.databaseExisted = true
				w.settle("database")
				return w
			},
			want: want{
				resource:  toldToGoOn(aDatabase(t, fnv1.Ready_READY_TRUE, mayKeep, fromTemplate, birthmark)),
				condition: isTrue("DatabaseReady", "Available"),
			},
		},
		"CutOffAndNothing": {
			reason: "Where nothing came of it, a fresh object is to try again: this one is told never to.",
			world:  sawNothing,
			want:   want{condition: isFalse("DatabaseReady", "Creating", "acme.planapulse.app", "a fresh one takes its place")},
			alone:  true,
		},
		"CutOffAndUnheard": {
			reason: "What provider-sql said before it was asked to read says nothing.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := sawNothing(t)
				w.composed["database"].in("metadata")["generation"] = int64(99)
				return w
			},
			want: want{
				resource:  toldToGoOn(aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate)),
				condition: looking,
			},
			alone: true,
		},
		"CreationUnderWay": {
			reason: "While the server makes a database, its object looks as if provider-sql had been cut off. It is left in peace.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := guarded(t, template("pro-template-18"))
				w.reconcile()
				w.composed["database"].in("metadata", "annotations")["crossplane.io/external-create-pending"] = "2026-11-02T08:00:20Z"
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayCreate, fromTemplate),
				condition: isFalse("DatabaseReady", "Updating"),
			},
			alone: true,
		},
		"Bare": {
			reason: "A database that was made for an earlier tenant and never used has its template's secrets. It isn't adopted, and it is anybody's to drop.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := read(t, 1234567890)
				w.settle("database")
				w.client.in("spec", "database")["adopt"] = true
				return w
			},
			want: want{
				resource: aDatabase(t, fnv1.Ready_READY_FALSE, mayOnlyLook, fromTemplate),
				condition: isFalse("DatabaseReady", "BareDatabase", `psql -c 'ALTER DATABASE "acme.planapulse.app" RENAME TO "acme.planapulse.app-left-behind"'`,
					"kubectl -n crossplane-system delete databases.postgresql.sql.m.crossplane.io acme"),
			},
			alone: true,
		},
		"OfAnEarlierTenant": {
			reason: "One that Odoo's role owns was in service: dropping it is never advised.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := read(t, 1234567890)
				w.composed["database"].in("spec", "forProvider")["owner"] = "odoo"
				w.settle("database")
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayOnlyLook, fromTemplate),
				condition: collision,
			},
			alone: true,
		},
		"NameCollision": {
			reason: "A database that nobody can prove to be ours is not written to, not dropped, and nothing is built on it.",
			world:  observed,
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayOnlyLook, fromTemplate),
				condition: collision,
			},
			alone: true,
		},
		"NameCollisionUnsure": {
			reason: "An object that was told to only look isn't told more because what it saw flickers.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := observed(t)
				w.reconcile()
				delete(w.composed["database"], "status")
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayOnlyLook, fromTemplate),
				condition: isFalse("DatabaseReady", "Updating"),
			},
			alone: true,
		},
		"NameCollisionCleared": {
			reason: "Once the stranger's database is gone, so goes the object that was filled in from it.",
			world:  cleared,
			want:   want{condition: isFalse("DatabaseReady", "Creating", "acme.planapulse.app", "a fresh one takes its place")},
			alone:  true,
		},
		"NameCollisionClearedWhileItGoes": {
			reason: "A fresh object waits until the old one has gone: it would be composed upon.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cleared(t)
				old := clone(w.composed["database"])
				old.in("metadata")["deletionTimestamp"] = "2026-11-02T08:01:00Z"
				w.others = append(w.others, old)
				w.reconcile()
				return w
			},
			want:  want{condition: isFalse("DatabaseReady", "Creating", "crossplane-system/acme is being taken away")},
			alone: true,
		},
		"NameCollisionClearedUnheard": {
			reason: "An object goes only once provider-sql is known not to be creating anything by it.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cleared(t)
				synced := w.composed["database"].at("status", "conditions").([]any)[1]
				synced.(map[string]any)["observedGeneration"] = int64(1)
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayOnlyLook, fromTemplate),
				condition: collision,
			},
			alone: true,
		},
		"NameCollisionUnseen": {
			reason: "A provider that can't look doesn't say that there is nothing.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cleared(t)
				synced := w.composed["database"].at("status", "conditions").([]any)[1]
				synced.(map[string]any)["message"] = "connect failed: cannot get credentials"
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayOnlyLook, fromTemplate),
				condition: collision,
			},
			alone: true,
		},
		"NameCollisionOver": {
			reason: "After that the tenant gets a database of its own, of the version that is asked for by then.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cleared(t)
				w.reconcile()
				w.others = append(w.others, template("basic-template-18"))
				w.client.in("spec")["tier"] = "starter"
				return w
			},
			want: want{
				resource: func() *fnv1.Resource {
					db := aDatabase(t, fnv1.Ready_READY_FALSE, mayCreate, "template: basic-template-18.planapulse.app")
					db.Resource.Fields["metadata"].GetStructValue().Fields["labels"].GetStructValue().Fields["planapulse.com/tier"] = structpb.NewStringValue("starter")
					return db
				}(),
				condition: isFalse("DatabaseReady", "Creating", "cloned from basic-template-18.planapulse.app"),
			},
			alone: true,
		},
		"LeftBehind": {
			reason: "An object that an earlier tenant of the name has left behind is none of this one's: it isn't composed upon.",
			world: func(t *testing.T) *world {
				t.Helper()
				old := template("acme")
				old.in("metadata")["creationTimestamp"] = "2026-10-01T08:00:00Z"
				return guarded(t, template("pro-template-18"), old)
			},
			want: want{
				condition: isFalse("DatabaseReady", "NameCollision", "Database crossplane-system/acme is there", "it has no controller", "kubectl patch -n crossplane-system databases.postgresql.sql.m.crossplane.io acme"),
			},
			alone: true,
		},
		"LeftBehindAndHandedOver": {
			reason: "It bears the earlier one's marks, whoever hands it over: nothing is created by it.",
			world: func(t *testing.T) *world {
				t.Helper()
				old := template("acme")
				old.in("metadata")["creationTimestamp"] = "2026-10-01T08:00:00Z"
				old.in("metadata")["ownerReferences"] = []any{map[string]any{
					"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "acme", "uid": acme().at("metadata", "uid"), "controller": true,
				}}
				return guarded(t, template("pro-template-18"), old)
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate),
				condition: isFalse("DatabaseReady", "Creating"),
			},
			alone: true,
		},
		"LeftBehindAndTaken": {
			reason: "Nor once it is this tenant's object.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := guarded(t, template("pro-template-18"))
				w.reconcile()
				w.composed["database"].in("metadata")["creationTimestamp"] = "2026-10-01T08:00:00Z"
				w.composed["database"].in("metadata", "annotations")["crossplane.io/external-create-succeeded"] = "2026-10-01T08:00:20Z"
				w.composed["database"]["status"] = map[string]any{"conditions": conditions("Synced", "True")}
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate),
				condition: looking,
			},
			alone: true,
		},
		"NameCollisionThenLooksCreated": {
			reason: "A proof of a pending creation is no proof of a creation.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := observed(t)
				w.composed["database"].in("metadata", "annotations")["crossplane.io/external-create-pending"] = "2026-11-02T08:00:20Z"
				return w
			},
			want: want{
				resource:  toldToGoOn(aDatabase(t, fnv1.Ready_READY_FALSE, mayOnlyLook, fromTemplate)),
				condition: collision,
			},
			alone: true,
		},
		"Adopted": {
			reason: "A person may say that the database is the tenant's.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := observed(t)
				w.client.in("spec", "database")["adopt"] = true
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_TRUE, mayKeep, fromTemplate),
				condition: isTrue("DatabaseReady", "Available"),
			},
		},
		"AdoptIsSaidTooEarly": {
			reason: "What doesn't exist yet can't be adopted, and what is about to be created is created with the same care.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := guarded(t, template("pro-template-18"))
				w.client.in("spec", "database")["adopt"] = true
				w.reconcile()
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayCreate, fromTemplate),
				condition: isFalse("DatabaseReady", "Updating"),
			},
			alone: true,
		},
		"Created": {
			reason: "The provider's word that it has created the database for this object lets it be written to. Dropping it takes a teardown.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := observed(t)
				w.composed["database"].in("metadata", "annotations")["crossplane.io/external-create-succeeded"] = "2026-11-02T08:00:20Z"
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_TRUE, mayKeep, fromTemplate),
				condition: isTrue("DatabaseReady", "Available"),
			},
		},
		"ProofTakenOff": {
			reason: "A database once proven to be ours stays ours, though somebody takes the annotation off.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				delete(w.composed["database"].in("metadata", "annotations"), "crossplane.io/external-create-succeeded")
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_TRUE, mayKeep, fromTemplate, ownedByOdoo, birthmark),
				condition: isTrue("DatabaseReady", "Available"),
			},
		},
		"NotSynced": {
			reason: "A database of ours that the provider can't update is not ready, and keeps all that it has.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.composed["database"]["status"] = map[string]any{"conditions": []any{
					map[string]any{"type": "Ready", "status": "True"},
					map[string]any{"type": "Synced", "status": "False", "message": "role odoo does not exist (42704)"},
				}}
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayKeep, fromTemplate, ownedByOdoo, birthmark),
				condition: isFalse("DatabaseReady", "ProviderFails", "role odoo does not exist (42704)", "provider-sql-postgres-creds"),
			},
		},
		"SyncedAtAnOlderGeneration": {
			reason: "The provider's word on a former form of the object counts for nothing.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.composed["database"].in("metadata")["generation"] = int64(99)
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayKeep, fromTemplate, ownedByOdoo, birthmark),
				condition: isFalse("DatabaseReady", "Updating"),
			},
		},
		"BeingDeleted": {
			reason: "Somebody who deletes the Database object is noticed.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.composed["database"].in("metadata")["deletionTimestamp"] = "2026-11-03T08:00:00Z"
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayKeep, fromTemplate, ownedByOdoo, birthmark),
				condition: isFalse("DatabaseReady", "DatabaseLost", "crossplane-system/acme is being deleted"),
			},
		},
		"Lost": {
			reason: "A tenant's database that is gone is never replaced with an empty one.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				delete(w.composed, "database")
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate, ownedByOdoo),
				condition: lost,
			},
		},
		"LostAndLookedFor": {
			reason: "While it is looked for, it is not created either.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.databaseExisted = true
				delete(w.composed, "database")
				w.reconcile()
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate, ownedByOdoo),
				condition: lost,
			},
		},
		"LostAndFound": {
			reason: "A database that is found again under a new object isn't taken for ours until somebody says so.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.databaseExisted = true
				delete(w.composed, "database")
				w.reconcile()
				w.settle("database")
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_FALSE, mayRead, fromTemplate, ownedByOdoo),
				condition: replaced,
			},
		},
		"LostAndAdopted": {
			reason: "Adopting what was found ends the trouble.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.databaseExisted = true
				delete(w.composed, "database")
				w.reconcile()
				w.settle("database")
				w.client.in("spec", "database")["adopt"] = true
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_TRUE, mayKeep, fromTemplate, ownedByOdoo),
				condition: isTrue("DatabaseReady", "Available"),
			},
		},
		"Frozen": {
			reason: "Template and strategy mean nothing once a database exists: they stay as they are, whatever templates and tiers there are now.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.composed["database"].in("spec", "forProvider")["template"] = "older-template.planapulse.app"
				w.composed["database"].in("spec", "forProvider")["strategy"] = "FILE_COPY"
				w.platform.in("tiers", "pro")["template"] = "another"
				w.others = []object{template("another-template-18")}
				return w
			},
			want: want{
				resource:  aDatabase(t, fnv1.Ready_READY_TRUE, mayKeep, "template: older-template.planapulse.app", "strategy: FILE_COPY", ownedByOdoo, birthmark),
				condition: isTrue("DatabaseReady", "Available"),
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := tc.world(t)
			rsp := w.run()
			if diff := tc.want.diff(rsp, "database"); diff != "" {
				t.Errorf("%s\nRunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			if tc.alone {
				keys := []string{"database", "guard"}
				if tc.want.resource == nil {
					keys = []string{"guard"}
				}
				if diff := cmp.Diff(keys, keysOf(rsp)); diff != "" {
					t.Errorf("%s\nRunFunction(...): composed: -want, +got:\n%s", tc.reason, diff)
				}
			}
			if tc.want.resource.GetReady() != fnv1.Ready_READY_TRUE && rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_FALSE {
				t.Errorf("%s\nRunFunction(...): the tenant would be Ready", tc.reason)
			}
		})
	}
}

// TestDatabaseUID follows the proof of ownership through the status.
func TestDatabaseUID(t *testing.T) {
	w := newWorld(t, acme())
	w.others = []object{template("pro-template-18")}
	w.reconcile()
	w.settle("guard")
	w.databaseExisted = true
	w.reconcile()
	w.settle("database")
	w.reconcile()
	if uid := w.client.at("status", "databaseUID"); uid != nil {
		t.Fatalf("a database that isn't proven to be ours is recorded: %v", uid)
	}

	// Told to only look, provider-sql has looked.
	w.settle("database")
	w.client.in("spec", "database")["adopt"] = true
	w.reconcile()
	uid := w.composed["database"].at("metadata", "uid")
	if diff := cmp.Diff(uid, w.client.at("status", "databaseUID")); diff != "" {
		t.Fatalf("status.databaseUID of a proven database: -want, +got:\n%s", diff)
	}

	// Neither flag nor flicker takes the proof back.
	w.client.in("spec", "database")["adopt"] = false
	delete(w.composed["database"], "status")
	w.reconcile()
	if diff := cmp.Diff(uid, w.client.at("status", "databaseUID")); diff != "" {
		t.Errorf("status.databaseUID, once proven: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]any{"Observe", "Update", "LateInitialize"}, w.composed["database"].at("spec", "managementPolicies")); diff != "" {
		t.Errorf("policies of a database that flickers: -want, +got:\n%s", diff)
	}

	// An object of the same name isn't the same object.
	w.composed["database"].in("metadata")["uid"] = "00000000-0000-4000-8000-00000000ffff"
	w.settle("database")
	w.reconcile()
	w.settle("database")
	rsp := w.reconcile()
	if c := conditionOf(rsp, "DatabaseReady"); c.GetReason() != "NameCollision" {
		t.Errorf("another object takes the place of the proven one: want reason NameCollision, got %v", c)
	}
	if diff := cmp.Diff([]any{"Observe"}, w.composed["database"].at("spec", "managementPolicies")); diff != "" {
		t.Errorf("policies of an object that took the proven one's place: -want, +got:\n%s", diff)
	}
}

// TestLedElsewhere takes an object away that somebody has made stand for another database
// before the tenant had one: what provider-sql has said of that one would pass for a
// proof of the tenant's.
func TestLedElsewhere(t *testing.T) {
	for name, policies := range map[string][]any{"may create": {"Observe", "Create", "LateInitialize"}, "may drop": {"*"}} {
		for _, leaves := range []bool{false, true} {
			w := newWorld(t, acme())
			w.others = []object{template("pro-template-18")}
			w.reconcile()
			w.settle("guard")
			w.reconcile()
			db := w.composed["database"]
			db.in("metadata", "annotations")["crossplane.io/external-name"] = "globex.planapulse.app"
			db.in("metadata", "annotations")["crossplane.io/external-create-succeeded"] = "2026-11-02T08:00:20Z"
			db.in("spec")["managementPolicies"] = policies
			w.settle("database")
			if leaves {
				w.client.in("metadata", "annotations")[deleted] = "Background"
				w.reconcile()
				w.clock.SetTime(w.clock.Now().Add(time.Hour))
			}

			w.reconcile()
			if name == "may drop" {
				db = w.composed["database"]
				if diff := cmp.Diff([]any{"Observe"}, db.at("spec", "managementPolicies")); diff != "" {
					t.Errorf("leaves: %v: an object that may drop another database is to drop nothing before it goes: -want, +got:\n%s", leaves, diff)
				}
				if at := db.at("metadata", "annotations", "crossplane.io/external-name"); at != "globex.planapulse.app" {
					t.Errorf("leaves: %v: an object that may drop stands for %v", leaves, at)
				}
				w.reconcile()
			}
			if w.composed["database"] != nil || w.client.at("status", "databaseUID") != nil {
				t.Errorf("leaves: %v: the object that %s another database is to go: %v, %v", leaves, name, w.composed["database"], w.client["status"])
			}
			if leaves {
				continue
			}
			w.reconcile()
			if at := w.composed["database"].at("metadata", "annotations", "crossplane.io/external-name"); at != "acme.planapulse.app" {
				t.Errorf("a fresh object stands for %v", at)
			}
		}
	}
}
