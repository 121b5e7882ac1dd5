package deploy

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/randfill"

	providerv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"

	"github.com/plana-pulse/function-planaclient/fn/sqlv1alpha1"
)

// TestDatabaseAsProvider holds the function's own type of a Database to provider-sql's:
// whatever the one can say the other reads, and says again.
func TestDatabaseAsProvider(t *testing.T) {
	for seed := range int64(200) {
		fill := randfill.NewWithSeed(seed).NilChance(0.3).NumElements(1, 3).Funcs(
			func(v *metav1.Time, c randfill.Continue) { *v = metav1.Unix(c.Int63n(1e9), 0) },
			func(v *metav1.ObjectMeta, c randfill.Continue) { c.FillNoCustom(v); v.ManagedFields = nil },
		)
		theirs, ours := &providerv1alpha1.Database{}, &sqlv1alpha1.Database{}
		fill.Fill(theirs)
		fill.Fill(ours)
		if diff := cmp.Diff(through(t, theirs, &providerv1alpha1.Database{}), through(t, theirs, &sqlv1alpha1.Database{})); diff != "" {
			t.Fatalf("seed %d: what the provider says: -provider, +function:\n%s", seed, diff)
		}
		if diff := cmp.Diff(through(t, ours, &sqlv1alpha1.Database{}), through(t, ours, &providerv1alpha1.Database{})); diff != "" {
			t.Fatalf("seed %d: what the function says: -function, +provider:\n%s", seed, diff)
		}
	}

	// A pointer that is nil at random would pass for a field that isn't there.
	if theirs, ours := reflect.TypeFor[providerv1alpha1.DatabaseParameters](), reflect.TypeFor[sqlv1alpha1.DatabaseParameters](); theirs.NumField() != ours.NumField() {
		t.Errorf("the provider's parameters are %d, the function's %d", theirs.NumField(), ours.NumField())
	}
	if diff := cmp.Diff(providerv1alpha1.DatabaseGroupVersionKind, sqlv1alpha1.DatabaseGroupVersionKind); diff != "" {
		t.Errorf("kind: -provider, +function:\n%s", diff)
	}
	if diff := cmp.Diff(providerv1alpha1.ClusterProviderConfigKind, sqlv1alpha1.ClusterProviderConfigKind); diff != "" {
		t.Errorf("kind of its configuration: -provider, +function:\n%s", diff)
	}
}

// through another type what one says, as JSON.
func through(t *testing.T, from, to any) map[string]any {
	t.Helper()
	said, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(said, to); err != nil {
		t.Fatal(err)
	}
	if said, err = json.Marshal(to); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(said, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCreationAsProvider holds what the function reads of a creation to what Crossplane's
// runtime does, with which the provider is built.
func TestCreationAsProvider(t *testing.T) {
	for name, theirs := range map[string]string{
		sqlv1alpha1.AnnotationExternalName:    meta.AnnotationKeyExternalName,
		sqlv1alpha1.AnnotationCreatePending:   meta.AnnotationKeyExternalCreatePending,
		sqlv1alpha1.AnnotationCreateSucceeded: meta.AnnotationKeyExternalCreateSucceeded,
		sqlv1alpha1.AnnotationCreateFailed:    meta.AnnotationKeyExternalCreateFailed,
	} {
		if name != theirs {
			t.Errorf("annotation %s is %s", name, theirs)
		}
	}

	times := []string{"", "no time", "2026-11-21T12:00:00Z", "2026-11-21T12:00:01Z", "2026-11-21T13:00:00+01:00"}
	for _, pending := range times {
		for _, succeeded := range times {
			for _, failed := range times {
				db := &sqlv1alpha1.Database{}
				db.SetAnnotations(map[string]string{
					meta.AnnotationKeyExternalCreatePending:   pending,
					meta.AnnotationKeyExternalCreateSucceeded: succeeded,
					meta.AnnotationKeyExternalCreateFailed:    failed,
				})
				want := []any{meta.GetExternalCreatePending(db), meta.GetExternalCreateSucceeded(db), meta.GetExternalCreateFailed(db), meta.ExternalCreateIncomplete(db)}
				got := []any{db.CreatePending(), db.CreateSucceeded(), db.CreateFailed(), db.CreateIncomplete()}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("pending %q, succeeded %q, failed %q: -runtime, +function:\n%s", pending, succeeded, failed, diff)
				}
			}
		}
	}
}
