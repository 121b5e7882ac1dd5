//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func readWatch(t *testing.T, c *cluster, _ *tenant) {
	page := c.reader.open(t, "docs/how-to/watch.md")
	// All that it takes of the Prometheus operator is that its kinds are known.
	operator := module(t, filepath.Join(c.root, "test", "monitoring"), "github.com/prometheus-operator/prometheus-operator")
	for _, kind := range []string{"podmonitors", "prometheusrules"} {
		c.kubectl(t, "apply", "--server-side", "-f", filepath.Join(operator, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+kind+".yaml"))
	}
	c.kubectl(t, "create", "namespace", "monitoring")
	eventually(t, time.Minute, "the Prometheus operator's kinds are known", func() error {
		if out, err := c.tryKubectl("", "get", "podmonitors,prometheusrules", "-A"); err != nil {
			return errors.New(out)
		}
		return nil
	})
	page.sees("kubectl apply -k deploy/monitoring", "podmonitor.monitoring.coreos.com/function-planaclient created", "prometheusrule.monitoring.coreos.com/planaclient created")
	// The API server leads nobody to an address on loopback, and the reader's curl goes
	// to the Gateway.
	here := startKubeStateMetrics(t, c, page)
	tenants := page.says("kubectl get --raw /api/v1/namespaces/monitoring/services/kube-state-metrics:http/proxy/metrics | grep planaclient_info",
		"kubectl get --raw /api/v1/namespaces/monitoring/services/kube-state-metrics:http/proxy", "curl --disable --silent "+here)
	tells := func(what string, command string, words string) {
		t.Helper()
		eventually(t, time.Minute, "kube-state-metrics tells "+what, func() error {
			out, err := c.shell(command)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			if !strings.Contains(out, words) {
				return errors.New(out)
			}
			return nil
		})
	}
	tells("of the tenant", tenants, `odoo_version="18",tenant="acme",tier="pro"`)
	// At rest there is no Job.
	c.kubectl(t, "-n", namespaceBackup, "create", "job", "--from=cronjob/backup-acme", "watched")
	tells("whose a Job is", strings.ReplaceAll(tenants, "planaclient_info", "kube_job_labels"), `job_name="watched",label_app_kubernetes_io_component="backup",label_planapulse_com_tenant="acme"`)
	c.kubectl(t, "-n", namespaceBackup, "delete", "job", "watched")

	page.sees("kubectl -n crossplane-system logs --selector pkg.crossplane.io/function=function-planaclient --tail=-1 --prefix", `"msg":"Changed"`)
	page.types("kubectl get planaclient acme -o yaml | yq '.status.conditions[] | select(.status == \"False\")'")
	page.types("kubectl get jobs --all-namespaces")
	page.sees("kubectl get planaclient acme -o yaml | yq '.status.conditions[] | select(.type == \"Synced\")'", "ReconcileSuccess")
	if out := page.types("kubectl diff -k deploy"); out != "" {
		t.Errorf("deploy/ is applied, and yet there is a difference:\n%s", out)
	}
	page.sees("kubectl get planaclient acme -o yaml | yq '.status.conditions[] | select(.type == \"Responsive\")'", "Responsive")
	page.sees("kubectl get planaclient acme -o yaml | yq .status.deletion", "null")
	page.types("kubectl -n backup logs --selector app.kubernetes.io/name=backup-retention")
	page.sees("kubectl -n crossplane-system describe pods", "package-runtime")
	page.sees("kubectl describe function.pkg.crossplane.io", "HealthyPackageRevision")
	page.types("kubectl -n crossplane-system logs --selector pkg.crossplane.io/function=function-planaclient --tail=100")
	page.types("kubectl -n crossplane-system logs deployment/crossplane")

	broken := &tenant{cluster: c, name: "broken", project: 72, tier: "starter", version: "18"}
	c.apply(t, strings.NewReplacer(compositionName, "planaclients-broken", "kind: Platform\n", "kind: Platform\n        domain: no domain\n").Replace(c.composition("10s")))
	if out, err := c.tryKubectl(strings.ReplaceAll(broken.yaml(), compositionName, "planaclients-broken"), "apply", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	broken.condition(t, time.Minute, "Accepted", "False", "InvalidPlatform")
	page.sees("kubectl -n crossplane-system logs --selector pkg.crossplane.io/function=function-planaclient --tail=-1 | grep Refused", "InvalidPlatform")
	c.kubectl(t, "delete", "planaclient", "broken")
	c.kubectl(t, "delete", "composition", "planaclients-broken")

	page.sees("kubectl -n monitoring logs deployment/kube-state-metrics", "planaclients")
	page.sees("kubectl auth can-i list planaclients", "yes")
}

// startKubeStateMetrics runs it from its own example's manifests, configured with the
// values that the page shows for its chart, and returns where it listens.
func startKubeStateMetrics(t *testing.T, c *cluster, page *reading) string {
	t.Helper()
	examples := filepath.Join(module(t, filepath.Join(c.root, "tools", "kube-state-metrics"), "k8s.io/kube-state-metrics/v2"), "examples", "standard")
	example := func(name string) string {
		t.Helper()
		manifest, err := os.ReadFile(filepath.Join(examples, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(manifest), "namespace: kube-system", "namespace: monitoring")
	}
	var values struct {
		ExtraArgs    []string             `json:"extraArgs"`
		Volumes      []corev1.Volume      `json:"volumes"`
		VolumeMounts []corev1.VolumeMount `json:"volumeMounts"`
	}
	var deployment appsv1.Deployment
	for text, into := range map[string]any{
		page.shows("extraArgs:"): &values,
		example("deployment"):    &deployment,
	} {
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
	}

	// All pods share one network, so none may have the usual ports.
	metrics, telemetry := freePort(t), freePort(t)
	pod := &deployment.Spec.Template.Spec
	pod.Volumes = values.Volumes
	container := &pod.Containers[0]
	container.VolumeMounts = values.VolumeMounts
	container.Args = slices.Concat(values.ExtraArgs, []string{fmt.Sprintf("--port=%d", metrics), fmt.Sprintf("--telemetry-port=%d", telemetry)})
	container.Ports = []corev1.ContainerPort{
		{Name: "http-metrics", ContainerPort: int32(metrics)},
		{Name: "telemetry", ContainerPort: int32(telemetry)},
	}
	manifest, err := yaml.Marshal(deployment)
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, strings.Join([]string{example("service-account"), example("cluster-role"), example("cluster-role-binding"), string(manifest)}, "\n---\n"))
	c.kubectl(t, "-n", "monitoring", "rollout", "status", "deployment/kube-state-metrics", "--timeout=1m")
	ip := c.kubectl(t, "-n", "monitoring", "get", "pods", "--selector=app.kubernetes.io/name=kube-state-metrics", "-o", "jsonpath={.items[0].status.podIP}")
	return "http://" + net.JoinHostPort(ip, strconv.Itoa(metrics))
}
