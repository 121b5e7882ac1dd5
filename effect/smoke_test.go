package effect

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// loginPage is shaped like Odoo's: the fields are in no fixed order, and their
// attributes neither.
const loginPage = `<!DOCTYPE html><html><head><title>Login</title></head><body>
<form class="oe_login_form" role="form" method="post" onsubmit="this.action = '/web/login'" action="/web/login">
<input type="hidden" name="csrf_token" value="x"/>
<div class="mb-3"><input type="text" placeholder="Email" class="form-control" required name="login" id="login" autofocus="autofocus"/></div>
<div class="mb-3"><input id="password" type=password name=password maxlength="4096"></div>
<button type="submit">Log in</button></form></body></html>`

func TestSmokeTest(t *testing.T) {
	type answer struct {
		status   int
		location string
		body     string
	}
	good := answer{status: 200, body: loginPage}
	cases := map[string]struct {
		reason   string
		answers  []answer
		requests int
		want     string
	}{
		"Served": {
			reason:   "A login form is what a tenant in service shows.",
			answers:  []answer{good},
			requests: 1,
		},
		"NotListedYet": {
			reason:   "Workers notice a new database after a while.",
			answers:  []answer{{status: 303, location: "/web/database/selector"}, {status: 503, body: "no healthy upstream"}, good},
			requests: 3,
		},
		"NeverListed": {
			reason:   "A redirect to the database selector is explained, not followed.",
			answers:  []answer{{status: 303, location: "http://acme.planapulse.app/web/database/selector"}},
			requests: 2,
			want:     "redirected (303) to the database selector: Odoo does not list database acme.planapulse.app, because it is not there, not owned by Odoo's role, or not open",
		},
		"Elsewhere": {
			reason:   "Any other redirect is named, and not followed either.",
			answers:  []answer{{status: 302, location: "https://elsewhere.example/"}},
			requests: 2,
			want:     `redirected (302) to "https://elsewhere.example/" instead of showing a login form`,
		},
		"NoForm": {
			reason:   "200 is not enough: a welcome page of a wrong server has it too.",
			answers:  []answer{{status: 200, body: "<h1>It works!</h1> <input name=login>"}},
			requests: 2,
			want:     `answered 200 without a login form: "<h1>It works!</h1> <input name=login>"`,
		},
		"Error": {
			reason:   "An error is told with what it says.",
			answers:  []answer{{status: 500, body: "Internal\nServer Error"}},
			requests: 2,
			want:     `answered 500: "Internal Server Error"`,
		},
		"Endless": {
			reason:   "A page without an end is not read to its end.",
			answers:  []answer{{status: 200, body: strings.Repeat("<p>garbage", smokePage)}},
			requests: 2,
			want:     "without a login form",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen []string
			odoo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen = append(seen, fmt.Sprint(r.Method, " ", r.URL, " ", r.Host, " ", r.Header.Get("X-Forwarded-Host"), " ", r.Header.Get("X-Forwarded-Proto")))
				a := tc.answers[min(len(seen), len(tc.answers))-1]
				if a.location != "" {
					w.Header().Set("Location", a.location)
				}
				w.WriteHeader(a.status)
				_, _ = w.Write([]byte(a.body))
			}))
			defer odoo.Close()

			patience := 2 * time.Second
			if tc.want == "" {
				patience = time.Minute
			}
			err := SmokeTest(t.Context(), SmokeTestConfig{Tenant: acme, URL: odoo.URL + "/", Patience: patience})
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("\n%s\nerror: want %q, got %v", tc.reason, tc.want, err)
			}
			if IsTerminal(err) {
				t.Errorf("\n%s\nhopeless: a database may appear, and a worker restart", tc.reason)
			}
			var want []string
			for range tc.requests {
				want = append(want, "GET /web/login acme.planapulse.app acme.planapulse.app https")
			}
			if diff := cmp.Diff(want, seen); diff != "" {
				t.Errorf("\n%s\nrequests: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSmokeTestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := "http://" + l.Addr().String()
	// Nobody accepts: the connection is made, and nothing ever comes back.
	defer l.Close()

	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()

	for name, url := range map[string]string{"Silent": silent, "Closed": closed.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			err := SmokeTest(t.Context(), SmokeTestConfig{Tenant: acme, URL: url, Patience: 2 * time.Second})
			if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), "does not serve acme.planapulse.app") {
				t.Errorf("want an error that is worth a retry, got %v", err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("took %s of 2 s", took)
			}
		})
	}
}

func TestSmokeTestTold(t *testing.T) {
	t.Parallel()
	odoo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/web/database/selector")
		w.WriteHeader(http.StatusSeeOther)
	}))
	defer odoo.Close()

	cmd, log := child(t, "smoke-test", acme.environ(map[string]string{"SMOKE_URL": odoo.URL}))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	began := time.Now()
	_ = cmd.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopped %s after it was told to", took)
	}
	if code := cmd.ProcessState.ExitCode(); code != ExitFailed || !strings.Contains(log.String(), "told to stop") {
		t.Errorf("exit code %d, want %d and a word of why; its log:\n%s", code, ExitFailed, log)
	}
}

func TestSmokeTestConfig(t *testing.T) {
	environ := acme.environ(map[string]string{
		"SMOKE_URL":         "http://user:hunter2@worker/path",
		"SMOKE_PATIENCE":    "-1s",
		"TENANT_PROJECT_ID": "0",
		"TENANT_DATABASE":   "../acme",
	})
	_, err := Parse[SmokeTestConfig](environ)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"SMOKE_URL", "SMOKE_PATIENCE", "TENANT_PROJECT_ID", "TENANT_DATABASE"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("one message lists everything that is wrong, but not %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password reaches the log: %v", err)
	}
}
