// Package deploy tests what is in deploy/, without a cluster: that it builds, is
// of the types that it says it is, and does what it is there for.
//
// Run it with -count=1: go keeps a test's result while the files of its module
// stay the same, and deploy/ is outside of this one.
package deploy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	pkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	pkgv1beta1 "github.com/crossplane/crossplane/apis/v2/pkg/v1beta1"
	protectionv1beta1 "github.com/crossplane/crossplane/apis/v2/protection/v1beta1"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

const deploy = "../../deploy"

// scheme of the types in deploy/ and example/, and on pages.
var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientscheme.AddToScheme(s))
	utilruntime.Must(pkgv1beta1.AddToScheme(s))
	utilruntime.Must(protectionv1beta1.AddToScheme(s))
	utilruntime.Must(gwv1.Install(s))
	utilruntime.Must(sqlv1alpha1.SchemeBuilder.AddToScheme(s))
	utilruntime.Must(kustomizev1.AddToScheme(s))
	utilruntime.Must(sourcev1.AddToScheme(s))
	return s
}()

// decoder of these. Decoding is strict: a field that isn't known is one that
// Kubernetes would drop without a word.
var decoder = serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()

// build a kustomization into typed objects.
func build(t *testing.T, dir string) []runtime.Object {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatalf("cannot build %s: %v", dir, err)
	}
	var objects []runtime.Object
	for _, r := range resources.Resources() {
		y, err := r.AsYAML()
		if err != nil {
			t.Fatalf("cannot write %s: %v", r.CurId(), err)
		}
		o, _, err := decoder.Decode(y, nil, nil)
		if err != nil {
			t.Fatalf("cannot decode %s: %v", r.CurId(), err)
		}
		objects = append(objects, o)
	}
	return objects
}

// one object of the supplied type and name.
func one[T metav1.Object](t *testing.T, objects []runtime.Object, name string) T {
	t.Helper()
	for _, o := range objects {
		if typed, ok := o.(T); ok && typed.GetName() == name {
			return typed
		}
	}
	var none T
	t.Fatalf("there is no %T %s", none, name)
	return none
}

// platform with its defaults, which deploy/ is written for.
func platform(t *testing.T) *v1beta1.Platform {
	t.Helper()
	p, err := v1beta1.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestKustomization(t *testing.T) {
	got := map[string]int{}
	for _, o := range build(t, deploy) {
		got[o.GetObjectKind().GroupVersionKind().Kind]++
	}
	for kind := range got {
		if kind == "Secret" {
			t.Errorf("deploy/ must hold no %s: an installation brings its own", kind)
		}
	}
	for _, kind := range []string{"ClusterRole", "ClusterProviderConfig", "DeploymentRuntimeConfig", "PodDisruptionBudget", "CronJob", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} {
		if got[kind] == 0 {
			t.Errorf("deploy/ has no %s", kind)
		}
	}
}

func TestRuntimeConfig(t *testing.T) {
	objects := build(t, deploy)
	config := one[*pkgv1beta1.DeploymentRuntimeConfig](t, objects, "function-planaclient")
	budget := one[*policyv1.PodDisruptionBudget](t, objects, "function-planaclient")

	spec := config.Spec.DeploymentTemplate.Spec
	pod := spec.Template.Spec
	if len(pod.Containers) != 1 || pod.Containers[0].Name != "package-runtime" {
		t.Fatalf("Crossplane looks for one container named package-runtime, got %v", pod.Containers)
	}

	// Crossplane labels a function's pods with its name.
	want := map[string]string{pkgv1.LabelFunction: config.GetName()}
	if diff := cmp.Diff(want, budget.Spec.Selector.MatchLabels); diff != "" {
		t.Errorf("PodDisruptionBudget's selector: -want, +got:\n%s", diff)
	}
	for _, c := range pod.TopologySpreadConstraints {
		if diff := cmp.Diff(want, c.LabelSelector.MatchLabels); diff != "" {
			t.Errorf("topology spread's selector: -want, +got:\n%s", diff)
		}
	}
	if got, least := *spec.Replicas, int32(budget.Spec.MinAvailable.IntValue()); got <= least {
		t.Errorf("%d replicas, of which %d must be available: a node with one of them can't be drained", got, least)
	}

	c := pod.Containers[0]
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if c.Resources.Requests.Name(name, "").IsZero() || c.Resources.Limits.Name(name, "").IsZero() {
			t.Errorf("a pod under a ResourceQuota needs a request and a limit of %s", name)
		}
	}

	if err := restricted(pod); err != "" {
		t.Error(err)
	}
}

// restricted tells what a pod lacks of the restricted Pod Security Standard.
func restricted(pod corev1.PodSpec) string {
	s := pod.SecurityContext
	switch {
	case s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot:
		return "the pod may run as root"
	case s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		return "the pod has no seccomp profile"
	case pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken:
		return "the pod mounts a token"
	}
	for _, c := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
		s := c.SecurityContext
		switch {
		case s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation:
			return "container " + c.Name + " may escalate its privileges"
		case s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0:
			return "container " + c.Name + " has capabilities"
		}
	}
	for _, v := range pod.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
			return "the empty volume " + v.Name + " has no limit"
		}
	}
	return ""
}

func TestClusterProviderConfig(t *testing.T) {
	p := platform(t).Postgres
	config := one[*sqlv1alpha1.ClusterProviderConfig](t, build(t, deploy), p.ClusterProviderConfig)

	got := config.Spec.Credentials.ConnectionSecretRef
	want := xpv1.SecretReference{Name: p.CredentialsSecret, Namespace: p.Namespace}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the Secret must be the Platform's: -want, +got:\n%s", diff)
	}
	if got := config.Spec.SSLMode; got == nil || *got != p.SSLMode {
		t.Errorf("sslMode: want the Platform's, %s, got %v", p.SSLMode, got)
	}
}

func TestBackupRetention(t *testing.T) {
	p := platform(t)
	spec := one[*batchv1.CronJob](t, build(t, deploy), "expire-backups").Spec
	pod := spec.JobTemplate.Spec.Template.Spec
	if lack := restricted(pod); lack != "" {
		t.Error(lack)
	}
	if diff := cmp.Diff(p.Backup.Window.TimeZone, *spec.TimeZone); diff != "" {
		t.Errorf("time zone: -want, +got:\n%s", diff)
	}

	// It works on what the tenants' own Jobs make, so what they are told it must
	// be told too.
	c := pod.Containers[0]
	if diff := cmp.Diff(p.Effects.Image, c.Image); diff != "" {
		t.Errorf("image: -want, +got:\n%s", diff)
	}
	got := map[string]string{}
	for _, e := range c.Env {
		got[e.Name] = e.Value
		if e.ValueFrom != nil {
			got[e.Name] = e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key
			// The pod of an installation that has one key starts without.
			own := e.ValueFrom.SecretKeyRef.Name == "backup-s3-retention"
			if optional := ptr.Deref(e.ValueFrom.SecretKeyRef.Optional, false); optional != own {
				t.Errorf("%s: optional is %t", e.Name, optional)
			}
		}
	}
	for name, want := range map[string]string{
		"BACKUP_REPOSITORY_BASE": p.Backup.Repository,
		"AWS_DEFAULT_REGION":     p.Backup.Region,
		"RESTIC_PASSWORD":        p.Backup.RepositorySecret.Name + "/" + p.Backup.RepositorySecret.Key,
		"AWS_ACCESS_KEY_ID":      p.Backup.StorageSecret + "/access-key",
		"AWS_SECRET_ACCESS_KEY":  p.Backup.StorageSecret + "/secret-key",

		"BACKUP_RETENTION_ACCESS_KEY_ID":     "backup-s3-retention/access-key",
		"BACKUP_RETENTION_SECRET_ACCESS_KEY": "backup-s3-retention/secret-key",
	} {
		if got[name] != want {
			t.Errorf("%s: want the Platform's, %s, got %s", name, want, got[name])
		}
	}
}

func TestTemplates(t *testing.T) {
	p := platform(t)
	for _, tier := range []string{p.Tiers.Starter.Template, p.Tiers.Pro.Template, p.Tiers.Enterprise.Template} {
		for _, version := range []string{"17", "18", "19"} {
			t.Run(tier+"-"+version, func(t *testing.T) {
				name := tier + "-template-" + version
				objects := build(t, deploy+"/templates/"+tier+"-"+version)
				if len(objects) != 1 {
					t.Fatalf("want one object, got %d", len(objects))
				}
				db := one[*sqlv1alpha1.Database](t, objects, name)

				if got := db.GetNamespace(); got != p.Postgres.Namespace {
					t.Errorf("namespace: want %s, where the function looks for it, got %s", p.Postgres.Namespace, got)
				}
				if want, got := name+"."+p.Domain, db.GetAnnotations()["crossplane.io/external-name"]; got != want {
					t.Errorf("external name: want %s, got %s", want, got)
				}
				if diff := cmp.Diff(xpv1.ManagementPolicies{xpv1.ManagementActionObserve, xpv1.ManagementActionLateInitialize}, db.GetManagementPolicies()); diff != "" {
					t.Errorf("a template is only ever looked at: -want, +got:\n%s", diff)
				}
				want := &xpv1.ProviderConfigReference{Kind: sqlv1alpha1.ClusterProviderConfigKind, Name: p.Postgres.ClusterProviderConfig}
				if diff := cmp.Diff(want, db.GetProviderConfigReference()); diff != "" {
					t.Errorf("provider config: -want, +got:\n%s", diff)
				}
			})
		}
	}
}

// TestBackupRetentionName: Crossplane would make a CronJob of a tenant's name the tenant's
// own, and it would go with the tenant.
func TestBackupRetentionName(t *testing.T) {
	const tenant = "acme"
	ofTenant := ""
	for name := range podTemplatesOf(t, "18", true) {
		if namespace, name, _ := strings.Cut(name, "/"); namespace == platform(t).Backup.Namespace && strings.HasSuffix(name, "-"+tenant) {
			ofTenant = strings.TrimSuffix(name, tenant)
		}
	}
	if ofTenant == "" {
		t.Fatal("no tenant's CronJob is composed")
	}
	for _, o := range build(t, deploy) {
		c, is := o.(*batchv1.CronJob)
		if is && c.Namespace == platform(t).Backup.Namespace && strings.HasPrefix(c.Name, ofTenant) {
			t.Errorf("CronJob %s/%s is also that of tenant %s", c.Namespace, c.Name, strings.TrimPrefix(c.Name, ofTenant))
		}
	}
}

// composes are the verbs with which Crossplane manages what it composes.
var composes = []string{"get", "list", "watch", "create", "patch", "update", "delete"}

// reads are the verbs with which Crossplane reads what a function requires.
var reads = []string{"get", "list", "watch"}

func TestRoles(t *testing.T) {
	objects := build(t, deploy)

	type access struct{ group, resource string }
	cases := map[string]struct {
		reason string
		role   string
		want   map[access][]string
	}{
		"Crossplane": {
			reason: "Crossplane needs exactly what the function composes and requires.",
			role:   "function-planaclient:aggregate-to-crossplane",
			want: map[access][]string{
				{"protection.crossplane.io", "clusterusages"}:   composes,
				{"postgresql.sql.m.crossplane.io", "databases"}: composes,
				{"gateway.networking.k8s.io", "httproutes"}:     composes,
				{"batch", "cronjobs"}:                           composes,
				{"batch", "jobs"}:                               composes,
				{"", "resourcequotas"}:                          reads,
			},
		},
		"Creator": {
			reason: "The runbook's staff apply, read, annotate and delete PLANAClients, and nothing else.",
			role:   "planaclient-creator",
			want: map[access][]string{
				{"planapulse.com", "planaclients"}: composes,
			},
		},
		"BreakGlass": {
			reason: "What policies leave to Crossplane, and nothing else.",
			role:   "planaclient-break-glass",
			want: map[access][]string{
				{"planapulse.com", "planaclients"}:              composes,
				{"protection.crossplane.io", "clusterusages"}:   composes,
				{"postgresql.sql.m.crossplane.io", "databases"}: {"get", "list", "watch", "patch", "update", "delete"},
			},
		},
		"Troubleshooter": {
			reason: "What conditions tell people to do: read, and delete a Job so that it runs again. Who creates one reads every Secret.",
			role:   "planaclient-troubleshooter",
			want: map[access][]string{
				{"batch", "jobs"}:      {"get", "list", "watch", "delete"},
				{"batch", "cronjobs"}:  reads,
				{"", "events"}:         reads,
				{"", "pods"}:           reads,
				{"", "pods/log"}:       reads,
				{"", "resourcequotas"}: reads,
				{"postgresql.sql.m.crossplane.io", "databases"}: reads,
				{"gateway.networking.k8s.io", "httproutes"}:     reads,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := map[access][]string{}
			for _, rule := range one[*rbacv1.ClusterRole](t, objects, tc.role).Rules {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						got[access{group, resource}] = rule.Verbs
					}
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}

	events := one[*rbacv1.Role](t, objects, "planaclient-creator")
	if events.GetNamespace() != metav1.NamespaceDefault {
		t.Errorf("a PLANAClient's events are in %s, and the role is in %s", metav1.NamespaceDefault, events.GetNamespace())
	}
	want := []rbacv1.PolicyRule{{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: reads}}
	if diff := cmp.Diff(want, events.Rules); diff != "" {
		t.Errorf("creators see tenants' events, and no others': -want, +got:\n%s", diff)
	}

	role := one[*rbacv1.ClusterRole](t, objects, "function-planaclient:aggregate-to-crossplane")
	if got := role.GetLabels()["rbac.crossplane.io/aggregate-to-crossplane"]; got != "true" {
		t.Errorf("without its label the role is nobody's, got %q", got)
	}
}

func TestPoliciesAreBound(t *testing.T) {
	objects := build(t, deploy)
	for _, o := range objects {
		policy, ok := o.(*admissionv1.ValidatingAdmissionPolicy)
		if !ok {
			continue
		}
		if f := policy.Spec.FailurePolicy; f == nil || *f != admissionv1.Fail {
			t.Errorf("policy %s must fail closed", policy.GetName())
		}
		binding := one[*admissionv1.ValidatingAdmissionPolicyBinding](t, objects, policy.GetName())
		want := admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        policy.GetName(),
			ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		}
		if diff := cmp.Diff(want, binding.Spec); diff != "" {
			t.Errorf("binding of %s: -want, +got:\n%s", policy.GetName(), diff)
		}
	}
}
