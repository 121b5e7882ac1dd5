package simulation

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	clocktesting "k8s.io/utils/clock/testing"
)

var mutants = flag.Bool("mutants", false, "Test whether the simulation catches broken functions.")

// enough random histories for a mutant to be caught in, after those that are told.
const enough = 100

// A mutant is the function with something broken: in what it sees, or in what it
// says. One instance plays one history.
type mutant struct {
	// by which of the told histories it is caught, as far as somebody has seen. It is
	// played first.
	by string

	// breaks these invariants, any one of which is good enough to catch it by.
	breaks []invariant

	// sees what is made of a request, and says what is made of a response to it.
	sees func(*fnv1.RunFunctionRequest)
	says func(*memory, *fnv1.RunFunctionRequest, *fnv1.RunFunctionResponse)
}

// memory is what a mutant has and a function hasn't.
type memory struct {
	now   time.Time
	calls int
}

// theMutants, by what is wrong with them.
var theMutants = map[string]mutant{
	"drops the route while the database is unready": {
		by:     "Flickers",
		breaks: []invariant{invariantKept, invariantOrder},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if db := observedBody(req, "database"); db != nil && !conditionTrue(db, "Ready") {
				delete(rsp.GetDesired().GetResources(), "route")
			}
		},
	},
	"drops everything else while the guard is unready": {
		by:     "Flickers",
		breaks: []invariant{invariantKept},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if guard := observedBody(req, "guard"); guard == nil || !conditionTrue(guard, "Ready") {
				for key := range rsp.GetDesired().GetResources() {
					if key != "guard" {
						delete(rsp.GetDesired().GetResources(), key)
					}
				}
			}
		},
	},
	"leaves a failed Job out": {
		by:     "FailedJob",
		breaks: []invariant{invariantKept},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			for key := range rsp.GetDesired().GetResources() {
				if conditionTrue(observedBody(req, key), "Failed") {
					delete(rsp.GetDesired().GetResources(), key)
				}
			}
		},
	},
	"may do anything to a database at once": {
		by:     "SomebodyElsesDatabase",
		breaks: []invariant{invariantForeign},
		says:   onDesired("database", func(o *structpb.Struct) { set(o, []any{"*"}, "spec", "managementPolicies") }),
	},
	"leaves it to the default what may be done to a database": {
		by:     "SomebodyElsesDatabase",
		breaks: []invariant{invariantForeign},
		says:   onDesired("database", func(o *structpb.Struct) { unset(o, "spec", "managementPolicies") }),
	},
	"creates by an object that has met somebody else's database": {
		by:     "SomebodyElsesDatabaseIsRenamed",
		breaks: []invariant{invariantPublished, invariantArrives},
		says: onDesired("database", func(o *structpb.Struct) {
			if len(list(o.AsMap(), "spec", "managementPolicies")) == 1 {
				set(o, []any{"Observe", "Create", "LateInitialize"}, "spec", "managementPolicies")
			}
		}),
	},
	"leaves an object out that a database may yet be created by": {
		by:     "CutOffAndDeleted",
		breaks: []invariant{invariantOrder, invariantKept},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if slices.Contains(list(observedBody(req, "database"), "spec", "managementPolicies"), any("Create")) {
				delete(rsp.GetDesired().GetResources(), "database")
			}
		},
	},
	"goes on with a tenant whose guard has gone": {
		by:     "OrphanedBehindACache",
		breaks: []invariant{invariantKept},
		sees: func(req *fnv1.RunFunctionRequest) {
			if observedBody(req, "guard") == nil && observedBody(req, "route") != nil {
				req.Observed.Resources["guard"] = &fnv1.Resource{Resource: &structpb.Struct{}}
				set(req.Observed.Resources["guard"].Resource, kindUsage, "kind")
			}
			if guard := req.GetObserved().GetResources()["guard"].GetResource(); guard != nil {
				unset(guard, "metadata", "deletionTimestamp")
			}
		},
	},
	"adopts whatever it finds": {
		by:     "SomebodyElsesDatabase",
		breaks: []invariant{invariantForeign},
		sees:   onClientSeen(func(xr *structpb.Struct) { set(xr, true, "spec", "database", "adopt") }),
	},
	"believes that every database was created for its tenant": {
		by:     "SomebodyElsesDatabase",
		breaks: []invariant{invariantForeign},
		sees: func(req *fnv1.RunFunctionRequest) {
			if db := req.GetObserved().GetResources()["database"].GetResource(); db != nil {
				set(db, "2026-11-02T12:00:00Z", "metadata", "annotations", annotationSucceeded)
				unset(db, "metadata", "creationTimestamp")
			}
		},
	},
	"takes the ownership tag that it asks for for one that it has read": {
		by:     "SomebodyWasFaster",
		breaks: []invariant{invariantForeign},
		sees: func(req *fnv1.RunFunctionRequest) {
			db := req.GetObserved().GetResources()["database"].GetResource()
			if db != nil && permitsIn(db, "Create") && conditionTrue(db.AsMap(), "Ready") {
				set(db, []any{"Observe", "LateInitialize"}, "spec", "managementPolicies")
			}
		},
	},
	"asks for the ownership tag where it is to be read": {
		by:     "SomebodyWasFaster",
		breaks: []invariant{invariantForeign},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			limit, asked := dig(observedBody(req, "database"), "spec", "forProvider", "connectionLimit").(float64)
			onDesired("database", func(o *structpb.Struct) {
				if asked && slices.Equal(list(o.AsMap(), "spec", "managementPolicies"), []any{"Observe", "LateInitialize"}) {
					set(o, limit, "spec", "forProvider", "connectionLimit")
				}
			})(nil, req, rsp)
		},
	},
	"creates without an ownership tag": {
		by:     "CutOff",
		breaks: []invariant{invariantArrives, invariantOrder},
		says:   onDesired("database", func(o *structpb.Struct) { unset(o, "spec", "forProvider", "connectionLimit") }),
	},
	"doesn't have provider-sql go on": {
		by:     "CutOff",
		breaks: []invariant{invariantArrives, invariantOrder},
		says:   onDesired("database", func(o *structpb.Struct) { unset(o, "metadata", "annotations", annotationFailed) }),
	},
	"takes silence for a sign that there is nothing": {
		by:     "SomebodyWasFasterAndItIsDeleted",
		breaks: []invariant{invariantArrives, invariantOrder, invariantKept},
		sees: func(req *fnv1.RunFunctionRequest) {
			if db := req.GetObserved().GetResources()["database"].GetResource(); db != nil && slices.Equal(list(db.AsMap(), "spec", "managementPolicies"), []any{"Observe", "LateInitialize"}) {
				set(db, []any{map[string]any{"type": "Synced", "status": "True", "observedGeneration": dig(db.AsMap(), "metadata", "generation")}}, "status", "conditions")
			}
		},
	},
	"adopts what is bare": {
		by:     "AdoptedMidway",
		breaks: []invariant{invariantPublished, invariantArrives},
		sees: func(req *fnv1.RunFunctionRequest) {
			db := req.GetObserved().GetResources()["database"].GetResource()
			if limit, ok := dig(db.AsMap(), "spec", "forProvider", "connectionLimit").(float64); ok && limit >= leastLimit && !permitsIn(db, "Create") {
				set(db, float64(-1), "spec", "forProvider", "connectionLimit")
			}
		},
	},
	"brings Jobs up to date": {
		by:     "OtherImagesMidway",
		breaks: []invariant{invariantFrozen},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			for key, r := range rsp.GetDesired().GetResources() {
				if image := req.GetInput().GetFields()["effects"].GetStructValue().GetFields()["image"].GetStringValue(); image != "" && isJob(r) {
					for _, c := range containersOf(r.GetResource()) {
						c.Fields["image"] = structpb.NewStringValue(image)
					}
					rsp.Desired.Resources[key] = r
				}
			}
		},
	},
	"names a Job that is still going": {
		by:     "DeletedWhileAJobWorks",
		breaks: []invariant{invariantFrozen, invariantOrder, invariantBackup},
		sees: func(req *fnv1.RunFunctionRequest) {
			if _, asked := req.GetRequiredResources()["jobs"]; asked {
				req.RequiredResources["jobs"] = &fnv1.Resources{}
			}
		},
	},
	"follows the Platform's domain": {
		by:     "Created",
		breaks: []invariant{invariantFrozen},
		says: onDesired("database", func(o *structpb.Struct) {
			if text(o.AsMap(), "spec", "forProvider", "owner") != "" {
				set(o, "acme.example.com", "metadata", "annotations", annotationExternal)
			}
		}),
	},
	"forgets the ledger": {
		by:     "Created",
		breaks: []invariant{invariantOnce},
		says: func(_ *memory, _ *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			unset(rsp.GetDesired().GetComposite().GetResource(), "status", "effects")
		},
	},
	"leaves a Job out as soon as it has completed": {
		by:     "Created",
		breaks: []invariant{invariantOnce},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			for key := range rsp.GetDesired().GetResources() {
				if conditionTrue(observedBody(req, key), "Complete") {
					delete(rsp.GetDesired().GetResources(), key)
				}
			}
		},
	},
	"leaves a Job out that is at work once nobody needs its step any more": {
		by:     "SuspendedWithoutItsObject",
		breaks: []invariant{invariantOnce, invariantKept},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			db, xr := observedBody(req, "database"), req.GetObserved().GetComposite().GetResource().AsMap()
			if text(db, "metadata", "uid") == text(xr, "status", "databaseUID") {
				return
			}
			for _, key := range []string{"fence", "suspend-fence", "connections-drain", "suspend-drain"} {
				delete(rsp.GetDesired().GetResources(), key)
			}
		},
	},
	"never leaves a Job out": {
		by:     "Created",
		breaks: []invariant{invariantOnce, invariantOrder},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			for key, r := range req.GetObserved().GetResources() {
				if isJob(r) && rsp.GetDesired().GetResources()[key] == nil && len(rsp.GetDesired().GetResources()) > 0 {
					compose(rsp, key, clonedWithoutStatus(r.GetResource()))
				}
			}
		},
	},
	"announces a tenant again": {
		by:     "Created",
		breaks: []invariant{invariantOnce},
		sees: onClientSeen(func(xr *structpb.Struct) {
			if conditionTrue(xr.AsMap(), "Ready") {
				unset(xr, "status", "effects", "client-provisioned")
			}
		}),
	},
	"tells the time in what it composes": {
		by:     "Created",
		breaks: []invariant{invariantSame},
		says: func(m *memory, _ *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			onDesired("guard", func(o *structpb.Struct) { set(o, m.now.Format(time.RFC3339), "metadata", "annotations", "seen") })(m, nil, rsp)
		},
	},
	"says something else every time": {
		by:     "Created",
		breaks: []invariant{invariantSame},
		says: func(m *memory, _ *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			onDesired("guard", func(o *structpb.Struct) { set(o, fmt.Sprint(m.calls), "metadata", "annotations", "call") })(m, nil, rsp)
		},
	},
	"takes everything away on a bad request": {
		by:     "BadPlatform",
		breaks: []invariant{invariantBad, invariantKept},
		says: onRefusal(func(rsp *fnv1.RunFunctionResponse) {
			for key := range rsp.GetDesired().GetResources() {
				if key != "guard" {
					delete(rsp.GetDesired().GetResources(), key)
				}
			}
		}),
	},
	"closes a tenant on a bad request": {
		by:     "BadPlatform",
		breaks: []invariant{invariantBad},
		says: onRefusal(func(rsp *fnv1.RunFunctionResponse) {
			onDesired("database", func(o *structpb.Struct) { set(o, false, "spec", "forProvider", "allowConnections") })(nil, nil, rsp)
		}),
	},
	"forgets the status on a bad request": {
		by:     "BadPlatform",
		breaks: []invariant{invariantBad},
		says: onRefusal(func(rsp *fnv1.RunFunctionResponse) {
			unset(rsp.GetDesired().GetComposite().GetResource(), "status", "effects")
		}),
	},
	"passes a secret on": {
		by:     "Created",
		breaks: []invariant{invariantSecret},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			for _, r := range req.GetObserved().GetResources() {
				rsp.Results = append(rsp.Results, &fnv1.Result{Severity: fnv1.Severity_SEVERITY_NORMAL, Message: string(r.GetConnectionDetails()["password"])})
			}
		},
	},
	"hands Jobs a password": {
		by:     "Created",
		breaks: []invariant{invariantSecret},
		says: onNewPods(func(c *structpb.Struct) {
			for _, e := range c.GetFields()["env"].GetListValue().GetValues() {
				if v := e.GetStructValue(); strings.HasSuffix(v.GetFields()["name"].GetStringValue(), "PASSWORD") {
					delete(v.Fields, "valueFrom")
					v.Fields["value"] = structpb.NewStringValue("letmein")
				}
			}
		}),
	},
	"lets pods take what they want": {
		by:     "Created",
		breaks: []invariant{invariantPod},
		says:   onNewPods(func(c *structpb.Struct) { delete(c.Fields, "resources") }),
	},
	"lets pods gain privileges": {
		by:     "Created",
		breaks: []invariant{invariantPod},
		says:   onNewPods(func(c *structpb.Struct) { delete(c.Fields, "securityContext") }),
	},
	"lets Jobs run for ever": {
		by:     "Created",
		breaks: []invariant{invariantPod},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			for key, r := range rsp.GetDesired().GetResources() {
				if isJob(r) && observedBody(req, key) == nil {
					unset(r.GetResource(), "spec", "activeDeadlineSeconds")
				}
			}
		},
	},
	"believes that there is a last backup": {
		by:     "Deleted",
		breaks: []invariant{invariantBackup},
		sees: onClientSeen(func(xr *structpb.Struct) {
			if at := text(xr.AsMap(), "status", "deletion", "requestedAt"); at != "" {
				set(xr, map[string]any{"completedAt": at, "run": at + "/fenced"}, "status", "effects", "final-backup")
			}
		}),
	},
	"drops the database instead of backing it up": {
		by:     "Deleted",
		breaks: []invariant{invariantBackup, invariantOrder},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if text(rsp.GetDesired().GetComposite().GetResource().AsMap(), "status", "deletion", "step") == "final-backup" {
				onDesired("database", func(o *structpb.Struct) { set(o, []any{"*"}, "spec", "managementPolicies") })(nil, nil, rsp)
				delete(rsp.GetDesired().GetResources(), "final-backup")
				if slices.Contains(list(observedBody(req, "database"), "spec", "managementPolicies"), any("*")) {
					delete(rsp.GetDesired().GetResources(), "database")
				}
			}
		},
	},
	"takes a backup of long ago for the last one": {
		by:     "DeletedAfterANightlyBackup",
		breaks: []invariant{invariantBackup},
		sees: onClientSeen(func(xr *structpb.Struct) {
			at := text(xr.AsMap(), "status", "deletion", "requestedAt")
			if at != "" && text(xr.AsMap(), "status", "backup", "lastSuccessfulTime") != "" {
				set(xr, map[string]any{"completedAt": at, "run": at + "/fenced"}, "status", "effects", "final-backup")
			}
		}),
	},
	"takes a last backup that has failed for one that is made": {
		by:     "DeletedAndItsLastBackupFails",
		breaks: []invariant{invariantBackup},
		sees: func(req *fnv1.RunFunctionRequest) {
			job := req.GetObserved().GetResources()["final-backup"].GetResource()
			if job == nil || !conditionTrue(job.AsMap(), "Failed") {
				return
			}
			for _, c := range job.GetFields()["status"].GetStructValue().GetFields()["conditions"].GetListValue().GetValues() {
				if c := c.GetStructValue(); text(c.AsMap(), "type") == "Failed" {
					set(c, "Complete", "type")
				}
			}
		},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if job := req.GetObserved().GetResources()["final-backup"].GetResource(); job != nil {
				compose(rsp, "final-backup", clonedWithoutStatus(job))
			}
		},
	},
	"leaves the fence out": {
		by:     "WrittenWhileItIsBackedUp",
		breaks: []invariant{invariantBackup},
		says:   onFence("matrix-room-retire"),
	},
	"leaves sessions alone that are there": {
		by:     "WrittenWhileItIsBackedUp",
		breaks: []invariant{invariantBackup},
		says:   onFence("unfence"),
	},
	"backs up before the fence stands": {
		by:     "WrittenWhileItIsBackedUp",
		breaks: []invariant{invariantBackup},
		sees: func(req *fnv1.RunFunctionRequest) {
			xr, db := req.GetObserved().GetComposite().GetResource(), req.GetObserved().GetResources()["database"].GetResource()
			requested := text(xr.AsMap(), "status", "deletion", "requestedAt")
			if requested == "" || db == nil {
				return
			}
			set(xr, requested, "status", "fence", "run")
			set(xr, requested, "status", "effects", "fence", "run")
			set(xr, requested, "status", "effects", "fence", "completedAt")
			set(db, providerRole, "spec", "forProvider", "owner")
		},
	},
	"leaves a fenced database to Odoo's role": {
		by:     "WrittenWhileItIsBackedUp",
		breaks: []invariant{invariantBackup, invariantArrives},
		sees: func(req *fnv1.RunFunctionRequest) {
			db := req.GetObserved().GetResources()["database"].GetResource()
			if db != nil && dig(req.GetObserved().GetComposite().GetResource().AsMap(), "status", "fence") != nil {
				set(db, providerRole, "spec", "forProvider", "owner")
			}
		},
		says: onDesired("database", func(o *structpb.Struct) {
			if text(o.AsMap(), "spec", "forProvider", "owner") == providerRole {
				set(o, odooRole, "spec", "forProvider", "owner")
			}
		}),
	},
	"forgets to take the fence down": {
		by:     "SuspendedAndResumed",
		breaks: []invariant{invariantArrives, invariantOrder},
		sees: onClientSeen(func(xr *structpb.Struct) {
			if annotations := xr.AsMap(); !isTrue(annotations, "spec", "suspended") && text(annotations, "metadata", "annotations", annotationAttempt) == "" {
				unset(xr, "status", "fence")
			}
		}),
	},
	"leads visitors to a fenced database": {
		by:     "SuspendedAndResumed",
		breaks: []invariant{invariantOrder},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			xr := req.GetObserved().GetComposite().GetResource().AsMap()
			if isTrue(xr, "spec", "suspended") || dig(xr, "status", "fence") == nil {
				return
			}
			onDesired("route", func(o *structpb.Struct) {
				set(o, []any{map[string]any{"backendRefs": []any{map[string]any{"name": "odoo", "port": 8069.0}}}}, "spec", "rules")
			})(nil, req, rsp)
		},
	},
	"takes what isn't adopted any more for a clone": {
		by:     "AdoptedAndTakenBackUnprepared",
		breaks: []invariant{invariantBackup},
		sees: func(req *fnv1.RunFunctionRequest) {
			xr := req.GetObserved().GetComposite().GetResource()
			db := req.GetObserved().GetResources()["database"].GetResource()
			if db != nil && text(xr.AsMap(), "status", "databaseUID") != "" && !isTrue(xr.AsMap(), "spec", "database", "adopt") &&
				dig(xr.AsMap(), "status", "effects", "tenant-prepare") == nil {
				set(db, "2026-11-02T12:00:00Z", "metadata", "annotations", annotationSucceeded)
				set(db, providerRole, "spec", "forProvider", "owner")
				unset(xr, "status", "fence")
			}
		},
	},
	"lets a waiver count for every delete": {
		by:     "WaivedOnce",
		breaks: []invariant{invariantBackup},
		sees:   onClientSeen(func(xr *structpb.Struct) { unset(xr, "status", "spentWaiver") }),
	},
	"publishes a database before it is prepared": {
		by:     "Created",
		breaks: []invariant{invariantPublished},
		says:   onDesired("database", func(o *structpb.Struct) { set(o, odooRole, "spec", "forProvider", "owner") }),
	},
	"takes every teardown for the same one": {
		by:     "Deleted",
		breaks: []invariant{invariantBackup},
		says: onNewPods(func(c *structpb.Struct) {
			for _, e := range c.GetFields()["env"].GetListValue().GetValues() {
				if v := e.GetStructValue(); v.GetFields()["name"].GetStringValue() == "BACKUP_OCCASION" {
					v.Fields["value"] = structpb.NewStringValue("teardown")
				}
			}
		}),
	},
	"has the backups of a tenant expire that may yet stay": {
		by:     "Deleted",
		breaks: []invariant{invariantBackup},
		says: onNewPods(func(c *structpb.Struct) {
			args := c.GetFields()["args"].GetListValue().GetValues()
			if len(args) == 2 && args[1].GetStringValue() == "final-backup" {
				args[1] = structpb.NewStringValue("backup-tombstone")
			}
		}),
	},
	"lets nobody know whose backups are to expire": {
		by:     "Deleted",
		breaks: []invariant{invariantBackup},
		says: func(_ *memory, _ *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if r := rsp.GetDesired().GetResources()["backup-tombstone"]; r != nil {
				for _, c := range containersOf(r.GetResource()) {
					c.GetFields()["args"].GetListValue().Values[1] = structpb.NewStringValue("connections-drain")
				}
			}
		},
	},
	"wipes the files while the database is being dropped": {
		by:     "Deleted",
		breaks: []invariant{invariantOrder},
		sees: func(req *fnv1.RunFunctionRequest) {
			if _, asked := req.GetRequiredResources()["database"]; asked {
				req.RequiredResources["database"] = &fnv1.Resources{}
			}
		},
	},
	"gives nobody time to cancel": {
		by:     "Deleted",
		breaks: []invariant{invariantKept, invariantOrder},
		sees: func(req *fnv1.RunFunctionRequest) {
			req.Input, _ = proto.Clone(req.GetInput()).(*structpb.Struct)
			set(req.GetInput(), "0s", "deletion", "gracePeriod")
		},
	},
	"lets the guard go first": {
		by:     "Deleted",
		breaks: []invariant{invariantOrder, invariantKept},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if text(req.GetObserved().GetComposite().GetResource().AsMap(), "metadata", "annotations", annotationAttempt) != "" {
				delete(rsp.GetDesired().GetResources(), "guard")
			}
		},
	},
	"brings the guard back": {
		by:     "Deleted",
		breaks: []invariant{invariantArrives, invariantOrder},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			name := text(req.GetObserved().GetComposite().GetResource().AsMap(), "metadata", "name")
			if len(rsp.GetDesired().GetResources()) == 0 && observedBody(req, "guard") == nil && fatal(rsp) == "" {
				guard, _ := structpb.NewStruct(map[string]any{
					"apiVersion": apiVersions[kindUsage], "kind": kindUsage, "metadata": map[string]any{"name": "planaclient-" + name},
					"spec": map[string]any{"of": map[string]any{"apiVersion": "planapulse.com/v1alpha1", "kind": kindClient, "resourceRef": map[string]any{"name": name}}, "reason": "no", "replayDeletion": true},
				})
				compose(rsp, "guard", guard)
			}
		},
	},
	"doesn't care for a delete": {
		by:     "Deleted",
		breaks: []invariant{invariantArrives},
		sees: onClientSeen(func(xr *structpb.Struct) {
			unset(xr, "metadata", "annotations", annotationAttempt)
		}),
	},
	"doesn't care for a suspension": {
		by:     "Suspended",
		breaks: []invariant{invariantArrives},
		sees:   onClientSeen(func(xr *structpb.Struct) { set(xr, false, "spec", "suspended") }),
	},
	"leaves the support room behind": {
		by:     "Deleted",
		breaks: []invariant{invariantOrder},
		says: func(_ *memory, _ *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if r := rsp.GetDesired().GetResources()["matrix-room-retire"]; r != nil {
				for _, c := range containersOf(r.GetResource()) {
					for _, e := range c.GetFields()["env"].GetListValue().GetValues() {
						if v := e.GetStructValue(); v.GetFields()["name"].GetStringValue() == "MATRIX_ROOM" {
							v.Fields["value"] = structpb.NewStringValue("support-somebody-001")
						}
					}
				}
			}
		},
	},
	"looks for no guard of somebody else's":       looksForNo("guard"),
	"looks for no Database of somebody else's":    looksForNo("database"),
	"looks for no route of somebody else's":       looksForNo("route"),
	"looks for no CronJob of somebody else's":     looksForNo("backup"),
	"looks for no Job of somebody else's":         looksForNo("smoke-test"),
	"looks for no last backup of somebody else's": looksForNo("final-backup"),
	"doesn't see who else refuses a delete": {
		by:     "GuardedByWhatWasLeftBehind",
		breaks: []invariant{invariantArrives},
		sees: func(req *fnv1.RunFunctionRequest) {
			if text(req.GetObserved().GetComposite().GetResource().AsMap(), "metadata", "annotations", annotationAttempt) == "" {
				return
			}
			if _, looked := req.GetRequiredResources()["guard"]; looked {
				req.RequiredResources["guard"] = &fnv1.Resources{}
			}
		},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			if observedBody(req, "guard") == nil && text(req.GetObserved().GetComposite().GetResource().AsMap(), "metadata", "annotations", annotationAttempt) != "" {
				delete(rsp.GetDesired().GetResources(), "guard")
			}
		},
	},
	"takes for its own what its references name": {
		by:     "SomebodyElsesTakeTheirPlace",
		breaks: []invariant{invariantForeign},
		sees: func(req *fnv1.RunFunctionRequest) {
			xr := req.GetObserved().GetComposite().GetResource()
			owner, _ := structpb.NewList([]any{map[string]any{
				"apiVersion": "planapulse.com/v1alpha1", "kind": kindClient, "controller": true,
				"name": text(xr.AsMap(), "metadata", "name"), "uid": text(xr.AsMap(), "metadata", "uid"),
			}})
			for _, r := range req.GetObserved().GetResources() {
				r.GetResource().GetFields()["metadata"].GetStructValue().Fields["ownerReferences"] = structpb.NewListValue(owner)
			}
		},
	},
	"waits for what it never asks for again": {
		by:     "Created",
		breaks: []invariant{invariantArrives},
		says: func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			rsp.Requirements = nil
		},
	},
	"asks for something else every time": {
		by:     "Created",
		breaks: []invariant{invariantCore, invariantSame},
		says: func(m *memory, _ *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
			rsp.Requirements = &fnv1.Requirements{Resources: map[string]*fnv1.ResourceSelector{
				fmt.Sprint(m.calls): {ApiVersion: "v1", Kind: "Secret", Match: &fnv1.ResourceSelector_MatchName{MatchName: fmt.Sprint(m.calls)}},
			}}
		},
	},
}

// looksForNo object under a key but the tenant's own.
func looksForNo(key string) mutant {
	return mutant{
		by:     "SomebodyElsesObjectsWereThere",
		breaks: []invariant{invariantForeign},
		sees: func(req *fnv1.RunFunctionRequest) {
			found := req.GetRequiredResources()[key]
			xr := req.GetObserved().GetComposite().GetResource().AsMap()
			for _, item := range found.GetItems() {
				o := &object{body: item.GetResource().AsMap()}
				if o.controller() != text(xr, "metadata", "uid") {
					req.RequiredResources[key] = &fnv1.Resources{}
				}
			}
		},
	}
}

// A mutated function.
type mutated struct {
	Function
	mutant
	memory
	clock *clocktesting.FakePassiveClock
}

func (m *mutated) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	m.calls++
	m.now = m.clock.Now()
	// What is shown to the function is the cluster's own.
	seen, _ := proto.Clone(req).(*fnv1.RunFunctionRequest)
	if m.sees != nil {
		m.sees(seen)
	}
	rsp, err := m.Function.RunFunction(ctx, seen)
	if err == nil && m.says != nil {
		m.says(&m.memory, seen, rsp)
	}
	return rsp, err
}

// TestMutants breaks the function in many ways, and fails unless the simulation
// catches every one, by the invariant that it breaks.
func TestMutants(t *testing.T) {
	if !*mutants {
		t.Skip("run by make simulate-mutants")
	}
	for _, name := range sorted(theMutants) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := theMutants[name]
			broken := func(c *clocktesting.FakePassiveClock) Function {
				return &mutated{Function: theFunction(c), mutant: m, clock: c}
			}
			caught := func(by string, v *Violation, itself func() *Result) bool {
				if v == nil || !slices.Contains(m.breaks, v.Invariant) {
					return false
				}
				// What the function itself doesn't survive proves nothing.
				if itself().Violation != nil {
					return false
				}
				t.Logf("caught by history %s: %s", by, strings.SplitN(v.String(), "\n", 2)[0])
				return true
			}
			if _, told := toldHistories[m.by]; !told {
				t.Fatalf("There is no history %q that catches a function that %s", m.by, name)
			}
			for _, history := range append([]string{m.by}, sorted(toldHistories)...) {
				actions := toldHistories[history].actions
				if caught(history, Replay(broken, actions, nil).Violation, func() *Result { return Replay(theFunction, actions, nil) }) {
					return
				}
			}
			for seed := uint64(1); seed <= enough; seed++ {
				if caught(fmt.Sprint(seed), Play(broken, seed).Violation, func() *Result { return Play(theFunction, seed) }) {
					return
				}
			}
			t.Errorf("A function that %s isn't caught in %d histories", name, enough+len(toldHistories))
		})
	}
}

// observedBody of a composed resource, or nil.
func observedBody(req *fnv1.RunFunctionRequest, key string) map[string]any {
	if r := req.GetObserved().GetResources()[key].GetResource(); r != nil {
		return r.AsMap()
	}
	return nil
}

// onFence has the Jobs that are to raise a fence do something else.
func onFence(program string) func(*memory, *fnv1.RunFunctionRequest, *fnv1.RunFunctionResponse) {
	return func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
		for _, key := range []string{"fence", "suspend-fence"} {
			if observedBody(req, key) != nil {
				continue
			}
			onDesired(key, func(o *structpb.Struct) {
				for _, c := range containersOf(o) {
					set(c, []any{"effect", program}, "args")
				}
			})(nil, req, rsp)
		}
	}
}

func isJob(r *fnv1.Resource) bool {
	return r.GetResource().GetFields()["kind"].GetStringValue() == kindJob
}

// onDesired changes a desired composed resource, if there is one.
func onDesired(key string, change func(*structpb.Struct)) func(*memory, *fnv1.RunFunctionRequest, *fnv1.RunFunctionResponse) {
	return func(_ *memory, _ *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
		if r := rsp.GetDesired().GetResources()[key]; r != nil {
			change(r.GetResource())
		}
	}
}

// permitsIn tells whether provider-sql may do something by an object.
func permitsIn(o *structpb.Struct, action string) bool {
	return slices.Contains(list(o.AsMap(), "spec", "managementPolicies"), any(action))
}

// onClientSeen changes the composite resource that the function sees.
func onClientSeen(change func(*structpb.Struct)) func(*fnv1.RunFunctionRequest) {
	return func(req *fnv1.RunFunctionRequest) { change(req.GetObserved().GetComposite().GetResource()) }
}

// onRefusal changes a response that refuses a bad request.
func onRefusal(change func(*fnv1.RunFunctionResponse)) func(*memory, *fnv1.RunFunctionRequest, *fnv1.RunFunctionResponse) {
	return func(_ *memory, _ *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
		for _, c := range rsp.GetConditions() {
			if c.GetType() == "Accepted" && c.GetStatus() == fnv1.Status_STATUS_CONDITION_FALSE && fatal(rsp) == "" {
				change(rsp)
			}
		}
	}
}

// onNewPods changes every container of a Job that doesn't exist yet.
func onNewPods(change func(*structpb.Struct)) func(*memory, *fnv1.RunFunctionRequest, *fnv1.RunFunctionResponse) {
	return func(_ *memory, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
		for key, r := range rsp.GetDesired().GetResources() {
			if isJob(r) && observedBody(req, key) == nil {
				for _, c := range containersOf(r.GetResource()) {
					change(c)
				}
			}
		}
	}
}

func containersOf(job *structpb.Struct) []*structpb.Struct {
	pod := job
	for _, name := range []string{"spec", "template", "spec"} {
		pod = pod.GetFields()[name].GetStructValue()
	}
	var out []*structpb.Struct
	for _, c := range pod.GetFields()["containers"].GetListValue().GetValues() {
		out = append(out, c.GetStructValue())
	}
	return out
}

// compose a desired composed resource into a response.
func compose(rsp *fnv1.RunFunctionResponse, key string, o *structpb.Struct) {
	if rsp.GetDesired().GetResources() == nil {
		rsp.Desired.Resources = map[string]*fnv1.Resource{}
	}
	rsp.Desired.Resources[key] = &fnv1.Resource{Resource: o, Ready: fnv1.Ready_READY_TRUE}
}

// clonedWithoutStatus returns what was observed of an object as desired.
func clonedWithoutStatus(s *structpb.Struct) *structpb.Struct {
	c, _ := proto.Clone(s).(*structpb.Struct)
	delete(c.GetFields(), "status")
	return c
}

// set a value at a path of a wire form.
func set(s *structpb.Struct, value any, path ...string) {
	for _, name := range path[:len(path)-1] {
		next := s.GetFields()[name].GetStructValue()
		if next == nil {
			next = &structpb.Struct{Fields: map[string]*structpb.Value{}}
			if s.Fields == nil {
				s.Fields = map[string]*structpb.Value{}
			}
			s.Fields[name] = structpb.NewStructValue(next)
		}
		s = next
	}
	v, err := structpb.NewValue(value)
	if err != nil {
		panic(err)
	}
	if s.Fields == nil {
		s.Fields = map[string]*structpb.Value{}
	}
	s.Fields[path[len(path)-1]] = v
}

// unset the value at a path of a wire form.
func unset(s *structpb.Struct, path ...string) {
	for _, name := range path[:len(path)-1] {
		if s = s.GetFields()[name].GetStructValue(); s == nil {
			return
		}
	}
	delete(s.GetFields(), path[len(path)-1])
}
