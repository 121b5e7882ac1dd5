package tenant_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// problems of a Job with invariant 8: every pod passes the restricted Pod
// Security Standard, has requests and limits, no service account's token, a
// deadline and a bounded retry.
//
// The standard is stricter here than Kubernetes has it: a pod may have what this
// function gives it and nothing else. The goldens are evaluated with the
// standard's own implementation.
func problems(spec batchv1.JobSpec) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	pod := spec.Template.Spec

	if d := ptr.Deref(spec.ActiveDeadlineSeconds, 0); d < 1 || d > 24*3600 {
		say("deadline of %d seconds", d)
	}
	if r := ptr.Deref(spec.BackoffLimit, -1); r < 0 || r > 20 {
		say("%d retries", r)
	}
	// A terminal error ends it, a disruption doesn't count.
	failJob, ignore := false, false
	for _, r := range ptr.Deref(spec.PodFailurePolicy, batchv1.PodFailurePolicy{}).Rules {
		failJob = failJob || r.Action == batchv1.PodFailurePolicyActionFailJob && r.OnExitCodes != nil &&
			r.OnExitCodes.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && slices.Equal(r.OnExitCodes.Values, []int32{2})
		ignore = ignore || r.Action == batchv1.PodFailurePolicyActionIgnore &&
			slices.ContainsFunc(r.OnPodConditions, func(c batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
				return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
			})
	}
	if !failJob || !ignore {
		say("pod failure policy %v", spec.PodFailurePolicy)
	}

	if pod.RestartPolicy != corev1.RestartPolicyNever {
		say("restart policy %q, which a pod failure policy doesn't go with", pod.RestartPolicy)
	}
	if ptr.Deref(pod.AutomountServiceAccountToken, true) {
		say("a service account's token")
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.HostUsers != nil {
		say("a namespace of its host's")
	}
	if len(pod.EphemeralContainers) > 0 {
		say("ephemeral containers")
	}
	wantPod := &corev1.PodSecurityContext{
		RunAsNonRoot:   new(true),
		RunAsUser:      ptr.To[int64](101),
		RunAsGroup:     ptr.To[int64](101),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if diff := cmp.Diff(wantPod, pod.SecurityContext); diff != "" {
		say("security context of the pod: -want, +got:\n%s", diff)
	}
	for _, v := range pod.Volumes {
		// Of a Secret no more than one key: the certificates may lie beside a key.
		certificates := v.Secret != nil && len(v.Secret.Items) == 1 || v.ConfigMap != nil && len(v.ConfigMap.Items) == 1
		if v.PersistentVolumeClaim == nil && v.EmptyDir == nil && !certificates {
			say("volume %s, which is neither a claim, an empty directory, nor certificates", v.Name)
		}
		if v.EmptyDir != nil && (v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.Sign() <= 0) {
			say("empty volume %s without a limit", v.Name)
		}
	}

	if len(pod.Containers) == 0 {
		say("no containers")
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		want := &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		if diff := cmp.Diff(want, c.SecurityContext); diff != "" {
			say("security context of %s: -want, +got:\n%s", c.Name, diff)
		}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
			if request.Sign() <= 0 || limit.Sign() <= 0 || request.Cmp(limit) > 0 {
				say("%s: %s requested, limit %s of %s", c.Name, request.String(), limit.String(), name)
			}
		}
		if len(c.Ports) > 0 || c.LivenessProbe != nil || c.Lifecycle != nil || c.StdinOnce || c.TTY {
			say("%s: what no effect needs", c.Name)
		}
		for _, e := range c.Env {
			if s := e.ValueFrom; s != nil && s.SecretKeyRef == nil {
				say("%s: %s comes from something that isn't a Secret", c.Name, e.Name)
			}
		}
		if len(c.EnvFrom) > 0 {
			say("%s: a whole Secret or ConfigMap as its environment", c.Name)
		}
	}
	return found
}

// everyJob that the function composes for a tenant in its whole life, by key.
func everyJob(t *testing.T, w *world) map[string]*batchv1.Job {
	t.Helper()
	all := jobsOf(t, w)

	// Up a tier, out of service and back, and away.
	w.client.in("spec")["tier"] = "enterprise"
	w.platform.in("tiers", "enterprise")["modules"] = []any{"web", "helpdesk"}
	maps.Copy(all, jobsOf(t, w))
	for n := range 100 {
		switch n {
		case 0:
			w.client.in("spec")["suspended"] = true
		case 20:
			w.client.in("spec")["suspended"] = false
		case 40:
			w.client.in("metadata", "annotations")["usage.crossplane.io/deletion-attempt-with-policy"] = "Background"
		}
		if len(w.composed) == 0 {
			break
		}
		w.clock.SetTime(w.clock.Now().Add(10 * 60e9))
		rsp := w.reconcile()
		for key, r := range rsp.GetDesired().GetResources() {
			if r.GetResource().GetFields()["kind"].GetStringValue() == "Job" && all[key] == nil {
				all[key] = &batchv1.Job{}
				decode(t, r, all[key])
			}
		}
		for key := range w.composed {
			w.settle(key)
		}
	}
	if len(w.composed) > 0 {
		t.Fatalf("the tenant isn't gone, but has %v: %v", slices.Sorted(maps.Keys(w.composed)), w.conditions()["Deprovisioned"])
	}
	return all
}

func TestEveryPodIsRestricted(t *testing.T) {
	forEveryTenant(t, func(t *testing.T, tier, version string, hasTemplate bool) {
		t.Helper()
		w := newTenant(t, tier, version, hasTemplate)
		w.platform.in("effects")["imagePullSecrets"] = []any{"registry"}
		all := everyJob(t, w)
		for key, job := range all {
			for _, problem := range problems(job.Spec) {
				t.Errorf("%s: %s", key, problem)
			}
			if diff := cmp.Diff([]corev1.LocalObjectReference{{Name: "registry"}}, job.Spec.Template.Spec.ImagePullSecrets); diff != "" {
				t.Errorf("%s: image pull secrets: -want, +got:\n%s", key, diff)
			}
			for _, name := range []string{"planapulse.com/tenant", "planapulse.com/tier", "planapulse.com/odoo-version", "app.kubernetes.io/component"} {
				if job.Labels[name] == "" || job.Spec.Template.Labels[name] == "" {
					t.Errorf("%s has no label %s, or its pod hasn't", key, name)
				}
			}
			if len(job.GetName()) > 63 {
				t.Errorf("%s: %s has more than 63 characters", key, job.GetName())
			}
		}
		// All of them were seen.
		want := []string{
			"account-webhook", "backup", "backup-tombstone", "client-deprovisioned", "client-provisioned", "connections-drain", "deprovision-webhook",
			"fence", "suspend-fence", "unfence",
			"filestore-wipe", "final-backup", "matrix-room-create", "matrix-room-retire", "smoke-test", "suspend-backup", "suspend-drain", "tenant-prepare",
		}
		if hasTemplate {
			want = append(want, "filestore-clone")
		} else {
			want = append(want, "module-install")
		}
		if tier != "enterprise" {
			want = append(want, "tier-modules")
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(all))); diff != "" {
			t.Errorf("Jobs in the life of a tenant: -want, +got:\n%s", diff)
		}
	})
}
