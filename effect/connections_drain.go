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
)

// ConnectionsDrainConfig configures connections-drain.
type ConnectionsDrainConfig struct {
	Tenant
	Postgres
}

// Validate returns all that is wrong.
func (c ConnectionsDrainConfig) Validate() error {
	return errors.Join(c.Tenant.Validate(), c.Postgres.Validate())
}

// drainTimeout is how long sessions have to end, and the database to be closed.
const drainTimeout = time.Minute

// ConnectionsDrain ends the sessions of the tenant's database, which PostgreSQL
// neither drops nor copies while anybody is connected to it.
//
// It waits until the database is closed to connections. An open one it leaves
// alone: Odoo would be back at once, and a database that nobody has closed is
// perhaps one that nobody wants to be cut off.
func ConnectionsDrain(ctx context.Context, c ConnectionsDrainConfig) error {
	if err := c.drain(ctx, drainTimeout); err != nil {
		return fmt.Errorf("cannot end the sessions of database %q: %w", c.Database, err)
	}
	return nil
}

func (c ConnectionsDrainConfig) drain(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %s", timeout))
	defer cancel()

	conn, err := c.connect(ctx, maintenanceDatabase)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)

	// What stood in the way when it was looked at last.
	var obstacle error
	ended := map[int32]bool{}
	for {
		var open bool
		err := conn.QueryRow(ctx, "SELECT datallowconn FROM pg_database WHERE datname = $1", c.Database).Scan(&open)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			slog.InfoContext(ctx, "There is no such database, so it has no sessions", "database", c.Database)
			return nil
		case err != nil:
			return drainStopped(ctx, obstacle, fmt.Errorf("cannot look at the database: %w", err))
		case open:
			obstacle = errors.New("it still accepts connections, so whoever is cut off would be back at once: set allowConnections: false in its Database")
		default:
			var pids []int32
			if pids, obstacle, err = c.endSessions(ctx, conn); err != nil {
				return drainStopped(ctx, obstacle, err)
			}
			if len(pids) == 0 {
				slog.InfoContext(ctx, "The database is closed and has no sessions", "database", c.Database, "ended", len(ended))
				return nil
			}
			for _, pid := range pids {
				ended[pid] = true
			}
		}

		select {
		case <-ctx.Done():
			return drainStopped(ctx, obstacle, nil)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// endSessions asks every session to end, and returns those that were there to be
// asked, and why some of them will not end.
func (c ConnectionsDrainConfig) endSessions(ctx context.Context, conn *pgx.Conn) (pids []int32, obstacle, err error) {
	// Autovacuum workers have no user. DROP DATABASE ends them itself, which only
	// a superuser could do here.
	rows, err := conn.Query(ctx, "SELECT pid, coalesce(usename, '') FROM pg_stat_activity WHERE datname = $1 AND usesysid IS NOT NULL", c.Database)
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
		_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND datname = $2", pid, c.Database)
		if err != nil && conn.IsClosed() {
			return nil, nil, fmt.Errorf("cannot end session %d of %q: %w", pid, users[pid], err)
		}
		if err != nil {
			refused[users[pid]] = err
		}
	}

	left := make([]string, 0, len(pids)+len(refused))
	reasons := make([]string, 0, len(refused))
	for _, pid := range pids {
		left = append(left, fmt.Sprintf("%d of %q", pid, users[pid]))
	}
	for user, err := range refused {
		reasons = append(reasons, fmt.Sprintf("%q may not end those of %q: %v", c.User, user, err))
	}
	slices.Sort(reasons)
	if len(left) > 0 {
		obstacle = fmt.Errorf("sessions are left: %s", strings.Join(append(left, reasons...), "; "))
	}
	return pids, obstacle, nil
}

// drainStopped says why draining stopped: out of time for what stood in the way,
// or for another reason.
func drainStopped(ctx context.Context, obstacle, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case obstacle == nil:
		return context.Cause(ctx)
	default:
		return fmt.Errorf("%w: %w", context.Cause(ctx), obstacle)
	}
}
