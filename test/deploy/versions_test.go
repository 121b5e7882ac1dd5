package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestVersions holds the versions that are stated to those that are tested.
func TestVersions(t *testing.T) {
	root := filepath.Join("..", "..")
	read := func(path string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	// pinned is the version of a module that a go.mod asks for.
	pinned := func(gomod, module string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^(?:require )?\t?` + regexp.QuoteMeta(module) + ` v(\S+)`).FindStringSubmatch(read(gomod))
		if m == nil {
			t.Fatalf("%s doesn't pin %s", gomod, module)
		}
		return m[1]
	}

	// The newest that can be had as Go modules is the oldest that has no known hole.
	core := pinned("tools/crossplane/go.mod", "github.com/crossplane/crossplane/v2")
	crossplane := [2]string{core, core}
	page := read("docs/reference/versions.md")
	for name, want := range map[string][2]string{
		"Crossplane":                  crossplane,
		"Kubernetes":                  {pinned("test/render/go.mod", "k8s.io/kubernetes"), pinned("tools/kubernetes/go.mod", "k8s.io/kubernetes")},
		"provider-sql":                {pinned("go.mod", "github.com/crossplane-contrib/provider-sql"), pinned("tools/provider-sql/go.mod", "github.com/crossplane-contrib/provider-sql")},
		"Gateway API":                 {pinned("go.mod", "sigs.k8s.io/gateway-api"), pinned("test/deploy/go.mod", "sigs.k8s.io/gateway-api")},
		"kube-state-metrics":          {pinned("test/monitoring/go.mod", "k8s.io/kube-state-metrics/v2"), pinned("tools/kube-state-metrics/go.mod", "k8s.io/kube-state-metrics/v2")},
		"Flux's source-controller":    {pinned("tools/source-controller/go.mod", "github.com/fluxcd/source-controller"), pinned("tools/source-controller/go.mod", "github.com/fluxcd/source-controller")},
		"Flux's kustomize-controller": {pinned("tools/kustomize-controller/go.mod", "github.com/fluxcd/kustomize-controller"), pinned("tools/kustomize-controller/go.mod", "github.com/fluxcd/kustomize-controller")},
		"Prometheus operator":         {pinned("test/monitoring/go.mod", "github.com/prometheus-operator/prometheus-operator"), pinned("test/monitoring/go.mod", "github.com/prometheus-operator/prometheus-operator")},
	} {
		if row := "| " + name + " | " + want[0] + " | " + want[1] + " |"; !strings.Contains(page, row) {
			t.Errorf("versions.md doesn't say what is tested: %s", row)
		}
	}

	for _, path := range []string{"crossplane.yaml", "package/crossplane.yaml"} {
		var meta struct {
			Spec struct {
				Crossplane struct {
					Version string `json:"version"`
				} `json:"crossplane"`
				DependsOn []struct {
					Package string `json:"package"`
					Version string `json:"version"`
				} `json:"dependsOn"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal([]byte(read(path)), &meta); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got, want := meta.Spec.Crossplane.Version, ">=v"+crossplane[0]; got != want {
			t.Errorf("%s asks for Crossplane %s, and %s is tested", path, got, want)
		}
		for _, d := range meta.Spec.DependsOn {
			if want := ">=v" + pinned("go.mod", "github.com/crossplane-contrib/provider-sql"); strings.HasSuffix(d.Package, "provider-sql") && d.Version != want {
				t.Errorf("%s asks for provider-sql %s, and %s is tested", path, d.Version, want)
			}
		}
	}
}
