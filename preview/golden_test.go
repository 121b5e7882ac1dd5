package preview

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// goldens are what Crossplane's own engine makes of the function's answers.
const goldens = "../test/render/testdata"

// TestGoldens holds the preview to Crossplane's own engine: in each of the situations
// that were rendered by it, the first call desires the same objects, and the same status.
func TestGoldens(t *testing.T) {
	cases, err := filepath.Glob(goldens + "/*/xr.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("there are no goldens: %v", err)
	}
	for _, xr := range cases {
		dir := filepath.Dir(xr)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			in := &Input{From: []map[string]any{}}
			for _, name := range []string{"xr.yaml", "platform.yaml"} {
				content, err := os.ReadFile(filepath.Join(dir, name))
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := in.Read(name, content); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"observed", "required"} {
				if err := in.ReadFrom(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			content, err := os.ReadFile(filepath.Join(dir, "want.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var refused struct{ Refused string }
			_ = yaml.Unmarshal(content, &refused) // Several objects aren't one.

			call, err := firstCall(in)
			switch {
			case refused.Refused != "":
				if err != nil || call.Refused != refused.Refused {
					t.Errorf("want it refused with %q, got %v and %v", refused.Refused, call, err)
				}
				return
			case err != nil:
				t.Fatal(err)
			}

			want, got := map[string]any{}, map[string]any{}
			err = documents("want.yaml", content, func(o map[string]any) error {
				switch {
				case strings.HasPrefix(text(o, "apiVersion"), "render.crossplane.io"):
				case text(o, "kind") == "PLANAClient":
					want["status"] = withoutConditions(o)
				default:
					want[text(o, "kind")+" "+text(o, "metadata", "namespace")+"/"+text(o, "metadata", "name")] = asComposed(o)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			got["status"] = withoutConditions(call.Composite.AsMap())
			for _, o := range call.Desired {
				m := o.AsMap()
				got[text(m, "kind")+" "+text(m, "metadata", "namespace")+"/"+text(m, "metadata", "name")] = asComposed(m)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-engine, +preview:\n%s", diff)
			}
		})
	}
}

// firstCall of the function in a situation.
func firstCall(in *Input) (*Call, error) {
	s, err := newStage(in, WhatIf{})
	if err != nil {
		return nil, err
	}
	s.cluster.Reconcile(s.names[0])
	return s.recorder.last[s.names[0]], nil
}

// withoutConditions is a status but for its conditions, which the engine merges.
func withoutConditions(xr map[string]any) any {
	status, _ := dig(xr, "status").(map[string]any)
	delete(status, "conditions")
	return status
}

// asComposed is an object without what Crossplane adds to it.
func asComposed(o map[string]any) map[string]any {
	metadata, _ := o["metadata"].(map[string]any)
	delete(metadata, "ownerReferences")
	delete(metadata, "generateName")
	for _, at := range []string{"labels", "annotations"} {
		m, _ := metadata[at].(map[string]any)
		for name := range m {
			if strings.HasPrefix(name, "crossplane.io/composition") || name == "crossplane.io/composite" || name == "crossplane.io/composition-resource-name" {
				delete(m, name)
			}
		}
		if len(m) == 0 {
			delete(metadata, at)
		}
	}
	return o
}
