//go:build servers

package effect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// matrixWorld is a homeserver with the owner of the support rooms, and two who
// are invited to them.
type matrixWorld struct {
	*servers.MatrixServer
	owner, anna, boris *mautrix.Client
}

func newMatrixWorld(t *testing.T) matrixWorld {
	t.Helper()
	s := servers.Matrix(t)
	return matrixWorld{MatrixServer: s, owner: s.Register(t, "owner"), anna: s.Register(t, "anna"), boris: s.Register(t, "boris")}
}

func (w matrixWorld) environ(room string) map[string]string {
	return acme.environ(w.Environ(w.owner), map[string]string{
		"MATRIX_ROOM":   room,
		"MATRIX_INVITE": w.anna.UserID.String() + "," + w.boris.UserID.String(),
	})
}

// run an effect on a room, as a process of its own.
func (w matrixWorld) run(t *testing.T, effect, room string) {
	t.Helper()
	if code, log := runChild(t, effect, w.environ(room)); code != ExitDone {
		t.Fatalf("%s: exit code %d:\n%s", effect, code, log)
	}
}

// find the room that has the alias, or none.
func (w matrixWorld) find(t *testing.T, room string) id.RoomID {
	t.Helper()
	found, err := w.owner.ResolveAlias(t.Context(), id.NewRoomAlias(room, w.Name))
	if errors.Is(err, mautrix.MNotFound) {
		return ""
	}
	if err != nil {
		t.Fatalf("cannot look up %s: %v", room, err)
	}
	return found.RoomID
}

// roomState is what a test wants to know of a room.
type roomState struct {
	Name, Topic string
	JoinRule    event.JoinRule
	Members     map[id.UserID]event.Membership
}

func (w matrixWorld) state(t *testing.T, room id.RoomID) roomState {
	t.Helper()
	all, err := w.owner.State(t.Context(), room)
	if err != nil {
		t.Fatalf("cannot read the state of %s: %v", room, err)
	}
	s := roomState{Members: map[id.UserID]event.Membership{}}
	for _, byKey := range all {
		for key, e := range byKey {
			switch e.Type {
			case event.StateRoomName:
				s.Name = e.Content.AsRoomName().Name
			case event.StateTopic:
				s.Topic = e.Content.AsTopic().Topic
			case event.StateJoinRules:
				s.JoinRule = e.Content.AsJoinRules().JoinRule
			case event.StateMember:
				s.Members[id.UserID(key)] = e.Content.AsMember().Membership
			}
		}
	}
	return s
}

// fresh is a room as it is to be right after its creation.
func (w matrixWorld) fresh(room string) roomState {
	return roomState{
		Name:     room,
		Topic:    "Support of " + acme.OwnerName + " (https://acme.planapulse.app)",
		JoinRule: event.JoinRuleInvite,
		Members: map[id.UserID]event.Membership{
			w.owner.UserID: event.MembershipJoin,
			w.anna.UserID:  event.MembershipInvite,
			w.boris.UserID: event.MembershipInvite,
		},
	}
}

func (w matrixWorld) wantFresh(t *testing.T, room string) id.RoomID {
	t.Helper()
	found := w.find(t, room)
	if found == "" {
		t.Fatalf("there is no room %s", room)
	}
	if diff := cmp.Diff(w.fresh(room), w.state(t, found)); diff != "" {
		t.Errorf("room %s: -want, +got:\n%s", room, diff)
	}
	return found
}

// wantRetired fails the test unless the room that had the alias is renamed and
// empty but for its owner, and nothing has the alias.
func (w matrixWorld) wantRetired(t *testing.T, room string, was id.RoomID) {
	t.Helper()
	if found := w.find(t, room); found != "" {
		t.Errorf("the alias of %s still leads to %s", room, found)
	}
	want := w.fresh(room)
	want.Name += " (retired)"
	want.Members[w.anna.UserID] = event.MembershipLeave
	want.Members[w.boris.UserID] = event.MembershipLeave
	if diff := cmp.Diff(want, w.state(t, was)); diff != "" {
		t.Errorf("room %s: -want, +got:\n%s", room, diff)
	}
}

func TestMatrixRoom(t *testing.T) {
	w := newMatrixWorld(t)
	const room = "support-acme-023"

	w.run(t, "matrix-room-create", room)
	first := w.wantFresh(t, room)
	w.run(t, "matrix-room-create", room)
	if second := w.wantFresh(t, room); second != first {
		t.Errorf("a second run makes a second room")
	}

	// Anna comes, Boris does not want to. A Job that runs once more leaves
	// both alone.
	if _, err := w.anna.JoinRoomByID(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := w.boris.LeaveRoom(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	w.run(t, "matrix-room-create", room)
	want := map[id.UserID]event.Membership{
		w.owner.UserID: event.MembershipJoin,
		w.anna.UserID:  event.MembershipJoin,
		w.boris.UserID: event.MembershipLeave,
	}
	if diff := cmp.Diff(want, w.state(t, first).Members); diff != "" {
		t.Errorf("members after a third run: -want, +got:\n%s", diff)
	}

	for range 2 {
		w.run(t, "matrix-room-retire", room)
		w.wantRetired(t, room, first)
	}
	if _, err := w.anna.JoinRoomByID(t.Context(), first); !errors.Is(err, mautrix.MForbidden) {
		t.Errorf("who was put out comes back in: %v", err)
	}

	// A later tenant of the same name.
	w.run(t, "matrix-room-create", room)
	if second := w.wantFresh(t, room); second == first {
		t.Errorf("a re-created tenant lands in the dead room")
	}
}

func TestMatrixRoomCreateAtOnce(t *testing.T) {
	w := newMatrixWorld(t)
	for i := range 5 {
		room := fmt.Sprintf("support-acme-%03d", i)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if code, log := runChild(t, "matrix-room-create", w.environ(room)); code != ExitDone {
					t.Errorf("at the same time as others: exit code %d:\n%s", code, log)
				}
			})
		}
		all.Wait()
		w.wantFresh(t, room)
	}
}

func TestMatrixRoomRetireAtOnce(t *testing.T) {
	w := newMatrixWorld(t)
	for i := range 5 {
		room := fmt.Sprintf("support-acme-%03d", i)
		w.run(t, "matrix-room-create", room)
		was := w.find(t, room)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if code, log := runChild(t, "matrix-room-retire", w.environ(room)); code != ExitDone {
					t.Errorf("at the same time as others: exit code %d:\n%s", code, log)
				}
			})
		}
		all.Wait()
		w.wantRetired(t, room, was)
	}
}

// dendriteRetries are as many as a Job has by default. Once in a while Dendrite
// loses its hold of a room when a request is cut off, and answers the next ones
// with 500, each after ten seconds, until its queue delivers the event once more.
const dendriteRetries = 4

func TestMatrixRoomCreateKilled(t *testing.T) {
	w := newMatrixWorld(t)
	room := func(attempt int) string { return fmt.Sprintf("support-acme-%03d", attempt) }
	Kills{
		Effect:  "matrix-room-create",
		Retries: dendriteRetries,
		Environ: func(attempt int) map[string]string { return w.environ(room(attempt)) },
		After:   func(t *testing.T, attempt int) { w.wantFresh(t, room(attempt)) },
	}.survive(t)
}

func TestMatrixRoomRetireKilled(t *testing.T) {
	w := newMatrixWorld(t)
	room := func(attempt int) string { return fmt.Sprintf("support-acme-%03d", attempt) }
	var was id.RoomID
	Kills{
		Effect:  "matrix-room-retire",
		Retries: dendriteRetries,
		Environ: func(attempt int) map[string]string { return w.environ(room(attempt)) },
		Before: func(t *testing.T, attempt int) {
			w.run(t, "matrix-room-create", room(attempt))
			was = w.find(t, room(attempt))
		},
		After: func(t *testing.T, attempt int) { w.wantRetired(t, room(attempt), was) },
	}.survive(t)
}

// TestMatrixRoomHalfRetired has an earlier tenant's room renamed, and its alias
// still there.
func TestMatrixRoomHalfRetired(t *testing.T) {
	w := newMatrixWorld(t)
	const room = "support-acme-023"
	w.run(t, "matrix-room-create", room)
	first := w.find(t, room)
	if _, err := w.owner.SendStateEvent(t.Context(), first, event.StateRoomName, "", event.RoomNameEventContent{Name: room + " (retired)"}); err != nil {
		t.Fatal(err)
	}
	w.run(t, "matrix-room-create", room)
	if second := w.wantFresh(t, room); second == first {
		t.Errorf("a re-created tenant lands in the dead room")
	}
}

func TestMatrixRoomTaken(t *testing.T) {
	w := newMatrixWorld(t)
	const room = "support-acme-023"
	if _, err := w.boris.CreateRoom(t.Context(), &mautrix.ReqCreateRoom{RoomAliasName: room, Preset: "private_chat"}); err != nil {
		t.Fatal(err)
	}
	for effect, want := range map[string]struct {
		code int
		says string
	}{
		"matrix-room-create": {ExitTerminal, "take the alias away from that room"},
		"matrix-room-retire": {ExitFailed, "is not a member of room"},
	} {
		code, log := runChild(t, effect, w.environ(room))
		if code != want.code || !strings.Contains(log, want.says) {
			t.Errorf("%s, on somebody else's room: exit code %d, want %d and a word of why:\n%s", effect, code, want.code, log)
		}
	}
}

func TestMatrixRoomEquals(t *testing.T) {
	w := newMatrixWorld(t)
	const room = "support-acme-023"
	w.run(t, "matrix-room-create", room)
	was := w.find(t, room)
	if _, err := w.boris.JoinRoomByID(t.Context(), was); err != nil {
		t.Fatal(err)
	}
	var power event.PowerLevelsEventContent
	if err := w.owner.StateEvent(t.Context(), was, event.StatePowerLevels, "", &power); err != nil {
		t.Fatal(err)
	}
	power.SetUserLevel(w.boris.UserID, 100)
	if _, err := w.owner.SendStateEvent(t.Context(), was, event.StatePowerLevels, "", &power); err != nil {
		t.Fatal(err)
	}

	code, log := runChild(t, "matrix-room-retire", w.environ(room))
	if code != ExitTerminal || !strings.Contains(log, "ask them to leave") || !strings.Contains(log, w.boris.UserID.String()) || strings.Contains(log, w.anna.UserID.String()) {
		t.Errorf("who can't be put out is named, and nobody else: exit code %d:\n%s", code, log)
	}
	if found := w.find(t, room); found != "" {
		t.Errorf("the alias still leads to %s", found)
	}
	if got := w.state(t, was).Members[w.anna.UserID]; got != event.MembershipLeave {
		t.Errorf("anna: want leave, got %s", got)
	}
}

func TestMatrixRefused(t *testing.T) {
	w := newMatrixWorld(t)
	cases := map[string]struct {
		reason string
		change map[string]string
		code   int
		want   string
	}{
		"Token": {
			reason: "The Secret may be rotated while the Job goes on.",
			change: map[string]string{"MATRIX_ACCESS_TOKEN": "hunter2"},
			code:   ExitFailed,
			want:   "the homeserver refuses MATRIX_ACCESS_TOKEN",
		},
		"ServerName": {
			reason: "A homeserver makes aliases under its own name only.",
			change: map[string]string{"MATRIX_SERVER_NAME": "other.example"},
			code:   ExitTerminal,
			want:   "MATRIX_SERVER_NAME is other.example, but the homeserver at " + w.URL + " is matrix.test",
		},
		"Invite": {
			reason: "One who can't be invited doesn't keep the others out.",
			change: map[string]string{"MATRIX_INVITE": "@nobody:nowhere.invalid," + w.anna.UserID.String()},
			code:   ExitFailed,
			want:   "cannot invite @nobody:nowhere.invalid",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			code, log := runChild(t, "matrix-room-create", acme.environ(w.environ("support-acme-023"), tc.change))
			if code != tc.code || !strings.Contains(log, tc.want) {
				t.Errorf("\n%s\nexit code: want %d, got %d; want %q in:\n%s", tc.reason, tc.code, code, tc.want, log)
			}
			if strings.Contains(log, "hunter2") || strings.Contains(log, w.owner.AccessToken) {
				t.Errorf("a token reaches the log:\n%s", log)
			}
		})
	}
	if got := w.state(t, w.find(t, "support-acme-023")).Members[w.anna.UserID]; got != event.MembershipInvite {
		t.Errorf("anna: want invite, got %q", got)
	}
}

func TestMatrixOutage(t *testing.T) {
	w := newMatrixWorld(t)
	const room = "support-acme-023"

	w.Freeze(t)
	cmd, log := child(t, "matrix-room-create", w.environ(room))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	began := time.Now()
	_ = cmd.Wait()
	if took := time.Since(began); took > 5*time.Second || cmd.ProcessState.ExitCode() != ExitFailed {
		t.Errorf("a frozen server: exit code %d %s after it was told to stop:\n%s", cmd.ProcessState.ExitCode(), took, log)
	}
	w.Thaw(t)
	w.run(t, "matrix-room-create", room)
	w.wantFresh(t, room)

	w.Stop(t)
	if err := MatrixRoomRetire(context.Background(), MatrixRoomRetireConfig{Tenant: acme, Matrix: matrixConfig(w.URL)}); err == nil || IsTerminal(err) {
		t.Errorf("a server that is down: want an error that is worth a retry, got %v", err)
	}
}
