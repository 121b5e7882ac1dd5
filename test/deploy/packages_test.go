package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestConfigurationDoesNotBringTheFunction keeps Crossplane from installing the
// function a second time while a new version of it takes over, after which no
// tenant is reconciled any more. test/e2e shows the upgrade itself.
func TestConfigurationDoesNotBringTheFunction(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "crossplane.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var meta struct {
		Spec struct {
			DependsOn []struct {
				Kind    string `json:"kind"`
				Package string `json:"package"`
			} `json:"dependsOn"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(b, &meta); err != nil {
		t.Fatal(err)
	}
	if len(meta.Spec.DependsOn) == 0 {
		t.Error("the Configuration depends on nothing: who installs provider-sql?")
	}
	for _, d := range meta.Spec.DependsOn {
		if d.Kind == "Function" {
			t.Errorf("the Configuration depends on %s", d.Package)
		}
	}
}

// TestDefaultComposition keeps tenants that name no Composition from having one
// at random, once an installation has added its own.
func TestDefaultComposition(t *testing.T) {
	var xrd struct {
		Spec struct {
			DefaultCompositionRef struct {
				Name string `json:"name"`
			} `json:"defaultCompositionRef"`
		} `json:"spec"`
	}
	var composition struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	for file, into := range map[string]any{"definition.yaml": &xrd, "composition.yaml": &composition} {
		b, err := os.ReadFile(filepath.Join("..", "..", "apis", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := xrd.Spec.DefaultCompositionRef.Name, composition.Metadata.Name; got != want || got == "" {
		t.Errorf("the XRD's default Composition: want the packaged %q, got %q", want, got)
	}
}
