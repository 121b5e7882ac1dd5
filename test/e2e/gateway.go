package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// gatewayController is the name under which Traefik speaks of routes.
const gatewayController = "traefik.io/gateway-controller"

// A gateway is Traefik, which serves the tenants' routes over TLS. It knows
// nothing of this project: what it does with a route is what the route says.
type gateway struct {
	port    int
	address string
	client  *http.Client

	// client of the first HTTP, which websockets begin with.
	upgrading *http.Client
}

// startGateway serves the cluster's routes until the end of the test.
func (c *cluster) startGateway(t testing.TB) {
	t.Helper()
	health := "127.0.0.1:" + strconv.Itoa(freePort(t))
	g := &gateway{port: freePort(t)}
	g.address = "127.0.0.1:" + strconv.Itoa(g.port)
	g.client = newClient(g.address, c.roots(t), true)
	g.upgrading = newClient(g.address, c.roots(t), false)
	c.gateway = g
	// curl finds tenants at the gateway, and knows who vouches for it.
	write(t, filepath.Join(c.reader.home, ".curlrc"), fmt.Sprintf("cacert = %q\nconnect-to = \"::%s\"\n", c.ca.bundle(), g.address))

	cert, key := c.ca.certificate(t, "gateway", "gateway", "", "*."+domain)
	c.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {namespace: plana-odoo, name: planapulse-app-tls}
type: kubernetes.io/tls
data: {tls.crt: %s, tls.key: %s}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: traefik}
spec: {controllerName: %s}
`, encoded(t, cert), encoded(t, key), gatewayController))
	c.listen(t, "plana-odoo", "plana-odoo-18", "plana-odoo-19")

	startProcess(t, c.logs, "traefik", httpReady(quick, "http://"+health+"/ping"), "/usr/bin/env", "KUBECONFIG="+c.kubeconfig, c.tool(t, "traefik"),
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		// Traefik takes a listener whose port is that of an entry point.
		"--entrypoints.websecure.address="+g.address,
		"--entrypoints.health.address="+health, "--ping=true", "--ping.entrypoint=health",
		"--providers.kubernetesgateway=true",
		// Only their namespaces: it looks again at whatever happens in one.
		"--providers.kubernetesgateway.namespaces=plana-odoo,plana-odoo-18,plana-odoo-19",
		// Workers are reached at their Service's address. Kubernetes takes no
		// EndpointSlice with an address on loopback.
		"--providers.kubernetesgateway.nativelbbydefault=true",
		"--providers.providersthrottleduration=100ms")
}

// listen has the Gateway's listener let routes of some namespaces in, as the
// installation guide says.
func (c *cluster) listen(t testing.TB, namespaces ...string) {
	t.Helper()
	c.apply(t, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: plana-odoo, name: eg-gateway}
spec:
  gatewayClassName: traefik
  listeners:
    - name: https
      protocol: HTTPS
      port: %d
      hostname: "*.%s"
      tls: {certificateRefs: [{name: planapulse-app-tls}]}
      allowedRoutes:
        namespaces:
          from: Selector
          selector:
            matchExpressions:
              - {key: kubernetes.io/metadata.name, operator: In, values: [%s]}
`, c.gateway.port, domain, strings.Join(namespaces, ", ")))
}

// newClient returns a visitor of the tenants' host names, all of which lead to
// the gateway. It verifies the gateway's certificate, and follows no redirect.
func newClient(gateway string, roots *x509.CertPool, second bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", gateway)
			},
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: second,
		},
	}
}

// encoded is a file's content as a Secret holds it.
func encoded(t testing.TB, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("cannot read %s: %v", file, err)
	}
	return base64.StdEncoding.EncodeToString(content)
}
