package render

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A neighbour is another function of the same pipeline.
type neighbour struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	add func(*fnv1.RunFunctionResponse)
}

func (n *neighbour) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp := response.To(req, response.DefaultTTL)
	n.add(rsp)
	return rsp, nil
}

// serve a neighbour until the test ends, and return its address.
func (n *neighbour) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	fnv1.RegisterFunctionRunnerServiceServer(server, n)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

// TestPipeline puts the function between two others. What those before it desire stays,
// of the composite resource's status and of other resources, and those after it see what
// it desires.
func TestPipeline(t *testing.T) {
	first := &neighbour{add: func(rsp *fnv1.RunFunctionResponse) {
		s, err := structpb.NewStruct(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "invoice", "namespace": "billing"}})
		if err != nil {
			t.Error(err)
		}
		rsp.Desired = &fnv1.State{Resources: map[string]*fnv1.Resource{"invoice": {Resource: s, Ready: fnv1.Ready_READY_TRUE}}}
		status, err := structpb.NewStruct(map[string]any{"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "status": map[string]any{"url": "https://to-be-overwritten.example", "databaseName": "to-be-overwritten", "invoice": "2026-1"}})
		if err != nil {
			t.Error(err)
		}
		rsp.Desired.Composite = &fnv1.Resource{Resource: status}
	}}
	var seen []string
	last := &neighbour{add: func(rsp *fnv1.RunFunctionResponse) {
		seen = nil
		for key := range rsp.GetDesired().GetResources() {
			seen = append(seen, key)
		}
		rsp.GetDesired().GetComposite().GetResource().GetFields()["status"].GetStructValue().GetFields()["seen"] = structpb.NewNumberValue(float64(len(seen)))
	}}

	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	all, steps := "", ""
	for _, f := range []struct{ name, address string }{{"function-first", first.serve(t)}, {"function-planaclient", theEngine.function}, {"function-last", last.serve(t)}} {
		all += fmt.Sprintf(`---
apiVersion: pkg.crossplane.io/v1
kind: Function
metadata:
  name: %s
  annotations:
    render.crossplane.io/runtime: Development
    render.crossplane.io/runtime-development-target: %s
spec: {package: "example.com/x/%s:v0.1.0"}
`, f.name, f.address, f.name)
		steps += fmt.Sprintf("  - {step: %s, functionRef: {name: %s}}\n", f.name, f.name)
	}
	s := scene{
		xr: root + "/example/planaclient.yaml", observed: root + "/example/observed/halfway", required: root + "/example/required/with-template",
		functions: write("functions.yaml", all),
		composition: write("composition.yaml", `apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: planaclients}
spec:
  compositeTypeRef: {apiVersion: planapulse.com/v1alpha1, kind: PLANAClient}
  mode: Pipeline
  pipeline:
`+steps),
	}
	alone := s
	alone.functions, alone.composition = "", composition

	rendered := func(s scene) map[string]map[string]any {
		t.Helper()
		out, err := theEngine.render(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := parse(out)
		if err != nil {
			t.Fatal(err)
		}
		byName := map[string]map[string]any{}
		for _, o := range objects {
			byName[o.GetKind()+" "+o.GetName()] = o.Object
		}
		return byName
	}
	got, want := rendered(s), rendered(alone)

	if got["ConfigMap invoice"] == nil {
		t.Error("the ConfigMap of the function before is lost")
	}
	for name := range want {
		if got[name] == nil {
			t.Errorf("%s is lost in the pipeline", name)
		}
	}
	status := func(objects map[string]map[string]any, field string) any {
		v, _, _ := unstructured.NestedFieldNoCopy(objects["PLANAClient acme"], "status", field)
		return v
	}
	if v := status(got, "invoice"); v != "2026-1" {
		t.Errorf("want the status of the function before, got invoice: %v", v)
	}
	if v, w := status(got, "databaseName"), status(want, "databaseName"); v != w {
		t.Errorf("want this function's own fields to be its own: %v, got databaseName: %v", w, v)
	}
	// Objects but the composite resource, and results.
	if n := len(seen); n < 3 {
		t.Errorf("want the function after to see what was desired, got %v", seen)
	}
}
