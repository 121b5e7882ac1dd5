package deploy

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	sigsyaml "sigs.k8s.io/yaml"
)

// A peer that deploy/network names: where SECURITY's table says that a Job talks to,
// and by which port.
var networkPeers = map[string]string{
	`[{"ipBlock":{"cidr":"192.0.2.10/32"}}] TCP/5432`:                                                  "PostgreSQL",
	`[{"ipBlock":{"cidr":"192.0.2.20/32"}}] TCP/443`:                                                   "object storage",
	`[{"ipBlock":{"cidr":"192.0.2.30/32"}}] TCP/6379`:                                                  "Redis",
	`[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"matrix"}}}] TCP/8008`:        "Matrix",
	`[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"pulse-account"}}}] TCP/8080`: "the portal",
	`[{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"In","values":["plana-odoo","plana-odoo-18","plana-odoo-19"]}]}}] TCP/8069`: "workers",
	`[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"kube-system"}},"podSelector":{"matchLabels":{"k8s-app":"kube-dns"}}}] UDP/53 TCP/53`:              "names",
}

// network is deploy/network as it is applied.
func network(t *testing.T) []*networkingv1.NetworkPolicy {
	t.Helper()
	var policies []*networkingv1.NetworkPolicy
	for _, o := range build(t, filepath.Join(deploy, "network")) {
		p, ok := o.(*networkingv1.NetworkPolicy)
		if !ok {
			t.Fatalf("deploy/network holds a %T", o)
		}
		policies = append(policies, p)
	}
	return policies
}

// selecting are the policies of a direction that hold for a pod.
func selecting(t *testing.T, policies []*networkingv1.NetworkPolicy, direction networkingv1.PolicyType, namespace string, pod labels.Set) []*networkingv1.NetworkPolicy {
	t.Helper()
	var found []*networkingv1.NetworkPolicy
	for _, p := range policies {
		s, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil {
			t.Fatalf("NetworkPolicy %s/%s: %v", p.Namespace, p.Name, err)
		}
		if p.Namespace == namespace && slices.Contains(p.Spec.PolicyTypes, direction) && s.Matches(pod) {
			found = append(found, p)
		}
	}
	return found
}

// reaches is where policies let a pod go, in SECURITY's words, and their names if they
// let it go anywhere.
func reaches(t *testing.T, policies []*networkingv1.NetworkPolicy) (where, by []string) {
	t.Helper()
	for _, p := range policies {
		for _, rule := range p.Spec.Egress {
			if len(rule.To) == 0 || len(rule.Ports) == 0 {
				t.Errorf("NetworkPolicy %s/%s lets its pods go anywhere", p.Namespace, p.Name)
			}
			to, err := sigsyaml.Marshal(rule.To)
			if err != nil {
				t.Fatal(err)
			}
			if to, err = sigsyaml.YAMLToJSON(to); err != nil {
				t.Fatal(err)
			}
			said := string(to)
			for _, port := range rule.Ports {
				said += fmt.Sprintf(" %s/%s", *port.Protocol, port.Port)
			}
			peer := networkPeers[said]
			if peer == "" {
				t.Errorf("NetworkPolicy %s/%s lets its pods go to %s, which no Job needs", p.Namespace, p.Name, said)
			}
			where = append(where, peer)
		}
		if len(p.Spec.Egress) > 0 {
			by = append(by, p.Name)
		}
	}
	slices.Sort(where)
	return slices.Compact(where), by
}

// talksTo is what a pod is told the addresses of.
func talksTo(pod corev1.PodSpec) []string {
	servers := map[string]string{
		"PGHOST": "PostgreSQL", "RESTIC_REPOSITORY": "object storage", "BACKUP_REPOSITORY_BASE": "object storage", "MATRIX_HOMESERVER": "Matrix",
		"ACCOUNT_WEBHOOK_URL": "the portal", "REDIS_ADDRESS": "Redis", "SMOKE_URL": "workers",
	}
	var talks []string
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, e := range c.Env {
			if server := servers[e.Name]; server != "" {
				talks = append(talks, server)
			}
		}
	}
	if len(talks) > 0 {
		talks = append(talks, "names")
	}
	slices.Sort(talks)
	return slices.Compact(talks)
}

// TestNetworkOfJobs evaluates deploy/network for each Job of a tenant's whole life, on
// each version, and for those that people apply: it gets to what it is told the address
// of, and to nothing else, and nobody gets to it.
func TestNetworkOfJobs(t *testing.T) {
	policies := network(t)
	type job struct {
		namespace string
		labels    labels.Set
		pod       corev1.PodSpec
	}
	jobs := map[string]job{}
	for _, version := range []string{"17", "18", "19"} {
		for _, template := range []bool{true, false} {
			for name, pod := range podTemplatesOf(t, version, template) {
				namespace, _, _ := strings.Cut(name, "/")
				jobs[name] = job{namespace, pod.Labels, pod.Spec}
			}
		}
	}
	retention := one[*batchv1.CronJob](t, build(t, deploy), "expire-backups")
	jobs["backup/expire-backups"] = job{retention.Namespace, retention.Spec.JobTemplate.Spec.Template.Labels, retention.Spec.JobTemplate.Spec.Template.Spec}
	restore := restoreJob(t)
	jobs["backup/restore"] = job{restore.Namespace, restore.Spec.Template.Labels, restore.Spec.Template.Spec}

	used := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(jobs)) {
		j := jobs[name]
		egress := selecting(t, policies, networkingv1.PolicyTypeEgress, j.namespace, j.labels)
		ingress := selecting(t, policies, networkingv1.PolicyTypeIngress, j.namespace, j.labels)
		if len(egress) == 0 || len(ingress) == 0 {
			t.Errorf("%s: no policy denies what isn't allowed: give namespace %s one", name, j.namespace)
			continue
		}
		where, by := reaches(t, egress)
		if diff := gocmp.Diff(talksTo(j.pod), where); diff != "" {
			t.Errorf("%s: what it talks to, by its environment and by policies %v: -want, +got:\n%s", name, by, diff)
		}
		// One policy for each server, and no second one for the same.
		if servers := max(0, len(where)-1); len(by) != servers {
			t.Errorf("%s talks to %d servers, by %d policies: %v", name, servers, len(by), by)
		}
		for _, p := range ingress {
			if len(p.Spec.Ingress) > 0 {
				t.Errorf("%s: NetworkPolicy %s lets others in", name, p.Name)
			}
		}
		for _, p := range egress {
			used[p.Namespace+"/"+p.Name] = true
		}
	}
	for _, p := range policies {
		if name := p.Namespace + "/" + p.Name; !used[name] && p.Name != "function-planaclient" {
			t.Errorf("NetworkPolicy %s is for no Job that there is", name)
		}
	}
}

// TestNetworkOfOthers keeps the policies off pods that aren't this project's, in
// namespaces that it shares.
func TestNetworkOfOthers(t *testing.T) {
	policies := network(t)
	for _, tc := range []struct {
		reason, namespace string
		labels            labels.Set
	}{
		{"Crossplane itself.", "crossplane-system", labels.Set{"app": "crossplane"}},
		{"Another function.", "crossplane-system", labels.Set{"pkg.crossplane.io/function": "function-auto-ready"}},
		{"provider-sql, which talks to PostgreSQL all day.", "crossplane-system", labels.Set{"pkg.crossplane.io/provider": "provider-sql"}},
		{"Odoo's workers.", "plana-odoo-18", labels.Set{"app.kubernetes.io/name": "odoo", "app.kubernetes.io/part-of": "plana-pulse"}},
		{"Somebody else's backup.", "backup", labels.Set{"app.kubernetes.io/name": "velero"}},
		{"A pod without a label.", "backup", labels.Set{}},
	} {
		for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress} {
			for _, p := range selecting(t, policies, direction, tc.namespace, tc.labels) {
				t.Errorf("%s NetworkPolicy %s/%s holds for it", tc.reason, p.Namespace, p.Name)
			}
		}
	}
}

// TestNetworkOfFunction: Crossplane calls it, Prometheus reads it, it calls nobody.
func TestNetworkOfFunction(t *testing.T) {
	policies := selecting(t, network(t), networkingv1.PolicyTypeEgress, "crossplane-system", labels.Set{"pkg.crossplane.io/function": "function-planaclient", "pkg.crossplane.io/revision": "function-planaclient-1"})
	if len(policies) != 1 || len(policies[0].Spec.Egress) > 0 || !slices.Contains(policies[0].Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
		t.Fatalf("want one policy that lets the function call nobody, got %v", policies)
	}
	got, err := sigsyaml.Marshal(policies[0].Spec.Ingress)
	if err != nil {
		t.Fatal(err)
	}
	want := `- from:
  - podSelector:
      matchLabels:
        app: crossplane
  ports:
  - port: 9443
    protocol: TCP
- from:
  - namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: monitoring
  ports:
  - port: 8080
    protocol: TCP
`
	if diff := gocmp.Diff(want, string(got)); diff != "" {
		t.Errorf("who gets to the function: -want, +got:\n%s", diff)
	}
}

// TestNetworkByDefault looks at the policies without an installation's addresses, and
// at an installation that has addresses of its own: whoever forgets one denies it.
func TestNetworkByDefault(t *testing.T) {
	nowhere := "192.0.2.0/32"
	for _, o := range build(t, filepath.Join(deploy, "network", "policies")) {
		p := o.(*networkingv1.NetworkPolicy)
		if len(p.Spec.Egress) > 0 {
			if b := p.Spec.Egress[0].To[0].IPBlock; b == nil || b.CIDR != nowhere {
				t.Errorf("NetworkPolicy %s/%s goes somewhere before anybody has said where", p.Namespace, p.Name)
			}
		}
	}
	for _, p := range network(t) {
		y, err := sigsyaml.Marshal(p.Spec)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(y), nowhere) {
			t.Errorf("deploy/network/kustomization.yaml has no address for NetworkPolicy %s/%s", p.Namespace, p.Name)
		}
	}
}

// restoreJob is the one on the page.
func restoreJob(t *testing.T) *batchv1.Job {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(projectFolder, "docs", "how-to", "restore-a-tenant.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, y, _ := strings.Cut(string(b), "```yaml\n")
	y, _, _ = strings.Cut(y, "```")
	o, _, err := decoder.Decode([]byte(y), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	j, ok := o.(*batchv1.Job)
	if !ok {
		t.Fatalf("the page's first manifest is a %T", o)
	}
	return j
}
