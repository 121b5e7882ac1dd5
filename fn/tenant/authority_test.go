package tenant_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// trustPrivately has every server that Jobs talk to certified by an authority of the
// installation's own.
func (w *world) trustPrivately() {
	w.platform.in("postgres")["sslMode"] = "verify-full"
	w.platform.in("postgres")["caSecret"] = map[string]any{"name": "postgres-ca"}
	w.platform.in("events")["tls"] = true
	w.platform.in("events")["caSecret"] = map[string]any{"name": "redis-tls", "key": "authority.pem"}
	w.platform.in("account")["webhookURL"] = "https://portal.example.com/hooks"
	w.platform.in("account")["caSecret"] = map[string]any{"kind": "ConfigMap", "name": "authorities"}
	w.platform.in("matrix")["homeserver"] = "https://matrix.example.com"
	w.platform.in("matrix")["caSecret"] = map[string]any{"kind": "ConfigMap", "name": "authorities"}
	w.platform.in("backup")["caSecret"] = map[string]any{"name": "s3-ca"}
}

// TestAuthorities looks whether each container is given the certificates of those
// servers that it is told how to reach, and of no others, where it is told that they
// are.
func TestAuthorities(t *testing.T) {
	secret := func(name, key string) corev1.VolumeSource {
		return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Items: []corev1.KeyToPath{{Key: key, Path: "ca.crt"}}}}
	}
	configMap := func(name, key string) corev1.VolumeSource {
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name},
			Items:                []corev1.KeyToPath{{Key: key, Path: "ca.crt"}},
		}}
	}
	// By what a program must be told to talk to the server at all.
	servers := map[string]struct {
		variable, volume string
		source           corev1.VolumeSource
	}{
		"PGHOST":                {variable: "PGSSLROOTCERT", volume: "ca-postgres", source: secret("postgres-ca", "ca.crt")},
		"REDIS_ADDRESS":         {variable: "REDIS_CA_FILE", volume: "ca-events", source: secret("redis-tls", "authority.pem")},
		"ACCOUNT_WEBHOOK_URL":   {variable: "ACCOUNT_CA_FILE", volume: "ca-account", source: configMap("authorities", "ca.crt")},
		"MATRIX_HOMESERVER":     {variable: "MATRIX_CA_FILE", volume: "ca-matrix", source: configMap("authorities", "ca.crt")},
		"AWS_SECRET_ACCESS_KEY": {variable: "RESTIC_CACERT", volume: "ca-storage", source: secret("s3-ca", "ca.crt")},
	}
	authorities := func(pod corev1.PodSpec) map[string]corev1.VolumeSource {
		found := map[string]corev1.VolumeSource{}
		for _, v := range pod.Volumes {
			if v.Secret != nil || v.ConfigMap != nil {
				found[v.Name] = v.VolumeSource
			}
		}
		return found
	}

	seen := map[string]bool{}
	for _, hasTemplate := range []bool{true, false} {
		w := newTenant(t, "pro", "18", hasTemplate)
		w.trustPrivately()
		for key, job := range everyJob(t, w) {
			pod := job.Spec.Template.Spec
			want := map[string]corev1.VolumeSource{}
			for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
				told := map[string]string{}
				for _, e := range c.Env {
					told[e.Name] = e.Value
				}
				for address, s := range servers {
					_, talks := told[address]
					i := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == s.volume })
					switch {
					case !talks && i < 0 && told[s.variable] == "":
						continue
					case !talks:
						t.Errorf("%s/%s: has the certificates of a server that it doesn't talk to, %s", key, c.Name, s.volume)
						continue
					case i < 0:
						t.Errorf("%s/%s: talks to %s without certificates, %s", key, c.Name, address, s.volume)
						continue
					}
					seen[address] = true
					want[s.volume] = s.source
					if m := c.VolumeMounts[i]; !m.ReadOnly || told[s.variable] != m.MountPath+"/ca.crt" {
						t.Errorf("%s/%s: %s is %q, and mounted is %v", key, c.Name, s.variable, told[s.variable], m)
					}
				}
			}
			if diff := cmp.Diff(want, authorities(pod)); diff != "" {
				t.Errorf("%s: volumes: -want, +got:\n%s", key, diff)
			}
			for _, p := range problems(job.Spec) {
				t.Errorf("%s: %s", key, p)
			}
		}

		// Those who have none are told of none.
		for key, job := range everyJob(t, newTenant(t, "pro", "18", hasTemplate)) {
			if got := authorities(job.Spec.Template.Spec); len(got) > 0 {
				t.Errorf("%s: nobody asked for %v", key, slices.Sorted(maps.Keys(got)))
			}
		}
	}
	for address := range servers {
		if !seen[address] {
			t.Errorf("no Job talks to %s", address)
		}
	}
}
