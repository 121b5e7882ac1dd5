package render

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// after says which composed resources must be there and done before another may
// be composed. It is the provisioning table of the design, written down a second
// time on purpose. A resource that a tenant doesn't need holds nothing up.
var after = map[string][]string{
	"guard":              {},
	"database":           {"guard"},
	"filestore-clone":    {"database"},
	"module-install":     {"database"},
	"tenant-prepare":     {"database", "filestore-clone", "module-install"},
	"route":              {"tenant-prepare", "published"},
	"backup":             {"tenant-prepare", "published"},
	"smoke-test":         {"route"},
	"matrix-room-create": {"database"},
	"account-webhook":    {"smoke-test"},
	"client-provisioned": {"route", "backup", "smoke-test", "account-webhook"},
}

// steady is what a tenant owns once it is Ready and all is written down.
var steady = []string{"backup", "database", "guard", "route"}

// TestLifecycle takes tenants from nothing to Ready: it renders, plays the
// controllers' part for one composed resource, and renders again.
func TestLifecycle(t *testing.T) {
	type tenant struct {
		tier, version string
		template      bool
	}
	cases := map[string]tenant{
		"enterprise-19":           {"enterprise", "19", true},
		"pro-18-without-template": {"pro", "18", false},
	}
	if *update {
		// The others differ in names only, so that their goldens are enough to
		// compare with. Those are recorded here.
		for _, tier := range []string{"starter", "pro", "enterprise"} {
			for _, version := range []string{"17", "18", "19"} {
				cases[tier+"-"+version] = tenant{tier, version, true}
			}
		}
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, tc.tier, tc.version, tc.template)
			if *update {
				p.record(name + "-first")
			}

			halfway := false
			for p.round(); len(p.settled) < len(p.observed) || !p.stable; p.round() {
				if p.rounds > 40 {
					t.Fatalf("still not settled after %d rounds", p.rounds)
				}
				p.settleNext()
				if _, ok := p.observed["tenant-prepare"]; ok && !halfway && *update {
					p.record(name + "-halfway")
					halfway = true
				}
			}

			if !p.ready() {
				t.Errorf("nothing is left to do, yet the tenant isn't Ready: %v", p.xr.Object["status"])
			}
			if diff := cmp.Diff(steady, keys(p.observed)); diff != "" {
				t.Errorf("a steady tenant: -want resources, +got resources:\n%s", diff)
			}
			if *update {
				p.record(name + "-finished")
			}
		})
	}
}

// A play of one tenant's life, in which the test is every controller.
type play struct {
	t *testing.T

	dir      string // Holds the scene.
	xr       *unstructured.Unstructured
	observed map[string]*unstructured.Unstructured

	// settled resources are those that their controller is done with.
	settled map[string]bool

	// stable is whether the last round changed nothing.
	stable bool
	rounds int
}

func newPlay(t *testing.T, tier, version string, template bool) *play {
	t.Helper()
	p := &play{
		t: t, dir: t.TempDir(),
		observed: map[string]*unstructured.Unstructured{},
		settled:  map[string]bool{},
		xr: object(map[string]any{
			"apiVersion": "planapulse.com/v1alpha1",
			"kind":       "PLANAClient",
			"metadata": map[string]any{
				"name":       "acme",
				"uid":        "5a1f7c9e-0d7f-4a43-9a60-2f0f6f3f7a10",
				"generation": int64(1),
			},
			"spec": map[string]any{
				"subdomain": "acme", "projectId": int64(23),
				"tier": tier, "odooVersion": version,
				"ownerEmail": "ceo@acme.bg", "ownerName": "Acme Corp",
			},
		}),
	}
	// The API server fills in the defaults of the XRD.
	if problems := admit(t.Context(), theXRD, p.xr.Object, nil); len(problems) > 0 {
		t.Fatal(problems)
	}
	if template {
		edition := map[string]string{"starter": "basic"}[tier]
		if edition == "" {
			edition = "pro"
		}
		name := edition + "-template-" + version
		write(t, filepath.Join(p.dir, "required", "template.yaml"), map[string]any{
			"apiVersion": "postgresql.sql.m.crossplane.io/v1alpha1",
			"kind":       "Database",
			"metadata": map[string]any{
				"name": name, "namespace": "crossplane-system",
				"annotations": map[string]any{"crossplane.io/external-name": name + ".planapulse.app"},
			},
			"spec": map[string]any{
				"managementPolicies": []any{"Observe"},
				"forProvider":        map[string]any{},
				"providerConfigRef":  map[string]any{"kind": "ClusterProviderConfig", "name": "pg01"},
			},
			"status": map[string]any{"conditions": available(1)},
		})
	}
	p.save()
	return p
}

// save the scene to disk.
func (p *play) save() {
	p.t.Helper()
	write(p.t, filepath.Join(p.dir, "xr.yaml"), p.xr.Object)
	if err := os.RemoveAll(filepath.Join(p.dir, "observed")); err != nil {
		p.t.Fatal(err)
	}
	for key, o := range p.observed {
		write(p.t, filepath.Join(p.dir, "observed", key+".yaml"), o.Object)
	}
}

// record the scene as a golden case.
func (p *play) record(name string) {
	p.t.Helper()
	dir := filepath.Join("testdata", name)
	for _, part := range []string{"xr.yaml", "observed", "required"} {
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := os.CopyFS(dir, os.DirFS(p.dir)); err != nil {
		p.t.Fatal(err)
	}
}

// round renders once, checks what comes out, and does to the scene what the API
// server and the garbage collector would.
func (p *play) round() {
	p.t.Helper()
	p.rounds++
	s, err := load(p.t, p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := theEngine.render(p.t.Context(), s)
	if err != nil {
		p.t.Fatalf("round %d: %v", p.rounds, err)
	}
	check(p.t, s, out)
	rendered, err := parse(out)
	if err != nil {
		p.t.Fatal(err)
	}

	p.stable = reflect.DeepEqual(p.xr.Object["status"], rendered[0].Object["status"])
	p.xr.Object["status"] = rendered[0].Object["status"]

	composed := map[string]*unstructured.Unstructured{}
	for _, o := range rendered[1:] {
		if key := o.GetAnnotations()["crossplane.io/composition-resource-name"]; key != "" {
			composed[key] = o
		}
	}

	for key := range p.observed {
		if composed[key] == nil {
			delete(p.observed, key)
			delete(p.settled, key)
			p.stable = false
		}
	}
	for key := range composed {
		if p.observed[key] == nil {
			p.mayBegin(key)
		}
	}
	for key, o := range composed {
		old := p.observed[key]
		if old == nil {
			p.observed[key] = p.created(key, o)
			p.stable = false
			continue
		}
		p.observed[key] = applied(old, o)
		if !reflect.DeepEqual(old.Object["spec"], p.observed[key].Object["spec"]) {
			p.observed[key].SetGeneration(old.GetGeneration() + 1)
			delete(p.settled, key)
			p.stable = false
		}
	}
	p.save()
}

// mayBegin checks that everything that a resource must wait for is done.
func (p *play) mayBegin(key string) {
	p.t.Helper()
	if _, ok := after[key]; !ok {
		p.t.Errorf("round %d: %s is composed, which is in no plan", p.rounds, key)
	}
	for _, earlier := range after[key] {
		done := p.settled[earlier]
		switch {
		case earlier == "published":
			owner, _, _ := unstructured.NestedString(p.observed["database"].Object, "spec", "forProvider", "owner")
			done = owner == "odoo" && p.settled["database"]
		case p.observed[earlier] == nil && (earlier == "filestore-clone" || earlier == "module-install"):
			// A tenant needs one of the two.
			done = p.settled["filestore-clone"] || p.settled["module-install"]
		}
		if !done {
			p.t.Errorf("round %d: %s is composed before %s is done", p.rounds, key, earlier)
		}
	}
}

// created returns the object as the API server stores it.
func (p *play) created(key string, o *unstructured.Unstructured) *unstructured.Unstructured {
	p.t.Helper()
	o = o.DeepCopy()
	o.SetUID(uid(key))
	o.SetCreationTimestamp(moment(p.rounds))
	stored, err := theValidators.stored(p.t.Context(), o)
	if err != nil {
		p.t.Fatalf("round %d: %s: %v", p.rounds, key, err)
	}
	return stored
}

// settleNext lets one controller do its work.
func (p *play) settleNext() {
	p.t.Helper()
	for _, key := range keys(p.observed) {
		if p.settled[key] {
			continue
		}
		p.settled[key] = true
		settle(p.t, p.observed[key], p.rounds)
		p.save()
		return
	}
}

// ready tells whether Crossplane calls the tenant ready.
func (p *play) ready() bool {
	return condition(p.xr, "Ready") == "True"
}

// settle does what the controllers of an object do until it is ready.
func settle(t *testing.T, o *unstructured.Unstructured, round int) {
	t.Helper()
	generation := o.GetGeneration()
	switch o.GetKind() {
	case "ClusterUsage":
		o.Object["status"] = map[string]any{"conditions": available(generation)[:1]}
	case "Database":
		annotations := o.GetAnnotations()
		annotations["crossplane.io/external-create-pending"] = stamp(round)
		annotations["crossplane.io/external-create-succeeded"] = stamp(round)
		o.SetAnnotations(annotations)
		o.Object["status"] = map[string]any{"conditions": available(generation)}
	case "HTTPRoute":
		refs, _, err := unstructured.NestedSlice(o.Object, "spec", "parentRefs")
		if err != nil || len(refs) != 1 {
			t.Fatalf("HTTPRoute %s has not one parent: %v", o.GetName(), refs)
		}
		o.Object["status"] = map[string]any{"parents": []any{map[string]any{
			"parentRef":      refs[0],
			"controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
			"conditions": []any{
				status("Accepted", "Accepted", generation),
				status("ResolvedRefs", "ResolvedRefs", generation),
			},
		}}}
	case "CronJob":
		o.Object["status"] = map[string]any{}
	case "Job":
		began, ended := stamp(round), stamp(round+1)
		condition := func(typ string) map[string]any {
			return map[string]any{
				"type": typ, "status": "True", "reason": batchv1.JobReasonCompletionsReached,
				"message":       "Reached expected number of succeeded pods",
				"lastProbeTime": ended, "lastTransitionTime": ended,
			}
		}
		o.Object["status"] = map[string]any{
			"startTime": began, "completionTime": ended, "succeeded": int64(1), "ready": int64(0), "terminating": int64(0),
			"uncountedTerminatedPods": map[string]any{},
			"conditions":              []any{condition("SuccessCriteriaMet"), condition("Complete")},
		}
	default:
		t.Fatalf("nobody knows how a %s becomes ready", o.GetKind())
	}
}

// available are the conditions of a Crossplane resource that is ready and synced.
func available(generation int64) []any {
	return []any{
		status("Ready", "Available", generation),
		status("Synced", "ReconcileSuccess", generation),
	}
}

func status(typ, reason string, generation int64) map[string]any {
	return map[string]any{
		"type": typ, "status": "True", "reason": reason, "message": "",
		"observedGeneration": generation,
		"lastTransitionTime": stamp(0),
	}
}

func condition(o *unstructured.Unstructured, typ string) string {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == typ {
			return fmt.Sprint(c["status"])
		}
	}
	return ""
}

// moment in a play: each round takes a minute.
func moment(round int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 1, 1, 0, round, 0, 0, time.UTC))
}

func stamp(round int) string { return moment(round).Format(time.RFC3339) }

// uid that is the same in every play.
func uid(key string) types.UID {
	return types.UID(fmt.Sprintf("%x-0000-4000-8000-000000000000", crc32.ChecksumIEEE([]byte(key))|1<<31))
}

func keys(m map[string]*unstructured.Unstructured) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

func object(fields map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: fields}
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
}
