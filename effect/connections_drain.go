package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

	ended := map[int32]bool{}
	return untilDone(ctx, func() (done bool, obstacle, err error) {
		var open bool
		err = conn.QueryRow(ctx, "SELECT datallowconn FROM pg_database WHERE datname = $1", c.Database).Scan(&open)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			slog.InfoContext(ctx, "There is no such database, so it has no sessions", "database", c.Database)
			return true, nil, nil
		case err != nil:
			return false, nil, fmt.Errorf("cannot look at the database: %w", err)
		case open:
			return false, errors.New("it still accepts connections, so whoever is cut off would be back at once: set allowConnections: false in its Database"), nil
		}
		pids, left, err := c.endSessions(ctx, conn, c.Database)
		if err != nil {
			return false, nil, err
		}
		for _, pid := range pids {
			ended[pid] = true
		}
		if len(pids) == 0 {
			slog.InfoContext(ctx, "The database is closed and has no sessions", "database", c.Database, "ended", len(ended))
		}
		return len(pids) == 0, left, nil
	})
}
