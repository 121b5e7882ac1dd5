package render

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// TestGolden renders every folder in testdata and compares the output with its
// want.yaml.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/xr.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("there are no cases: %v", err)
	}
	for _, xr := range cases {
		dir := filepath.Dir(xr)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			s, err := load(t, dir)
			if err != nil {
				t.Fatal(err)
			}

			got, err := theEngine.render(t.Context(), s)
			var r refusal
			switch {
			case errors.As(err, &r):
				got = marshal(t, map[string]any{"refused": string(r)})
			case err != nil:
				t.Fatal(err)
			default:
				check(t, s, got)
			}

			wanted := filepath.Join(dir, "want.yaml")
			if *update {
				if err := os.WriteFile(wanted, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(wanted)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s: -want, +got; make golden accepts it:\n%s", dir, diff)
			}
		})
	}
}

// check what was rendered against schemas and rules.
func check(t *testing.T, s scene, rendered []byte) {
	t.Helper()
	objects, err := parse(rendered)
	if err != nil {
		t.Fatalf("the output is no YAML: %v", err)
	}
	// A render shows of the XR only what the function may say of it: its status.
	b, err := os.ReadFile(s.xr)
	if err != nil {
		t.Fatal(err)
	}
	xr, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	objects[0].Object["spec"] = xr[0].Object["spec"]
	if problems := admit(t.Context(), theXRD, runtime.DeepCopyJSON(xr[0].Object), nil); len(problems) > 0 {
		// The API server would never have let this one in. Cases have it because
		// a Composition can be used with an older XRD.
		objects = objects[1:]
	}

	var observed []*unstructured.Unstructured
	if s.observed != "" {
		if observed, err = loadFolder(s.observed); err != nil {
			t.Fatal(err)
		}
	}
	for _, problem := range theValidators.validate(t.Context(), objects, observed) {
		t.Error(problem)
	}
}

// load the scene in a case's folder.
func load(t *testing.T, dir string) (scene, error) {
	t.Helper()
	s := scene{xr: filepath.Join(dir, "xr.yaml"), composition: composition}
	if exists(filepath.Join(dir, "observed")) {
		s.observed = filepath.Join(dir, "observed")
	}
	if exists(filepath.Join(dir, "required")) {
		s.required = filepath.Join(dir, "required")
	}

	platform, err := os.ReadFile(filepath.Join(dir, "platform.yaml"))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.composition, err = compose(t.TempDir(), platform)
	return s, err
}

// compose writes the Composition with another Platform.
func compose(dir string, platform []byte) (string, error) {
	b, err := os.ReadFile(composition)
	if err != nil {
		return "", err
	}
	c := struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
		Spec       struct {
			CompositeTypeRef map[string]any   `json:"compositeTypeRef"`
			Mode             string           `json:"mode"`
			Pipeline         []map[string]any `json:"pipeline"`
		} `json:"spec"`
	}{}
	if err := yaml.UnmarshalStrict(b, &c); err != nil {
		return "", err
	}
	input := map[string]any{}
	if err := yaml.Unmarshal(platform, &input); err != nil {
		return "", err
	}
	c.Spec.Pipeline[0]["input"] = input
	if b, err = yaml.Marshal(c); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "composition.yaml")
	return path, os.WriteFile(path, b, 0o600)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
