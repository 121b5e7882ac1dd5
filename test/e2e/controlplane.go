package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// serviceRange is where Services have their addresses. All of 127.0.0.0/8 is
	// this machine's loopback, so they are real addresses without a network.
	serviceRange = "127.64.0.0/16"

	groupAdmins = "system:masters"
)

// A controlPlane is Kubernetes' own, in processes.
type controlPlane struct {
	etcd, apiserver, controllers, scheduler *process

	// URL and port of the API server, and URL of etcd.
	url     string
	port    int
	etcdURL string

	ca         *authority
	admin      *rest.Config
	kubeconfig string
	client     kubernetes.Interface
	dynamic    dynamic.Interface
}

// startControlPlane starts etcd, the API server, the controllers and the
// scheduler.
func startControlPlane(t testing.TB, dir, logs string, etcd, kubernetesBinary string) *controlPlane {
	t.Helper()
	pki := filepath.Join(dir, "pki")
	mkdir(t, pki)
	cp := &controlPlane{ca: newAuthority(t, pki), port: freePort(t)}
	cp.url = "https://127.0.0.1:" + strconv.Itoa(cp.port)

	clients := "http://127.0.0.1:" + strconv.Itoa(freePort(t))
	cp.etcdURL = clients
	peers := "http://127.0.0.1:" + strconv.Itoa(freePort(t))
	cp.etcd = startProcess(t, logs, "etcd", httpReady(quick, clients+"/readyz"), etcd,
		"--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+clients, "--advertise-client-urls="+clients,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers)

	cert, key := cp.ca.certificate(t, "apiserver", "kube-apiserver", "", "127.0.0.1", "localhost", "kubernetes.default.svc")
	accounts := filepath.Join(pki, "serviceaccounts.key")
	writeKey(t, accounts, newKey(t))

	cp.kubeconfig = cp.ca.kubeconfig(t, cp.url, "admin", "admin", groupAdmins)
	var err error
	if cp.admin, err = clientcmd.BuildConfigFromFlags("", cp.kubeconfig); err != nil {
		t.Fatalf("cannot read %s: %v", cp.kubeconfig, err)
	}
	cp.admin.QPS, cp.admin.Burst = -1, -1
	// What the API server thinks of Crossplane's names is no news, thousands of times.
	cp.admin.WarningHandler = rest.NoWarnings{}
	if cp.client, err = kubernetes.NewForConfig(cp.admin); err != nil {
		t.Fatalf("cannot make a client: %v", err)
	}
	if cp.dynamic, err = dynamic.NewForConfig(cp.admin); err != nil {
		t.Fatalf("cannot make a client: %v", err)
	}

	cp.apiserver = startProcess(t, logs, "kube-apiserver", cp.readyz, kubernetesBinary, "kube-apiserver",
		"--etcd-servers="+clients,
		"--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(cp.port), "--endpoint-reconciler-type=none",
		"--tls-cert-file="+cert, "--tls-private-key-file="+key, "--client-ca-file="+cp.ca.bundle(),
		"--authorization-mode=Node,RBAC", "--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true",
		"--service-cluster-ip-range="+serviceRange,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+accounts, "--service-account-signing-key-file="+accounts,
		"--cert-dir="+pki)

	controllers := cp.ca.kubeconfig(t, cp.url, "controllers", "system:kube-controller-manager", "")
	port := strconv.Itoa(freePort(t))
	cp.controllers = startProcess(t, logs, "kube-controller-manager", cp.insecurely("https://127.0.0.1:"+port+"/healthz"), kubernetesBinary, "kube-controller-manager",
		"--kubeconfig="+controllers, "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000", "--use-service-account-credentials=true",
		"--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+pki,
		"--service-account-private-key-file="+accounts, "--root-ca-file="+cp.ca.bundle())

	scheduler := cp.ca.kubeconfig(t, cp.url, "scheduler", "system:kube-scheduler", "")
	port = strconv.Itoa(freePort(t))
	cp.scheduler = startProcess(t, logs, "kube-scheduler", cp.insecurely("https://127.0.0.1:"+port+"/healthz"), kubernetesBinary, "kube-scheduler",
		"--kubeconfig="+scheduler, "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000", "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+pki)
	return cp
}

// readyz asks the API server whether it is ready.
func (cp *controlPlane) readyz() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return cp.client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// insecurely asks an address that has a certificate of its own making.
func (cp *controlPlane) insecurely(url string) func() error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return httpReady(client, url)
}

// roots that the cluster's servers are verified with.
func (cp *controlPlane) roots(t testing.TB) *x509.CertPool {
	t.Helper()
	bundle, err := os.ReadFile(cp.ca.bundle())
	if err != nil {
		t.Fatalf("cannot read the authority's certificate: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		t.Fatalf("there is no certificate in %s", cp.ca.bundle())
	}
	return pool
}

// httpReady asks an address until it answers with 200.
func httpReady(client *http.Client, url string) func() error {
	return func() error {
		rsp, err := client.Get(url)
		if err != nil {
			return err
		}
		defer rsp.Body.Close() //nolint:errcheck // Nothing is read from it.
		if rsp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, rsp.Status)
		}
		return nil
	}
}

func mkdir(t testing.TB, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatalf("cannot make a folder: %v", err)
		}
	}
}
