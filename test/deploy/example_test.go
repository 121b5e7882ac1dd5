package deploy

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/fn"
)

const example = "../../example"

// load an example, which must be of the type that it says it is.
func load(t *testing.T, path string, typed bool) *structpb.Struct {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if typed {
		if _, _, err := decoder.Decode(b, nil, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	o := map[string]any{}
	if err := yaml.Unmarshal(b, &o); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return structOf(t, o)
}

// files of a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(dir + "/*.yaml")
	if err != nil || len(found) == 0 {
		t.Fatalf("there are no files in %s: %v", dir, err)
	}
	return found
}

// The examples show what example/README.md says that they show.
func TestExamples(t *testing.T) {
	cases := map[string]struct {
		reason   string
		xr       string
		observed string
		required string
		want     []string
		template string
		ready    bool
	}{
		"Nothing": {
			reason: "A tenant begins with its guard, and nothing else.",
			xr:     "planaclient.yaml", required: "with-template",
			want: []string{"guard"},
		},
		"BegunWithTemplate": {
			reason: "Where there is a template, the database is cloned from it.",
			xr:     "planaclient.yaml", observed: "begun", required: "with-template",
			want: []string{"database", "guard"}, template: "pro-template-18.planapulse.app",
		},
		"BegunWithoutTemplate": {
			reason: "Where there is none of this tier, the database is created empty.",
			xr:     "planaclient.yaml", observed: "begun", required: "without-template",
			want: []string{"database", "guard"},
		},
		"Halfway": {
			reason: "Nothing leads to a tenant that isn't prepared.",
			xr:     "planaclient.yaml", observed: "halfway", required: "with-template",
			want: []string{"database", "filestore-clone", "guard", "matrix-room-create", "tenant-prepare"}, template: "pro-template-18.planapulse.app",
		},
		"Taken": {
			reason: "Where somebody else's database is, it is only looked at, and nothing else begins.",
			xr:     "planaclient.yaml", observed: "taken", required: "with-template",
			want: []string{"database", "guard"}, template: "pro-template-18.planapulse.app",
		},
		"Finished": {
			reason: "A tenant that is Ready consists of four objects.",
			xr:     "planaclient-finished.yaml", observed: "finished", required: "with-template",
			want: []string{"backup", "database", "guard", "route"}, template: "pro-template-18.planapulse.app", ready: true,
		},
		"Starter": {
			reason: "The small customer's tenant is valid.",
			xr:     "planaclient-starter-17.yaml", required: "without-template",
			want: []string{"guard"},
		},
		"Enterprise": {
			reason: "The large customer's tenant is valid.",
			xr:     "planaclient-enterprise-19.yaml", required: "without-template",
			want: []string{"guard"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			req := &fnv1.RunFunctionRequest{
				Observed: &fnv1.State{
					Composite: &fnv1.Resource{Resource: load(t, filepath.Join(example, tc.xr), false)},
					Resources: map[string]*fnv1.Resource{},
				},
				Desired:           &fnv1.State{},
				RequiredResources: map[string]*fnv1.Resources{},
			}
			if tc.observed != "" {
				for _, path := range files(t, filepath.Join(example, "observed", tc.observed)) {
					o := load(t, path, true)
					key := o.GetFields()["metadata"].GetStructValue().GetFields()["annotations"].GetStructValue().GetFields()["crossplane.io/composition-resource-name"].GetStringValue()
					req.Observed.Resources[key] = &fnv1.Resource{Resource: o}
				}
			}

			// As Crossplane does: the function is asked again, with what it
			// requires.
			f := fn.New(logging.NewNopLogger(), clocktesting.NewFakePassiveClock(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)))
			var rsp *fnv1.RunFunctionResponse
			for range 5 {
				var err error
				if rsp, err = f.RunFunction(context.Background(), req); err != nil {
					t.Fatal(err)
				}
				for name, selector := range rsp.GetRequirements().GetResources() {
					req.RequiredResources[name] = matching(t, filepath.Join(example, "required", tc.required), selector)
				}
			}

			desired := rsp.GetDesired()
			if diff := cmp.Diff(tc.want, slices.Sorted(maps.Keys(desired.GetResources()))); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s\n%v", tc.reason, diff, rsp.GetResults())
			}
			db := desired.GetResources()["database"].GetResource().GetFields()["spec"].GetStructValue().GetFields()["forProvider"].GetStructValue()
			if diff := cmp.Diff(tc.template, db.GetFields()["template"].GetStringValue()); diff != "" {
				t.Errorf("\n%s\ntemplate: -want, +got:\n%s", tc.reason, diff)
			}
			if got := desired.GetComposite().GetReady() != fnv1.Ready_READY_FALSE; got != tc.ready {
				t.Errorf("\n%s\nready: want %t, got %t", tc.reason, tc.ready, got)
			}
		})
	}
}

// matching resources of a folder.
func matching(t *testing.T, dir string, selector *fnv1.ResourceSelector) *fnv1.Resources {
	t.Helper()
	found := &fnv1.Resources{}
	for _, path := range files(t, dir) {
		o := load(t, path, true)
		meta := o.GetFields()["metadata"].GetStructValue().GetFields()
		if o.GetFields()["kind"].GetStringValue() == selector.GetKind() &&
			meta["name"].GetStringValue() == selector.GetMatchName() &&
			meta["namespace"].GetStringValue() == selector.GetNamespace() {
			found.Items = append(found.Items, &fnv1.Resource{Resource: o})
		}
	}
	return found
}
