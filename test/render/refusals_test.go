package render

import (
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// TestRefusals shows the XRD's schema what the function refuses: the rules are
// the same, or one of the two lets something through.
func TestRefusals(t *testing.T) {
	b, err := os.ReadFile(root + "/fn/tenant/testdata/refusals.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name   string         `json:"name"`
		Client map[string]any `json:"client"`
		Was    map[string]any `json:"was"`
		Field  string         `json:"field"`
		Says   string         `json:"says"`
		Schema string         `json:"schema"`
	}
	if err := yaml.UnmarshalStrict(b, &cases); err != nil {
		t.Fatal(err)
	}
	b, err = os.ReadFile(root + "/example/planaclient.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var acme map[string]any
	if err := yaml.Unmarshal(b, &acme); err != nil {
		t.Fatal(err)
	}

	for _, tc := range cases {
		t.Run(tc.Name, func(t *testing.T) {
			var old map[string]any
			if tc.Was != nil {
				old = overlaid(acme, tc.Was)
			}
			want := tc.Schema
			if want == "" {
				want = tc.Says
			}
			got := strings.Join(admit(t.Context(), theXRD, overlaid(acme, tc.Client), old), "\n")
			if !strings.Contains(got, want) {
				t.Errorf("want a refusal with %q, got: %s", want, got)
			}
		})
	}
}

// overlaid returns an object with other fields on it. A nil one is taken away.
func overlaid(o, fields map[string]any) map[string]any {
	out := runtime.DeepCopyJSON(normal(o))
	for name, v := range normal(fields) {
		below, isMap := v.(map[string]any)
		under, _ := out[name].(map[string]any)
		switch {
		case v == nil:
			delete(out, name)
		case isMap:
			out[name] = overlaid(under, below)
		default:
			out[name] = v
		}
	}
	return out
}

// normal has numbers as the API server does: whole ones are int64.
func normal(o map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range o {
		switch v := v.(type) {
		case float64:
			out[name] = int64(v)
		case map[string]any:
			out[name] = normal(v)
		default:
			out[name] = v
		}
	}
	return out
}
