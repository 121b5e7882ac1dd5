package effect

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// markKey is the system parameter that says whose a database is.
const markKey = "planaclient.tenant"

// TenantPrepareConfig configures tenant-prepare.
type TenantPrepareConfig struct {
	Tenant
	Postgres
	Release

	Adopted bool `env:"TENANT_ADOPTED" envDefault:"false" doc:"The database was in service before this PLANAClient was: mark it, and change nothing else."`
}

// Validate returns all that is wrong.
func (c TenantPrepareConfig) Validate() error {
	errs := []error{c.Tenant.Validate(), c.Postgres.Validate(), c.Release.Validate()}
	if !utf8.ValidString(c.OwnerName) {
		errs = append(errs, errors.New("TENANT_OWNER_NAME: isn't UTF-8"))
	}
	if !utf8.ValidString(c.OwnerEmail) {
		errs = append(errs, errors.New("TENANT_OWNER_EMAIL: isn't UTF-8"))
	}
	return errors.Join(errs...)
}

// TenantPrepare turns a database that was cloned from a template, or in which
// Odoo's installer has just finished, into one tenant's: keys of its own, its
// own address, its owner as its administrator, and nothing of the template's
// that opens a door.
//
// All of it happens in one transaction, which leaves the tenant's mark. A marked
// database is left as it is: a second run must not take away the password that
// the owner has chosen after the first.
func TenantPrepare(ctx context.Context, c TenantPrepareConfig) error {
	if err := c.odoo(ctx, c.Postgres, c.Database, func(tx pgx.Tx) error { return c.prepare(ctx, tx) }); err != nil {
		return fmt.Errorf("cannot make database %q the one of tenant %q: %w", c.Database, c.Name, err)
	}
	return nil
}

func (c TenantPrepareConfig) prepare(ctx context.Context, tx pgx.Tx) error {
	has, err := readSchema(ctx, tx)
	if err != nil {
		return err
	}
	needed := []string{"ir_config_parameter", "ir_model_data", "ir_module_module", "res_company", "res_partner", "res_users"}
	if missing := has.missing(slices.Clone(needed)...); len(missing) > 0 {
		return Terminal(fmt.Errorf("it isn't an Odoo database: it has no table %s; was its template empty?", strings.Join(missing, ", ")))
	}
	if err := c.refuseOthersTables(ctx, tx, needed); err != nil {
		return err
	}

	mark, err := readMark(ctx, tx)
	if err != nil {
		return err
	}
	if c.Adopted {
		return c.adopt(ctx, tx, mark)
	}
	if err := c.refuseOthersMark(mark); err != nil {
		return err
	}
	if mark != "" {
		slog.InfoContext(ctx, "The database is this tenant's already: nothing to do", "database", c.Database)
		return nil
	}
	if err := c.refuseWrongVersion(ctx, tx); err != nil {
		return err
	}
	if err := c.refuseInService(ctx, tx); err != nil {
		return err
	}

	for _, step := range []struct {
		does string
		do   func(context.Context, pgx.Tx, schema) error
	}{
		{"forget what belongs to the template", forget},
		{"name its owner", c.nameOwner},
		{"give it keys, an address and a mark", c.setParameters},
	} {
		if err := step.do(ctx, tx, has); err != nil {
			return fmt.Errorf("cannot %s: %w", step.does, err)
		}
	}
	slog.InfoContext(ctx, "The database is now this tenant's", "database", c.Database, "url", c.url())
	return nil
}

// adopt a database that has users, keys and an address already. Nothing but its
// mark changes: fresh keys would log everybody out, and a new password would
// lock the owner out.
func (c TenantPrepareConfig) adopt(ctx context.Context, tx pgx.Tx, mark string) error {
	// An earlier tenant of the same name is what is taken over here.
	if name, _, _ := strings.Cut(mark, "/"); mark != "" && name != c.Name {
		return c.refuseOthersMark(mark)
	}
	if err := c.refuseWrongVersion(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO ir_config_parameter (key, value, create_uid, create_date, write_uid, write_date)
		VALUES ($1, $2, 1, now() AT TIME ZONE 'UTC', 1, now() AT TIME ZONE 'UTC')
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, write_uid = excluded.write_uid, write_date = excluded.write_date`,
		markKey, c.mark())
	if err != nil {
		return fmt.Errorf("cannot mark it: %w", err)
	}
	slog.InfoContext(ctx, "The database is adopted: it is marked, and otherwise as it was", "database", c.Database, "before", mark)
	return nil
}

// refuseOthersTables returns an error for a database in which another role owns what
// Odoo works with: that of a template that was made by another role's Odoo.
func (r Release) refuseOthersTables(ctx context.Context, tx pgx.Tx, tables []string) error {
	var table, owner string
	err := tx.QueryRow(ctx, `
		SELECT c.relname::text, pg_get_userbyid(c.relowner)::text FROM pg_class c
		WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY($1) AND NOT pg_has_role(c.relowner, 'USAGE')
		ORDER BY 1 LIMIT 1`, tables).Scan(&table, &owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read whose its tables are: %w", err)
	}
	return fmt.Errorf("its table %s belongs to role %q, and Odoo of this version logs in as %q: hand over what is in this database and in its template as docs/how-to/role-per-version.md says",
		table, owner, r.OdooRole)
}

// url is where the tenant is served: a database is named by its host.
func (t Tenant) url() string { return "https://" + t.Database }

// mark of this tenant. The UID tells it from an earlier tenant of that name.
func (t Tenant) mark() string { return t.Name + "/" + t.UID }

// refuseOthersMark returns an error if a database carries another tenant's mark.
func (t Tenant) refuseOthersMark(mark string) error {
	if mark == "" || mark == t.mark() {
		return nil
	}
	return Terminal(fmt.Errorf("it belongs to tenant %q, and this one is %q: drop or rename the database if that tenant is gone; to hand it over as it is, delete its system parameter %s", mark, t.mark(), markKey))
}

// readMark returns whose a database is, and nothing if it is nobody's yet.
func readMark(ctx context.Context, tx pgx.Tx) (string, error) {
	var exists bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('public.ir_config_parameter') IS NOT NULL").Scan(&exists); err != nil {
		return "", fmt.Errorf("cannot look for Odoo's system parameters: %w", err)
	}
	if !exists {
		return "", nil
	}
	var mark string
	err := tx.QueryRow(ctx, "SELECT value FROM ir_config_parameter WHERE key = $1", markKey).Scan(&mark)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("cannot read whose database it is: %w", err)
	}
	return mark, nil
}

// refuseWrongVersion returns an error for a database of another Odoo.
func (c TenantPrepareConfig) refuseWrongVersion(ctx context.Context, tx pgx.Tx) error {
	var installed string
	err := tx.QueryRow(ctx, "SELECT coalesce(max(latest_version), '') FROM ir_module_module WHERE name = 'base' AND state = 'installed'").Scan(&installed)
	if err != nil {
		return fmt.Errorf("cannot read which Odoo it is of: %w", err)
	}
	if !strings.HasPrefix(installed, c.Version+".") {
		return Terminal(fmt.Errorf("it is of Odoo %q, but the tenant wants %s: it was cloned from the wrong template, or is another one's", installed, c.Version))
	}
	return nil
}

// refuseInService returns an error for a database that nobody has marked and that
// still can't be a fresh one. The mark is a row that an administrator can delete;
// without this, a second run would then lock the owner out and delete the
// tenant's mail servers.
func (c TenantPrepareConfig) refuseInService(ctx context.Context, tx pgx.Tx) error {
	var url string
	err := tx.QueryRow(ctx, "SELECT coalesce(max(value), '') FROM ir_config_parameter WHERE key = 'web.base.url'").Scan(&url)
	if err != nil {
		return fmt.Errorf("cannot read its address: %w", err)
	}
	if url == c.url() {
		return Terminal(fmt.Errorf("it is in service already, at %s, but not marked as prepared: if it is this tenant's, set its system parameter %s to %q", url, markKey, c.mark()))
	}
	return nil
}

// A schema is which of Odoo's tables have which columns: what a database can be
// asked depends on its version and on its modules.
type schema map[string][]string

// readSchema reads PostgreSQL's catalogue, rather than the information_schema,
// which leaves out what the role may not see: a table of secrets must not be
// passed over because it is somebody else's.
func readSchema(ctx context.Context, tx pgx.Tx) (schema, error) {
	rows, err := tx.Query(ctx, `
		SELECT c.relname, a.attname
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped`)
	if err != nil {
		return nil, fmt.Errorf("cannot read which tables there are: %w", err)
	}
	has := schema{}
	var table, column string
	_, err = pgx.ForEachRow(rows, []any{&table, &column}, func() error {
		has[table] = append(has[table], column)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read which tables there are: %w", err)
	}
	return has, nil
}

func (s schema) column(table, column string) bool { return slices.Contains(s[table], column) }

func (s schema) missing(tables ...string) []string {
	return slices.DeleteFunc(tables, func(t string) bool { return len(s[t]) > 0 })
}

// forgotten is what a tenant must not inherit from its template: whatever lets
// somebody in, lets somebody read along, or acts in the template's name. Where a
// column is named it is emptied, else the rows go.
var forgotten = []struct{ table, column, where string }{
	// Ways in.
	{table: "res_users_apikeys"},
	{table: "auth_totp_device"},
	{table: "auth_passkey_key"},
	{table: "res_device_log"},
	{table: "res_users", column: "totp_secret"},
	{table: "res_users", column: "oauth_access_token"},
	{table: "res_users", column: "oauth_uid"},
	{table: "res_partner", column: "signup_token"},
	{table: "res_partner", column: "signup_type"},
	{table: "res_partner", column: "signup_expiration"},

	// Accounts with others.
	{table: "iap_account", column: "account_token"},
	{table: "res_users", column: "microsoft_calendar_rtoken"},
	{table: "res_users", column: "microsoft_calendar_token"},
	{table: "res_users_settings", column: "microsoft_calendar_sync_token"},
	{table: "res_users_settings", column: "google_calendar_rtoken"},
	{table: "res_users_settings", column: "google_calendar_token"},
	{table: "res_users_settings", column: "google_calendar_sync_token"},

	// Mail, and what waits to be sent.
	{table: "mail_mail", where: "state IN ('outgoing', 'exception')"},
	{table: "mail_message_schedule"},
	{table: "mail_scheduled_message"},
	{table: "sms_sms", where: "state IN ('outgoing', 'error')"},
	{table: "snailmail_letter", where: "state IN ('pending', 'error')"},
	{table: "ir_mail_server"},
	{table: "fetchmail_server"},

	// Browsers that are shown notifications, and the key they know us by. Odoo 17
	// has other names for them.
	{table: "mail_push"},
	{table: "mail_push_device"},
	{table: "mail_notification_web_push"},
	{table: "mail_partner_device"},
	{table: "ir_config_parameter", where: "key IN ('mail.web_push_vapid_private_key', 'mail.web_push_vapid_public_key')"},
}

func forget(ctx context.Context, tx pgx.Tx, has schema) error {
	for _, f := range forgotten {
		table := pgx.Identifier{f.table}.Sanitize()
		var sql string
		switch {
		case len(has[f.table]) == 0:
			continue
		case f.column == "":
			sql = "DELETE FROM " + table
			if f.where != "" {
				sql += " WHERE " + f.where
			}
		case has.column(f.table, f.column):
			column := pgx.Identifier{f.column}.Sanitize()
			sql = fmt.Sprintf("UPDATE %s SET %s = NULL WHERE %s IS NOT NULL", table, column, column)
		default:
			continue
		}
		tag, err := tx.Exec(ctx, sql)
		if err != nil {
			return fmt.Errorf("%s: %w", f.table, err)
		}
		if n := tag.RowsAffected(); n > 0 {
			slog.InfoContext(ctx, "Removed what the template had", "table", f.table, "column", f.column, "rows", n)
		}
	}
	return nil
}

// nameOwner makes the tenant's owner the administrator, and names the company
// after them.
func (c TenantPrepareConfig) nameOwner(ctx context.Context, tx pgx.Tx, has schema) error {
	var admin, adminPartner, company, companyPartner int32
	err := tx.QueryRow(ctx, `
		SELECT u.id, u.partner_id
		FROM ir_model_data d JOIN res_users u ON u.id = d.res_id
		WHERE d.module = 'base' AND d.name = 'user_admin' AND d.model = 'res.users'`).Scan(&admin, &adminPartner)
	if errors.Is(err, pgx.ErrNoRows) {
		return Terminal(errors.New("the template has no user base.user_admin to make the owner's"))
	}
	if err != nil {
		return fmt.Errorf("cannot find the user base.user_admin: %w", err)
	}
	err = tx.QueryRow(ctx, "SELECT id, partner_id FROM res_company ORDER BY id LIMIT 1").Scan(&company, &companyPartner)
	if errors.Is(err, pgx.ErrNoRows) {
		return Terminal(errors.New("the template has no company"))
	}
	if err != nil {
		return fmt.Errorf("cannot find the first company: %w", err)
	}
	if err := c.refuseTaken(ctx, tx, admin, company); err != nil {
		return err
	}

	hash, err := unusablePassword()
	if err != nil {
		return err
	}
	partners := []int32{adminPartner, companyPartner}
	for _, u := range []struct {
		needs string
		sql   string
		args  []any
	}{
		{
			sql:  "UPDATE res_users SET login = $2, password = $3, active = true, write_date = now() AT TIME ZONE 'UTC' WHERE id = $1",
			args: []any{admin, c.OwnerEmail, hash},
		},
		{
			needs: "res_users.signature", sql: "UPDATE res_users SET signature = $2 WHERE id = $1",
			args: []any{admin, "<p>--<br>" + html.EscapeString(c.OwnerName) + "</p>"},
		},
		{
			sql:  "UPDATE res_company SET name = $2, write_date = now() AT TIME ZONE 'UTC' WHERE id = $1",
			args: []any{company, c.OwnerName},
		},
		{
			needs: "res_company.email", sql: "UPDATE res_company SET email = $2 WHERE id = $1",
			args: []any{company, c.OwnerEmail},
		},
		{
			sql:  "UPDATE res_partner SET name = $2, email = $3, write_date = now() AT TIME ZONE 'UTC' WHERE id = ANY($1)",
			args: []any{partners, c.OwnerName, c.OwnerEmail},
		},

		// What Odoo derives from these and keeps in columns, which nothing would
		// ever tell it to derive again.
		{
			needs: "res_partner.email_normalized", sql: "UPDATE res_partner SET email_normalized = lower($2) WHERE id = ANY($1)",
			args: []any{partners, c.OwnerEmail},
		},
		{
			needs: "res_partner.commercial_company_name", sql: `
			UPDATE res_partner p SET commercial_company_name = c.name
			FROM res_partner c WHERE c.id = p.commercial_partner_id AND c.id = ANY($1) AND c.is_company`,
			args: []any{partners},
		},
		{
			needs: "res_partner.complete_name", sql: `
			UPDATE res_partner p SET complete_name = concat_ws(', ',
				CASE WHEN NOT coalesce(p.is_company, false) AND (p.parent_id IS NOT NULL OR p.company_name <> '')
					THEN coalesce(nullif(p.commercial_company_name, ''), (SELECT name FROM res_partner WHERE id = p.parent_id)) END,
				p.name)
			WHERE p.id = ANY($1) OR (p.parent_id = ANY($1) AND p.name IS NOT NULL)`,
			args: []any{partners},
		},
	} {
		if table, column, _ := strings.Cut(u.needs, "."); u.needs != "" && !has.column(table, column) {
			continue
		}
		if _, err := tx.Exec(ctx, u.sql, u.args...); err != nil {
			return err
		}
	}

	return c.warnOfOthers(ctx, tx, admin)
}

// refuseTaken returns an error where the template already uses what Odoo wants
// to be unique.
func (c TenantPrepareConfig) refuseTaken(ctx context.Context, tx pgx.Tx, admin, company int32) error {
	var login, name bool
	err := tx.QueryRow(ctx, `SELECT
		EXISTS (SELECT FROM res_users WHERE login = $1 AND id <> $2),
		EXISTS (SELECT FROM res_company WHERE name = $3 AND id <> $4)`,
		c.OwnerEmail, admin, c.OwnerName, company).Scan(&login, &name)
	switch {
	case err != nil:
		return fmt.Errorf("cannot look whether the owner's name is free: %w", err)
	case login:
		return Terminal(fmt.Errorf("the template has another user whose login is %q: change that user in the template", c.OwnerEmail))
	case name:
		return Terminal(fmt.Errorf("the template has another company named %q: rename that company in the template", c.OwnerName))
	}
	return nil
}

// warnOfOthers says who else can log in: whoever knows such a user's password in
// the template knows it in every tenant.
func (c TenantPrepareConfig) warnOfOthers(ctx context.Context, tx pgx.Tx, admin int32) error {
	rows, err := tx.Query(ctx, "SELECT login FROM res_users WHERE active AND id <> $1 AND password <> '' ORDER BY id", admin)
	if err != nil {
		return fmt.Errorf("cannot look for other users: %w", err)
	}
	logins, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("cannot look for other users: %w", err)
	}
	if len(logins) > 0 {
		slog.WarnContext(ctx, "The template has other users, who log in to this tenant with the password they have there", "logins", logins)
	}
	return nil
}

func (c TenantPrepareConfig) setParameters(ctx context.Context, tx pgx.Tx, _ schema) error {
	return identify(ctx, tx, c.url(), c.mark())
}

// identify gives a database keys of its own, an address, and the mark of whose it
// is, or none.
func identify(ctx context.Context, tx pgx.Tx, url, mark string) error {
	keys := []string{"database.secret", "database.uuid", "web.base.url", "web.base.url.freeze"}
	values := []string{uuid.NewString(), uuid.NewString(), url, "True"}
	if mark != "" {
		keys, values = append(keys, markKey), append(values, mark)
	} else if _, err := tx.Exec(ctx, "DELETE FROM ir_config_parameter WHERE key = $1", markKey); err != nil {
		return fmt.Errorf("cannot remove the mark of whose it was: %w", err)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO ir_config_parameter (key, value, create_uid, create_date, write_uid, write_date)
		SELECT key, value, 1, now() AT TIME ZONE 'UTC', 1, now() AT TIME ZONE 'UTC' FROM (
			SELECT key, value FROM unnest($1::text[], $2::text[]) AS fresh (key, value)
			UNION ALL SELECT 'database.create_date', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
		) AS parameter (key, value)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, write_uid = excluded.write_uid, write_date = excluded.write_date`,
		keys, values)
	return err
}

// passwordRounds is the least that Odoo takes for a hash that it need not renew.
const passwordRounds = 600_000

// unusablePassword is the hash, as Odoo's passlib writes it, of a password that
// nobody has ever seen: the owner's first way in is a link that resets it.
func unusablePassword() (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // It never fails.
	return hashPassword(rand.Text(), salt)
}

func hashPassword(password string, salt []byte) (string, error) {
	key, err := pbkdf2.Key(sha512.New, password, salt, passwordRounds, sha512.Size)
	if err != nil {
		return "", fmt.Errorf("cannot hash a password: %w", err)
	}
	// Passlib's base64 has a dot for the plus, and no padding.
	encode := func(b []byte) string {
		return strings.ReplaceAll(base64.RawStdEncoding.EncodeToString(b), "+", ".")
	}
	return fmt.Sprintf("$pbkdf2-sha512$%d$%s$%s", passwordRounds, encode(salt), encode(key)), nil
}
