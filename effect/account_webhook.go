package effect

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.mau.fi/util/retryafter"
)

// Events that the account portal and the event bus are told of.
const (
	eventTenantProvisioned   = "tenant.provisioned"
	eventTenantDeprovisioned = "tenant.deprovisioned"
)

// accountAttempt is how long the portal may take to answer one request.
const accountAttempt = 15 * time.Second

// AccountWebhookConfig configures AccountWebhook.
type AccountWebhookConfig struct {
	Tenant

	URL      string        `env:"ACCOUNT_WEBHOOK_URL,required,notEmpty"    doc:"Where the account portal takes webhooks."`
	Secret   string        `env:"ACCOUNT_WEBHOOK_SECRET,required,notEmpty" doc:"Key that webhooks are signed with, as Standard Webhooks writes it: whsec_ and 24 to 64 bytes in base64." secret:"true"`
	CAFile   string        `env:"ACCOUNT_CA_FILE"                          doc:"File with the certificates of the authorities that may vouch for the portal. Empty means those that the image knows."`
	Event    string        `env:"ACCOUNT_EVENT,required,notEmpty"          doc:"tenant.provisioned or tenant.deprovisioned."`
	Patience time.Duration `env:"ACCOUNT_PATIENCE" envDefault:"2m"         doc:"How long to go on while the portal is silent, busy or broken. Keep it below the Job's deadline."`
}

// Validate the configuration.
func (c AccountWebhookConfig) Validate() error {
	errs := []error{c.Tenant.Validate(), validTimeout("ACCOUNT_PATIENCE", c.Patience)}
	if u, err := url.Parse(c.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		errs = append(errs, errors.New("ACCOUNT_WEBHOOK_URL: must be an http:// or https:// address"))
	}
	// The library takes "whsec_" alone for a key of no bytes, which anybody
	// could sign with.
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.Secret, "whsec_"))
	if err != nil || len(key) < 24 || len(key) > 64 {
		errs = append(errs, errors.New("ACCOUNT_WEBHOOK_SECRET: must be whsec_ and 24 to 64 bytes in base64"))
	}
	if c.Event != eventTenantProvisioned && c.Event != eventTenantDeprovisioned {
		errs = append(errs, fmt.Errorf("ACCOUNT_EVENT: %q must be %s or %s", c.Event, eventTenantProvisioned, eventTenantDeprovisioned))
	}
	return errors.Join(errs...)
}

// webhook is the payload that Standard Webhooks recommends.
type webhook struct {
	Type      string     `json:"type"`
	Timestamp time.Time  `json:"timestamp"`
	Data      tenantData `json:"data"`
}

// tenantData is what the portal and the event bus are told of a tenant. The
// names are those of the PLANAClient's spec and status.
type tenantData struct {
	UID          string `json:"uid"`
	Subdomain    string `json:"subdomain"`
	ProjectID    int    `json:"projectId"`
	Tier         string `json:"tier"`
	OdooVersion  string `json:"odooVersion"`
	OwnerEmail   string `json:"ownerEmail"`
	OwnerName    string `json:"ownerName"`
	DatabaseName string `json:"databaseName"`
	URL          string `json:"url"`
}

func newTenantData(t Tenant) tenantData {
	return tenantData{
		UID:          t.UID,
		Subdomain:    t.Name,
		ProjectID:    t.ProjectID,
		Tier:         t.Tier,
		OdooVersion:  t.Version,
		OwnerEmail:   t.OwnerEmail,
		OwnerName:    t.OwnerName,
		DatabaseName: t.Database,
		URL:          "https://" + t.Database,
	}
}

// AccountWebhook tells the account portal what became of the tenant. Attempts
// carry the same webhook id, by which the portal knows one it has had already.
func AccountWebhook(ctx context.Context, c AccountWebhookConfig) error {
	signer, err := standardwebhooks.NewWebhook(c.Secret)
	if err != nil {
		return Terminal(errors.New("cannot sign with ACCOUNT_WEBHOOK_SECRET: it is not base64"))
	}
	id := c.UID + ":" + c.Event
	payload, err := json.Marshal(webhook{Type: c.Event, Timestamp: time.Now().UTC(), Data: newTenantData(c.Tenant)})
	if err != nil {
		return Terminal(fmt.Errorf("cannot write the webhook: %w", err))
	}

	transport, err := c.authority().transport()
	if err != nil {
		return err
	}
	client := &http.Client{
		Transport: transport,
		Timeout:   accountAttempt,
		// A signed message goes where it was addressed to, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	err = retryFor(ctx, c.Patience, func(ctx context.Context) error {
		return deliver(ctx, client, signer, c.URL, id, payload)
	})
	if err != nil {
		return fmt.Errorf("the account portal did not take %s: %w", c.Event, c.authority().explain(err))
	}
	slog.InfoContext(ctx, "The account portal took the webhook", "event", c.Event, "webhook", id)
	return nil
}

// authority that vouches for the portal.
func (c AccountWebhookConfig) authority() authority {
	return authority{variable: "ACCOUNT_CA_FILE", field: "account.caSecret", file: c.CAFile}
}

func deliver(ctx context.Context, client *http.Client, signer *standardwebhooks.Webhook, to, id string, payload []byte) error {
	// Each attempt is signed anew: receivers refuse a timestamp that is more
	// than five minutes old.
	now := time.Now()
	signature, err := signer.Sign(id, now, payload)
	if err != nil {
		return Terminal(fmt.Errorf("cannot sign the webhook: %w", err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(payload))
	if err != nil {
		return Terminal(errors.New("ACCOUNT_WEBHOOK_URL is not an address"))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)

	resp, err := client.Do(req)
	if err != nil {
		// The address is left out: its query may be a secret.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		if untrusted(err) {
			return err
		}
		return retryable(fmt.Errorf("no answer: %w", err), 0)
	}
	defer resp.Body.Close() //nolint:errcheck // Nothing was written that closing could lose.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return verdict(resp, body)
}

// verdict says what an answer means for the attempts to come. This process goes
// on only where waiting is the cure. Of what is left, the Job may try again
// where somebody puts it right without touching the Job: a Secret is rotated, a
// portal is deployed. Everything else says that this very message or address
// is wrong, and both are frozen in the Job.
func verdict(resp *http.Response, body []byte) error {
	code := resp.StatusCode
	err := fmt.Errorf("it answered %d: %s", code, excerpt(body))
	switch {
	case code >= 200 && code < 300:
		return nil
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return retryable(err, max(0, retryafter.Parse(resp.Header.Get("Retry-After"), 0)))
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w: is ACCOUNT_WEBHOOK_SECRET the portal's?", err)
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: is the portal deployed, and ACCOUNT_WEBHOOK_URL the address where it takes webhooks?", err)
	case code == http.StatusMovedPermanently, code == http.StatusPermanentRedirect:
		return Terminal(fmt.Errorf("it answered %d: it has moved, and signed messages are not sent on: set ACCOUNT_WEBHOOK_URL to where it is now", code))
	case code >= 400:
		return Terminal(err)
	default:
		// A passing redirect is somebody else's maintenance page.
		return err
	}
}
