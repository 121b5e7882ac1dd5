package tenant

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// A podOption adds to a pod.
type podOption func(*corev1.PodSpec)

// pod returns a pod that passes the restricted Pod Security Standard.
func (t *tenant) pod(c corev1.Container, options ...podOption) corev1.PodSpec {
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
	t.mountAuthorities(&p)
	return p
}

// container returns a container that runs an effect.
func (t *tenant) container(effect string, env ...[]corev1.EnvVar) corev1.Container {
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
func withClaim(claim string, mount corev1.VolumeMount) podOption {
	return withVolume(mount, corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim, ReadOnly: mount.ReadOnly},
	})
}

// withScratch mounts an empty directory into every container of the pod. A pod that
// fills it is evicted, rather than the node's other pods.
func withScratch(name, path string, limit resource.Quantity) podOption {
	return withVolume(corev1.VolumeMount{Name: name, MountPath: path}, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}})
}

// withVolume mounts a volume into every container of the pod. It comes after
// withInit, which adds containers.
func withVolume(mount corev1.VolumeMount, source corev1.VolumeSource) podOption {
	return func(p *corev1.PodSpec) {
		p.Volumes = append(p.Volumes, corev1.Volume{Name: mount.Name, VolumeSource: source})
		for _, containers := range [][]corev1.Container{p.InitContainers, p.Containers} {
			for i := range containers {
				containers[i].VolumeMounts = append(containers[i].VolumeMounts, mount)
			}
		}
	}
}

// filestoreRoot is where the filestore is mounted.
const filestoreRoot = "/var/lib/odoo/filestore"

// withFilestore mounts the whole filestore of the tenant's version, for a Job that makes or
// removes the tenant's directory. A Job whose tenant may have no directory yet needs it
// too: the kubelet makes a directory that isn't there, and root owns it then.
func (t *tenant) withFilestore() podOption {
	return withClaim(t.version.FilestoreClaim, corev1.VolumeMount{Name: "filestore", MountPath: filestoreRoot})
}

// withOwnFiles mounts the tenant's directory of a filestore, and no other tenant's. A
// tenant that adopts its database may have no directory, and gets the whole filestore.
func (t *tenant) withOwnFiles(claim string, readOnly bool) podOption {
	mount := corev1.VolumeMount{Name: "filestore", MountPath: filestoreRoot, ReadOnly: readOnly}
	if !t.xr.Spec.Database.Adopt {
		mount.MountPath += "/" + t.database
		mount.SubPath = t.database
	}
	return withClaim(claim, mount)
}

// tenantEnv tells an effect whom it works for. No shell and no template ever sees
// these values.
func (t *tenant) tenantEnv() []corev1.EnvVar {
	spec := t.xr.Spec
	return []corev1.EnvVar{
		plainEnv("TENANT_NAME", spec.Subdomain),
		plainEnv("TENANT_UID", string(t.xr.GetUID())),
		plainEnv("TENANT_PROJECT_ID", fmt.Sprint(spec.ProjectID)),
		plainEnv("TENANT_DATABASE", t.database),
		plainEnv("TENANT_TIER", string(spec.Tier)),
		plainEnv("TENANT_ODOO_VERSION", string(t.odooVersion)),
		plainEnv("TENANT_OWNER_EMAIL", spec.OwnerEmail),
		plainEnv("TENANT_OWNER_NAME", spec.OwnerName),
	}
}

// plainEnv returns a value for an effect, which reaches it as it is: the dollar is
// doubled, or the kubelet would expand what looks like $(NAME).
func plainEnv(name, value string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, Value: strings.ReplaceAll(value, "$", "$$")}
}

// odooEnv has a program log in to the database server as Odoo's role: whatever works
// in a tenant's database may do no more there than the tenant.
func (t *tenant) odooEnv() []corev1.EnvVar {
	return append(t.postgresEnv(t.version.DatabaseSecret), plainEnv("ODOO_ROLE", t.releaseRole()))
}

// postgresEnv tells a program how to reach the database server, in libpq's names, and
// in which Secret the role is that it logs in as.
func (t *tenant) postgresEnv(secret string) []corev1.EnvVar {
	pg := t.platform.Postgres
	return append([]corev1.EnvVar{
		plainEnv("PGHOST", pg.Host),
		plainEnv("PGPORT", fmt.Sprint(pg.Port)),
		plainEnv("PGSSLMODE", pg.SSLMode),
		secretEnv("PGUSER", v1beta1.SecretKey{Name: secret, Key: "username"}),
		secretEnv("PGPASSWORD", v1beta1.SecretKey{Name: secret, Key: "password"}),
	}, t.postgresAuthority().env()...)
}

// filestoreEnv tells an effect where the filestore is.
func filestoreEnv() []corev1.EnvVar {
	return []corev1.EnvVar{plainEnv("FILESTORE_ROOT", filestoreRoot)}
}

// secretEnv takes a value from a Secret in the pod's namespace.
func secretEnv(name string, key v1beta1.SecretKey) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: key.Name},
		Key:                  key.Key,
	}}}
}
