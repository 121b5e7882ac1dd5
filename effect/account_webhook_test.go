package effect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// accountSecret is a key for these tests alone.
var accountSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("not a secret, but a test"))

// A portal takes webhooks as the account portal does: it verifies them with the
// Standard Webhooks library, and knows one that it has had by its id.
type portal struct {
	*httptest.Server

	// answer to the nth request, from 0. Nil means 204.
	answer func(n int, w http.ResponseWriter)

	mu       sync.Mutex
	requests int
	taken    map[string]webhook
	refused  []error
}

func newPortal(t *testing.T, answer func(n int, w http.ResponseWriter)) *portal {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(accountSecret)
	if err != nil {
		t.Fatal(err)
	}
	p := &portal{answer: answer, taken: map[string]webhook{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		n := p.requests
		p.requests++
		if err := verifier.Verify(body, r.Header); err != nil {
			p.refused = append(p.refused, err)
			http.Error(w, "bad signature", http.StatusUnauthorized)
			return
		}
		if p.answer != nil {
			p.answer(n, w)
			return
		}
		var hook webhook
		if err := json.Unmarshal(body, &hook); err != nil {
			p.refused = append(p.refused, err)
		}
		p.taken[r.Header.Get(standardwebhooks.HeaderWebhookID)] = hook
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *portal) environ(event string) map[string]string {
	return acme.environ(map[string]string{
		"ACCOUNT_WEBHOOK_URL":    p.URL + "/hooks?token=hunter2",
		"ACCOUNT_WEBHOOK_SECRET": accountSecret,
		"ACCOUNT_EVENT":          event,
	})
}

func (p *portal) config() AccountWebhookConfig {
	return AccountWebhookConfig{Tenant: acme, URL: p.URL + "/hooks?token=hunter2", Secret: accountSecret, Event: eventTenantProvisioned, Patience: time.Minute}
}

// wantTaken fails the test unless the portal holds exactly the one webhook.
func (p *portal) wantTaken(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	hook := p.taken["6f1e7d52-3c7e-4a30-9b0c-0a4b1f5f4c11:tenant.provisioned"]
	if age := time.Since(hook.Timestamp); len(p.taken) != 1 || age < 0 || age > time.Minute {
		t.Errorf("want one webhook of just now, got %d: %v", len(p.taken), p.taken)
	}
	hook.Timestamp = time.Time{}
	want := webhook{Type: "tenant.provisioned", Data: tenantData{
		UID:          acme.UID,
		Subdomain:    "acme",
		ProjectID:    23,
		Tier:         "pro",
		OdooVersion:  "18",
		OwnerEmail:   "ceo+plana@acme.example",
		OwnerName:    acme.OwnerName,
		DatabaseName: "acme.planapulse.app",
		URL:          "https://acme.planapulse.app",
	}}
	if diff := cmp.Diff(want, hook); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if len(p.refused) > 0 {
		t.Errorf("the portal refused %v", p.refused)
	}
}

func TestAccountWebhook(t *testing.T) {
	t.Parallel()
	p := newPortal(t, nil)
	for range 2 {
		if err := AccountWebhook(t.Context(), p.config()); err != nil {
			t.Fatalf("cannot tell the portal: %v", err)
		}
	}
	p.wantTaken(t)

	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := AccountWebhook(t.Context(), p.config()); err != nil {
				t.Errorf("cannot tell the portal twice at once: %v", err)
			}
		})
	}
	both.Wait()
	p.wantTaken(t)
}

func TestAccountWebhookKilled(t *testing.T) {
	var p *portal
	Kills{
		Effect:  "account-webhook",
		Environ: func(int) map[string]string { return p.environ(eventTenantProvisioned) },
		Before:  func(t *testing.T, _ int) { p = newPortal(t, nil) },
		After:   func(t *testing.T, _ int) { p.wantTaken(t) },
	}.survive(t)
}

func TestAccountWebhookAnswers(t *testing.T) {
	status := func(code int) func(int, http.ResponseWriter) {
		return func(_ int, w http.ResponseWriter) { http.Error(w, "no <such> tenant", code) }
	}
	cases := map[string]struct {
		reason   string
		answer   func(n int, w http.ResponseWriter)
		requests int
		want     string
		terminal bool
	}{
		"Created":  {reason: "Any 2xx means taken.", answer: status(201), requests: 1},
		"Accepted": {reason: "Any 2xx means taken.", answer: status(202), requests: 1},
		"Recovers": {
			reason: "A portal that restarts is waited for.",
			answer: func(n int, w http.ResponseWriter) {
				w.WriteHeader([]int{502, 503, 200}[n])
			},
			requests: 3,
		},
		"Busy": {
			reason: "A portal that says when to come back is obeyed.",
			answer: func(n int, w http.ResponseWriter) {
				w.Header().Set("Retry-After", "2")
				w.WriteHeader([]int{429, 200}[n])
			},
			requests: 2,
		},
		"BusyForLong": {
			reason: "A portal that asks for more patience than there is, is left to the Job.",
			answer: func(_ int, w http.ResponseWriter) {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(429)
			},
			requests: 1,
			want:     "asked to wait 1h0m0s",
		},
		"Nonsense": {
			reason: "A time to come back that isn't one is not waited for.",
			answer: func(n int, w http.ResponseWriter) {
				w.Header().Set("Retry-After", "-99999999999")
				w.WriteHeader([]int{429, 200}[n])
			},
			requests: 2,
		},
		"Unauthorized": {
			reason:   "The Secret may be the one of yesterday: worth another Job attempt, but not at once.",
			answer:   status(401),
			requests: 1,
			want:     `answered 401: "no <such> tenant": is ACCOUNT_WEBHOOK_SECRET the portal's?`,
		},
		"NotFound": {
			reason:   "The portal may not be deployed yet.",
			answer:   status(404),
			requests: 1,
			want:     `answered 404`,
		},
		"BadRequest": {
			reason:   "The same message gets the same answer: what the portal says is told, and it ends there.",
			answer:   status(400),
			requests: 1,
			want:     `the account portal did not take tenant.provisioned: it answered 400: "no <such> tenant"`,
			terminal: true,
		},
		"Conflict":      {reason: "As above.", answer: status(409), requests: 1, want: "answered 409", terminal: true},
		"Gone":          {reason: "As above.", answer: status(410), requests: 1, want: "answered 410", terminal: true},
		"Unprocessable": {reason: "As above.", answer: status(422), requests: 1, want: "answered 422", terminal: true},
		"Moved": {
			reason: "A signed message isn't sent elsewhere.",
			answer: func(_ int, w http.ResponseWriter) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(308)
			},
			requests: 1,
			want:     "set ACCOUNT_WEBHOOK_URL",
			terminal: true,
		},
		"Maintenance": {
			reason: "A passing redirect passes.",
			answer: func(_ int, w http.ResponseWriter) {
				w.Header().Set("Location", "/maintenance")
				w.WriteHeader(302)
			},
			requests: 1,
			want:     "answered 302",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPortal(t, tc.answer)
			began := time.Now()
			err := AccountWebhook(t.Context(), p.config())
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("\n%s\nerror: want %q, got %v", tc.reason, tc.want, err)
			}
			if IsTerminal(err) != tc.terminal {
				t.Errorf("\n%s\nhopeless: want %t", tc.reason, tc.terminal)
			}
			if p.requests != tc.requests {
				t.Errorf("\n%s\nrequests: want %d, got %d", tc.reason, tc.requests, p.requests)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), accountSecret)) {
				t.Errorf("a secret reaches the log: %v", err)
			}
			if name == "Busy" && time.Since(began) < 2*time.Second {
				t.Errorf("\n%s\ncame back after %s", tc.reason, time.Since(began))
			}
		})
	}
}

func TestAccountWebhookWrongSecret(t *testing.T) {
	t.Parallel()
	p := newPortal(t, nil)
	c := p.config()
	c.Secret = "whsec_" + strings.Repeat("A", 32)
	err := AccountWebhook(t.Context(), c)
	if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), "is ACCOUNT_WEBHOOK_SECRET the portal's?") {
		t.Errorf("want an error that names the Secret and is worth a retry, got %v", err)
	}
	if len(p.taken) != 0 {
		t.Errorf("taken with a wrong signature: %v", p.taken)
	}
}

func TestAccountWebhookUnreachable(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer garbage.Close()
	go func() {
		for {
			conn, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("\x00\xff SSH-2.0 \r\n\r\n"))
			_ = conn.Close()
		}
	}()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	for name, url := range map[string]string{
		"Closed":  closed.URL,
		"Garbage": "http://" + garbage.Addr().String(),
		"Silent":  "http://" + silent.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := AccountWebhookConfig{Tenant: acme, URL: url + "/?token=hunter2", Secret: accountSecret, Event: eventTenantProvisioned, Patience: 2 * time.Second}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := AccountWebhook(ctx, c)
			if err == nil || IsTerminal(err) || ctx.Err() != nil {
				t.Errorf("want an error that is worth a retry, within its patience, got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret reaches the log: %v", err)
			}
		})
	}
}

func TestAccountWebhookConfig(t *testing.T) {
	cases := map[string]struct {
		reason string
		change map[string]string
		want   string
	}{
		"Good":        {reason: "A good configuration is taken."},
		"Bare":        {reason: "The prefix is a custom, and may be left out.", change: map[string]string{"ACCOUNT_WEBHOOK_SECRET": strings.TrimPrefix(accountSecret, "whsec_")}},
		"EmptyKey":    {reason: "A prefix without a key signs nothing.", change: map[string]string{"ACCOUNT_WEBHOOK_SECRET": "whsec_"}, want: "24 to 64 bytes"},
		"NotBase64":   {reason: "A key that isn't base64 is named, but not shown.", change: map[string]string{"ACCOUNT_WEBHOOK_SECRET": "whsec_hunter2!"}, want: "ACCOUNT_WEBHOOK_SECRET"},
		"Event":       {reason: "Only two events are known.", change: map[string]string{"ACCOUNT_EVENT": "tenant.exploded"}, want: "tenant.provisioned or tenant.deprovisioned"},
		"NoURL":       {reason: "An address is needed.", change: map[string]string{"ACCOUNT_WEBHOOK_URL": "portal"}, want: "ACCOUNT_WEBHOOK_URL"},
		"NoPatience":  {reason: "No time is no attempt.", change: map[string]string{"ACCOUNT_PATIENCE": "0"}, want: "ACCOUNT_PATIENCE"},
		"EmptySecret": {reason: "An empty Secret is said to be empty.", change: map[string]string{"ACCOUNT_WEBHOOK_SECRET": ""}, want: "ACCOUNT_WEBHOOK_SECRET"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse[AccountWebhookConfig](acme.environ(map[string]string{
				"ACCOUNT_WEBHOOK_URL":    "https://portal.example/hooks",
				"ACCOUNT_WEBHOOK_SECRET": accountSecret,
				"ACCOUNT_EVENT":          eventTenantProvisioned,
			}, tc.change))
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("\n%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret reaches the log: %v", err)
			}
		})
	}
}
