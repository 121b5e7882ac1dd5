package effect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long the database effects wait. Each does in under a second what it does:
// whatever takes longer than this is a server that hangs, and a Job that says so
// beats one that hangs with it.
const (
	connectTimeout  = 10 * time.Second
	databaseTimeout = 2 * time.Minute
)

// maintenanceDatabase is what an effect connects to when it works on a database
// from outside.
const maintenanceDatabase = "postgres"

// preparationLock keeps two runs of the effects that write to a tenant's database
// from doing so at the same time. Advisory locks belong to one database, so one
// number is enough for all tenants; this one is "plana" in ASCII.
const preparationLock = 0x706c616e61

var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// Validate how PostgreSQL is reached.
func (p Postgres) Validate() error {
	var errs []error
	if p.Port == 0 {
		errs = append(errs, errors.New("PGPORT: 0 isn't a port"))
	}
	if !slices.Contains(sslModes, p.SSLMode) {
		errs = append(errs, fmt.Errorf("PGSSLMODE: %q must be one of %q", p.SSLMode, sslModes))
	}
	if p.OdooRole == "" {
		errs = append(errs, errors.New("ODOO_ROLE: must name the role that Odoo logs in as"))
	}
	if p.RootCert != "" && !strings.HasPrefix(p.SSLMode, "verify-") {
		errs = append(errs, fmt.Errorf("PGSSLROOTCERT: PGSSLMODE must be verify-full or verify-ca, not %q, or nothing is verified by it", p.SSLMode))
	}
	return errors.Join(errs...)
}

// connect to a database. Failing to is never hopeless: a Secret can be rotated,
// a grant given and a server started while the Job waits for its next attempt.
func (p Postgres) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	target := url.URL{
		Scheme: "postgres",
		Path:   "/" + database,
		RawQuery: url.Values{
			"host":             {p.Host},
			"port":             {strconv.Itoa(int(p.Port))},
			"user":             {p.User},
			"sslmode":          {p.SSLMode},
			"sslrootcert":      {p.RootCert},
			"application_name": {"planaclient"},
		}.Encode(),
	}
	if _, err := p.authority().pool(); err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(target.String())
	if err != nil {
		return nil, fmt.Errorf("cannot work out how to reach PostgreSQL: %w", err)
	}
	// Beside the URL rather than in it, so that no error can quote it.
	cfg.Password = p.Password
	cfg.ConnectTimeout = connectTimeout

	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to database %q at %s:%d: %w", database, p.Host, p.Port, p.authority().explain(err))
	}
	return conn, nil
}

// authority that vouches for the server.
func (p Postgres) authority() authority {
	return authority{variable: "PGSSLROOTCERT", field: "postgres.caSecret", file: p.RootCert}
}

// disconnect politely, also when the context is gone, but not at the price of a
// stop in time.
func disconnect(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// transact does something to a database in one transaction, in which no other
// run of an effect does anything to it.
func (p Postgres) transact(ctx context.Context, database string, do func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, databaseTimeout, fmt.Errorf("PostgreSQL took longer than %s", databaseTimeout))
	defer cancel()

	conn, err := p.connect(ctx, database)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)

	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Nobody's search_path decides which table is meant.
		if _, err := tx.Exec(ctx, "SET LOCAL search_path = public"); err != nil {
			return fmt.Errorf("cannot set the search path: %w", err)
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(preparationLock)); err != nil {
			return fmt.Errorf("cannot wait for another run to end: %w", err)
		}
		return do(tx)
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// actAsOdoo makes everything that follows in the transaction be done by Odoo's
// role, so that what is created belongs to it, and what it may not do fails now
// rather than when Odoo tries.
func (p Postgres) actAsOdoo(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SET LOCAL ROLE "+pgx.Identifier{p.OdooRole}.Sanitize()); err != nil {
		return fmt.Errorf("PGUSER %[1]q cannot act as ODOO_ROLE %[2]q: the role must exist, and have %[1]q as a member: GRANT %[2]q TO %[1]q: %[3]w", p.User, p.OdooRole, err)
	}
	return nil
}
