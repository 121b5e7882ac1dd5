package effect

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pemFile is a file with what vouches for a test's HTTPS server.
func pemFile(t *testing.T, s *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestPrivateAuthority has the effects that speak HTTP talk to servers that only an
// authority of the installation's own vouches for. What is wrong with trust is said
// at once: no patience mends it.
func TestPrivateAuthority(t *testing.T) {
	t.Parallel()
	portal := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(portal.Close)
	homeserver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"user_id":"@owner:matrix.test"}`))
	}))
	t.Cleanup(homeserver.Close)

	empty, missing := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "missing")
	if err := os.WriteFile(empty, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	// httptest's certificate is for example.com and for loopback addresses.
	elsewhere := func(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }

	effects := map[string]struct {
		field string
		run   func(url, file string) error
		url   string
		file  string
	}{
		"account-webhook": {
			field: "account.caSecret", url: portal.URL, file: pemFile(t, portal),
			run: func(url, file string) error {
				return AccountWebhook(t.Context(), AccountWebhookConfig{
					Tenant: acme, URL: url, Secret: accountSecret, CAFile: file, Event: eventTenantProvisioned, Patience: time.Minute,
				})
			},
		},
		"matrix": {
			field: "matrix.caSecret", url: homeserver.URL, file: pemFile(t, homeserver),
			run: func(url, file string) error {
				c := matrixConfig(url)
				c.CAFile = file
				_, err := c.connect(t.Context())
				return err
			},
		},
	}
	cases := map[string]struct {
		reason string
		url    func(string) string
		file   func(string) string
		says   string
	}{
		"Trusted":     {reason: "Its certificate is in the file."},
		"Unknown":     {reason: "The image knows no such authority.", file: func(string) string { return "" }, says: "name its certificate in the Platform's "},
		"OtherName":   {reason: "The certificate is for other names.", url: elsewhere, says: "reach the server by a name in it, or have it certified for localhost"},
		"Missing":     {reason: "The Secret has no such key.", file: func(string) string { return missing }, says: "does the object that the Platform's "},
		"NoneInThere": {reason: "The Secret holds something else.", file: func(string) string { return empty }, says: "there is no certificate in "},
	}
	for name, e := range effects {
		for why, tc := range cases {
			t.Run(name+"/"+why, func(t *testing.T) {
				url, file := e.url, e.file
				if tc.url != nil {
					url = tc.url(url)
				}
				if tc.file != nil {
					file = tc.file(file)
				}
				began := time.Now()
				err := e.run(url, file)
				if tc.says == "" {
					if err != nil {
						t.Errorf("%s\n%v", tc.reason, err)
					}
					return
				}
				if err == nil || IsTerminal(err) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s\nwant hope and %q, got terminal %t: %v", tc.reason, tc.says, IsTerminal(err), err)
				}
				if why != "OtherName" && !strings.Contains(err.Error(), e.field) {
					t.Errorf("%s\nwant the Platform's %s to be named: %v", tc.reason, e.field, err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("%s\nsaid after %s", tc.reason, took)
				}
			})
		}
	}
}
