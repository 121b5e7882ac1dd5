package main

import (
	"context"
	"os/exec"
	"sync"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/prometheus/procfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// A scaleResult compares one replica with two, called as Crossplane calls them:
// over one connection to each, in turns.
type scaleResult struct {
	// One and Two are calls in a second, of one replica and of two.
	One, Two float64
	// Shares of the processor time that each of the two took.
	Shares [2]float64

	// Memory is the most that one replica ever had, in bytes, when it was called by as
	// many as Crossplane ever calls with, with the largest requests.
	Memory int64
}

// roundRobin is what Crossplane asks of its connections to a function.
const roundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`

// How many calls there are at once.
const (
	// callers are enough to keep two replicas busy.
	callers = 16

	// mostCallers is the default of Crossplane's --max-reconcile-rate.
	mostCallers = 100
)

// measureScale with one request, and memory with another, the largest.
func measureScale(ctx context.Context, certs *certificates, function string, r, large request) (scaleResult, error) {
	var s scaleResult
	var replicas []*server
	for range 2 {
		f, err := startServer(ctx, certs, exec.CommandContext(ctx, function, "--address=127.0.0.1:0", "--metrics-address=", "--tls-certs-dir="+certs.server))
		if err != nil {
			return s, err
		}
		defer f.stop()
		replicas = append(replicas, f)
	}

	for n := 1; n <= 2; n++ {
		rate, shares, err := together(ctx, certs, replicas[:n], r, callers)
		if err != nil {
			return s, err
		}
		if n == 1 {
			s.One = rate
		} else {
			s.Two = rate
			s.Shares = [2]float64{shares[0], shares[1]}
		}
	}
	if _, _, err := together(ctx, certs, replicas[:1], large, mostCallers); err != nil {
		return s, err
	}
	var err error
	s.Memory, err = peakMemory(replicas[0].cmd.Process.Pid)
	return s, err
}

// peakMemory is the most that a process ever had, in bytes.
func peakMemory(pid int) (int64, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	status, err := p.NewStatus()
	return int64(status.VmHWM), err
}

// together calls replicas from many callers at once, for some seconds.
func together(ctx context.Context, certs *certificates, replicas []*server, r request, callers int) (rate float64, shares []float64, err error) {
	names := manual.NewBuilderWithScheme("replicas")
	var state resolver.State
	for _, f := range replicas {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: f.conn.Target(), ServerName: "127.0.0.1"})
	}
	names.InitialState(state)
	conn, err := grpc.NewClient("replicas:///127.0.0.1", grpc.WithResolvers(names), grpc.WithTransportCredentials(certs.client), grpc.WithDefaultServiceConfig(roundRobin))
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close() //nolint:errcheck // The replicas end next.
	client := fnv1.NewFunctionRunnerServiceClient(conn)

	const lasts = 5 * time.Second
	began := make([]time.Duration, len(replicas))
	for i, f := range replicas {
		if began[i], err = processorTime(f.cmd.Process.Pid); err != nil {
			return 0, nil, err
		}
	}
	var calls int
	var failed error
	var mu sync.Mutex
	var all sync.WaitGroup
	start := time.Now()
	for range callers {
		all.Go(func() {
			n := 0
			var err error
			for time.Since(start) < lasts && err == nil {
				if _, err = client.RunFunction(ctx, r.message); err == nil {
					n++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			calls += n
			if err != nil {
				failed = err
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	if failed != nil {
		return 0, nil, failed
	}

	var sum float64
	for i, f := range replicas {
		now, err := processorTime(f.cmd.Process.Pid)
		if err != nil {
			return 0, nil, err
		}
		shares = append(shares, (now - began[i]).Seconds())
		sum += shares[i]
	}
	for i := range shares {
		shares[i] /= sum
	}
	return float64(calls) / took.Seconds(), shares, nil
}
