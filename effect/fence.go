package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// FenceConfig configures fence and unfence.
type FenceConfig struct {
	Tenant
	Postgres

	BackupRole string `env:"BACKUP_ROLE" envDefault:"plana_backup" doc:"The role that dumps the database: the only one that may still connect behind the fence."`
}

// Validate returns all that is wrong.
func (c FenceConfig) Validate() error {
	errs := []error{c.Tenant.Validate(), c.Postgres.Validate()}
	if c.BackupRole == "" {
		errs = append(errs, errors.New("BACKUP_ROLE: must name the role that dumps the database"))
	}
	return errors.Join(errs...)
}

// fenceTimeout is how long the fence may take to be seen standing.
const fenceTimeout = 2 * time.Minute

const (
	// quietFor is how long no session may be seen before the fence is believed.
	quietFor = time.Second

	// lockTimeout is how long a statement waits for a session that has locked the
	// database's row. Such a session is ended before the next attempt.
	lockTimeout = "2s"
)

// Fence makes sure that nobody can write to the tenant's database any more, and
// nobody but the backup role can connect to it. It can be undone.
//
// The database must belong to PGUSER already. Its owner could give away again what
// is taken here; and Odoo runs the scheduled actions of every database that its own
// role owns.
func Fence(ctx context.Context, c FenceConfig) error {
	if err := c.fence(ctx, fenceTimeout); err != nil {
		return fmt.Errorf("cannot fence database %q: %w", c.Database, err)
	}
	return nil
}

func (c FenceConfig) fence(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %s", timeout))
	defer cancel()

	conn, err := c.connect(ctx, maintenanceDatabase)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)

	var quietSince time.Time
	ended := map[int32]bool{}
	return untilDone(ctx, func() (done bool, obstacle, err error) {
		found, busy := c.shutOut(ctx, conn)
		switch {
		case busy == nil && !found:
			slog.InfoContext(ctx, "There is no such database, so nobody writes to it", "database", c.Database)
			return true, nil, nil
		case busy != nil && !isBusy(busy):
			return false, nil, busy
		}
		// A session that holds the database's row is ended with all others.
		pids, left, err := c.endSessions(ctx, conn, c.Database, c.User, c.BackupRole)
		if err != nil {
			return false, busy, err
		}
		for _, pid := range pids {
			ended[pid] = true
		}
		switch {
		case len(pids) > 0:
			quietSince = time.Time{}
			return false, left, nil
		case busy != nil:
			quietSince = time.Time{}
			return false, busy, nil
		case quietSince.IsZero():
			quietSince = time.Now()
		case time.Since(quietSince) >= quietFor:
			if err := c.prepared(ctx, conn); err != nil {
				return false, nil, err
			}
			slog.InfoContext(ctx, "The fence stands", "database", c.Database, "ended", len(ended), "mayConnect", c.BackupRole)
			return true, nil, nil
		}
		return false, nil, nil
	})
}

// shutOut takes every right on the database from everybody but its owner, lets the
// backup role connect, and forgets what the tenant has set on the database, which
// would hold for the backup's sessions too. It tells whether there is a database.
func (c FenceConfig) shutOut(ctx context.Context, conn *pgx.Conn) (found bool, err error) {
	owner, found, err := c.owner(ctx, conn)
	if err != nil || !found {
		return found, err
	}
	if owner != c.User {
		return true, fmt.Errorf("it belongs to role %q, who could undo the fence, rather than to PGUSER %q: "+
			"postgres.provisioningRole of the Platform must be the role of postgres.credentialsSecret, and the Database object's owner", owner, c.User)
	}

	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+lockTimeout+"'"); err != nil {
			return fmt.Errorf("cannot limit how long to wait for a lock: %w", err)
		}
		grantees, err := c.grantees(ctx, tx)
		if err != nil {
			return err
		}
		database := pgx.Identifier{c.Database}.Sanitize()
		statements := make([]string, 0, len(grantees)+2)
		for _, g := range grantees {
			statements = append(statements, "REVOKE ALL ON DATABASE "+database+" FROM "+g+" CASCADE")
		}
		statements = append(statements,
			"GRANT CONNECT ON DATABASE "+database+" TO "+pgx.Identifier{c.BackupRole}.Sanitize(),
			"ALTER DATABASE "+database+" RESET ALL")
		for _, s := range statements {
			if _, err := tx.Exec(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, explainRole(err, c.BackupRole))
			}
		}
		return nil
	})
	if isGone(err) {
		return false, nil
	}
	return true, err
}

// owner of the database, and whether there is one.
func (c FenceConfig) owner(ctx context.Context, conn *pgx.Conn) (owner string, found bool, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", c.Database).Scan(&owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("cannot look at the database: %w", err)
	}
	return owner, true, nil
}

// prepared returns an error if transactions are prepared in the database. Nobody behind
// the fence can commit one, but it keeps its locks, for which a dump waits in vain, and
// its database can't be dropped.
func (c FenceConfig) prepared(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = $1 ORDER BY prepared LIMIT 10", c.Database)
	if err != nil {
		return fmt.Errorf("cannot look for prepared transactions: %w", err)
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("cannot look for prepared transactions: %w", err)
	}
	if len(statements) == 0 {
		return nil
	}
	return fmt.Errorf("nobody can connect to it any more, but transactions are prepared in it, which keep it from being dropped, and perhaps from being dumped: "+
		"as a superuser, in that database, %s", strings.Join(statements, "; "))
}

// grantees are all who have a right on the database, its owner and the backup role's
// bare right to connect apart, quoted. A right that nobody has granted is PUBLIC's.
func (c FenceConfig) grantees(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
		FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) acl
		WHERE d.datname = $1 AND acl.grantee <> d.datdba
		AND NOT (pg_get_userbyid(acl.grantee) = $2 AND acl.privilege_type = 'CONNECT' AND NOT acl.is_grantable)
		ORDER BY 1`, c.Database, c.BackupRole)
	if err != nil {
		return nil, fmt.Errorf("cannot read who has rights on it: %w", err)
	}
	grantees, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("cannot read who has rights on it: %w", err)
	}
	return grantees, nil
}

// Unfence lets everybody connect to the tenant's database again whom PostgreSQL lets
// by default. What makes Odoo serve it is that it becomes its role's, which isn't
// done here.
func Unfence(ctx context.Context, c FenceConfig) error {
	if err := c.unfence(ctx, fenceTimeout); err != nil {
		return fmt.Errorf("cannot take the fence of database %q down: %w", c.Database, err)
	}
	return nil
}

func (c FenceConfig) unfence(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %s", timeout))
	defer cancel()

	conn, err := c.connect(ctx, maintenanceDatabase)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)

	return untilDone(ctx, func() (done bool, obstacle, err error) {
		owner, found, err := c.owner(ctx, conn)
		if err == nil && found {
			err = c.letIn(ctx, conn, owner)
		}
		switch {
		case err == nil && !found, isGone(err):
			slog.InfoContext(ctx, "There is no such database, so it has no fence", "database", c.Database)
			return true, nil, nil
		case err == nil:
			slog.InfoContext(ctx, "The fence is down", "database", c.Database)
			return true, nil, nil
		case isBusy(err):
			return false, err, nil
		default:
			return false, nil, err
		}
	})
}

// letIn everybody whom PostgreSQL lets into a database by default. A role that can't
// grant that is only warned, so it is looked at afterwards.
func (c FenceConfig) letIn(ctx context.Context, conn *pgx.Conn, owner string) error {
	grant := "GRANT CONNECT, TEMPORARY ON DATABASE " + pgx.Identifier{c.Database}.Sanitize() + " TO PUBLIC"
	if _, err := conn.Exec(ctx, grant); err != nil {
		return err
	}
	var granted bool
	if err := conn.QueryRow(ctx, "SELECT has_database_privilege('public', $1::text, 'CONNECT') AND has_database_privilege('public', $1, 'TEMPORARY')", c.Database).Scan(&granted); err != nil {
		return fmt.Errorf("cannot look who may connect: %w", err)
	}
	if !granted {
		return fmt.Errorf("it belongs to role %q, for whom PGUSER %q can't do this: as the owner or a superuser, %s", owner, c.User, grant)
	}
	return nil
}

// What PostgreSQL answers, by SQLSTATE.
const (
	lockNotAvailable = "55P03"
	roleUnknown      = "42704"
	databaseUnknown  = "3D000"

	// internalError is what two sessions get that change one row of a catalog at once,
	// with these words.
	internalError = "XX000"
	atOnceWords   = "concurrently"
)

// isBusy tells whether a statement has failed because another one works on the same
// database, and may succeed when it is tried again.
func isBusy(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == lockNotAvailable || pg.Code == internalError && strings.Contains(pg.Message, atOnceWords))
}

// isGone tells whether a statement has failed because there is no such database.
func isGone(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == databaseUnknown
}

// explainRole says what to do about a role that there isn't.
func explainRole(err error, role string) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == roleUnknown {
		return fmt.Errorf("postgres.backupRole of the Platform names %q: create that role, as the install page says: %w", role, err)
	}
	return err
}

// endSessions asks every session of a database to end, but for those of roles that
// are spared. It returns those that were there to be asked, and why some of them will
// not end.
func (p Postgres) endSessions(ctx context.Context, conn *pgx.Conn, database string, spared ...string) (pids []int32, obstacle, err error) {
	if spared == nil {
		spared = []string{} // None at all, which isn't the same as NULL.
	}
	// Who is still on the way in has been let in, and isn't listed yet; but holds a
	// lock on the database until then. So this is looked at first.
	rows, err := conn.Query(ctx, `
		SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.objid
		WHERE l.locktype = 'object' AND l.database = 0 AND l.classid = 'pg_database'::regclass AND d.datname = $1
		AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND (a.datname IS DISTINCT FROM $1 AND a.datname IS NOT NULL OR a.usename = ANY($2)))`, database, spared)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list who is about to connect: %w", err)
	}
	coming, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list who is about to connect: %w", err)
	}

	// Autovacuum workers have no user. DROP DATABASE ends them itself, which only
	// a superuser could do here.
	rows, err = conn.Query(ctx, `
		SELECT pid, coalesce(usename, '') FROM pg_stat_activity
		WHERE datname = $1 AND usesysid IS NOT NULL AND NOT coalesce(usename, '') = ANY($2)`, database, spared)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list the sessions: %w", err)
	}
	users := map[int32]string{}
	var pid int32
	var user string
	if _, err := pgx.ForEachRow(rows, []any{&pid, &user}, func() error {
		users[pid] = user
		pids = append(pids, pid)
		return nil
	}); err != nil {
		return nil, nil, fmt.Errorf("cannot list the sessions: %w", err)
	}

	refused := map[string]error{}
	for _, pid := range pids {
		// Once more by database: the number may be another session's by now.
		_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND datname = $2", pid, database)
		if err != nil && conn.IsClosed() {
			return nil, nil, fmt.Errorf("cannot end session %d of %q: %w", pid, users[pid], err)
		}
		if err != nil {
			refused[users[pid]] = err
		}
	}

	left := make([]string, 0, len(pids)+len(coming)+len(refused))
	for _, pid := range pids {
		left = append(left, fmt.Sprintf("%d of %q", pid, users[pid]))
	}
	for _, pid := range coming {
		if _, listed := users[pid]; !listed {
			left = append(left, fmt.Sprintf("%d, which is about to connect", pid))
			pids = append(pids, pid)
		}
	}
	reasons := make([]string, 0, len(refused))
	for user, err := range refused {
		reasons = append(reasons, fmt.Sprintf("%q may not end those of %q: %v", p.User, user, err))
	}
	slices.Sort(reasons)
	if len(left) > 0 {
		obstacle = fmt.Errorf("sessions are left: %s", strings.Join(append(left, reasons...), "; "))
	}
	return pids, obstacle, nil
}

// untilDone looks again and again until what is to be done is done, has failed, or
// the context is: then it says what stood in the way when it looked last.
func untilDone(ctx context.Context, look func() (done bool, obstacle, err error)) error {
	var last error
	for {
		done, obstacle, err := look()
		if obstacle != nil || err == nil {
			last = obstacle
		}
		switch {
		case done:
			return nil
		case ctx.Err() != nil:
		case err != nil:
			return err
		default:
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		if last == nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", context.Cause(ctx), last)
	}
}
