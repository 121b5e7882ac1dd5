package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/crossplane/function-sdk-go"
	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/plana-pulse/function-planaclient/preview"
)

func TestCLI(t *testing.T) {
	serve := ServeCommand{Network: "tcp", Address: ":9443", MaxRecvMessageSize: 4, MetricsAddress: ":8080"}
	with := func(change func(*ServeCommand)) ServeCommand {
		c := serve
		change(&c)
		return c
	}

	cases := map[string]struct {
		reason string
		args   []string
		want   CLI
		fails  bool
	}{
		"Nothing": {
			reason: "A function that Crossplane starts is given no arguments.",
			want:   CLI{Serve: serve},
		},
		"FlagsOfTheTemplate": {
			reason: "The flags of function-template-go are taken without a command, as people are used to.",
			args:   []string{"--insecure", "-d", "--address=:1", "--max-recv-message-size=8", "--tls-certs-dir=/tls"},
			want: CLI{Serve: with(func(c *ServeCommand) {
				c.Insecure, c.Debug, c.Address, c.MaxRecvMessageSize, c.TLSCertsDir = true, true, ":1", 8, "/tls"
			})},
		},
		"NoMetrics": {
			reason: "An empty address turns metrics and probes off.",
			args:   []string{"serve", "--metrics-address="},
			want:   CLI{Serve: with(func(c *ServeCommand) { c.MetricsAddress = "" })},
		},
		"Effect": {
			reason: "A Job runs one effect.",
			args:   []string{"effect", "smoke-test"},
			want:   CLI{Serve: serve, Effect: EffectCommand{Name: "smoke-test"}},
		},
		"Preview": {
			reason: "Tenants and installation are files, and what happens to them are flags.",
			args:   []string{"preview", "acme.yaml", "platform.yaml", "--delete", "-o", "yaml"},
			want:   CLI{Serve: serve, Preview: preview.Command{Files: []string{"acme.yaml", "platform.yaml"}, Delete: true, Output: "yaml", Color: "auto"}},
		},
		"PreviewAsNothing": {
			reason: "An output that there isn't is an error, not a table.",
			args:   []string{"preview", "-o", "xml"},
			fails:  true,
		},
		"EffectWithoutName": {
			reason: "An effect has a name.",
			args:   []string{"effect"},
			fails:  true,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TLS_SERVER_CERTS_DIR", "")
			if tc.want.Preview.Output == "" {
				tc.want.Preview = preview.Command{Output: "text", Color: "auto"}
			}
			got := CLI{}
			parser, err := kong.New(&got, kong.Vars{"version": "", "effects": ""})
			if err != nil {
				t.Fatal(err)
			}
			_, err = parser.Parse(tc.args)
			if (err != nil) != tc.fails {
				t.Fatalf("\n%s\nParse(%v): %v", tc.reason, tc.args, err)
			}
			if diff := cmp.Diff(tc.want, got); !tc.fails && diff != "" {
				t.Errorf("\n%s\nParse(%v): -want, +got:\n%s", tc.reason, tc.args, diff)
			}
		})
	}
}

// startServing a function until the context is done, and tell then how it ended.
func startServing(ctx context.Context, f fnv1.FunctionRunnerServiceServer, address, metrics string) <-chan error {
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, logging.NewNopLogger(), f,
			function.Listen("tcp", address),
			function.Insecure(true),
			function.MaxRecvMessageSize(function.DefaultMaxRecvMsgSize),
			function.WithMetricsServer(metrics))
	}()
	return served
}

// A slowFunction answers once it is let go.
type slowFunction struct {
	fnv1.UnimplementedFunctionRunnerServiceServer
	called, goOn chan struct{}
}

func (f *slowFunction) RunFunction(context.Context, *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	close(f.called)
	<-f.goOn
	return &fnv1.RunFunctionResponse{Meta: &fnv1.ResponseMeta{Tag: "done"}}, nil
}

// TestServeStopsGracefully has a call in flight when the function is asked to
// stop: it is finished, no other is taken, and the probes say so meanwhile.
func TestServeStopsGracefully(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	f := &slowFunction{called: make(chan struct{}), goOn: make(chan struct{})}
	address, metrics := freeAddress(t), freeAddress(t)
	served := startServing(ctx, f, address, metrics)

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("health: got %v, %v, want SERVING", health, err)
	}
	if code, body := get(t, metrics, "/readyz"); code != http.StatusOK {
		t.Errorf("/readyz while serving: got %d %s", code, body)
	}

	answered := make(chan error, 1)
	go func() {
		rsp, err := fnv1.NewFunctionRunnerServiceClient(conn).RunFunction(context.WithoutCancel(ctx), &fnv1.RunFunctionRequest{})
		if err == nil && rsp.GetMeta().GetTag() != "done" {
			err = errors.New("the answer is not the function's")
		}
		answered <- err
	}()
	<-f.called
	stop()

	if code, body := get(t, metrics, "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz while stopping: got %d %s, want 503", code, body)
	}
	if code, body := get(t, metrics, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz while stopping: got %d %s", code, body)
	}
	select {
	case err := <-served:
		t.Fatalf("serve returned with a call in flight: %v", err)
	case <-time.After(100 * time.Millisecond):
	}

	close(f.goOn)
	if err := <-answered; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("it still listens after having stopped")
	}
}

// A countingFunction knows how many calls it ever had at once.
type countingFunction struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	now, most atomic.Int64
}

func (f *countingFunction) RunFunction(context.Context, *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	for now := f.now.Add(1); ; {
		most := f.most.Load()
		if now <= most || f.most.CompareAndSwap(most, now) {
			break
		}
	}
	time.Sleep(10 * time.Millisecond)
	f.now.Add(-1)
	return &fnv1.RunFunctionResponse{}, nil
}

// TestServeTakesCallsInTurn has more calls made at once than are worked on at
// once: all are answered.
func TestServeTakesCallsInTurn(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	f := &countingFunction{}
	address := freeAddress(t)
	served := startServing(ctx, f, address, "")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	// Only a call tells a client how many more it may make.
	client := fnv1.NewFunctionRunnerServiceClient(conn)
	if _, err := client.RunFunction(t.Context(), &fnv1.RunFunctionRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := client.RunFunction(t.Context(), &fnv1.RunFunctionRequest{}); err != nil {
				t.Errorf("a call was not answered: %v", err)
			}
		})
	}
	all.Wait()
	if most := f.most.Load(); most > concurrentCalls {
		t.Errorf("%d calls were worked on at once, want %d at most", most, concurrentCalls)
	}

	stop()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// TestServeMetrics serves as the command does, and looks for what the alerts and
// the dashboard ask for.
func TestServeMetrics(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c := ServeCommand{Network: "tcp", Address: "127.0.0.1:0", Insecure: true, MaxRecvMessageSize: 4, MetricsAddress: freeAddress(t)}
	served := make(chan error, 1)
	go func() { served <- c.Run(ctx) }()
	_, body := get(t, c.MetricsAddress, "/metrics")
	for _, want := range []string{
		`grpc_server_handling_seconds_bucket{grpc_method="RunFunction"`,
		"go_goroutines", "process_resident_memory_bytes",
		`planaclient_function_build_info{version="dev"} 1`,
		`planaclient_function_responses_total{outcome="refused"} 0`,
		`planaclient_function_step_changes_total{condition="DatabaseReady",state="failed"} 0`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	cases := map[string]struct {
		reason  string
		options []function.ServeOption
		want    string
	}{
		"NoCredentials": {
			reason:  "A function isn't served without mTLS by oversight.",
			options: []function.ServeOption{function.Listen("tcp", "127.0.0.1:0")},
			want:    "--tls-certs-dir",
		},
		"NoCertificates": {
			reason:  "The folder must hold the certificates.",
			options: []function.ServeOption{function.MTLSCertificates(t.TempDir())},
			want:    "tls.crt",
		},
		"AddressTaken": {
			reason:  "Two functions can't share an address.",
			options: []function.ServeOption{function.Insecure(true), function.Listen("tcp", taken.Addr().String())},
			want:    "gRPC",
		},
		"MetricsAddressTaken": {
			reason:  "Without its probes a pod would be killed, so a function that can't serve them says why.",
			options: []function.ServeOption{function.Insecure(true), function.Listen("tcp", "127.0.0.1:0"), function.WithMetricsServer(taken.Addr().String())},
			want:    "metrics and probes",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := serve(t.Context(), logging.NewNopLogger(), &slowFunction{}, tc.options...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nwant an error with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// get a page, as soon as there is a server.
func get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		rsp, err := http.Get("http://" + address + path)
		if err != nil {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			continue
		}
		defer rsp.Body.Close()
		body, err := io.ReadAll(rsp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return rsp.StatusCode, string(body)
	}
}

// freeAddress on loopback. Nobody else takes it in the moment until it is used:
// the kernel hands out ports in turn.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
