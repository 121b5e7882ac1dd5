package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// A portal is the customers' account portal: it verifies the webhooks that it is
// sent, and remembers them by their id.
type portal struct {
	address string
	Secret  string

	mu        sync.Mutex
	verifiers []*standardwebhooks.Webhook
	taken     []webhook
}

// A webhook that the portal has taken.
type webhook struct {
	ID   string          `json:"-"`
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// portalPath is where the portal takes webhooks.
const portalPath = "/v1/webhooks/tenants"

func startPortal(t testing.TB) *portal {
	t.Helper()
	p := &portal{Secret: newWebhookSecret()}
	p.accept(t, p.Secret)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.URL.Path != portalPath {
			http.NotFound(w, r)
			return
		}
		if !slices.ContainsFunc(p.verifiers, func(v *standardwebhooks.Webhook) bool { return v.Verify(body, r.Header) == nil }) {
			http.Error(w, "no signature is right", http.StatusUnauthorized)
			return
		}
		hook := webhook{ID: r.Header.Get(standardwebhooks.HeaderWebhookID)}
		if err := json.Unmarshal(body, &hook); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, known := range p.taken {
			if known.ID == hook.ID {
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		p.taken = append(p.taken, hook)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	p.address = strings.TrimPrefix(server.URL, "http://")
	return p
}

// newWebhookSecret returns a key that webhooks can be signed with.
func newWebhookSecret() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	return "whsec_" + base64.StdEncoding.EncodeToString(secret)
}

// accept what is signed with one of these keys, and nothing else.
func (p *portal) accept(t testing.TB, secrets ...string) {
	t.Helper()
	var verifiers []*standardwebhooks.Webhook
	for _, secret := range secrets {
		v, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		verifiers = append(verifiers, v)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verifiers = verifiers
}

// about returns the types of the webhooks about a tenant, in order.
func (p *portal) about(tenant string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	types := []string{}
	for _, hook := range p.taken {
		if strings.Contains(string(hook.Data), `"`+tenant+`"`) {
			types = append(types, hook.Type)
		}
	}
	return types
}

// A worker answers as the workers of one version of Odoo do: only for the
// databases that their role owns and may connect to, and that hold an Odoo.
type worker struct {
	postgres *servers.PostgresServer
	version  string

	mu   sync.Mutex
	down bool
}

// startWorker listens at a Service's own address.
func startWorker(t testing.TB, postgres *servers.PostgresServer, version, ip string) *worker {
	t.Helper()
	w := &worker{postgres: postgres, version: version}
	for _, port := range []string{"8069", "8072"} {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, port))
		if err != nil {
			t.Fatalf("cannot listen for Odoo %s: %v", version, err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(rsp http.ResponseWriter, req *http.Request) { w.serve(rsp, req, port) }), ReadHeaderTimeout: 5 * time.Second}
		t.Cleanup(func() { _ = server.Close() })
		go func() { _ = server.Serve(l) }()
	}
	return w
}

// restart a worker, whose configuration has another password of its role.
func (w *worker) restart(password string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	configured := *w.postgres
	configured.Password = password
	w.postgres = &configured
}

func (w *worker) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// serve a request as Odoo does, that came to one of its two ports.
func (w *worker) serve(rsp http.ResponseWriter, req *http.Request, port string) {
	w.mu.Lock()
	down := w.down
	w.mu.Unlock()
	if down {
		http.Error(rsp, "no worker", http.StatusServiceUnavailable)
		return
	}
	host := req.Host
	if forwarded := req.Header.Get("X-Forwarded-Host"); forwarded != "" {
		host = forwarded
	}
	host, _, _ = strings.Cut(host, ":")

	switch req.URL.Path {
	case "/web/health":
		rsp.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rsp, `{"status": "pass"}`)
	case "/websocket":
		upgrade(rsp, req, port)
	case "/web/login":
		company, err := w.look(req.Context(), host)
		if err != nil {
			rsp.Header().Set("X-Reason", err.Error())
			http.Redirect(rsp, req, "/web/database/selector", http.StatusSeeOther)
			return
		}
		rsp.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(rsp, "<!DOCTYPE html><title>%s %s</title><form><input name=\"login\"><input name=\"password\" type=\"password\"></form>\n", w.version, company)
	default:
		http.NotFound(rsp, req)
	}
}

// upgrade a connection to a websocket, as far as visitors here look: its first
// line says which port it came to, and for whom. Only one of Odoo's ports does.
func upgrade(rsp http.ResponseWriter, req *http.Request, port string) {
	if port != "8072" || !strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		http.Error(rsp, "not here", http.StatusBadRequest)
		return
	}
	conn, _, err := http.NewResponseController(rsp).Hijack()
	if err != nil {
		http.Error(rsp, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close() //nolint:errcheck // All has been said.
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nwebsocket of %s\n", req.Header.Get("X-Forwarded-Host"))
}

// look into a database, if Odoo would list it, for the name of its company.
func (w *worker) look(ctx context.Context, database string) (string, error) {
	w.mu.Lock()
	server := w.postgres
	w.mu.Unlock()
	conn, err := pgx.Connect(ctx, server.URL(servers.PostgresOdoo, "postgres"))
	if err != nil {
		return "", err
	}
	var listed bool
	err = conn.QueryRow(ctx, `SELECT exists (SELECT FROM pg_database WHERE datname = $1
		AND datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND NOT datistemplate AND datallowconn)`, database).Scan(&listed)
	_ = conn.Close(ctx)
	if err != nil {
		return "", err
	}
	if !listed {
		return "", fmt.Errorf("%s isn't listed", database)
	}
	if conn, err = pgx.Connect(ctx, server.URL(servers.PostgresOdoo, database)); err != nil {
		return "", err
	}
	defer conn.Close(ctx) //nolint:errcheck // It was only read from.
	var company string
	err = conn.QueryRow(ctx, "SELECT c.name FROM res_company c JOIN ir_model_data d ON d.res_id = c.id AND d.module = 'base' AND d.name = 'main_company'").Scan(&company)
	return company, err
}
