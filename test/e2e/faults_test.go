//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// A fault is something that breaks, and is put right by itself.
type fault struct {
	name   string
	strike func(t testing.TB)
}

// kills are processes that die.
func (c *cluster) kills() []fault {
	pods := func(match func(*corev1.Pod) bool) func(testing.TB) {
		return func(t testing.TB) {
			// An effect runs for a moment only, and the next one may have to be waited for.
			for range 50 {
				if c.node.kill(match) > 0 {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Log("there was nothing to kill")
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
		{"provider", pods(ofProvider)},
		{"effects", pods(func(p *corev1.Pod) bool { return p.GetLabels()["planapulse.com/tenant"] != "" })},
		{"apiserver", restart(c.apiserver)},
		{"etcd", restart(c.etcd)},
	}
}

// ofProvider tells whether a pod is provider-sql's. The package manager has made up
// what its label says.
func ofProvider(p *corev1.Pod) bool { return p.GetLabels()["pkg.crossplane.io/provider"] != "" }

// outage is how long a server stays down.
const outage = time.Minute

// outages of the servers that a tenant is made of, one after the other, or all
// at once.
func (c *cluster) outages(atOnce bool) []fault {
	down := func(lines ...*line) func(testing.TB) {
		return func(t testing.TB) {
			for _, l := range lines {
				l.cut()
			}
			select {
			case <-interrupted.Done():
			case <-time.After(outage):
			}
			for _, l := range lines {
				l.mend(t)
			}
		}
	}
	all := fault{"everything outside", down(c.lines.postgres, c.lines.redis, c.lines.matrix, c.lines.s3, c.lines.portal)}
	if atOnce {
		return []fault{all}
	}
	return []fault{
		{"postgres", down(c.lines.postgres)}, {"redis", down(c.lines.redis)}, {"matrix", down(c.lines.matrix)}, {"s3", down(c.lines.s3)}, {"portal", down(c.lines.portal)}, all,
	}
}

// testFaults strikes with each kill at so many random moments of a tenant's
// coming, and of another one's going; then servers fail for a minute, and at last
// the function is replaced by its next version.
func testFaults(t *testing.T, c *cluster, times int) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &striker{cluster: c, random: rand.New(rand.NewPCG(seed, 0)), project: 100}
	c.apply(t, c.composition("2s"))
	defer c.apply(t, c.composition("10s"))

	kills := c.kills()
	for _, f := range kills {
		t.Run(f.name, func(t *testing.T) { s.strike(t, f, times) })
	}
	for _, f := range c.outages(times == 1) {
		t.Run(f.name, func(t *testing.T) { s.strike(t, f, 2) })
	}
	// Forth while tenants come, and back while they go.
	for _, version := range []string{"v0.2.0", "v0.1.0"} {
		t.Run("the function becomes "+version, func(t *testing.T) {
			if version == "v0.2.0" {
				c.pushNext(t, version)
			}
			s.strike(t, fault{"to-" + version, func(t testing.TB) { c.upgrade(t, version) }}, lanes)
		})
	}
	// The first fault found nobody who went, and the last leaves some who came.
	t.Run(kills[0].name+" again", func(t *testing.T) { s.strike(t, kills[0], 0) })
}

// A striker has tenants come and go while things break.
type striker struct {
	cluster *cluster
	random  *rand.Rand
	project int

	// leaving are the tenants that go at the next strike, whatever it is by then.
	leaving []*tenant
}

// Spans of time, somewhat longer than it takes a tenant to come and to go on an
// idle machine, in which faults strike.
const (
	coming = 9 * time.Second
	going  = 15 * time.Second
)

// lanes is how many tenants come, and how many go, at the same time. One strike
// meets each of them at a moment of its own.
const lanes = 4

// strike so that so many tenants are met at a random moment of their coming, and
// those of the strikes before at one of their going. All ends as if nothing had
// happened.
func (s *striker) strike(t *testing.T, f fault, times int) {
	for n := 0; n < times || times == 0 && len(s.leaving) > 0; {
		// If anything goes wrong here, it is no other fault's.
		leaving := s.leaving
		s.leaving = nil
		var arriving []*tenant
		for ; n < times && len(arriving) < lanes; n++ {
			s.project++
			name := fmt.Sprintf("%s-%d", strings.NewReplacer(" ", "-", ".", "-").Replace(f.name), n)
			arriving = append(arriving, &tenant{cluster: s.cluster, name: name, project: s.project, tier: "starter", version: "18"})
		}

		// How far each of them is on its way when it is struck.
		into := map[*tenant]time.Duration{}
		for _, x := range arriving {
			into[x] = time.Duration(s.random.Int64N(int64(coming)))
			t.Logf("%s is struck %s into its coming", x, into[x].Round(time.Millisecond))
		}
		for _, x := range leaving {
			into[x] = time.Duration(s.random.Int64N(int64(going)))
			t.Logf("%s is struck %s into its going", x, into[x].Round(time.Millisecond))
		}
		strike := time.Now().Add(slices.Max(slices.Collect(maps.Values(into))))
		var begun sync.WaitGroup
		for x, span := range into {
			begun.Go(func() {
				time.Sleep(time.Until(strike.Add(-span)))
				if slices.Contains(leaving, x) {
					_, _ = x.delete()
				} else {
					x.insist("apply", "-f", "-")
				}
			})
		}
		time.Sleep(time.Until(strike))
		f.strike(t)
		begun.Wait()

		for _, x := range leaving {
			x.goneAnyhow(t)
			x.leftAllInOrder(t)
		}
		for _, x := range arriving {
			x.ready(t, 2*patience)
			x.inService(t)
			if rooms := x.rooms(t); len(rooms) != 1 {
				t.Errorf("want one room of %s, got %v", x, rooms)
			}
			s.cluster.postgres.Exec(t, servers.PostgresOdoo, x.database(), "CREATE TABLE customers AS SELECT n FROM generate_series(1, 1000) n")
		}
		if t.Failed() || interrupted.Err() != nil {
			return
		}
		s.leaving = arriving
	}
}

// insist on what an API server that is just dying may not take.
func (x *tenant) insist(args ...string) {
	for range 30 {
		if _, err := x.cluster.tryKubectl(x.yaml(), args...); err == nil || interrupted.Err() != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// goneAnyhow waits until the tenant is gone. A core that dies within the two
// seconds before it replays a delete forgets it: the condition says to delete
// again, and so does this.
func (x *tenant) goneAnyhow(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline) && interrupted.Err() == nil; time.Sleep(500 * time.Millisecond) {
		client, err := x.get()
		if err != nil {
			continue
		}
		if client == nil {
			return
		}
		for _, c := range client.Status.Conditions {
			if c.Type == "Deprovisioned" && c.Status == corev1.ConditionTrue && time.Since(c.LastTransitionTime.Time) > time.Minute {
				t.Logf("%s is deleted again: %s", x, c.Message)
				_, _ = x.delete()
			}
		}
		// A delete that an API server which was just dying never took.
		if client.GetAnnotations()[annotationAttempt] == "" && client.Status.Deletion == nil && client.GetDeletionTimestamp() == nil {
			t.Logf("%s is deleted again: no deletion is recorded", x)
			_, _ = x.delete()
		}
	}
	x.gone(t, time.Second)
}

// leftAllInOrder checks that the tenant is gone but for its backups, that all
// was told once, and that no row was lost.
func (x *tenant) leftAllInOrder(t testing.TB) {
	t.Helper()
	c := x.cluster
	x.leftNothing(t)
	if diff := cmp.Diff([]string{"client.provisioned", "client.deprovisioned"}, x.events(t)); diff != "" {
		t.Errorf("events of %s: -want, +got:\n%s", x, diff)
	}
	if diff := cmp.Diff([]string{"tenant.provisioned", "tenant.deprovisioned"}, c.portal.about(x.name)); diff != "" {
		t.Errorf("webhooks of %s: -want, +got:\n%s", x, diff)
	}
	as := x.name + "-restored." + domain
	x.restore(t, as)
	if got := query[int64](t, c, as, "SELECT count(*) FROM customers"); got != 1000 {
		t.Errorf("%s: want 1000 rows in the last backup, got %d", x, got)
	}
	c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("DROP DATABASE %q WITH (FORCE)", as))
}

// upgrade the function to its package of another version, as its users do.
func (c *cluster) upgrade(t testing.TB, version string) {
	t.Helper()
	name := c.registry + "/plana-pulse/function-planaclient:" + version
	c.kubectl(t, "patch", "function.pkg.crossplane.io", "function-planaclient", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"package":%q}}`, name))
	eventually(t, 3*time.Minute, "function "+version+" is in service, alone", func() error {
		var pods corev1.PodList
		if err := c.object(&pods, "pods", "-n", namespaceCrossplane, "-l", "pkg.crossplane.io/function=function-planaclient"); err != nil {
			return err
		}
		serving := 0
		for i := range pods.Items {
			p := &pods.Items[i]
			if p.Spec.Containers[0].Image != name {
				return fmt.Errorf("pod %s runs %s", p.GetName(), p.Spec.Containers[0].Image)
			}
			if log, _ := os.ReadFile(filepath.Join(c.logs, "pods", p.GetNamespace()+"_"+p.GetName()+"_"+p.Spec.Containers[0].Name+".log")); bytes.Contains(log, []byte(version)) {
				serving++
			}
		}
		if serving != 2 {
			return fmt.Errorf("%d of 2 pods say that they are %s", serving, version)
		}
		return nil
	})
}

// pushNext builds the function's package as another version, and pushes it. The
// packages in _output stay those that are installed.
func (c *cluster) pushNext(t testing.TB, version string) {
	t.Helper()
	output := filepath.Join(c.root, "_output")
	names := []string{"function-planaclient.xpkg", "configuration-planaclient.xpkg"}
	for _, name := range names {
		c.run(t, "cp", filepath.Join(output, name), c.dir)
	}
	c.buildPackages(t, version)
	next := filepath.Join(c.dir, version+".xpkg")
	c.run(t, "mv", filepath.Join(output, names[0]), next)
	for _, name := range names {
		c.run(t, "mv", filepath.Join(c.dir, name), output)
	}
	c.run(t, c.tool(t, "crossplane-cli"), "xpkg", "push", "--package-files="+next, c.registry+"/plana-pulse/function-planaclient:"+version)
}
