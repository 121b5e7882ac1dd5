package effect

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"maunium.net/go/mautrix/id"
)

// A fakeHomeserver knows who its user is. What else it says is up to the test:
// it answers what a real one rarely does.
type fakeHomeserver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
}

func newFakeHomeserver(t *testing.T, answer func(request string, n int, w http.ResponseWriter)) *fakeHomeserver {
	t.Helper()
	f := &fakeHomeserver{}
	counts := map[string]int{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		request := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/_matrix/client/v3")
		f.requests = append(f.requests, request)
		n := counts[request]
		counts[request]++
		w.Header().Set("Content-Type", "application/json")
		if request == "GET /account/whoami" {
			_, _ = w.Write([]byte(`{"user_id":"@owner:matrix.test"}`))
			return
		}
		answer(request, n, w)
	}))
	t.Cleanup(f.Close)
	return f
}

func matrixConfig(url string) Matrix {
	return Matrix{Homeserver: url, ServerName: "matrix.test", AccessToken: "hunter2", Room: "support-acme-023", Patience: 20 * time.Second}
}

func reply(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

func TestMatrixPatience(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		header string
		body   string
		least  time.Duration
		want   string
	}{
		"Body":   {reason: "Older servers ask for patience in the answer.", body: `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1500}`, least: 1500 * time.Millisecond},
		"Header": {reason: "Newer ones do in a header.", header: "2", body: `{"errcode":"M_LIMIT_EXCEEDED"}`, least: 2 * time.Second},
		"Proxy":  {reason: "A proxy in front of it does it its own way.", body: `<html>slow down</html>`, least: time.Second},
		"TooMuch": {
			reason: "What is more than the patience at hand is left to the Job.",
			body:   `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":3600000}`,
			want:   "asked to wait 1h0m0s",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hs := newFakeHomeserver(t, func(_ string, n int, w http.ResponseWriter) {
				if n > 0 {
					reply(w, 404, `{"errcode":"M_NOT_FOUND"}`)
					return
				}
				if tc.header != "" {
					w.Header().Set("Retry-After", tc.header)
				}
				reply(w, 429, tc.body)
			})
			began := time.Now()
			err := MatrixRoomRetire(t.Context(), MatrixRoomRetireConfig{Tenant: acme, Matrix: matrixConfig(hs.URL)})
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("\n%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
			if took := time.Since(began); took < tc.least || took > tc.least+time.Second {
				t.Errorf("\n%s\nwaited %s, want %s", tc.reason, took, tc.least)
			}
		})
	}
}

// TestMatrixRoomCreateLost has the answer to the creation lost, and the room
// made all the same.
func TestMatrixRoomCreateLost(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"InUse": 400, "Broken": 500, "Gateway": 504} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hs := newFakeHomeserver(t, func(request string, n int, w http.ResponseWriter) {
				switch {
				case strings.HasPrefix(request, "GET /directory/room/") && n == 0:
					reply(w, 404, `{"errcode":"M_NOT_FOUND"}`)
				case strings.HasPrefix(request, "GET /directory/room/"):
					reply(w, 200, `{"room_id":"!room:matrix.test"}`)
				case request == "POST /createRoom":
					reply(w, status, `{"errcode":"M_ROOM_IN_USE"}`)
				case request == "GET /rooms/!room:matrix.test/state":
					reply(w, 200, `[null,{"type":"m.room.create","sender":"@owner:matrix.test","state_key":"","content":{}},{"type":"m.room.name","state_key":"","content":[]},{"type":"m.room.member","state_key":"@owner:matrix.test","content":{"membership":"join"}}]`)
				default:
					reply(w, 200, `{}`)
				}
			})
			err := MatrixRoomCreate(t.Context(), MatrixRoomCreateConfig{Tenant: acme, Matrix: matrixConfig(hs.URL), Invite: []string{"@support:matrix.test"}})
			if err != nil {
				t.Errorf("want the room that is there to be taken, got %v", err)
			}
			want := []string{
				"GET /account/whoami",
				"GET /directory/room/#support-acme-023:matrix.test",
				"POST /createRoom",
				"GET /directory/room/#support-acme-023:matrix.test",
				"GET /rooms/!room:matrix.test/state",
				"GET /rooms/!room:matrix.test/state",
				"POST /rooms/!room:matrix.test/invite",
			}
			if diff := cmp.Diff(want, hs.requests); diff != "" {
				t.Errorf("requests: -want, +got:\n%s", diff)
			}
		})
	}
}

// TestMatrixRoomCreateStranger has another user of the homeserver hold the alias.
func TestMatrixRoomCreateStranger(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		before bool
		status int
		state  string
	}{
		"Invited": {
			reason: "Who lets our user into a room of theirs has made it all the same. Since rooms of version 11 only the sender tells.",
			before: true, status: 200, state: `[{"type":"m.room.create","sender":"@mallory:matrix.test","state_key":"","content":{"creator":"@owner:matrix.test"}}]`,
		},
		"NotAMember": {
			reason: "What our user isn't in, it hasn't made.",
			before: true, status: 403, state: `{"errcode":"M_FORBIDDEN"}`,
		},
		"Faster": {
			reason: "Nor is one taken that comes in the same moment.",
			status: 200, state: `[{"type":"m.room.create","sender":"@mallory:matrix.test","state_key":"","content":{}}]`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hs := newFakeHomeserver(t, func(request string, n int, w http.ResponseWriter) {
				switch {
				case strings.HasPrefix(request, "GET /directory/room/") && n == 0 && !tc.before:
					reply(w, 404, `{"errcode":"M_NOT_FOUND"}`)
				case strings.HasPrefix(request, "GET /directory/room/"):
					reply(w, 200, `{"room_id":"!room:matrix.test"}`)
				case request == "POST /createRoom":
					reply(w, 400, `{"errcode":"M_ROOM_IN_USE"}`)
				case strings.HasSuffix(request, "/state"):
					reply(w, tc.status, tc.state)
				default:
					reply(w, 200, `{}`)
				}
			})
			err := MatrixRoomCreate(t.Context(), MatrixRoomCreateConfig{Tenant: acme, Matrix: matrixConfig(hs.URL), Invite: []string{"@support:matrix.test"}})
			if !IsTerminal(err) || !strings.Contains(err.Error(), "take the alias away from that room") {
				t.Errorf("\n%s\nwant a terminal error that says what to do, got %v", tc.reason, err)
			}
			for _, r := range hs.requests {
				if strings.HasSuffix(r, "/invite") || strings.HasPrefix(r, "DELETE") {
					t.Errorf("\n%s\nnothing is done to a stranger's room, got %s", tc.reason, r)
				}
			}
		})
	}
}

// TestMatrixRoomCreateInvited has somebody join between the look at the room's
// members and the invitation.
func TestMatrixRoomCreateInvited(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		state  string
		want   string
	}{
		"Joined": {reason: "Who is in the room by now need not be invited.", state: `{"membership":"join"}`},
		"Absent": {reason: "Who isn't is missing.", want: "room #support-acme-023:matrix.test is there, but not everybody is invited: cannot invite @support:matrix.test: M_FORBIDDEN (HTTP 403): no"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hs := newFakeHomeserver(t, func(request string, _ int, w http.ResponseWriter) {
				switch {
				case strings.HasPrefix(request, "GET /directory/room/"):
					reply(w, 200, `{"room_id":"!room:matrix.test"}`)
				case strings.HasSuffix(request, "/state"):
					reply(w, 200, `[{"type":"m.room.create","sender":"@owner:matrix.test","state_key":"","content":{}}]`)
				case strings.HasSuffix(request, "/invite"):
					reply(w, 403, `{"errcode":"M_FORBIDDEN","error":"no"}`)
				case strings.HasSuffix(request, "/state/m.room.member/@support:matrix.test") && tc.state != "":
					reply(w, 200, tc.state)
				default:
					reply(w, 404, `{"errcode":"M_NOT_FOUND"}`)
				}
			})
			err := MatrixRoomCreate(t.Context(), MatrixRoomCreateConfig{Tenant: acme, Matrix: matrixConfig(hs.URL), Invite: []string{"@support:matrix.test"}})
			if (err == nil) != (tc.want == "") || (err != nil && err.Error() != tc.want) {
				t.Errorf("\n%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestMatrixGarbage(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		answer func(request string, n int, w http.ResponseWriter)
	}{
		"Null":   {reason: "null is valid JSON, and no answer.", answer: func(_ string, _ int, w http.ResponseWriter) { reply(w, 200, `null`) }},
		"Empty":  {reason: "Nor is an empty object.", answer: func(_ string, _ int, w http.ResponseWriter) { reply(w, 200, `{}`) }},
		"List":   {reason: "Nor is a list.", answer: func(_ string, _ int, w http.ResponseWriter) { reply(w, 200, `[null]`) }},
		"HTML":   {reason: "Nor is a welcome page.", answer: func(_ string, _ int, w http.ResponseWriter) { reply(w, 200, `<html>`) }},
		"Binary": {reason: "Nor are random bytes.", answer: func(_ string, _ int, w http.ResponseWriter) { reply(w, 200, "\x00\xff") }},
		"Not":    {reason: "Any web server answers 404: it takes a homeserver's to mean that there is no such room.", answer: func(_ string, _ int, w http.ResponseWriter) { reply(w, 404, `404 page not found`) }},
		"Redirect": {reason: "A redirect isn't followed with the token.", answer: func(_ string, _ int, w http.ResponseWriter) {
			w.Header().Set("Location", "/elsewhere")
			reply(w, 302, "")
		}},
		"Broken": {reason: "An error is an error.", answer: func(_ string, _ int, w http.ResponseWriter) { reply(w, 500, `{"errcode":"M_UNKNOWN"}`) }},
		"Wrong": {reason: "A wrong room id leads nowhere.", answer: func(request string, _ int, w http.ResponseWriter) {
			if strings.HasPrefix(request, "GET /directory/") {
				reply(w, 200, `{"room_id":"!../../x?y"}`)
				return
			}
			reply(w, 200, `[]`)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hs := newFakeHomeserver(t, tc.answer)
			for effect, err := range map[string]error{
				"create": MatrixRoomCreate(t.Context(), MatrixRoomCreateConfig{Tenant: acme, Matrix: matrixConfig(hs.URL)}),
				"retire": MatrixRoomRetire(t.Context(), MatrixRoomRetireConfig{Tenant: acme, Matrix: matrixConfig(hs.URL)}),
			} {
				if err == nil || IsTerminal(err) {
					t.Errorf("\n%s\n%s: want an error that is worth a retry, got %v", tc.reason, effect, err)
				}
				if err != nil && strings.Contains(err.Error(), "hunter2") {
					t.Errorf("a token reaches the log: %v", err)
				}
			}
		})
	}
}

func TestMatrixUnreachable(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	err := MatrixRoomRetire(t.Context(), MatrixRoomRetireConfig{Tenant: acme, Matrix: matrixConfig(closed.URL)})
	if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("want an error that says so and is worth a retry, got %v", err)
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	began := time.Now()
	err = MatrixRoomRetire(ctx, MatrixRoomRetireConfig{Tenant: acme, Matrix: matrixConfig("http://" + silent.Addr().String())})
	if took := time.Since(began); err == nil || took > 2*time.Second {
		t.Errorf("a silent server: told to stop, it took %s: %v", took, err)
	}
}

func TestMatrixConfig(t *testing.T) {
	cases := map[string]struct {
		reason string
		change map[string]string
		invite []id.UserID
		want   string
	}{
		"Good":       {reason: "A good configuration is taken.", invite: []id.UserID{"@a:matrix.test", "@b:other.example"}},
		"Nobody":     {reason: "Nobody need be invited.", change: map[string]string{"MATRIX_INVITE": ""}, invite: []id.UserID{}},
		"Commas":     {reason: "Commas are easily one too many.", change: map[string]string{"MATRIX_INVITE": ", @a:matrix.test,,"}, invite: []id.UserID{"@a:matrix.test"}},
		"Invite":     {reason: "Who is to be invited needs an id.", change: map[string]string{"MATRIX_INVITE": "support"}, want: `MATRIX_INVITE: "support" must be a Matrix user id`},
		"Room":       {reason: "An alias' first half has no colon.", change: map[string]string{"MATRIX_ROOM": "a:b"}, want: "MATRIX_ROOM"},
		"ServerName": {reason: "A server's name is no address.", change: map[string]string{"MATRIX_SERVER_NAME": "https://matrix.test/"}, want: "MATRIX_SERVER_NAME"},
		"Homeserver": {reason: "An address needs a scheme.", change: map[string]string{"MATRIX_HOMESERVER": "matrix.test"}, want: "MATRIX_HOMESERVER"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := Parse[MatrixRoomCreateConfig](acme.environ(map[string]string{
				"MATRIX_HOMESERVER":   "http://synapse:8008",
				"MATRIX_SERVER_NAME":  "matrix.test",
				"MATRIX_ACCESS_TOKEN": "hunter2",
				"MATRIX_ROOM":         "support-acme-023",
				"MATRIX_INVITE":       "@a:matrix.test, @b:other.example",
			}, tc.change))
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("\n%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
			if diff := cmp.Diff(tc.invite, c.invited()); tc.want == "" && diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
