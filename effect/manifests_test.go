package effect

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// Manifests that people apply by hand tell their effect what it wants to know,
// and what the Platform's defaults say.
func TestManifests(t *testing.T) {
	platform, err := v1beta1.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	cronJob := &batchv1.CronJob{}
	if err := yaml.UnmarshalStrict(read(t, "deploy", "backup-retention", "cronjob.yaml"), cronJob); err != nil {
		t.Fatal(err)
	}
	fenced := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(read(t, "docs", "how-to", "restore-a-tenant.md"))
	if fenced == nil {
		t.Fatal("the how-to has no manifest")
	}
	job := &batchv1.Job{}
	if err := yaml.UnmarshalStrict(fenced[1], job); err != nil {
		t.Fatal(err)
	}
	if cronJob.Namespace != platform.Backup.Namespace || job.Namespace != platform.Backup.Namespace {
		t.Errorf("namespaces %s and %s, want %s", cronJob.Namespace, job.Namespace, platform.Backup.Namespace)
	}

	for name, tc := range map[string]struct {
		job    batchv1.JobSpec
		config any
		want   map[string]string
	}{
		"backup-retention": {
			job: cronJob.Spec.JobTemplate.Spec, config: &BackupRetentionConfig{},
			want: map[string]string{"BACKUP_REPOSITORY_BASE": platform.Backup.Repository},
		},
		"restore": {
			job: job.Spec, config: &RestoreConfig{},
			want: map[string]string{
				"RESTIC_REPOSITORY": platform.Backup.Repository + "/acme-23",
				"PGHOST":            platform.Postgres.Host,
				"PGSSLMODE":         platform.Postgres.SSLMode,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := tc.job.Template.Spec
			c := pod.Containers[0]
			if diff := cmp.Diff([]string{"effect", name}, c.Args); diff != "" {
				t.Errorf("args: -want, +got:\n%s", diff)
			}
			if c.Image != platform.Effects.Image {
				t.Errorf("image %s, want %s", c.Image, platform.Effects.Image)
			}

			given := map[string]string{}
			for _, e := range c.Env {
				given[e.Name] = e.Value
			}
			params, err := env.GetFieldParams(tc.config)
			if err != nil {
				t.Fatal(err)
			}
			known := map[string]bool{}
			for _, p := range params {
				known[p.Key] = true
				if _, ok := given[p.Key]; p.Required && !ok {
					t.Errorf("%s is missing", p.Key)
				}
			}
			for key := range given {
				if !known[key] {
					t.Errorf("%s is nothing that the effect reads", key)
				}
			}
			for key, value := range tc.want {
				if given[key] != value {
					t.Errorf("%s is %q, want %q", key, given[key], value)
				}
			}
			if given["AWS_DEFAULT_REGION"] != platform.Backup.Region {
				t.Errorf("AWS_DEFAULT_REGION is %q, want %q", given["AWS_DEFAULT_REGION"], platform.Backup.Region)
			}
			restricted(t, pod)
		})
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// restricted fails the test unless a pod passes the restricted Pod Security
// Standard, is bounded, and has no access to the API server.
func restricted(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	if ptr.Deref(pod.AutomountServiceAccountToken, true) {
		t.Error("the pod has a service account's token")
	}
	if s := pod.SecurityContext; s == nil || !ptr.Deref(s.RunAsNonRoot, false) || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod isn't restricted: %+v", s)
	}
	for _, c := range pod.Containers {
		want := &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		if diff := cmp.Diff(want, c.SecurityContext); diff != "" {
			t.Errorf("container %s: -want, +got:\n%s", c.Name, diff)
		}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if c.Resources.Requests.Name(name, "").IsZero() || c.Resources.Limits.Name(name, "").IsZero() {
				t.Errorf("container %s has no request or no limit of %s", c.Name, name)
			}
		}
	}
}
