package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/test/servers"
)

var planaClients = schema.GroupVersionResource{Group: "planapulse.com", Version: "v1alpha1", Resource: "planaclients"}

// A tenant of a scenario.
type tenant struct {
	cluster *cluster

	name, tier, version string
	project             int

	// more of its spec, as YAML of one line each.
	more []string
}

// String is the tenant's name.
func (x *tenant) String() string {
	if x == nil {
		return "nobody"
	}
	return x.name
}

func (x *tenant) database() string { return x.name + "." + domain }

func (x *tenant) namespace() string {
	for _, v := range versions {
		if v.version == x.version {
			return v.namespace
		}
	}
	return ""
}

// files is the folder with the tenant's files.
func (x *tenant) files() string {
	return filepath.Join(x.cluster.exports, "odoo-"+x.version, x.database())
}

// yaml of the tenant, as the runbook has it. The installation's own Composition
// is named because the package brings another one.
func (x *tenant) yaml() string {
	y := fmt.Sprintf(`apiVersion: planapulse.com/v1alpha1
kind: PLANAClient
metadata:
  name: %[1]s
spec:
  subdomain: %[1]s
  projectId: %[2]d
  tier: %[3]s
  odooVersion: %[4]q
  ownerEmail: ceo@%[1]s.bg
  ownerName: "%[1]s Corp"
  crossplane: {compositionRef: {name: %[5]s}}
`, x.name, x.project, x.tier, x.version, compositionName)
	for _, line := range x.more {
		y += "  " + line + "\n"
	}
	return y
}

// apply the tenant with kubectl.
func (x *tenant) apply(t testing.TB) {
	t.Helper()
	if out, err := x.cluster.tryKubectl(x.yaml(), "apply", "-f", "-"); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, out)
	}
}

// get the tenant as the API server has it. Nil: it isn't there.
func (x *tenant) get() (*v1alpha1.PLANAClient, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	u, err := x.cluster.dynamic.Resource(planaClients).Get(ctx, x.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return planaClient(u)
}

func planaClient(u *unstructured.Unstructured) (*v1alpha1.PLANAClient, error) {
	client := &v1alpha1.PLANAClient{}
	return client, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, client)
}

// condition waits until a condition of the tenant is as it should be, and has
// every one of the words in its message.
func (x *tenant) condition(t testing.TB, patience time.Duration, typ, status, reason string, words ...string) {
	t.Helper()
	x.eventually(t, patience, fmt.Sprintf("%s=%s %s", typ, status, reason), func(client *v1alpha1.PLANAClient) error {
		if client == nil {
			return errors.New("there is no such tenant")
		}
		for _, c := range client.Status.Conditions {
			if string(c.Type) != typ {
				continue
			}
			if string(c.Status) != status || reason != "" && string(c.Reason) != reason {
				return fmt.Errorf("it is %s %s: %s", c.Status, c.Reason, c.Message)
			}
			for _, word := range words {
				if !strings.Contains(c.Message, word) {
					return fmt.Errorf("its message lacks %q: %s", word, c.Message)
				}
			}
			return nil
		}
		return fmt.Errorf("there is no condition %s", typ)
	})
}

// eventually something holds of the tenant.
func (x *tenant) eventually(t testing.TB, patience time.Duration, what string, holds func(*v1alpha1.PLANAClient) error) {
	t.Helper()
	var last *v1alpha1.PLANAClient
	defer func() {
		if !t.Failed() {
			return
		}
		if last == nil {
			t.Logf("%s doesn't exist", x.name)
			return
		}
		for _, c := range last.Status.Conditions {
			t.Logf("%s: %s=%s %s: %s", x.name, c.Type, c.Status, c.Reason, c.Message)
		}
	}()
	eventually(t, patience, x.name+": "+what, func() error {
		client, err := x.get()
		if err != nil {
			return err
		}
		last = client
		return holds(client)
	})
}

// ready waits until the tenant is.
func (x *tenant) ready(t testing.TB, patience time.Duration) {
	t.Helper()
	x.condition(t, patience, "Ready", "True", "")
}

// gone waits until the tenant isn't there any more.
func (x *tenant) gone(t testing.TB, patience time.Duration) {
	t.Helper()
	x.eventually(t, patience, "gone", func(client *v1alpha1.PLANAClient) error {
		if client == nil {
			return nil
		}
		if d := client.Status.Deletion; d != nil {
			return fmt.Errorf("it is at %s: %s", d.Step, d.Message)
		}
		return errors.New("it is there, and no deletion is recorded")
	})
}

// delete the tenant as people do, and return what they read.
func (x *tenant) delete(args ...string) (string, error) {
	return x.cluster.tryKubectl("", append([]string{"delete", "planaclient", x.name, "--wait=false"}, args...)...)
}

// url of a page of the tenant's.
func (x *tenant) url(path string) string { return "https://" + x.database() + path }

// A page is what a visitor gets.
type page struct {
	version  int // of HTTP
	status   int
	location string
	body     string
}

// visit a page of the tenant's through the gateway, with headers if need be.
func (x *tenant) visit(path string, headers ...string) (page, error) {
	return visit(x.cluster.gateway.client, x.url(path), headers...)
}

// visit a page, with headers of one name and one value each.
func visit(client *http.Client, url string, headers ...string) (page, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return page{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rsp, err := client.Do(req)
	if err != nil {
		return page{}, err
	}
	defer rsp.Body.Close() //nolint:errcheck // It was only read from.
	got := page{version: rsp.ProtoMajor, status: rsp.StatusCode}
	if to, err := rsp.Location(); err == nil {
		got.location = to.String()
	}
	if rsp.StatusCode == http.StatusSwitchingProtocols {
		// What follows is not of HTTP, and has no end.
		got.body, err = bufio.NewReader(rsp.Body).ReadString('\n')
		return got, err
	}
	body, err := io.ReadAll(rsp.Body)
	got.body = string(body)
	return got, err
}

// events about the tenant in the stream, in order.
func (x *tenant) events(t testing.TB) []string {
	t.Helper()
	entries, err := x.cluster.redis.Client(t).XRange(t.Context(), servers.RedisStream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	types := []string{}
	for _, e := range entries {
		if e.Values["subject"] == x.name {
			types = append(types, fmt.Sprint(e.Values["type"]))
		}
	}
	return types
}

// room is the tenant's support room. Empty: there is none.
func (x *tenant) room(t testing.TB) string {
	t.Helper()
	alias := id.NewRoomAlias(fmt.Sprintf("support-%s-%03d", x.name, x.project), x.cluster.matrix.Name)
	rsp, err := x.cluster.bot.ResolveAlias(t.Context(), alias)
	if err != nil {
		return ""
	}
	return string(rsp.RoomID)
}

// rooms that the support bot is in and that have the tenant's name: one, unless
// somebody made it twice. A room that has neither the alias nor anybody but the bot
// in it was cut off while it was made. Matrix has no key by which it would be made
// once only, and nobody ever sees it.
func (x *tenant) rooms(t testing.TB) []string {
	t.Helper()
	joined, err := x.cluster.bot.JoinedRooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := x.room(t)
	var rooms []string
	for _, room := range joined.JoinedRooms {
		var content event.RoomNameEventContent
		if err := x.cluster.bot.StateEvent(t.Context(), room, event.StateRoomName, "", &content); err != nil || content.Name != fmt.Sprintf("support-%s-%03d", x.name, x.project) {
			continue
		}
		// Not its list of members, which Dendrite may answer with a null in it.
		var state []struct {
			Type string `json:"type"`
		}
		if _, err := x.cluster.bot.MakeRequest(t.Context(), http.MethodGet, x.cluster.bot.BuildClientURL("v3", "rooms", room, "state"), nil, &state); err != nil {
			t.Fatal(err)
		}
		members := 0
		for _, e := range state {
			if e.Type == event.StateMember.Type {
				members++
			}
		}
		if string(room) == known || members > 1 {
			rooms = append(rooms, string(room))
		}
	}
	return rooms
}

// owner of a database. Empty: there is no such database.
func (c *cluster) owner(t testing.TB, database string) string {
	t.Helper()
	return queryOr(t, c, "postgres", "", "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", database)
}

// query one value of a database as the superuser.
func query[T any](t testing.TB, c *cluster, database, sql string, args ...any) T {
	t.Helper()
	var zero T
	return queryRow(t, c, database, zero, false, sql, args...)
}

// queryOr is query, with a value for no row.
func queryOr[T any](t testing.TB, c *cluster, database string, none T, sql string, args ...any) T {
	t.Helper()
	return queryRow(t, c, database, none, true, sql, args...)
}

func queryRow[T any](t testing.TB, c *cluster, database string, none T, may bool, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.postgres.URL(servers.PostgresSuperuser, database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // It was only read from.
	var got T
	err = conn.QueryRow(t.Context(), sql, args...).Scan(&got)
	if may && errors.Is(err, pgx.ErrNoRows) {
		return none
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
