package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ModuleVerifyConfig configures module-verify.
type ModuleVerifyConfig struct {
	Tenant
	Postgres
	Release
	Modules
}

// Validate returns all that is wrong.
func (c ModuleVerifyConfig) Validate() error {
	return errors.Join(c.Tenant.Validate(), c.Postgres.Validate(), c.Release.Validate(), c.Modules.Validate())
}

// ModuleVerify tells whether Odoo installed what it was asked to install. Its
// installer can't be asked: it ends well when it doesn't know a module.
func ModuleVerify(ctx context.Context, c ModuleVerifyConfig) error {
	var initialised bool
	states := map[string]string{}
	err := c.odoo(ctx, c.Postgres, c.Database, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT to_regclass('public.ir_module_module') IS NOT NULL").Scan(&initialised); err != nil || !initialised {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT name, coalesce(state, '') FROM ir_module_module WHERE name = ANY($1)", c.Modules.Modules)
		if err != nil {
			return err
		}
		var name, state string
		_, err = pgx.ForEachRow(rows, []any{&name, &state}, func() error {
			states[name] = state
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot read the modules of database %q: %w", c.Database, err)
	}
	if !initialised {
		return fmt.Errorf("database %q has no table ir_module_module: Odoo has never initialised it; read the log of Odoo's own container in this pod", c.Database)
	}

	var missing []string
	terminal := false
	for _, name := range slices.Compact(slices.Sorted(slices.Values(c.Modules.Modules))) {
		switch state, known := states[name]; {
		case !known:
			// Odoo writes down every module on its addons path, so this one isn't
			// in the image, which is the same one at every attempt.
			missing, terminal = append(missing, name+" (not among the addons of this Odoo)"), true
		case state == "uninstallable":
			missing, terminal = append(missing, name+" (uninstallable with this Odoo)"), true
		case state != "installed":
			missing = append(missing, fmt.Sprintf("%s (%s)", name, state))
		}
	}
	if len(missing) > 0 {
		err := fmt.Errorf("%d modules of database %q are not installed: %s", len(missing), c.Database, strings.Join(missing, ", "))
		if terminal {
			return Terminal(err)
		}
		return err
	}
	slog.InfoContext(ctx, "Every module that was asked for is installed", "database", c.Database, "modules", len(states))
	return nil
}
