package tenant_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"k8s.io/utils/clock"

	"github.com/plana-pulse/function-planaclient/fn"
)

// sent is a request as Crossplane sent it on a real control plane, managed fields
// and all.
func sent(tb testing.TB, name string) *fnv1.RunFunctionRequest {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "requests", name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	req := &fnv1.RunFunctionRequest{}
	if err := protojson.Unmarshal(b, req); err != nil {
		tb.Fatal(err)
	}
	return req
}

// TestSentRequests checks what is said to real requests.
func TestSentRequests(t *testing.T) {
	cases := map[string]struct {
		reason   string
		composed []string
	}{
		"first": {
			reason:   "A tenant that was just applied has its guard.",
			composed: []string{"guard"},
		},
		"halfway": {
			reason: "One that is being provisioned keeps its Jobs, and is about to have the next.",
			composed: []string{
				"backup", "database", "filestore-clone", "guard", "matrix-room-create", "route", "smoke-test", "tenant-prepare",
			},
		},
		"steady": {
			reason:   "One at rest is four objects.",
			composed: []string{"backup", "database", "guard", "route"},
		},
		"teardown": {
			reason:   "One that is being taken away has its last backup made.",
			composed: []string{"database", "final-backup", "guard"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp, err := fn.New(logging.NewNopLogger(), clock.RealClock{}).RunFunction(t.Context(), sent(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.composed, keysOf(rsp)); diff != "" {
				t.Errorf("%s\nRunFunction(...): composed: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// BenchmarkRunFunction measures a call as the gRPC server sees it: bytes in,
// bytes out. Beside each stands a bare echo of the same messages, which is what
// even a function that did nothing would cost. make bench measures the same over
// gRPC.
func BenchmarkRunFunction(b *testing.B) {
	for _, name := range []string{"first", "halfway", "steady", "teardown"} {
		f := fn.New(logging.NewNopLogger(), clock.RealClock{})
		message := sent(b, name)
		req, err := proto.Marshal(message)
		if err != nil {
			b.Fatal(err)
		}
		rsp, err := f.RunFunction(b.Context(), message)
		if err != nil {
			b.Fatal(err)
		}

		b.Run(name+"/Echo", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in := &fnv1.RunFunctionRequest{}
				if err := proto.Unmarshal(req, in); err != nil {
					b.Fatal(err)
				}
				_ = response.To(in, time.Minute)
				if _, err := proto.Marshal(rsp); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/Run", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in := &fnv1.RunFunctionRequest{}
				if err := proto.Unmarshal(req, in); err != nil {
					b.Fatal(err)
				}
				out, err := f.RunFunction(b.Context(), in)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := proto.Marshal(out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
