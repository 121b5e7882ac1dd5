// Package main is the one binary of this project: the composition function, and
// the effects that the Jobs it composes run.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/crossplane/function-sdk-go"
	kongcompletion "github.com/jotaen/kong-completion"
	"github.com/posener/complete"
	"github.com/prometheus/client_golang/prometheus"

	"k8s.io/utils/clock"

	"github.com/plana-pulse/function-planaclient/effect"
	"github.com/plana-pulse/function-planaclient/fn"
	"github.com/plana-pulse/function-planaclient/preview"
)

// version of this binary. The linker sets it.
var version = "dev"

// CLI of this binary.
type CLI struct {
	Serve   ServeCommand    `cmd:"" default:"withargs" help:"Serve the composition function. The default command."`
	Preview preview.Command `cmd:"" help:"Show a tenant's whole life, without a cluster: what is composed and when, and what stays."`
	Effect  EffectCommand   `cmd:"" help:"Run one effect, as the Jobs do that the function composes."`

	Completion kongcompletion.Completion `cmd:"" help:"Print what makes a shell complete this command's words: bash, zsh or fish."`

	Version kong.VersionFlag `help:"Print the version." hidden:""`
}

// ServeCommand serves the function to Crossplane.
type ServeCommand struct {
	Debug bool `help:"Emit debug logs in addition to info logs." short:"d"`

	Network            string `default:"tcp"              help:"Network on which to listen for gRPC connections."`
	Address            string `default:":9443"            help:"Address at which to listen for gRPC connections. Port 0 takes a free one, which the log names."`
	TLSCertsDir        string `env:"TLS_SERVER_CERTS_DIR" help:"Directory with the server's certificate and key (tls.crt, tls.key) and the CA that verifies clients (ca.crt)."`
	Insecure           bool   `help:"Serve without mTLS. --tls-certs-dir is ignored then."`
	MaxRecvMessageSize int    `default:"4"                help:"Maximum size of received messages in MB."`
	MetricsAddress     string `default:":8080"            help:"Address at which to serve /metrics, /healthz and /readyz over HTTP. Empty turns them off."`
}

// Help of the command.
func (c *ServeCommand) Help() string {
	return `Crossplane runs this in a pod, and gives it certificates in TLS_SERVER_CERTS_DIR. By hand, on
your machine, for crossplane composition render:

  function serve --insecure --address=127.0.0.1:9443 --metrics-address=`
}

// Run serves the function until the context is done.
func (c *ServeCommand) Run(ctx context.Context) error {
	log, err := function.NewLogger(c.Debug)
	if err != nil {
		return err
	}
	f := fn.New(log, clock.RealClock{})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(f)
	options := []function.ServeOption{
		function.Listen(c.Network, c.Address),
		function.Insecure(c.Insecure),
		function.MaxRecvMessageSize(c.MaxRecvMessageSize * 1024 * 1024),
		function.WithMetricsServer(c.MetricsAddress),
		function.WithMetricsRegistry(metrics),
	}
	if !c.Insecure {
		options = append(options, function.MTLSCertificates(c.TLSCertsDir))
	}
	return serve(ctx, log, f, options...)
}

// EffectCommand runs one effect.
type EffectCommand struct {
	Name string `arg:"" help:"Effect to run: ${effects}." predictor:"effect"`
}

// Help of the command.
func (c *EffectCommand) Help() string {
	return `What it works on it is told by environment variables, which docs/reference/effects.md lists. It
is safe to run twice. It exits with 0 once all is done, with 1 where another attempt may help,
and with 2 where none can.`
}

// Run the effect. The process exits with the effect's own code, which tells
// Kubernetes whether another attempt can help.
func (c *EffectCommand) Run(ctx context.Context) error { //nolint:unparam // The CLI's library wants an error.
	os.Exit(effect.Main(ctx, c.Name))
	return nil
}

func main() {
	// Kubernetes asks a pod to stop with SIGTERM. A second signal kills, as it
	// does in any other program.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	cli := kong.Must(&CLI{},
		kong.Name("function"),
		kong.Description("function-planaclient turns a PLANAClient into a tenant of an Odoo SaaS."),
		kong.Vars{"version": version, "effects": strings.Join(effect.Names(), ", ")},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	// A shell that asks for completions calls this very program.
	kongcompletion.Register(cli,
		kongcompletion.WithPredictor("effect", complete.PredictSet(effect.Names()...)),
		kongcompletion.WithPredictor("step", complete.PredictSet(preview.Steps()...)),
		kongcompletion.WithPredictor("file", complete.PredictFiles("*")),
	)
	command, err := cli.Parse(os.Args[1:])
	cli.FatalIfErrorf(err)
	command.FatalIfErrorf(command.Run())
}
