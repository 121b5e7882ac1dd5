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

// A turn is an advisory lock in the maintenance database, by which an effect waits
// for another run to end.
//
// Odoo's role connects to that database too, for its bus and its scheduled actions, so
// a tenant may hold any lock there. Only a session of the effect's own role is worth
// waiting for.
type turn struct {
	Postgres

	// conn holds the lock, for as long as it is open.
	conn   *pgx.Conn
	number int64
}

// errStrangers is that sessions of other roles hold a lock, and can't be ended.
var errStrangers = errors.New("sessions that are none of ours hold the lock")

// take the turn, for as long as the session lasts. Sessions of other roles are ended;
// if they can't be, take returns an error that is errStrangers.
func (t turn) take(ctx context.Context, waiting string) error {
	var got bool
	if err := t.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", t.number).Scan(&got); err != nil || got {
		return err
	}
	watch, err := t.connect(ctx, maintenanceDatabase)
	if err != nil {
		return err
	}
	defer disconnect(ctx, watch)

	// It queues before anybody's session is ended, so that no stranger who comes back
	// is before it.
	queueing, leave := context.WithCancel(ctx)
	queued := make(chan error, 1)
	go func() {
		defer close(queued)
		_, err := t.conn.Exec(queueing, "SELECT pg_advisory_lock($1)", t.number)
		queued <- err
	}()
	// A session is used by one at a time.
	defer func() {
		leave()
		<-queued
	}()
	said := false
	return untilDone(ctx, func() (done bool, obstacle, err error) {
		select {
		case err := <-queued:
			return err == nil, nil, err
		default:
		}
		strangers, err := t.endStrangers(ctx, watch)
		switch {
		case errors.Is(err, errStrangers):
			if t.leave(ctx, watch, queued) {
				return true, nil, nil
			}
			return false, nil, err
		case strangers == nil && err == nil && !said:
			said = true
			slog.InfoContext(ctx, waiting)
		}
		return false, strangers, err
	})
}

// leave the queue, and tell whether it was its turn this very moment.
func (t turn) leave(ctx context.Context, watch *pgx.Conn, queued <-chan error) (got bool) {
	for {
		// Again and again, as it may not have begun to queue yet.
		if _, err := watch.Exec(ctx, "SELECT pg_cancel_backend($1)", int64(t.conn.PgConn().PID())); err != nil {
			return false
		}
		select {
		case err := <-queued:
			return err == nil
		case <-ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// endStrangers ends the sessions of other roles that hold the lock, or are queued for
// it. It returns which those were.
func (t turn) endStrangers(ctx context.Context, conn *pgx.Conn) (strangers, err error) {
	rows, err := conn.Query(ctx, `
		SELECT a.pid, a.usename::text, l.granted FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = $1
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND a.usename <> current_user`, t.number)
	if err != nil {
		return nil, fmt.Errorf("cannot look who holds a lock: %w", err)
	}
	type session struct {
		PID     int32
		User    string
		Granted bool
	}
	sessions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[session])
	if err != nil {
		return nil, fmt.Errorf("cannot look who holds a lock: %w", err)
	}
	var who []string
	for _, s := range sessions {
		who = append(who, fmt.Sprintf("%d of %q", s.PID, s.User))
		if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND usename = $2", s.PID, s.User); err != nil {
			if conn.IsClosed() {
				return nil, fmt.Errorf("cannot end session %d of %q: %w", s.PID, s.User, err)
			}
			if s.Granted {
				return nil, fmt.Errorf("%w: end session %d of %q, as a superuser, SELECT pg_terminate_backend(%d): %w", errStrangers, s.PID, s.User, s.PID, err)
			}
		}
	}
	if len(who) == 0 {
		return nil, nil //nolint:nilnil // There are none, which is no error.
	}
	slices.Sort(who)
	return fmt.Errorf("sessions that are none of ours hold the lock: %s", strings.Join(who, "; ")), nil
}
