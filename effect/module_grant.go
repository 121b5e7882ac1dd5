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
	Release
	Modules
}

// Validate returns all that is wrong.
func (c ModuleGrantConfig) Validate() error {
	return errors.Join(c.Tenant.Validate(), c.Postgres.Validate(), c.Release.Validate(), c.Modules.Validate())
}

// ModuleGrant tells whether Odoo can install modules into the tenant's database,
// which still belongs to the role that created it: a database that Odoo's role
// owned would be listed and served by every worker while it is half installed.
//
// What Odoo needs there is in template1, of which an empty database is a copy. The
// role that creates databases could grant it in each, but then it would work in
// databases of tenants.
func ModuleGrant(ctx context.Context, c ModuleGrantConfig) error {
	var lacking []string
	err := c.odoo(ctx, c.Postgres, c.Database, func(tx pgx.Tx) error {
		mark, err := readMark(ctx, tx)
		if err != nil {
			return err
		}
		if err := c.refuseOthersMark(mark); err != nil {
			return err
		}
		var granted bool
		err = tx.QueryRow(ctx, `
			SELECT has_schema_privilege('public', 'USAGE') AND has_schema_privilege('public', 'CREATE'), ARRAY(SELECT e FROM unnest($1::text[]) e WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = e))`,
			searchExtensions).Scan(&granted, &lacking)
		if err != nil {
			return fmt.Errorf("cannot read what %q may do: %w", c.OdooRole, err)
		}
		if !granted {
			return fmt.Errorf("%[1]q may not create tables in schema public: as a superuser, in this database and, for those to come, in template1, GRANT USAGE, CREATE ON SCHEMA public TO %[2]s", c.OdooRole, pgx.Identifier{c.OdooRole}.Sanitize())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot have Odoo install its modules into database %q: %w", c.Database, err)
	}
	// Odoo can live without.
	for _, extension := range lacking {
		slog.WarnContext(ctx, "Searching will be slower: an extension of PostgreSQL is missing",
			"database", c.Database, "extension", extension, "sql", "CREATE EXTENSION "+extension, "where", "as a superuser, in this database and, for those to come, in template1")
	}
	slog.InfoContext(ctx, "Odoo's role may install modules", "database", c.Database, "role", c.OdooRole)
	return nil
}

// searchExtensions are behind Odoo's search. It creates them in databases that it
// creates itself.
var searchExtensions = []string{"pg_trgm", "unaccent"}
