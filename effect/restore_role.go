package effect

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// A loader is the role that loads a dump, as long as one restore lasts.
//
// What a tenant has put into a dump runs as this role, and PostgreSQL lets every role
// set its own password. So no password of it outlives a restore: the provisioning
// role, which is a member of it, makes one up, ends whatever sessions the role still
// has, and takes the password away once the dump is loaded.
type loader struct {
	// Postgres is how the loader logs in.
	Postgres

	// admin is the provisioning role's session, in the maintenance database.
	admin *pgx.Conn
	role  string
}

// begin makes sure that the role may do nothing but load a dump, that nobody else can
// act as it, and that this restore can log in as it.
func (l *loader) begin(ctx context.Context) error {
	if err := l.part(ctx); err != nil {
		return err
	}
	if err := limited(ctx, l.admin, l.role); err != nil {
		return fmt.Errorf("RESTORE_ROLE must own nothing but what it loads: %w", err)
	}
	if err := l.onlyMember(ctx); err != nil {
		return err
	}
	password := rand.Text()
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	if err := l.seize(ctx, literal(verifier), 0); err != nil {
		return err
	}
	l.Postgres = l.as(l.role, password)
	return nil
}

// end takes the role's password away, and what code in a dump may have set on the
// role. The next restore does the same before it loads anything, so that nothing
// depends on it if this fails.
func (l *loader) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopsWithin)
	defer cancel()
	if err := errors.Join(l.reset(ctx, "NULL"), l.part(ctx)); err != nil {
		slog.WarnContext(ctx, "The role that loads dumps keeps the password of this restore until the next one", "role", l.role, "error", err.Error())
	}
}

// reset what the role can set of itself. The provisioning role does it as the role, in
// a transaction: it needs no right on roles for that, but to be a member.
func (l *loader) reset(ctx context.Context, password string) error {
	role := quoted(l.role)
	return pgx.BeginFunc(ctx, l.admin, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL ROLE "+role); err != nil {
			return fmt.Errorf("PGUSER must be a member of RESTORE_ROLE, GRANT %s TO %s: %w", role, quoted(l.admin.Config().User), err)
		}
		statements := []string{"ALTER ROLE " + role + " PASSWORD " + password, "ALTER ROLE " + role + " RESET ALL"}
		rows, err := tx.Query(ctx, `
			SELECT d.datname FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
			WHERE s.setrole = (SELECT oid FROM pg_roles WHERE rolname = $1)`, l.role)
		if err != nil {
			return fmt.Errorf("cannot look for settings of %q: %w", l.role, err)
		}
		databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("cannot look for settings of %q: %w", l.role, err)
		}
		for _, name := range databases {
			statements = append(statements, "ALTER ROLE "+role+" IN DATABASE "+quoted(name)+" RESET ALL")
		}
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("cannot reset what %q can set of itself: %w", l.role, err)
			}
		}
		return nil
	})
}

// onlyMember returns an error if another role than the provisioning one can act as
// the loader. Odoo's could so, and with it every tenant's SQL.
func (l *loader) onlyMember(ctx context.Context) error {
	rows, err := l.admin.Query(ctx, `
		SELECT u.rolname::text FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
		WHERE r.rolname = $1 AND u.rolname <> current_user AND NOT u.rolsuper ORDER BY 1`, l.role)
	if err != nil {
		return fmt.Errorf("cannot look who is a member of %q: %w", l.role, err)
	}
	members, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("cannot look who is a member of %q: %w", l.role, err)
	}
	var errs []error
	for _, member := range members {
		errs = append(errs, fmt.Errorf("role %q is a member of RESTORE_ROLE, and could reach what is being restored: GRANT %s TO %s; REVOKE %s FROM %s",
			member, quoted(l.role), quoted(l.admin.Config().User), quoted(l.role), quoted(member)))
	}
	return errors.Join(errs...)
}

// seize the role: give it another password and end every session that it has, but for
// a spared one. Somebody may have logged in with the password that code in a dump has
// set, and sets it again until that session is ended.
func (l *loader) seize(ctx context.Context, password string, spared uint32) error {
	ctx, cancel := context.WithTimeoutCause(ctx, fenceTimeout, fmt.Errorf("not done after %s", fenceTimeout))
	defer cancel()

	isReset, quietSince := false, time.Time{}
	err := untilDone(ctx, func() (done bool, obstacle, err error) {
		if !isReset {
			err = l.reset(ctx, password)
			if err != nil && !isBusy(err) {
				return false, nil, err
			}
			isReset, quietSince = err == nil, time.Now()
			obstacle = err
		}
		var left int
		if err := l.admin.QueryRow(ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1 AND pid <> $2", l.role, int64(spared)).Scan(&left); err != nil {
			return false, obstacle, fmt.Errorf("cannot end the sessions of %q: %w", l.role, err)
		}
		if left > 0 {
			isReset, obstacle = false, fmt.Errorf("%d sessions of it are left", left)
		}
		return isReset && time.Since(quietSince) >= quietFor, obstacle, nil
	})
	if err != nil {
		return fmt.Errorf("cannot have role %q to ourselves: %w", l.role, err)
	}
	return nil
}

// handOver what the role has loaded to Odoo's. That takes a member of both roles,
// which is neither, so the loader becomes one for this: it has no password any more,
// and no session but the supplied one, in which nothing of the dump has ever run.
func (l *loader) handOver(ctx context.Context, conn *pgx.Conn, odooRole string) error {
	if err := l.seize(ctx, "NULL", conn.PgConn().PID()); err != nil {
		return err
	}
	odoo, role := quoted(odooRole), quoted(l.role)
	if _, err := l.admin.Exec(ctx, "GRANT "+odoo+" TO "+role); err != nil {
		return fmt.Errorf("PGUSER must be able to have ODOO_ROLE take over what was loaded, GRANT %s TO %s WITH ADMIN OPTION: %w", odoo, quoted(l.admin.Config().User), err)
	}
	_, err := conn.Exec(ctx, "REASSIGN OWNED BY "+role+" TO "+odoo)
	if err != nil {
		err = fmt.Errorf("%q cannot take over what %q has loaded: %w", odooRole, l.role, err)
	}
	disconnect(ctx, conn)
	return errors.Join(err, l.part(ctx))
}

// part the role from every other that the provisioning one has made it a member of:
// one is left only by a restore that was killed.
func (l *loader) part(ctx context.Context) error {
	rows, err := l.admin.Query(ctx, `
		SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
		WHERE r.rolname = $1 AND pg_has_role(g.oid, 'MEMBER WITH ADMIN OPTION')`, l.role)
	if err != nil {
		return fmt.Errorf("cannot look what %q is a member of: %w", l.role, err)
	}
	groups, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("cannot look what %q is a member of: %w", l.role, err)
	}
	for _, group := range slices.Compact(groups) {
		if _, err := l.admin.Exec(ctx, "REVOKE "+quoted(group)+" FROM "+quoted(l.role)); err != nil {
			return fmt.Errorf("cannot part %q from %q: %w", l.role, group, err)
		}
	}
	return nil
}

// scramVerifier is what PostgreSQL stores of a password. It is what is sent, so that
// the password itself is in no log of statements.
func scramVerifier(password string) (string, error) {
	const iterations = 4096
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // It never fails.
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("cannot hash a password: %w", err)
	}
	sign := func(what string) []byte {
		h := hmac.New(sha256.New, salted)
		_, _ = h.Write([]byte(what)) // It never fails.
		return h.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(sign("Server Key"))), nil
}
