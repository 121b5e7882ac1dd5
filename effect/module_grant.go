package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"github.com/jackc/pgx/v5"
)

// Modules is what Odoo's own installer is asked to install.
type Modules struct {
	Modules []string `env:"ODOO_MODULES,required,notEmpty" doc:"Technical names of the Odoo modules to install, separated by commas."`
}

var moduleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate the modules' names.
func (m Modules) Validate() error {
	var errs []error
	for _, name := range m.Modules {
		if !moduleName.MatchString(name) {
			errs = append(errs, fmt.Errorf("ODOO_MODULES: %q isn't the technical name of a module: letters, digits and underscores, separated by commas without spaces", name))
		}
	}
	return errors.Join(errs...)
}

// ModuleGrantConfig configures module-grant. It takes the modules, which it
// doesn't need, so that a bad name is found before a quarter of an hour is spent
// on installing the good ones.
type ModuleGrantConfig struct {
	Tenant
	Postgres
	Modules
}

// Validate returns all that is wrong.
func (c ModuleGrantConfig) Validate() error {
	return errors.Join(c.Tenant.Validate(), c.Postgres.Validate(), c.Modules.Validate())
}

// ModuleGrant lets Odoo's role create what it needs in the tenant's database,
// which is still owned by the role that created it: a database that Odoo's role
// owned would be listed and served by every worker while it is half installed.
func ModuleGrant(ctx context.Context, c ModuleGrantConfig) error {
	err := c.transact(ctx, c.Database, func(tx pgx.Tx) error {
		if err := c.actAsOdoo(ctx, tx); err != nil {
			return err
		}
		mark, err := readMark(ctx, tx)
		if err != nil {
			return err
		}
		if err := c.refuseOthersMark(mark); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "RESET ROLE"); err != nil {
			return fmt.Errorf("cannot become %q again: %w", c.User, err)
		}

		database, role := pgx.Identifier{c.Database}.Sanitize(), pgx.Identifier{c.OdooRole}.Sanitize()
		for _, grant := range []string{
			fmt.Sprintf("GRANT CREATE, CONNECT, TEMPORARY ON DATABASE %s TO %s", database, role),
			fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA public TO %s", role),
		} {
			if _, err := tx.Exec(ctx, grant); err != nil {
				return fmt.Errorf("%s: %w", grant, err)
			}
		}

		// PostgreSQL answers a GRANT of what one doesn't have with a warning.
		var granted bool
		err = tx.QueryRow(ctx, "SELECT has_database_privilege($1, current_database(), 'CREATE') AND has_schema_privilege($1, 'public', 'CREATE')", c.OdooRole).Scan(&granted)
		if err != nil {
			return fmt.Errorf("cannot read what %q was granted: %w", c.OdooRole, err)
		}
		if !granted {
			return fmt.Errorf("%q still has no right to create what it needs: PGUSER %q, who gives it, must be the owner of the database and of its schema public", c.OdooRole, c.User)
		}
		return c.createTrigrams(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("cannot let Odoo install its modules into database %q: %w", c.Database, err)
	}
	slog.InfoContext(ctx, "Odoo's role may now install modules", "database", c.Database, "role", c.OdooRole)
	return nil
}

// createTrigrams creates the extension behind Odoo's search indexes, as Odoo
// does, but only in a database that it creates itself. Like Odoo, it can live
// without.
func (c ModuleGrantConfig) createTrigrams(ctx context.Context, tx pgx.Tx) error {
	if err := c.actAsOdoo(ctx, tx); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		_, err := savepoint.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_trgm")
		return err
	})
	if err != nil {
		slog.WarnContext(ctx, "Searching will be slower: cannot create PostgreSQL's extension pg_trgm", "error", err.Error())
	}
	return ctx.Err()
}
