package tenant

import (
	"path"

	corev1 "k8s.io/api/core/v1"

	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// authorityRoot is where certificates of authorities are mounted, a folder for each
// server.
const authorityRoot = "/etc/planaclient/ca"

// An authority vouches for a server that Jobs talk to.
type authority struct {
	// server by a name that is fit for a volume.
	server string

	// variable that tells a program in which file the certificates are.
	variable string

	// bundle of certificates. Nil: the program has its own.
	bundle *v1beta1.CABundle
}

// file that the certificates are in.
func (a authority) file() string { return path.Join(authorityRoot, a.server, "ca.crt") }

// env tells a program where the certificates are. What is told is mounted: see
// mountAuthorities.
func (a authority) env() []corev1.EnvVar {
	if a.bundle == nil {
		return nil
	}
	return []corev1.EnvVar{plainEnv(a.variable, a.file())}
}

// volume with the certificates and nothing else that the object holds, which may
// be a key.
func (a authority) volume() corev1.Volume {
	object := corev1.LocalObjectReference{Name: a.bundle.Name}
	items := []corev1.KeyToPath{{Key: a.bundle.Key, Path: path.Base(a.file())}}
	v := corev1.Volume{Name: "ca-" + a.server}
	if a.bundle.Kind == v1beta1.CABundleConfigMap {
		v.ConfigMap = &corev1.ConfigMapVolumeSource{LocalObjectReference: object, Items: items}
	} else {
		v.Secret = &corev1.SecretVolumeSource{SecretName: object.Name, Items: items}
	}
	return v
}

// mount of that volume.
func (a authority) mount() corev1.VolumeMount {
	return corev1.VolumeMount{Name: "ca-" + a.server, MountPath: path.Dir(a.file()), ReadOnly: true}
}

func (t *tenant) postgresAuthority() authority {
	return authority{server: "postgres", variable: "PGSSLROOTCERT", bundle: t.platform.Postgres.CASecret}
}

func (t *tenant) eventAuthority() authority {
	return authority{server: "events", variable: "REDIS_CA_FILE", bundle: t.platform.Events.CASecret}
}

func (t *tenant) accountAuthority() authority {
	return authority{server: "account", variable: "ACCOUNT_CA_FILE", bundle: t.platform.Account.CASecret}
}

func (t *tenant) matrixAuthority() authority {
	return authority{server: "matrix", variable: "MATRIX_CA_FILE", bundle: t.platform.Matrix.CASecret}
}

func (t *tenant) storageAuthority() authority {
	return authority{server: "storage", variable: "RESTIC_CACERT", bundle: t.platform.Backup.CASecret}
}

// mountAuthorities into those containers of a pod that are told of them. So who
// tells a program how to reach a server needn't know of volumes.
func (t *tenant) mountAuthorities(p *corev1.PodSpec) {
	for _, a := range []authority{t.postgresAuthority(), t.eventAuthority(), t.accountAuthority(), t.matrixAuthority(), t.storageAuthority()} {
		if a.bundle == nil {
			continue
		}
		needed := false
		for _, containers := range [][]corev1.Container{p.InitContainers, p.Containers} {
			for i := range containers {
				if c := &containers[i]; toldOf(*c, a.variable) {
					c.VolumeMounts = append(c.VolumeMounts, a.mount())
					needed = true
				}
			}
		}
		if needed {
			p.Volumes = append(p.Volumes, a.volume())
		}
	}
}

// toldOf a variable.
func toldOf(c corev1.Container, variable string) bool {
	for _, e := range c.Env {
		if e.Name == variable {
			return true
		}
	}
	return false
}
