package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"k8s.io/utils/clock"

	"github.com/plana-pulse/function-planaclient/fn"
)

// A request of one stage of a tenant's life, as Crossplane sent it.
type request struct {
	name    string
	message *fnv1.RunFunctionRequest
}

// A callResult is what calls of one stage cost.
type callResult struct {
	Name          string
	RequestBytes  int
	ResponseBytes int
	Echo          cost
	Function      cost
}

// Ratio of the processor time that a call of the function takes to that of an
// echo: the number to look at, since both have the same messages to read and to
// write.
func (c callResult) Ratio() float64 { return c.Function.CPU.Seconds() / c.Echo.CPU.Seconds() }

// A cost of calls over gRPC with mTLS, and of the same work in one process.
type cost struct {
	// CPU time of the serving process, for each call.
	CPU time.Duration
	// P50 and P99 of the time from sending a request to having its response, one
	// call at a time.
	P50, P99 time.Duration
	// Latencies, a sample for the plot.
	Latencies []time.Duration
	// Allocations and Bytes of decoding, answering and encoding.
	Allocations int64
	Bytes       int64
}

// PerCore is how many calls one core answers in a second.
func (c cost) PerCore() float64 { return 1 / c.CPU.Seconds() }

// readRequests from a folder, in the order of a tenant's life.
func readRequests(dir string) ([]request, error) {
	order := []string{"first", "halfway", "steady", "teardown"}
	var all []request
	for _, name := range order {
		b, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err != nil {
			return nil, err
		}
		m := &fnv1.RunFunctionRequest{}
		if err := protojson.Unmarshal(b, m); err != nil {
			return nil, fmt.Errorf("cannot read request %s: %w", name, err)
		}
		m.Meta = &fnv1.RequestMeta{Tag: name}
		all = append(all, request{name: name, message: m})
	}
	return all, nil
}

// measureCalls of the function and of an echo in turns, so that what else the
// machine does is no advantage to either.
func measureCalls(ctx context.Context, certs *certificates, function string, requests []request, calls, rounds int) ([]callResult, error) {
	dir, err := os.MkdirTemp("", "planaclient-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // A temporary folder.

	f, err := startServer(ctx, certs, exec.CommandContext(ctx, function, "--address=127.0.0.1:0", "--metrics-address=", "--tls-certs-dir="+certs.server))
	if err != nil {
		return nil, err
	}
	defer f.stop()

	// What the function says is what the echo will say.
	results := make([]callResult, len(requests))
	for i, r := range requests {
		rsp, err := f.client.RunFunction(ctx, r.message)
		if err != nil {
			return nil, err
		}
		b, err := proto.Marshal(rsp)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, r.name), b, 0o600); err != nil {
			return nil, err
		}
		results[i] = callResult{Name: r.name, RequestBytes: proto.Size(r.message), ResponseBytes: len(b)}
		inProcess(ctx, &results[i], r.message, rsp)
	}

	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e, err := startServer(ctx, certs, exec.CommandContext(ctx, self, "-echo="+dir, "-certs="+certs.server))
	if err != nil {
		return nil, err
	}
	defer e.stop()

	echo, took := make([][]time.Duration, len(requests)), make([][]time.Duration, len(requests))
	for round := range rounds + 1 {
		for i, r := range requests {
			for _, x := range []struct {
				server *server
				sum    *time.Duration
				each   *[]time.Duration
			}{{e, &results[i].Echo.CPU, &echo[i]}, {f, &results[i].Function.CPU, &took[i]}} {
				cpu, each, err := x.server.call(ctx, r.message, calls)
				if err != nil {
					return nil, fmt.Errorf("request %s: %w", r.name, err)
				}
				// The first round warms up.
				if round > 0 {
					*x.sum += cpu
					*x.each = append(*x.each, each...)
				}
			}
		}
		log.Printf("round %d of %d", round, rounds)
	}
	for i := range results {
		n := time.Duration(rounds * calls)
		results[i].Echo.CPU /= n
		results[i].Function.CPU /= n
		results[i].Echo = results[i].Echo.summarise(echo[i])
		results[i].Function = results[i].Function.summarise(took[i])
	}
	return results, nil
}

// summarise latencies.
func (c cost) summarise(latencies []time.Duration) cost {
	slices.Sort(latencies)
	c.P50 = latencies[len(latencies)/2]
	c.P99 = latencies[len(latencies)*99/100]
	// Enough for a curve.
	const points = 200
	for i := range points {
		c.Latencies = append(c.Latencies, latencies[i*(len(latencies)-1)/(points-1)])
	}
	return c
}

// inProcess counts what decoding, answering and encoding allocate.
func inProcess(ctx context.Context, r *callResult, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) {
	wire, _ := proto.Marshal(req)
	f := fn.New(logging.NewNopLogger(), clock.RealClock{})
	count := func(answer func(*fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse) (allocations, bytes int64) {
		b := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in := &fnv1.RunFunctionRequest{}
				if err := proto.Unmarshal(wire, in); err != nil {
					b.Fatal(err)
				}
				if _, err := proto.Marshal(answer(in)); err != nil {
					b.Fatal(err)
				}
			}
		})
		return b.AllocsPerOp(), b.AllocedBytesPerOp()
	}
	r.Echo.Allocations, r.Echo.Bytes = count(func(in *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
		_ = response.To(in, time.Minute)
		return rsp
	})
	r.Function.Allocations, r.Function.Bytes = count(func(in *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
		out, _ := f.RunFunction(ctx, in)
		return out
	})
}

// A server that answers calls, in a process of its own.
type server struct {
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	client fnv1.FunctionRunnerServiceClient
}

// call the server, one call after the other.
func (s *server) call(ctx context.Context, req *fnv1.RunFunctionRequest, n int) (cpu time.Duration, each []time.Duration, err error) {
	before, err := processorTime(s.cmd.Process.Pid)
	if err != nil {
		return 0, nil, err
	}
	each = make([]time.Duration, n)
	for i := range each {
		began := time.Now()
		if _, err := s.client.RunFunction(ctx, req); err != nil {
			return 0, nil, err
		}
		each[i] = time.Since(began)
	}
	after, err := processorTime(s.cmd.Process.Pid)
	return after - before, each, err
}

func (s *server) stop() {
	_ = s.conn.Close()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// processorTime that all threads of a process have taken, to the nanosecond:
// what /proc/PID/stat counts is too coarse.
func processorTime(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		return 0, errNoProc
	}
	var sum time.Duration
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			// A thread may have ended. Go's seldom do.
			continue
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read %s: %w", task, err)
		}
		sum += time.Duration(n)
	}
	return sum, nil
}

// printCalls in short, for whoever waits.
func printCalls(r result) {
	fmt.Printf("%-10s %12s %12s %8s %10s %10s %12s\n", "call", "echo CPU", "our CPU", "ratio", "p50", "p99", "calls/s/core")
	for _, c := range r.Calls {
		fmt.Printf("%-10s %12s %12s %8.2f %10s %10s %12.0f\n", c.Name, c.Echo.CPU.Round(time.Microsecond), c.Function.CPU.Round(time.Microsecond), c.Ratio(),
			c.Function.P50.Round(time.Microsecond), c.Function.P99.Round(time.Microsecond), c.Function.PerCore())
	}
	fmt.Printf("two replicas: %.0f calls/s, %.0f%% and %.0f%% of the work; one: %.0f calls/s\n", r.Scale.Two, 100*r.Scale.Shares[0], 100*r.Scale.Shares[1], r.Scale.One)
	fmt.Printf("from exec to the first answer: %s (median of %d)\n", r.Start.Median.Round(time.Millisecond), len(r.Start.All))
}
