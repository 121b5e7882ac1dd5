package effect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Types of the events on the bus.
const (
	eventClientProvisioned   = "client.provisioned"
	eventClientDeprovisioned = "client.deprovisioned"
)

// redisTimeout bounds every exchange with Redis. An effect that is told to stop
// waits for the current one to end, and has five seconds in all.
const redisTimeout = 3 * time.Second

// ClientEventConfig configures ClientProvisioned and ClientDeprovisioned.
type ClientEventConfig struct {
	Tenant

	Address  string `env:"REDIS_ADDRESS,required,notEmpty"  doc:"Redis' host and port."`
	Username string `env:"REDIS_USERNAME"                   doc:"User to log in as. Empty means Redis' default user. It needs the commands EVAL, EVALSHA, GET, SET, DEL and XADD on EVENT_STREAM and on the keys that begin with it in braces."`
	Password string `env:"REDIS_PASSWORD,required,notEmpty" doc:"That user's password." secret:"true"`
	TLS      bool   `env:"REDIS_TLS" envDefault:"false"     doc:"Whether to speak TLS. Redis' certificate must be for the host of REDIS_ADDRESS, and from an authority in REDIS_CA_FILE."`
	CAFile   string `env:"REDIS_CA_FILE"                    doc:"File with the certificates of the authorities that may vouch for Redis. Empty means those that the image knows."`
	Stream   string `env:"EVENT_STREAM" envDefault:"PLANA:events" doc:"The stream that the event is added to."`
	Source   string `env:"EVENT_SOURCE,required,notEmpty"   doc:"CloudEvents source: a URI that says which installation speaks."`
}

// Validate the configuration.
func (c ClientEventConfig) Validate() error {
	errs := []error{c.Tenant.Validate()}
	if host, port, err := net.SplitHostPort(c.Address); err != nil || host == "" || port == "" {
		errs = append(errs, fmt.Errorf("REDIS_ADDRESS: %q must be host:port", c.Address))
	}
	if _, err := url.Parse(c.Source); err != nil {
		errs = append(errs, fmt.Errorf("EVENT_SOURCE: %q must be a URI", c.Source))
	}
	return errors.Join(errs...)
}

// ClientProvisioned announces on the event bus that the tenant is in service.
func ClientProvisioned(ctx context.Context, c ClientEventConfig) error {
	return publish(ctx, c, eventClientProvisioned)
}

// ClientDeprovisioned announces on the event bus that the tenant is gone.
func ClientDeprovisioned(ctx context.Context, c ClientEventConfig) error {
	return publish(ctx, c, eventClientDeprovisioned)
}

// quietRedis keeps the library's own lines out of the log: they aren't
// structured, and say nothing that its errors don't.
var quietRedis = sync.OnceFunc(logging.Disable)

// addOnce adds an entry to a stream unless the key that stands for it is
// there, and returns whether it was added and the entry's id. Redis runs a
// script by itself but takes nothing back when it fails midway, hence the DEL:
// a key without its entry would lose the event for good.
var addOnce = redis.NewScript(`
if not redis.call('SET', KEYS[1], '', 'NX') then
  return {0, redis.call('GET', KEYS[1])}
end
local entry = redis.pcall('XADD', KEYS[2], '*', unpack(ARGV))
if type(entry) == 'table' and entry.err then
  redis.call('DEL', KEYS[1])
  return entry
end
redis.call('SET', KEYS[1], entry)
return {1, entry}
`)

func publish(ctx context.Context, c ClientEventConfig, kind string) error {
	e, err := newClientEvent(c, kind, time.Now())
	if err != nil {
		return Terminal(fmt.Errorf("cannot write the event %s: %w", kind, err))
	}

	quietRedis()
	options := &redis.Options{
		Addr:         c.Address,
		Username:     c.Username,
		Password:     c.Password,
		DialTimeout:  redisTimeout,
		ReadTimeout:  redisTimeout,
		WriteTimeout: redisTimeout,
		// The Job tries again, and waits longer than a client would.
		MaxRetries:    -1,
		DialerRetries: 1,
		// Meant for connections that live for days.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.TLS {
		host, _, _ := net.SplitHostPort(c.Address)
		pool, err := c.authority().pool()
		if err != nil {
			return err
		}
		options.TLSConfig = &tls.Config{ServerName: host, RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	client := redis.NewClient(options)
	defer client.Close() //nolint:errcheck // The event is in the stream or it isn't, whatever closing says.

	key := dedupeKey(c.Stream, e.ID())
	answer, err := addOnce.Run(ctx, client, []string{key, c.Stream}, entry(e)...).Slice()
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("told to stop before Redis at %s answered: %w", c.Address, err)
	case redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "NOAUTH"):
		// Not terminal: a Secret can be put right while the Job goes on.
		return fmt.Errorf("redis at %s refuses REDIS_USERNAME and REDIS_PASSWORD: %w", c.Address, err)
	case redis.HasErrorPrefix(err, "NOPERM"), err != nil && strings.Contains(err.Error(), "user executing the script"):
		return fmt.Errorf("the user of redis at %s may not add to %s: give it EVAL, EVALSHA, GET, SET, DEL and XADD on that key and on %s: %w", c.Address, c.Stream, key, err)
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return fmt.Errorf("%s at %s is not a stream: name another one, or take away what is in its place: %w", c.Stream, c.Address, err)
	case err != nil:
		return fmt.Errorf("cannot add %s to %s at %s: %w", kind, c.Stream, c.Address, c.authority().explain(err))
	case len(answer) == 2 && answer[0] == int64(1):
		slog.InfoContext(ctx, "Published the event", "event", e.ID(), "stream", c.Stream, "entry", answer[1])
		return nil
	case len(answer) == 2 && answer[0] == int64(0):
		slog.InfoContext(ctx, "The event had been published before", "event", e.ID(), "stream", c.Stream, "entry", answer[1], "key", key)
		return nil
	default:
		return fmt.Errorf("cannot tell whether %s was added to %s: what answers at %s is not Redis: %v", kind, c.Stream, c.Address, answer)
	}
}

// authority that vouches for Redis.
func (c ClientEventConfig) authority() authority {
	return authority{variable: "REDIS_CA_FILE", field: "events.caSecret", file: c.CAFile}
}

// newClientEvent writes the event. Its id is the same in every attempt, so that
// consumers can tell one that they have had.
func newClientEvent(c ClientEventConfig, kind string, now time.Time) (event.Event, error) {
	e := event.New()
	e.SetID(c.UID + ":" + kind)
	e.SetSource(c.Source)
	e.SetType(kind)
	e.SetSubject(c.Name)
	e.SetTime(now.UTC())
	if err := e.SetData(event.ApplicationJSON, newTenantData(c.Tenant)); err != nil {
		return e, err
	}
	return e, e.Validate()
}

// entry lays an event out as the fields of a stream entry, under the names that
// CloudEvents gives its attributes.
func entry(e event.Event) []any {
	return []any{
		"specversion", e.SpecVersion(),
		"id", e.ID(),
		"source", e.Source(),
		"type", e.Type(),
		"subject", e.Subject(),
		"time", e.Time().Format(time.RFC3339Nano),
		"datacontenttype", e.DataContentType(),
		"data", string(e.Data()),
	}
}

// dedupeKey stands for an event that is in the stream, and holds its entry's id.
// The braces put it into the stream's own slot of a Redis Cluster.
//
// It never expires. An event published twice is a second welcome mail to a
// customer, and a Job may be run again months later; a tenant leaves two keys
// of some 100 bytes behind, and its UID never comes back. Nor does Redis evict a
// key without an expiry under its volatile-* policies. To publish an event
// again on purpose, delete the key and then the Job.
func dedupeKey(stream, id string) string {
	return "{" + stream + "}:published:" + id
}
