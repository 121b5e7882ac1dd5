package effect

// This file isn't called smoke_test.go, as the effect's name would have it: Go
// takes that for a test.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

const (
	// smokeAttempt is how long one request may take. A worker that meets a
	// database for the first time loads all its modules before it answers.
	smokeAttempt = time.Minute

	// smokePage is as much of the login page as is read. Odoo's is some 10 KiB.
	smokePage = 1 << 20
)

// SmokeTestConfig configures SmokeTest.
type SmokeTestConfig struct {
	Tenant

	URL      string        `env:"SMOKE_URL,required,notEmpty" doc:"The Odoo workers' Service, such as http://worker-odoo.plana-odoo-18.svc:8069. It is asked for the tenant's page by Host header, so that neither DNS nor the Gateway has a say."`
	Patience time.Duration `env:"SMOKE_PATIENCE" envDefault:"3m" doc:"How long to go on asking: workers notice a new database within seconds, and then load its modules. Keep it below the Job's deadline."`
}

// Validate the configuration.
func (c SmokeTestConfig) Validate() error {
	return errors.Join(
		c.Tenant.Validate(),
		validBaseURL("SMOKE_URL", c.URL),
		validTimeout("SMOKE_PATIENCE", c.Patience),
	)
}

// SmokeTest waits until Odoo's workers show the tenant's login form.
func SmokeTest(ctx context.Context, c SmokeTestConfig) error {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{}
	}
	transport = transport.Clone()
	// A Service balances connections, not requests: a new connection for each
	// attempt keeps one sick worker from failing all of them.
	transport.DisableKeepAlives = true
	client := &http.Client{
		Transport: transport,
		Timeout:   smokeAttempt,
		// Where Odoo redirects to is the finding, not the way to it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}

	err := retryFor(ctx, c.Patience, func(ctx context.Context) error {
		if err := smokeOnce(ctx, client, c); err != nil {
			// Whatever is wrong, a worker that restarts or a database that
			// appears puts it right.
			return retryable(err, 0)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s does not serve %s: %w", c.URL, c.Database, err)
	}
	slog.InfoContext(ctx, "Odoo shows the tenant's login form", "url", c.URL, "database", c.Database)
	return nil
}

func smokeOnce(ctx context.Context, client *http.Client, c SmokeTestConfig) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.URL, "/")+"/web/login", nil)
	if err != nil {
		return err
	}
	// Odoo picks the database by host. Behind a proxy it believes
	// X-Forwarded-Host, and without that it ignores X-Forwarded-Proto.
	req.Host = c.Database
	req.Header.Set("X-Forwarded-Host", c.Database)
	req.Header.Set("X-Forwarded-Proto", "https")

	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // Nothing was written that closing could lose.

	page, err := io.ReadAll(io.LimitReader(resp.Body, smokePage))
	if err != nil {
		return fmt.Errorf("/web/login broke off: %w", err)
	}

	switch location := resp.Header.Get("Location"); {
	case resp.StatusCode == http.StatusOK && hasLoginForm(page):
		return nil
	case resp.StatusCode == http.StatusOK:
		return fmt.Errorf("/web/login answered 200 without a login form: %s", excerpt(page))
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && strings.Contains(location, "/web/database/"):
		return fmt.Errorf("/web/login redirected (%d) to the database selector: Odoo does not list database %s, "+
			"because it is not there, not owned by Odoo's role, or not open to connections", resp.StatusCode, c.Database)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("/web/login redirected (%d) to %q instead of showing a login form", resp.StatusCode, location)
	default:
		return fmt.Errorf("/web/login answered %d: %s", resp.StatusCode, excerpt(page))
	}
}

// hasLoginForm tells whether a page asks for a login and a password, which
// Odoo's does in every version and every theme.
func hasLoginForm(page []byte) bool {
	var login, password bool
	tokens := html.NewTokenizer(strings.NewReader(string(page)))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return false
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			if token.Data != "input" {
				continue
			}
			for _, attr := range token.Attr {
				if attr.Key == "name" {
					login = login || attr.Val == "login"
					password = password || attr.Val == "password"
				}
			}
			if login && password {
				return true
			}
		}
	}
}

// validBaseURL refuses what can't be the start of an HTTP address.
func validBaseURL(variable, value string) error {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		// The value isn't repeated: an address may carry credentials.
		return fmt.Errorf("%s: must be http:// or https://, a host, and nothing behind it but a port", variable)
	}
	return nil
}

func validTimeout(variable string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s: %s must be more than nothing, such as 2m", variable, d)
	}
	return nil
}
