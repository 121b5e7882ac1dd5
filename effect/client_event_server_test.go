//go:build servers

package effect

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

const eventSource = "https://planapulse.com/crossplane"

func redisEnviron(s *servers.RedisServer) map[string]string {
	return acme.environ(s.Environ(), map[string]string{"EVENT_SOURCE": eventSource})
}

// wantPublished fails the test unless the stream holds one event of each type,
// in that order, and each event's key the id of its entry.
func wantPublished(t *testing.T, s *servers.RedisServer, types ...string) {
	t.Helper()
	entries, err := s.Client(t).XRange(t.Context(), servers.RedisStream, "-", "+").Result()
	if err != nil {
		t.Fatalf("cannot read the stream: %v", err)
	}
	if len(entries) != len(types) {
		t.Errorf("want %d events, got %d: %v", len(types), len(entries), entries)
		return
	}
	for i, e := range entries {
		id := acme.UID + ":" + types[i]
		var data tenantData
		if err := json.Unmarshal([]byte(e.Values["data"].(string)), &data); err != nil {
			t.Errorf("data is not JSON: %v", err)
		}
		if diff := cmp.Diff(newTenantData(acme), data); diff != "" {
			t.Errorf("data: -want, +got:\n%s", diff)
		}
		at, err := time.Parse(time.RFC3339Nano, e.Values["time"].(string))
		if age := time.Since(at); err != nil || age < 0 || age > 5*time.Minute {
			t.Errorf("time: want just now, got %v, %v", e.Values["time"], err)
		}
		delete(e.Values, "data")
		delete(e.Values, "time")
		want := map[string]any{
			"specversion":     "1.0",
			"id":              id,
			"source":          eventSource,
			"type":            types[i],
			"subject":         "acme",
			"datacontenttype": "application/json",
		}
		if diff := cmp.Diff(want, e.Values); diff != "" {
			t.Errorf("-want, +got:\n%s", diff)
		}
		key := dedupeKey(servers.RedisStream, id)
		if got, err := s.Client(t).Get(t.Context(), key).Result(); err != nil || got != e.ID {
			t.Errorf("%s: want %s, got %q, %v", key, e.ID, got, err)
		}
		if ttl := s.Client(t).TTL(t.Context(), key).Val(); ttl != -1 {
			t.Errorf("%s: want no expiry, got %s", key, ttl)
		}
	}
}

func TestClientEvents(t *testing.T) {
	s := servers.Redis(t)
	environ := redisEnviron(s)
	for range 2 {
		if code, log := runChild(t, "client-provisioned", environ); code != ExitDone {
			t.Fatalf("exit code %d:\n%s", code, log)
		}
	}
	wantPublished(t, s, eventClientProvisioned)

	code, log := runChild(t, "client-provisioned", environ)
	if code != ExitDone || !strings.Contains(log, "had been published before") {
		t.Errorf("a second run says nothing of the first: exit code %d:\n%s", code, log)
	}
	for range 2 {
		if code, log := runChild(t, "client-deprovisioned", environ); code != ExitDone {
			t.Fatalf("exit code %d:\n%s", code, log)
		}
	}
	wantPublished(t, s, eventClientProvisioned, eventClientDeprovisioned)
}

func TestClientEventAtOnce(t *testing.T) {
	s := servers.Redis(t)
	c, err := Parse[ClientEventConfig](redisEnviron(s))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := ClientProvisioned(t.Context(), c); err != nil {
				t.Errorf("at the same time as others: %v", err)
			}
		})
	}
	all.Wait()
	wantPublished(t, s, eventClientProvisioned)
}

func TestClientEventKilled(t *testing.T) {
	s := servers.Redis(t)
	Kills{
		Effect:  "client-provisioned",
		Environ: func(int) map[string]string { return redisEnviron(s) },
		Before: func(t *testing.T, _ int) {
			if err := s.Client(t).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		},
		After: func(t *testing.T, _ int) { wantPublished(t, s, eventClientProvisioned) },
	}.survive(t)
}

// TestClientEventUndone shows that a failed XADD leaves no key behind, which
// would make the next run believe that the event is in the stream.
func TestClientEventUndone(t *testing.T) {
	s := servers.Redis(t)
	c, err := Parse[ClientEventConfig](redisEnviron(s))
	if err != nil {
		t.Fatal(err)
	}
	admin := s.Client(t)
	if err := admin.Set(t.Context(), servers.RedisStream, "not a stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	err = ClientProvisioned(t.Context(), c)
	if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), "PLANA:events at "+s.Address+" is not a stream") {
		t.Errorf("want an error that says what is in the stream's place, got %v", err)
	}
	if err := admin.Del(t.Context(), servers.RedisStream).Err(); err != nil {
		t.Fatal(err)
	}
	if err := ClientProvisioned(t.Context(), c); err != nil {
		t.Errorf("once it is put right: %v", err)
	}
	wantPublished(t, s, eventClientProvisioned)
}

func TestClientEventRefused(t *testing.T) {
	s := servers.Redis(t)
	cases := map[string]struct {
		reason string
		acl    []any
		change func(*ClientEventConfig)
		want   string
	}{
		"WrongPassword": {
			reason: "The Secret may be rotated while the Job goes on.",
			change: func(c *ClientEventConfig) { c.Password = "hunter2" },
			want:   "refuses REDIS_USERNAME and REDIS_PASSWORD",
		},
		"OtherStream": {
			reason: "A user that may not write to this stream is told which rights it takes.",
			change: func(c *ClientEventConfig) { c.Stream = "other" },
			want:   "may not add to other",
		},
		"NoXADD": {
			reason: "Nor does a missing command leave a key behind.",
			acl:    []any{"ACL", "SETUSER", s.Username, "-xadd"},
			want:   "may not add to PLANA:events",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := Parse[ClientEventConfig](redisEnviron(s))
			if err != nil {
				t.Fatal(err)
			}
			if tc.change != nil {
				tc.change(&c)
			}
			if tc.acl != nil {
				if err := s.Client(t).Do(t.Context(), tc.acl...).Err(); err != nil {
					t.Fatal(err)
				}
				defer s.Client(t).Do(context.Background(), "ACL", "SETUSER", s.Username, "+xadd")
			}
			err = ClientProvisioned(t.Context(), c)
			if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("\n%s\nwant %q, and worth a retry, got %v", tc.reason, tc.want, err)
			}
			if err != nil && strings.Contains(err.Error(), c.Password) {
				t.Errorf("a password reaches the log: %v", err)
			}
			if keys := s.Client(t).Keys(t.Context(), "*").Val(); len(keys) > 0 {
				t.Errorf("\n%s\nleft behind: %v", tc.reason, keys)
			}
		})
	}
}

func TestClientEventOutage(t *testing.T) {
	s := servers.Redis(t)
	environ := redisEnviron(s)

	s.Freeze(t)
	began := time.Now()
	cmd, log := child(t, "client-provisioned", environ)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if took := time.Since(began); took > 5*time.Second || cmd.ProcessState.ExitCode() != ExitFailed {
		t.Errorf("a frozen server: exit code %d after %s:\n%s", cmd.ProcessState.ExitCode(), took, log)
	}
	// What was sent before the freeze is read after it, even though its sender
	// is gone: the event may be there, but never twice.
	s.Thaw(t)
	if code, log := runChild(t, "client-provisioned", environ); code != ExitDone {
		t.Errorf("once it answers: exit code %d:\n%s", code, log)
	}
	wantPublished(t, s, eventClientProvisioned)

	s.Stop(t)
	began = time.Now()
	code, out := runChild(t, "client-provisioned", environ)
	if took := time.Since(began); code != ExitFailed || took > 5*time.Second || !strings.Contains(out, "connection refused") {
		t.Errorf("a server that is down: exit code %d after %s:\n%s", code, took, out)
	}
}

// With REDIS_TLS, the password goes to the right server and to no other.
func TestClientEventTLS(t *testing.T) {
	s, plain := servers.RedisTLS(t), servers.Redis(t)
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason  string
		environ map[string]string
		says    string
	}{
		"WrongName": {
			reason:  "The same server under a name that isn't in its certificate.",
			environ: map[string]string{"REDIS_ADDRESS": net.JoinHostPort("localhost", port)},
			says:    "reach the server by a name in it, or have it certified for localhost",
		},
		"UnknownAuthority": {
			reason:  "Whoever vouches for itself is trusted by those only who were told so.",
			environ: map[string]string{"REDIS_CA_FILE": ""},
			says:    "name its certificate in the Platform's events.caSecret",
		},
		"OtherAuthority": {
			reason:  "An authority that vouches for others says nothing of this server.",
			environ: map[string]string{"REDIS_CA_FILE": servers.Authority(t)},
			says:    "put the certificate of the authority that signed it into what the Platform's events.caSecret names",
		},
		"NoCertificate": {
			reason:  "A Secret with something else in it.",
			environ: map[string]string{"REDIS_CA_FILE": os.Args[0]},
			says:    "there is no certificate in",
		},
		"ServerWithoutTLS": {
			reason:  "It isn't spoken to in plain text instead.",
			environ: map[string]string{"REDIS_ADDRESS": plain.Address},
			says:    "cannot add client.provisioned",
		},
		"EffectWithoutTLS": {
			reason:  "A server that speaks nothing else.",
			environ: map[string]string{"REDIS_TLS": "false"},
			says:    "cannot add client.provisioned",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			environ := acme.environ(redisEnviron(s), tc.environ)
			code, log := runChild(t, "client-provisioned", environ)
			if code != ExitFailed || !strings.Contains(log, tc.says) {
				t.Errorf("%s\nwant exit code %d and %q, got %d:\n%s", tc.reason, ExitFailed, tc.says, code, log)
			}
			if strings.Contains(log, s.Password) {
				t.Errorf("the password reaches the log:\n%s", log)
			}
			wantPublished(t, s)
			wantPublished(t, plain)
		})
	}

	for range 2 {
		if code, log := runChild(t, "client-provisioned", redisEnviron(s)); code != ExitDone {
			t.Fatalf("exit code %d:\n%s", code, log)
		}
	}
	wantPublished(t, s, eventClientProvisioned)
}
