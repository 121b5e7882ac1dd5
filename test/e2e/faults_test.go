//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// A fault is something that breaks, and is put right by itself.
type fault struct {
	name   string
	strike func(t testing.TB)
}

// faults that every tenant must survive.
func (c *cluster) faults() []fault {
	pods := func(match func(*corev1.Pod) bool) func(testing.TB) {
		return func(t testing.TB) {
			if c.node.kill(match) == 0 {
				t.Log("there was nothing to kill")
			}
		}
	}
	restart := func(p *process) func(testing.TB) {
		return func(t testing.TB) {
			p.kill()
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			if err := p.wait(time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	return []fault{
		{"core", pods(labelled("app", "crossplane"))},
		{"function", pods(labelled("pkg.crossplane.io/function", "function-planaclient"))},
		{"provider", pods(func(p *corev1.Pod) bool { return p.GetLabels()["pkg.crossplane.io/provider"] != "" })},
		{"effects", pods(func(p *corev1.Pod) bool { return p.GetLabels()["planapulse.com/tenant"] != "" })},
		{"apiserver", restart(c.apiserver)},
		{"etcd", restart(c.etcd)},
	}
}

// testFaults strikes each fault at so many random moments of a tenant's coming,
// and of its going.
func testFaults(t *testing.T, c *cluster, times int) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	project := 100
	for _, f := range c.faults() {
		t.Run(f.name, func(t *testing.T) {
			for n := range times {
				project++
				x := &tenant{cluster: c, name: fmt.Sprintf("%s-%d", f.name, n), project: project, tier: "starter", version: "18"}
				x.apply(t)
				time.Sleep(time.Duration(random.IntN(8000)) * time.Millisecond)
				f.strike(t)
				x.ready(t, 2*patience)
				x.inService(t)

				_, _ = x.delete()
				time.Sleep(10*time.Second + time.Duration(random.IntN(8000))*time.Millisecond)
				f.strike(t)
				x.goneAnyhow(t)
				x.leftNothing(t)
				if diff := cmp.Diff([]string{"client.provisioned", "client.deprovisioned"}, x.events(t)); diff != "" {
					t.Errorf("events: -want, +got:\n%s", diff)
				}
				if diff := cmp.Diff([]string{"tenant.provisioned", "tenant.deprovisioned"}, c.portal.about(x.name)); diff != "" {
					t.Errorf("webhooks: -want, +got:\n%s", diff)
				}
			}
		})
	}
}

// goneAnyhow waits until the tenant is gone. A core that dies within the two
// seconds before it replays a delete forgets it: the condition says to delete
// again, and so does this.
func (x *tenant) goneAnyhow(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		client, err := x.get()
		if err != nil {
			continue
		}
		if client == nil {
			return
		}
		for _, c := range client.Status.Conditions {
			if c.Type == "Deprovisioned" && c.Status == corev1.ConditionTrue && time.Since(c.LastTransitionTime.Time) > time.Minute {
				_, _ = x.delete()
			}
		}
		// A delete that an API server which was just dying never took.
		if client.GetAnnotations()[annotationAttempt] == "" && client.Status.Deletion == nil && client.GetDeletionTimestamp() == nil {
			_, _ = x.delete()
		}
	}
	x.gone(t, time.Second)
}
