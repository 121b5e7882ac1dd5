//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// restore the fleet as from a backup of etcd: one tenant comes to be, and the others
// are all that etcd has of it, under other names. It ends when Crossplane has looked
// at all of them and is content. From then on it looks at the interval.
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
	client, err := first.get()
	if err != nil {
		t.Fatal(err)
	}
	const limit = "SELECT datconnlimit::bigint FROM pg_database WHERE datname = $1"
	if got, want := query[int64](t, c, "postgres", limit, first.database()), ownershipTag(client.GetUID()); got != int64(want) {
		t.Fatalf("the database of %s has the ownership tag %d, not %d: see how the function makes it", first, got, want)
	}
	uidOf := map[*tenant]types.UID{first: client.GetUID()}
	for _, x := range f.tenants[1:] {
		uidOf[x] = uuid.NewUUID()
	}
	c.nameDatabases(t, f.tenants, uidOf)

	// Not while Crossplane looks: what is just being saved is to stay as it is.
	c.scaleCore(t, 0)
	f.tellCore(t, interval)
	saved := c.save(t, first)
	began := time.Now()
	for _, x := range f.tenants[1:] {
		c.put(t, saved, first, x, uidOf)
		if interrupted.Err() != nil {
			t.Fatal("interrupted")
		}
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

// A keyValue is what etcd has of an object.
type keyValue struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// save all that etcd has of a tenant, its managed fields and what others say of its
// objects included.
func (c *cluster) save(t *testing.T, x *tenant) []keyValue {
	t.Helper()
	var all struct {
		KVs []keyValue `json:"kvs"`
	}
	c.askEtcd(t, "range", map[string]any{"key": []byte("/registry/"), "range_end": []byte("/registry0")}, &all)
	saved := slices.DeleteFunc(all.KVs, func(kv keyValue) bool {
		name := []byte(x.name)
		return bytes.HasPrefix(kv.Key, []byte("/registry/events/")) || !bytes.Contains(kv.Key, name) && !bytes.Contains(kv.Value, name)
	})
	if !slices.ContainsFunc(saved, func(kv keyValue) bool { return bytes.Contains(kv.Value, []byte(fieldOwner(x.name))) }) {
		t.Fatalf("nothing of %s was applied by %s: see in the managed fields of its objects what Crossplane calls itself", x.name, fieldOwner(x.name))
	}
	return saved
}

// uids in what an API server stores.
var uids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// put what was saved of a tenant into etcd, as another tenant. Nothing in it becomes
// longer or shorter: some of it is stored in a form that tells how long each text is.
// So its backup's schedule, which follows from its name, isn't its own yet.
func (c *cluster) put(t *testing.T, saved []keyValue, from, to *tenant, uidOf map[*tenant]types.UID) {
	t.Helper()
	renamed := []string{
		from.name, to.name,
		fmt.Sprint(from.project), fmt.Sprint(to.project),
		fieldOwner(from.name), fieldOwner(to.name),
		fmt.Sprint(ownershipTag(uidOf[from])), fmt.Sprint(ownershipTag(uidOf[to])),
		string(uidOf[from]), string(uidOf[to]),
	}
	for _, kv := range saved {
		for _, uid := range uids.FindAllString(string(kv.Value), -1) {
			if !slices.Contains(renamed, uid) {
				renamed = append(renamed, uid, string(uuid.NewUUID()))
			}
		}
	}
	rename := strings.NewReplacer(renamed...)
	var puts []map[string]keyValue
	for _, kv := range saved {
		puts = append(puts, map[string]keyValue{"request_put": {
			Key: []byte(rename.Replace(string(kv.Key))), Value: []byte(rename.Replace(string(kv.Value))),
		}})
	}
	// All at once: what has an owner that isn't there is collected.
	c.askEtcd(t, "txn", map[string]any{"success": puts}, &struct{}{})
}

// fieldOwner is who Crossplane says that it is, to the API server, when it applies what
// a tenant consists of. If it isn't who had applied that before, it writes to all of it.
func fieldOwner(tenant string) string {
	sum := sha256.Sum256([]byte(tenant + "PLANAClient.planapulse.com"))
	return "apiextensions.crossplane.io/composed/" + hex.EncodeToString(sum[:])
}

// ownershipTag that the function gives the database of a tenant with that UID: see
// fn/tenant/ownership.go.
func ownershipTag(uid types.UID) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(uid))
	return 1_000_000_000 + int(hash.Sum32()%(math.MaxInt32-1_000_000_000))
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
func (c *cluster) nameDatabases(t *testing.T, tenants []*tenant, uidOf map[*tenant]types.UID) {
	t.Helper()
	statements := []string{
		"SET allow_system_table_mods = on",
		"CREATE TEMPORARY TABLE named AS TABLE pg_database",
		fmt.Sprintf("DELETE FROM named WHERE datname <> '%s'", tenants[0].database()),
	}
	for i, x := range tenants[1:] {
		statements = append(statements,
			fmt.Sprintf("UPDATE named SET oid = %d, datname = '%s', datconnlimit = %d", 1<<30+i, x.database(), ownershipTag(uidOf[x])),
			"INSERT INTO pg_database TABLE named")
	}
	c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", statements...)
}
