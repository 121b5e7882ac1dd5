package fn

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// exitHopeless is the exit code of an effect that no further attempt would help.
// It stands in package effect, which this one doesn't import: effects bring half
// of the world's client libraries with them.
const exitHopeless = 2

// A jobSpec is what is particular to one effect's Job.
type jobSpec struct {
	effect    string
	namespace string
	deadline  time.Duration
	pod       corev1.PodSpec
}

// effect makes a step of a Job that is run once.
func effect(spec func(*tenancy) jobSpec) func(*tenancy) (composed, outcome) {
	return func(t *tenancy) (composed, outcome) {
		s := spec(t)
		job := t.observed.jobs[s.effect]

		switch {
		// The ledger says so already and the tenant works: the Job has served.
		// One response earlier would be too soon, for the ledger is written
		// after composed resources are deleted.
		case t.remembered(s.effect) && (job == nil || t.wasReady()):
			return composed{}, t.effectDone(s.effect)

		case t.done(s.effect):
			return composed{kept: asObserved(t.observed.wire[s.effect])}, t.effectDone(s.effect)

		case job == nil:
			return composed{object: t.job(s)}, settling(reasonCreating, "Job %s/%s is being created", s.namespace, t.jobName(s.effect))

		// All of a Job's pod template is immutable, so a Job that exists stays as
		// it is, whatever has become of images and settings since.
		default:
			return composed{kept: asObserved(t.observed.wire[s.effect])}, jobOutcome(job)
		}
	}
}

// remembered tells whether an effect is in the ledger as the API server has it.
func (t *tenancy) remembered(effect string) bool {
	_, ok := t.client.Status.Effects[effect]
	return ok
}

// effectDone returns how a step stands whose effect is in the ledger.
func (t *tenancy) effectDone(effect string) outcome {
	return outcome{done, reasonCompleted, "completed at " + t.ledger[effect].CompletedAt.UTC().Format(time.RFC3339)}
}

// jobOutcome tells how an unfinished Job stands.
func jobOutcome(job *batchv1.Job) outcome {
	if c := jobCondition(job, batchv1.JobFailed); c != nil {
		return failure(reasonJobFailed, "Job %s/%s failed: %s (%s). Read why: kubectl -n %s logs job/%s --all-containers. Then run it again: kubectl -n %s delete job %s",
			job.GetNamespace(), job.GetName(), c.Message, c.Reason,
			job.GetNamespace(), job.GetName(),
			job.GetNamespace(), job.GetName())
	}
	if job.Status.Failed > 0 {
		return settling(reasonRetrying, "Job %s/%s runs again: %d attempts have failed. Read why: kubectl -n %s logs job/%s --all-containers",
			job.GetNamespace(), job.GetName(), job.Status.Failed, job.GetNamespace(), job.GetName())
	}
	return settling(reasonRunning, "Job %s/%s is running", job.GetNamespace(), job.GetName())
}

// completedAt returns when a Job completed, if it did.
func completedAt(job *batchv1.Job) (metav1.Time, bool) {
	c := jobCondition(job, batchv1.JobComplete)
	switch {
	case c == nil:
		return metav1.Time{}, false
	case job.Status.CompletionTime != nil:
		return *job.Status.CompletionTime, true
	default:
		return c.LastTransitionTime, true
	}
}

// jobCondition returns a Job's condition if it is true.
func jobCondition(job *batchv1.Job, typ batchv1.JobConditionType) *batchv1.JobCondition {
	i := slices.IndexFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == typ && c.Status == corev1.ConditionTrue
	})
	if i < 0 {
		return nil
	}
	return &job.Status.Conditions[i]
}

// job returns the Job of an effect.
func (t *tenancy) job(s jobSpec) *batchv1.Job {
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job"},
		ObjectMeta: t.objectMeta(s.namespace, t.jobName(s.effect), s.effect),
		Spec:       t.jobTemplate(s.effect, s.deadline, s.pod),
	}
}

// jobTemplate bounds a pod's attempts in number and in time.
func (t *tenancy) jobTemplate(component string, deadline time.Duration, pod corev1.PodSpec) batchv1.JobSpec {
	return batchv1.JobSpec{
		ActiveDeadlineSeconds: ptr.To(int64(deadline.Seconds())),
		BackoffLimit:          t.platform.Effects.Retries,
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
			{
				// An hour of retries hides what one look would have shown.
				Action: batchv1.PodFailurePolicyActionFailJob,
				OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
					Operator: batchv1.PodFailurePolicyOnExitCodesOpIn,
					Values:   []int32{exitHopeless},
				},
			},
			{
				// A drained node is no fault of the effect's.
				Action: batchv1.PodFailurePolicyActionIgnore,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{
					Type:   corev1.DisruptionTarget,
					Status: corev1.ConditionTrue,
				}},
			},
		}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: t.labels(component)},
			Spec:       pod,
		},
	}
}

// A podOption adds to a pod.
type podOption func(*corev1.PodSpec)

// pod returns a pod that passes the restricted Pod Security Standard.
func (t *tenancy) pod(c corev1.Container, options ...podOption) corev1.PodSpec {
	p := corev1.PodSpec{
		// What a podFailurePolicy needs: with OnFailure there is no pod to ask.
		RestartPolicy:                corev1.RestartPolicyNever,
		AutomountServiceAccountToken: ptr.To(false),
		EnableServiceLinks:           ptr.To(false),
		// An effect stops within five seconds of being told to.
		TerminationGracePeriodSeconds: ptr.To[int64](10),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   ptr.To(true),
			RunAsUser:      ptr.To(t.platform.Filestore.UserID),
			RunAsGroup:     ptr.To(t.platform.Filestore.GroupID),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{c},
	}
	for _, s := range t.platform.Effects.ImagePullSecrets {
		p.ImagePullSecrets = append(p.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	for _, o := range options {
		o(&p)
	}
	return p
}

// container returns a container that runs an effect.
func (t *tenancy) container(effect string, env ...[]corev1.EnvVar) corev1.Container {
	return corev1.Container{
		Name:            effect,
		Image:           t.platform.Effects.Image,
		Args:            []string{"effect", effect},
		Env:             slices.Concat(append([][]corev1.EnvVar{t.tenantEnv()}, env...)...),
		Resources:       requirements(t.platform.Effects.Resources),
		SecurityContext: restricted(),
	}
}

// requirements of a container.
func requirements(r v1beta1.Resources) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: r.Requests, Limits: r.Limits}
}

// restricted returns what the restricted Pod Security Standard asks of a
// container, and a root filesystem that can't be written to.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// withInit runs a container before the pod's own.
func withInit(c corev1.Container) podOption {
	return func(p *corev1.PodSpec) { p.InitContainers = append(p.InitContainers, c) }
}

// withClaim mounts a claim into every container of the pod.
func withClaim(name, claim, path string, readOnly bool) podOption {
	return withVolume(name, path, readOnly, corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim, ReadOnly: readOnly},
	})
}

// withScratch mounts an empty directory into every container of the pod.
func withScratch(name, path string) podOption {
	return withVolume(name, path, false, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
}

// withVolume mounts a volume into every container of the pod. It comes after
// withInit, which adds containers.
func withVolume(name, path string, readOnly bool, source corev1.VolumeSource) podOption {
	return func(p *corev1.PodSpec) {
		p.Volumes = append(p.Volumes, corev1.Volume{Name: name, VolumeSource: source})
		mount := corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: readOnly}
		for _, containers := range [][]corev1.Container{p.InitContainers, p.Containers} {
			for i := range containers {
				containers[i].VolumeMounts = append(containers[i].VolumeMounts, mount)
			}
		}
	}
}

// filestoreRoot is where the filestore is mounted: whole, because a hard link
// can't cross from one mount to another.
const filestoreRoot = "/var/lib/odoo/filestore"

// withFilestore mounts the filestore of the tenant's version.
func (t *tenancy) withFilestore() podOption {
	return withClaim("filestore", t.version.FilestoreClaim, filestoreRoot, false)
}

// tenantEnv tells an effect whom it works for. Values go in as they are: no
// shell and no template ever sees them.
func (t *tenancy) tenantEnv() []corev1.EnvVar {
	spec := t.client.Spec
	return []corev1.EnvVar{
		{Name: "TENANT_NAME", Value: spec.Subdomain},
		{Name: "TENANT_UID", Value: string(t.client.GetUID())},
		{Name: "TENANT_PROJECT_ID", Value: fmt.Sprint(spec.ProjectID)},
		{Name: "TENANT_DATABASE", Value: t.database},
		{Name: "TENANT_TIER", Value: string(spec.Tier)},
		{Name: "TENANT_ODOO_VERSION", Value: string(t.odooVersion)},
		{Name: "TENANT_OWNER_EMAIL", Value: verbatim(spec.OwnerEmail)},
		{Name: "TENANT_OWNER_NAME", Value: verbatim(spec.OwnerName)},
	}
}

// verbatim keeps the kubelet from expanding $(NAME) in a value.
func verbatim(value string) string {
	return strings.ReplaceAll(value, "$", "$$")
}

// postgresEnv tells a program how to reach the database server, in libpq's names.
func (t *tenancy) postgresEnv() []corev1.EnvVar {
	pg := t.platform.Postgres
	return []corev1.EnvVar{
		{Name: "PGHOST", Value: pg.Host},
		{Name: "PGPORT", Value: fmt.Sprint(pg.Port)},
		{Name: "PGSSLMODE", Value: pg.SSLMode},
		secretEnv("PGUSER", v1beta1.SecretKey{Name: pg.CredentialsSecret, Key: "username"}),
		secretEnv("PGPASSWORD", v1beta1.SecretKey{Name: pg.CredentialsSecret, Key: "password"}),
		{Name: "ODOO_ROLE", Value: verbatim(pg.OdooRole)},
	}
}

// filestoreEnv tells an effect where the filestore is.
func filestoreEnv() []corev1.EnvVar {
	return []corev1.EnvVar{{Name: "FILESTORE_ROOT", Value: filestoreRoot}}
}

// secretEnv takes a value from a Secret in the pod's namespace.
func secretEnv(name string, key v1beta1.SecretKey) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: key.Name},
		Key:                  key.Key,
	}}}
}
