package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/crossplane/function-sdk-go"
	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	grpcprometheus "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

// stopTimeout is how long calls in flight may take once the function is asked
// to stop. Kubernetes gives a pod 30 seconds, unless it is told otherwise.
const stopTimeout = 20 * time.Second

// latencyBuckets are the bounds of the histogram of how long calls take, in
// seconds. A call takes a millisecond or two. Crossplane gives up on a tenant's
// whole pipeline after two minutes, so one of 20 seconds is as good as lost.
var latencyBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 20}

// connectionAge is how long a connection may last. Crossplane spreads its calls
// over the replicas that there are when it connects: one that is added later is
// found only when it connects anew.
const connectionAge = 5 * time.Minute

// concurrentCalls that a connection may have. A call is nothing but work for a
// processor, and holds a request of up to a hundred KiB ten times over while it is
// read: all that Crossplane would make at once take a third more memory, and none
// is answered sooner for it. Those beyond wait at the caller.
const concurrentCalls = 16

// serve the function until the context is done, then let the calls in flight
// finish.
//
// function.Serve takes the same options but has no way to stop: it returns only
// when its listener fails, so each rollout would cut off the calls in flight.
// It also ignores a metrics listener that cannot listen, and here the probes
// depend on that one: Crossplane's clients prove themselves by certificate,
// which a kubelet's gRPC probe cannot do, so the probes are plain HTTP.
func serve(ctx context.Context, log logging.Logger, runner fnv1.FunctionRunnerServiceServer, options ...function.ServeOption) error {
	o := &function.ServeOptions{MetricsRegistry: prometheus.NewRegistry()}
	for _, option := range options {
		if err := option(o); err != nil {
			return fmt.Errorf("cannot serve: %w", err)
		}
	}
	if o.Credentials == nil {
		return errors.New("cannot serve without credentials: give --tls-certs-dir (or TLS_SERVER_CERTS_DIR), or --insecure to serve without mTLS")
	}

	metrics := grpcprometheus.NewServerMetrics(grpcprometheus.WithServerHandlingTimeHistogram(
		grpcprometheus.WithHistogramBuckets(latencyBuckets)))
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "planaclient", Subsystem: "function", Name: "build_info",
		Help:        "Always 1, of the version that serves.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	o.MetricsRegistry.MustRegister(metrics, build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	srv := grpc.NewServer(
		grpc.Creds(o.Credentials),
		grpc.MaxRecvMsgSize(o.MaxRecvMsgSize),
		grpc.MaxConcurrentStreams(concurrentCalls),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: stopTimeout}),
		grpc.ChainUnaryInterceptor(metrics.UnaryServerInterceptor()))
	hs := health.NewServer()
	fnv1.RegisterFunctionRunnerServiceServer(srv, runner)
	healthv1.RegisterHealthServer(srv, hs)
	reflection.Register(srv)
	metrics.InitializeMetrics(srv)

	lc := &net.ListenConfig{}
	lis, err := lc.Listen(ctx, o.Network, o.Address)
	if err != nil {
		return fmt.Errorf("cannot listen for gRPC connections: %w", err)
	}

	// Either server ends this function; whichever ends second is not waited for.
	failed := make(chan error, 2)

	if o.MetricsAddress != "" {
		web := &http.Server{
			Handler:           operations(ctx, o.MetricsRegistry),
			ReadHeaderTimeout: 5 * time.Second,
		}
		wl, err := lc.Listen(ctx, "tcp", o.MetricsAddress)
		if err != nil {
			_ = lis.Close()
			return fmt.Errorf("cannot listen for metrics and probes: %w", err)
		}
		// It outlives the gRPC server, so that readiness is reported to the end.
		defer web.Close() //nolint:errcheck // The process ends with it.
		go func() { failed <- fmt.Errorf("cannot serve metrics and probes: %w", web.Serve(wl)) }()
		log.Info("Serving metrics and probes", "address", wl.Addr().String())
	}

	go func() {
		if err := srv.Serve(lis); err != nil {
			failed <- fmt.Errorf("cannot serve gRPC: %w", err)
		}
	}()
	log.Info("Serving", "address", lis.Addr().String(), "version", version)

	select {
	case err := <-failed:
		srv.Stop()
		return err
	case <-ctx.Done():
	}

	log.Info("Stopping")
	hs.Shutdown()
	kill := time.AfterFunc(stopTimeout, srv.Stop)
	defer kill.Stop()
	srv.GracefulStop()
	return nil
}

// operations handles what the people and machines that operate the function
// ask of it. The context is done once the function is asked to stop.
func operations(ctx context.Context, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ctx.Err() != nil {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	return mux
}
