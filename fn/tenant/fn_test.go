package tenant_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	batchv1 "k8s.io/api/batch/v1"
)

// guardOfAcme lacks the text of its reason.
const guardOfAcme = `
apiVersion: protection.crossplane.io/v1beta1
kind: ClusterUsage
metadata:
  name: planaclient-acme
  labels:
    app.kubernetes.io/name: planaclient
    app.kubernetes.io/instance: acme
    app.kubernetes.io/component: guard
    app.kubernetes.io/part-of: plana-pulse
    app.kubernetes.io/managed-by: function-planaclient
    planapulse.com/tenant: acme
    planapulse.com/tier: pro
    planapulse.com/odoo-version: "18"
spec:
  of:
    apiVersion: planapulse.com/v1alpha1
    kind: PLANAClient
    resourceRef: {name: acme}
  replayDeletion: true
  reason: `

// TestRunFunction shows what Crossplane gets back, whole but for conditions,
// which are the matter of each step's test.
func TestRunFunction(t *testing.T) {
	cases := map[string]struct {
		reason string
		req    func(t *testing.T) *fnv1.RunFunctionRequest
		want   *fnv1.RunFunctionResponse
	}{
		"Nothing": {
			reason: "The first thing that a tenant has is its guard, and nothing beside it.",
			req: func(t *testing.T) *fnv1.RunFunctionRequest {
				t.Helper()
				return newWorld(t, acme()).request()
			},
			want: &fnv1.RunFunctionResponse{
				Meta: &fnv1.ResponseMeta{Tag: "tag", Ttl: durationpb.New(5e9)},
				Desired: &fnv1.State{
					Composite: &fnv1.Resource{Ready: fnv1.Ready_READY_FALSE, Resource: document(t, `
status:
  url: https://acme.planapulse.app
  namespace: plana-odoo-18
  databaseName: acme.planapulse.app
  tier: pro
  matrixRoom: support-acme-023
  backup: {cronJob: backup/backup-acme, schedule: 47 1 * * * Europe/Sofia, retentionDays: 90}
`)},
					Resources: map[string]*fnv1.Resource{
						"guard": {Ready: fnv1.Ready_READY_FALSE, Resource: document(t, guardOfAcme+reasonOfGuard)},
					},
				},
				Requirements: &fnv1.Requirements{Resources: map[string]*fnv1.ResourceSelector{"guard": {
					ApiVersion: "protection.crossplane.io/v1beta1", Kind: "ClusterUsage",
					Match: &fnv1.ResourceSelector_MatchName{MatchName: "planaclient-acme"},
				}, "template": {
					ApiVersion: "postgresql.sql.m.crossplane.io/v1alpha1", Kind: "Database",
					Match:     &fnv1.ResourceSelector_MatchName{MatchName: "pro-template-18"},
					Namespace: new("crossplane-system"),
				}}},
			},
		},
		"OthersBefore": {
			reason: "What functions before this one in the pipeline want, and what they put into the context, is left alone.",
			req: func(t *testing.T) *fnv1.RunFunctionRequest {
				t.Helper()
				req := newWorld(t, acme()).request()
				req.Observed.Resources["theirs"] = &fnv1.Resource{Resource: document(t, `{apiVersion: v1, kind: ConfigMap}`)}
				req.Desired = &fnv1.State{
					Composite: &fnv1.Resource{Resource: document(t, `{status: {theirs: stays, tier: gold, backup: {theirs: too}}}`)},
					Resources: map[string]*fnv1.Resource{"theirs": {Ready: fnv1.Ready_READY_TRUE, Resource: document(t, `{apiVersion: v1, kind: ConfigMap}`)}},
				}
				req.Context = document(t, `{theirs: too}`)
				return req
			},
			want: &fnv1.RunFunctionResponse{
				Meta:    &fnv1.ResponseMeta{Tag: "tag", Ttl: durationpb.New(5e9)},
				Context: document(t, `{theirs: too}`),
				Desired: &fnv1.State{
					Composite: &fnv1.Resource{Ready: fnv1.Ready_READY_FALSE, Resource: document(t, `
status:
  url: https://acme.planapulse.app
  namespace: plana-odoo-18
  databaseName: acme.planapulse.app
  tier: pro
  matrixRoom: support-acme-023
  theirs: stays
  backup: {theirs: too, cronJob: backup/backup-acme, schedule: 47 1 * * * Europe/Sofia, retentionDays: 90}
`)},
					Resources: map[string]*fnv1.Resource{
						"guard":  {Ready: fnv1.Ready_READY_FALSE, Resource: document(t, guardOfAcme+reasonOfGuard)},
						"theirs": {Ready: fnv1.Ready_READY_TRUE, Resource: document(t, `{apiVersion: v1, kind: ConfigMap}`)},
					},
				},
				Requirements: &fnv1.Requirements{Resources: map[string]*fnv1.ResourceSelector{"guard": {
					ApiVersion: "protection.crossplane.io/v1beta1", Kind: "ClusterUsage",
					Match: &fnv1.ResourceSelector_MatchName{MatchName: "planaclient-acme"},
				}, "template": {
					ApiVersion: "postgresql.sql.m.crossplane.io/v1alpha1", Kind: "Database",
					Match:     &fnv1.ResourceSelector_MatchName{MatchName: "pro-template-18"},
					Namespace: new("crossplane-system"),
				}}},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acme())
			req := tc.req(t)
			// It was looked for, and there is none.
			req.RequiredResources["guard"] = &fnv1.Resources{}
			rsp, err := w.function.RunFunction(t.Context(), req)
			if err != nil {
				t.Fatalf("%s\nRunFunction(...): %v", tc.reason, err)
			}
			rsp.Conditions = nil
			if diff := diff(tc.want, rsp); diff != "" {
				t.Errorf("%s\nRunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

const reasonOfGuard = `>-
    tenant acme is deleted in order, after a last backup, and this has begun.
    Watch it: kubectl get planaclient acme --watch.
    Cancel it: kubectl annotate planaclient acme usage.crossplane.io/deletion-attempt-with-policy-`

// TestDefaults of the XRD are applied by the function too: a preview doesn't
// meet the API server.
func TestDefaults(t *testing.T) {
	bare, full := newWorld(t, client("acme", 23, "starter", "18")), newWorld(t, client("acme", 23, "starter", "18"))
	delete(bare.client.in("spec"), "tier")
	delete(bare.client.in("spec"), "odooVersion")
	if diff := diff(full.run(), bare.run()); diff != "" {
		t.Errorf("tier and version left out: -spelled out, +left out:\n%s", diff)
	}
}

// TestReadyEvent is told once.
func TestReadyEvent(t *testing.T) {
	w := newWorld(t, acme())
	w.others = []object{template("pro-template-18")}
	told := 0
	for range 25 {
		told += len(resultsOf(w.reconcile(), fnv1.Severity_SEVERITY_NORMAL))
		for key := range w.composed {
			w.settle(key)
		}
	}
	if told != 1 {
		t.Errorf("a tenant's way to Ready and beyond was told of with %d events, want 1", told)
	}
}

// TestUpgradePending keeps a tenant on its version until upgrades are built.
func TestUpgradePending(t *testing.T) {
	w := finished(t)
	before := clone(object{"composed": any(map[string]any{"route": map[string]any(w.composed["route"]), "backup": map[string]any(w.composed["backup"])})})
	w.client.in("spec")["odooVersion"] = "19"
	rsp := w.reconcile()
	if diff := isTrue("UpgradePending", "UpgradeNotSupported", "18", "19", "kubectl patch planaclient acme").diff(rsp); diff != "" {
		t.Errorf("a version is raised: -want, +got:\n%s", diff)
	}
	after := clone(object{"composed": any(map[string]any{"route": map[string]any(w.composed["route"]), "backup": map[string]any(w.composed["backup"])})})
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("a version is raised: -before, +after:\n%s", diff)
	}
	if !w.ready() || w.client.at("status", "odooVersion") != "18" {
		t.Errorf("a version is raised: ready %t, version %v", w.ready(), w.client.at("status", "odooVersion"))
	}
}

// TestOtherKinds asks for composites that this function doesn't compose.
func TestOtherKinds(t *testing.T) {
	cases := map[string]struct {
		reason string
		xr     object
		says   string
	}{
		"AnotherKind": {
			reason: "A Composition of another kind names this function by mistake. Its composite isn't a tenant, whatever its spec holds.",
			xr:     object{"apiVersion": "planapulse.com/v1alpha1", "kind": "Workspace"},
			says:   "cannot compose a Workspace of planapulse.com/v1alpha1: this function composes PLANAClient.planapulse.com.",
		},
		"AnotherGroup": {
			reason: "Another project's PLANAClient isn't ours.",
			xr:     object{"apiVersion": "example.org/v1", "kind": "PLANAClient"},
			says:   "cannot compose a PLANAClient of example.org/v1",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := finished(t)
			overlay(w.client, tc.xr)
			rsp := w.run()
			if fatal := resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL); len(fatal) != 1 || !strings.Contains(fatal[0], tc.says) {
				t.Errorf("%s\nRunFunction(...): want one fatal result that says %q, got %q", tc.reason, tc.says, fatal)
			}
			if keys := keysOf(rsp); len(keys) > 0 {
				t.Errorf("%s\nRunFunction(...): composed %v", tc.reason, keys)
			}
		})
	}
}

// TestVersionOfAnEarlierObject keeps to the version that the tenant's database is
// of, whatever the status says of an object that is gone.
func TestVersionOfAnEarlierObject(t *testing.T) {
	w := newWorld(t, client("acme", 23, "pro", "19"))
	w.others = []object{template("pro-template-19")}
	w.reconcile()
	w.settle("guard")
	w.reconcile()
	w.client.in("status")["odooVersion"] = "18"
	w.reconcile()
	if got := w.client.at("status", "odooVersion"); got != "19" {
		t.Errorf("a database is cloned from a template of 19, and the status remembers an object for 18: got version %v, want 19", got)
	}
}

// TestPlatformChanges under tenants of every age. The world says no to whatever
// would touch an immutable field.
func TestPlatformChanges(t *testing.T) {
	quantity := func(cpu, memory string) map[string]any {
		return map[string]any{"requests": map[string]any{"cpu": cpu, "memory": memory}, "limits": map[string]any{"cpu": cpu, "memory": memory}}
	}
	changed := map[string]any{
		"effects": map[string]any{
			"image": "example/effects:v2", "imagePullSecrets": []any{"another"}, "deadline": "1m", "installDeadline": "2h", "retries": int64(1),
			"resources": quantity("200m", "200Mi"), "installResources": quantity("2", "4Gi"),
		},
		"filestore": map[string]any{"userID": int64(1000), "groupID": int64(1000)},
		"versions": map[string]any{"18": map[string]any{
			"image": "example/odoo:18.1", "workerService": "workers", "httpPort": int64(80), "websocketPort": int64(81),
			"filestoreClaim": "files", "backupFilestoreClaim": "files-18",
		}},
		"tiers":    map[string]any{"pro": map[string]any{"template": "another", "retentionDays": int64(7), "modules": []any{"web"}}},
		"backup":   map[string]any{"deadline": "1h", "repository": "s3:https://example.org/b", "window": map[string]any{"start": "03:00", "length": "1h", "timeZone": "UTC"}, "resources": quantity("2", "2Gi")},
		"matrix":   map[string]any{"homeserver": "https://matrix.example.org", "invite": []any{"@a:example.org"}},
		"account":  map[string]any{"webhookURL": "https://portal.example.org/hooks"},
		"events":   map[string]any{"address": "redis:1", "tls": true, "stream": "another"},
		"postgres": map[string]any{"host": "pg02", "port": int64(5433), "sslMode": "disable"},
	}

	// One world for each stage of a tenant's making.
	for n := range len(cloned) + 2 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t, acme())
			w.others = []object{template("pro-template-18")}
			for i, s := range cloned {
				if i == n {
					break
				}
				if s.settles != "" {
					w.settle(s.settles)
				}
				w.reconcile()
			}
			if n > len(cloned) {
				w.reconcile()
			}
			before, wasReady, jobs := slices.Sorted(maps.Keys(w.composed)), w.ready(), map[string]object{}
			for key, o := range w.composed {
				if o["kind"] == "Job" {
					jobs[key] = clone(o)
				}
			}

			overlay(w.platform, changed)
			w.others = append(w.others, template("another-template-18"))
			for range 3 {
				w.reconcile()
			}
			for _, key := range before {
				if _, ok := w.composed[key]; !ok && w.client.at("status", "effects", key) == nil {
					t.Errorf("%s is dropped", key)
				}
			}
			for key, job := range jobs {
				if now, ok := w.composed[key]; ok {
					if diff := cmp.Diff(job, now); diff != "" {
						t.Errorf("Job %s: -before, +after:\n%s", key, diff)
					}
				}
			}

			// And it goes on to the end, or stays there.
			if wasReady && len(w.composed) != 4 {
				t.Errorf("a steady tenant has %v", slices.Sorted(maps.Keys(w.composed)))
			}
			w.finish()
		})
	}
}

// TestDomainChanges under tenants that have a database. It stays the one that it
// is: a database of the new name may well be somebody else's.
func TestDomainChanges(t *testing.T) {
	for name, w := range map[string]*world{"Halfway": preparing(t), "Steady": finished(t)} {
		t.Run(name, func(t *testing.T) {
			before := w.run()
			w.platform["domain"] = "example.org"
			if diff := diff(before.GetDesired(), w.run().GetDesired()); diff != "" {
				t.Errorf("the Platform has another domain: -before, +after:\n%s", diff)
			}

			// On the way out, too, it is this database and these files.
			w.client.in("metadata", "annotations")[deleted] = "Background"
			for range 40 {
				w.reconcile()
				if db := w.composed["database"]; db != nil && db.at("metadata", "annotations", "crossplane.io/external-name") != "acme.planapulse.app" {
					t.Fatalf("the Database object was led to %v", db.at("metadata", "annotations"))
				}
				if wipe := w.composed["filestore-wipe"]; wipe != nil {
					job := &batchv1.Job{}
					decode(t, &fnv1.Resource{Resource: w.structOf(wipe)}, job)
					if got := kubelet(job.Spec.Template.Spec.Containers[0])["TENANT_DATABASE"]; got != "acme.planapulse.app" {
						t.Fatalf("the files of %s are wiped", got)
					}
				}
				for key := range w.composed {
					w.settle(key)
				}
				w.clock.SetTime(w.clock.Now().Add(time.Minute))
			}
			if len(w.composed) > 0 {
				t.Errorf("the tenant isn't gone: %v", w.conditions()["Deprovisioned"])
			}
		})
	}
}

// TestDeterminism asks the same 1,000 times, with maps filled in another order
// every time, and compares bytes.
func TestDeterminism(t *testing.T) {
	first := newWorld(t, acme())
	first.others = []object{template("pro-template-18")}
	leaving := finished(t)
	leaving.client.in("metadata", "annotations")["usage.crossplane.io/deletion-attempt-with-policy"] = "Background"
	leaving.reconcile()
	refused := finished(t)
	refused.client.in("spec")["tier"] = "gold"
	refused.platform["gateway"] = map[string]any{"name": "-", "namespace": "_"}
	broken := preparing(t)
	for key := range broken.composed {
		broken.composed[key]["spec"] = "garbage"
	}

	for name, w := range map[string]*world{
		"First": first, "Halfway": preparing(t), "Steady": finished(t), "Leaving": leaving, "Refused": refused, "Broken": broken,
	} {
		t.Run(name, func(t *testing.T) {
			if name != "Broken" {
				w.run() // What it requires is known from now on.
			}
			times := 1000
			if testing.Short() {
				times = 50
			}
			random := rand.New(rand.NewPCG(1, 2))
			var want []byte
			for i := range times {
				req := w.request()
				shuffleRequest(random, req)
				rsp, err := w.function.RunFunction(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				got, err := proto.MarshalOptions{Deterministic: true}.Marshal(rsp)
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = got
				}
				if !bytes.Equal(want, got) {
					before := &fnv1.RunFunctionResponse{}
					if err := proto.Unmarshal(want, before); err != nil {
						t.Fatal(err)
					}
					t.Fatalf("response %d to the same request differs from the first: -first, +this:\n%s", i, diff(before, rsp))
				}
			}
		})
	}
}

// TestTimeIsNoInput asks the same at another time. All that a clock may change
// of what is applied is the record of a moment.
func TestTimeIsNoInput(t *testing.T) {
	for name, w := range map[string]*world{"Halfway": preparing(t), "Steady": finished(t)} {
		t.Run(name, func(t *testing.T) {
			before := w.run()
			w.clock.SetTime(w.clock.Now().AddDate(1, 2, 3))
			if diff := diff(before.GetDesired(), w.run().GetDesired()); diff != "" {
				t.Errorf("a year later: -before, +after:\n%s", diff)
			}
		})
	}
}

// shuffleRequest fills all maps of a request anew, in another order.
func shuffleRequest(random *rand.Rand, req *fnv1.RunFunctionRequest) {
	shuffle(random, req.GetInput())
	shuffle(random, req.GetObserved().GetComposite().GetResource())
	resources := map[string]*fnv1.Resource{}
	for _, key := range shuffledKeys(random, req.GetObserved().GetResources()) {
		r := req.GetObserved().GetResources()[key]
		shuffle(random, r.GetResource())
		resources[key] = r
	}
	req.Observed.Resources = resources
}

func shuffle(random *rand.Rand, s *structpb.Struct) {
	if s == nil {
		return
	}
	fields := map[string]*structpb.Value{}
	for _, name := range shuffledKeys(random, s.GetFields()) {
		v := s.GetFields()[name]
		shuffle(random, v.GetStructValue())
		for _, item := range v.GetListValue().GetValues() {
			shuffle(random, item.GetStructValue())
		}
		fields[name] = v
	}
	s.Fields = fields
}

func shuffledKeys[V any](random *rand.Rand, m map[string]V) []string {
	keys := slices.Sorted(maps.Keys(m))
	random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys
}
