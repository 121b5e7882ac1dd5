//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// restore the fleet as from a backup of the API server: one tenant comes to be, and
// the others are what there is of it, under other names. It ends when Crossplane
// has looked at all of them and is content. From then on it looks at the interval.
func (f *fleetRun) restore(t *testing.T, interval time.Duration) {
	t.Helper()
	c, first := f.cluster, f.tenants[0]
	first.apply(t)
	first.ready(t, 2*time.Minute)
	eventually(t, 5*time.Minute, "there are no Jobs", func() error {
		if left := c.versionsOf(t, "jobs"); len(left) > 0 {
			return fmt.Errorf("there are %d", len(left))
		}
		return nil
	})
	saved := c.save(t, first)
	c.nameDatabases(t, f.tenants)

	// Not while Crossplane looks: what isn't whole yet is not to be made whole.
	c.scaleCore(t, 0)
	f.tellCore(t, interval)
	began := time.Now()
	todo := make(chan *tenant)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for x := range todo {
				if err := c.put(interrupted, saved, first, x); err != nil {
					t.Errorf("cannot restore %s: %v", x.name, err)
				}
			}
		})
	}
	for _, x := range f.tenants[1:] {
		if t.Failed() || interrupted.Err() != nil {
			break
		}
		todo <- x
	}
	close(todo)
	workers.Wait()
	if t.Failed() || interrupted.Err() != nil {
		t.FailNow()
	}
	t.Logf("%d tenants were restored within %s", len(f.tenants), time.Since(began).Round(time.Second))
	f.restart(t, func() { c.scaleCore(t, 1) })

	// What was done for them once isn't done again because they are somewhere else.
	for _, component := range effects {
		if got := f.jobs(component); got != 1 {
			t.Errorf("%s ran %d times for restored tenants", component, got-1)
		}
	}
}

// A savedTenant is all that a backup of the API server has of a tenant, as JSON.
type savedTenant struct {
	composite string
	uid       types.UID

	composed []savedObject
}

// A savedObject is one that a tenant is composed of.
type savedObject struct {
	kind      schema.GroupVersionResource
	namespace string
	object    string
	uid       types.UID
}

// save all that there is of a tenant.
func (c *cluster) save(t *testing.T, x *tenant) savedTenant {
	t.Helper()
	client, err := c.dynamic.Resource(planaClients).Get(t.Context(), x.name, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("cannot save %s: %v", x.name, err)
	}
	saved := savedTenant{uid: client.GetUID(), composite: portable(t, client)}
	for _, kind := range composedKinds {
		list, err := c.dynamic.Resource(kind).List(t.Context(), metav1.ListOptions{LabelSelector: "planapulse.com/tenant=" + x.name})
		if err != nil {
			t.Fatalf("cannot save %s of %s: %v", kind.Resource, x.name, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			saved.composed = append(saved.composed, savedObject{kind: kind, namespace: o.GetNamespace(), uid: o.GetUID(), object: portable(t, o)})
		}
	}
	return saved
}

// portable is an object without what only an API server says about it.
func portable(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	b, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatalf("cannot save %s: %v", o.GetName(), err)
	}
	return string(b)
}

// put what was saved of a tenant into the API server, as another tenant.
func (c *cluster) put(ctx context.Context, saved savedTenant, from, to *tenant) error {
	renamed := []string{from.name, to.name, fmt.Sprint(from.project), fmt.Sprint(to.project)}
	read := func(text string) (*unstructured.Unstructured, error) {
		o := &unstructured.Unstructured{}
		return o, json.Unmarshal([]byte(strings.NewReplacer(renamed...).Replace(text)), &o.Object)
	}

	client, err := read(saved.composite)
	if err != nil {
		return err
	}
	client, err = c.dynamic.Resource(planaClients).Create(ctx, client, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	renamed = append(renamed, string(saved.uid), string(client.GetUID()))
	for _, one := range saved.composed {
		o, err := read(one.object)
		if err != nil {
			return err
		}
		if o, err = c.dynamic.Resource(one.kind).Namespace(one.namespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return err
		}
		renamed = append(renamed, string(one.uid), string(o.GetUID()))
	}
	status, err := read(saved.composite)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"status": status.Object["status"]})
	if err != nil {
		return err
	}
	_, err = c.dynamic.Resource(planaClients).Patch(ctx, to.name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// scaleCore has so many replicas of Crossplane run, and waits until they do.
func (c *cluster) scaleCore(t *testing.T, replicas int) {
	t.Helper()
	c.kubectl(t, "-n", namespaceCrossplane, "scale", "deployment", "crossplane", "--replicas="+strconv.Itoa(replicas))
	eventually(t, 2*time.Minute, "Crossplane is scaled", func() error {
		pods, err := c.client.CoreV1().Pods(namespaceCrossplane).List(t.Context(), metav1.ListOptions{LabelSelector: "app=crossplane"})
		if err != nil {
			return err
		}
		if len(pods.Items) != replicas {
			return fmt.Errorf("there are %d pods of %d", len(pods.Items), replicas)
		}
		return nil
	})
}

// nameDatabases in PostgreSQL's catalogue, one for each tenant but the first, like
// that one's: provider-sql looks no further, nobody connects to them, and as real
// ones they would take a disk.
func (c *cluster) nameDatabases(t *testing.T, tenants []*tenant) {
	t.Helper()
	statements := []string{
		"SET allow_system_table_mods = on",
		"CREATE TEMPORARY TABLE named AS TABLE pg_database",
		fmt.Sprintf("DELETE FROM named WHERE datname <> '%s'", tenants[0].database()),
	}
	for i, x := range tenants[1:] {
		statements = append(statements,
			fmt.Sprintf("UPDATE named SET oid = %d, datname = '%s'", 1<<30+i, x.database()),
			"INSERT INTO pg_database TABLE named")
	}
	c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", statements...)
}
