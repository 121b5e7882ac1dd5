package fn_test

import (
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/proto"
)

// BenchmarkRunFunction measures a call as the gRPC server sees it: bytes in,
// bytes out. Beside each stands a bare echo of the same messages, which is what
// even a function that did nothing would cost.
func BenchmarkRunFunction(b *testing.B) {
	first := newWorld(b, acme())
	first.others = []object{template("pro-template-18")}
	first.run()

	for _, bc := range []struct {
		name  string
		world *world
	}{
		{name: "First", world: first},
		{name: "Halfway", world: preparing(b)},
		{name: "Steady", world: finished(b)},
	} {
		req, err := proto.Marshal(bc.world.request())
		if err != nil {
			b.Fatal(err)
		}
		rsp := bc.world.run()

		b.Run(bc.name+"/Echo", func(b *testing.B) {
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
		b.Run(bc.name+"/Run", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in := &fnv1.RunFunctionRequest{}
				if err := proto.Unmarshal(req, in); err != nil {
					b.Fatal(err)
				}
				out, err := bc.world.function.RunFunction(b.Context(), in)
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
