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
	if p.RootCert != "" && !strings.HasPrefix(p.SSLMode, "verify-") {
		errs = append(errs, fmt.Errorf("PGSSLROOTCERT: PGSSLMODE must be verify-full or verify-ca, not %q, or nothing is verified by it", p.SSLMode))
	}
	return errors.Join(errs...)
}

// Validate the release's role.
func (r Release) Validate() error {
	if r.OdooRole == "" {
		return errors.New("ODOO_ROLE: must name the role that Odoo logs in as")
	}
	return nil
}

// as another role.
func (p Postgres) as(user, password string) Postgres {
	p.User, p.Password = user, password
	return p
}

// sessionSettings are what a session begins with. A database's owner, who is a
// tenant, can set others for every session of it: ALTER DATABASE … SET. What a
// session asks for itself as it connects comes before those.
var sessionSettings = [][2]string{
	// Nobody acts as another role than they log in as, and nobody's schema comes
	// before PostgreSQL's own.
	{"role", "none"},
	{"search_path", "pg_catalog"},
	{"local_preload_libraries", ""},

	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},

	{"default_transaction_read_only", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_deferrable", "off"},
	{"default_tablespace", ""},
	{"temp_tablespaces", ""},
	{"row_security", "on"},
	{"check_function_bodies", "on"},
	{"standard_conforming_strings", "on"},
	{"bytea_output", "hex"},
}

// pgOptions are the same settings in libpq's PGOPTIONS, where spaces separate and
// backslashes escape.
func pgOptions() string {
	escape := strings.NewReplacer(`\`, `\\`, ` `, `\ `)
	options := make([]string, 0, len(sessionSettings))
	for _, s := range sessionSettings {
		options = append(options, "-c "+s[0]+"="+escape.Replace(s[1]))
	}
	return strings.Join(options, " ")
}

// connect to a database. Failing to is never terminal: a Secret can be rotated,
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
	for _, s := range sessionSettings {
		cfg.RuntimeParams[s[0]] = s[1]
	}

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

// odoo does something to a tenant's database as Odoo's role does, and so as the
// tenant itself can: whatever code of the tenant's runs on the way may do no more
// than it may anyway, and what is created belongs to whom it should.
func (r Release) odoo(ctx context.Context, p Postgres, database string, do func(pgx.Tx) error) error {
	if p.User != r.OdooRole {
		return fmt.Errorf("PGUSER is %q, and must be ODOO_ROLE, %q: no other role works in a tenant's database; change the username in the Secret, or the role in the Platform", p.User, r.OdooRole)
	}
	return p.transact(ctx, database, do)
}

// limited returns an error if a role may do more than one that meets what a tenant
// has made. It may be a member of the roles that are named, and of no others.
func limited(ctx context.Context, conn *pgx.Conn, role string, mayBe ...string) error {
	var super, createDB, createRole bool
	var memberOf []string
	err := conn.QueryRow(ctx, `
		SELECT rolsuper, rolcreatedb, rolcreaterole,
			ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid ORDER BY 1)
		FROM pg_roles r WHERE rolname = $1`, role).Scan(&super, &createDB, &createRole, &memberOf)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("there is no role %q", role)
	}
	if err != nil {
		return fmt.Errorf("cannot look at what role %q may do: %w", role, err)
	}
	quoted := pgx.Identifier{role}.Sanitize()
	var errs []error
	if super || createDB || createRole {
		errs = append(errs, fmt.Errorf("role %q may do more than it should: ALTER ROLE %s NOSUPERUSER NOCREATEDB NOCREATEROLE", role, quoted))
	}
	for _, group := range memberOf {
		if !slices.Contains(mayBe, group) {
			errs = append(errs, fmt.Errorf("role %q is a member of %q, and should not be: REVOKE %s FROM %s", role, group, pgx.Identifier{group}.Sanitize(), quoted))
		}
	}
	return errors.Join(errs...)
}
