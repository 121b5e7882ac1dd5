package effect

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Tenant is what the function tells every effect about the tenant it works for.
type Tenant struct {
	Name       string `env:"TENANT_NAME,required,notEmpty"       doc:"The tenant's subdomain, which is also the PLANAClient's name."`
	UID        string `env:"TENANT_UID,required,notEmpty"        doc:"The PLANAClient's UID: tells two tenants after one name apart."`
	ProjectID  int    `env:"TENANT_PROJECT_ID,required"          doc:"The tenant's project number."`
	Database   string `env:"TENANT_DATABASE,required,notEmpty"   doc:"The tenant's database, filestore directory and host name, which are one and the same."`
	Tier       string `env:"TENANT_TIER,required,notEmpty"       doc:"starter, pro or enterprise."`
	Version    string `env:"TENANT_ODOO_VERSION,required,notEmpty" doc:"Odoo's major version, such as 18."`
	OwnerEmail string `env:"TENANT_OWNER_EMAIL,required,notEmpty" doc:"The owner's mail address, and the admin user's login."`
	OwnerName  string `env:"TENANT_OWNER_NAME,required,notEmpty" doc:"The owner's name: any text of up to 128 characters."`
}

// Postgres is how an effect reaches PostgreSQL. The names are libpq's own, so
// that pg_dump and psql, started by an effect, read the same ones.
type Postgres struct {
	Host     string `env:"PGHOST,required,notEmpty"     doc:"PostgreSQL's host name."`
	Port     uint16 `env:"PGPORT"                       envDefault:"5432" doc:"PostgreSQL's port."`
	User     string `env:"PGUSER,required,notEmpty"     doc:"Role to log in as."`
	Password string `env:"PGPASSWORD,required,notEmpty" doc:"That role's password." secret:"true"`
	SSLMode  string `env:"PGSSLMODE"                    envDefault:"require" doc:"libpq's sslmode."`
	RootCert string `env:"PGSSLROOTCERT"                doc:"File with the certificates of the authorities that may vouch for the server, with PGSSLMODE verify-full or verify-ca. Empty means those that the image knows."`
}

// Release is what an effect is told about the Odoo that serves the tenant.
type Release struct {
	OdooRole string `env:"ODOO_ROLE" envDefault:"odoo" doc:"The role that Odoo logs in as, which owns everything in a tenant's database."`
}

// Filestore is where an effect finds the filestore of one Odoo version.
type Filestore struct {
	Root string `env:"FILESTORE_ROOT,required,notEmpty" doc:"Directory in which each database has a directory of its own name."`
}

// databaseName is what a tenant's or a template's database may be called: DNS
// labels with dots in between. It keeps "..", "/" and option-like names out of
// every path and command line.
var databaseName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// Validate the tenant's description.
func (t Tenant) Validate() error {
	var errs []error
	if err := validDatabaseName(t.Database); err != nil {
		errs = append(errs, fmt.Errorf("TENANT_DATABASE: %w", err))
	} else if !strings.HasPrefix(t.Database, t.Name+".") {
		errs = append(errs, fmt.Errorf("TENANT_DATABASE: %q must start with the tenant's name, %q, and a dot", t.Database, t.Name))
	}
	if t.ProjectID < 1 {
		errs = append(errs, fmt.Errorf("TENANT_PROJECT_ID: %d must be 1 or more", t.ProjectID))
	}
	return errors.Join(errs...)
}

// validDatabaseName refuses what could be anything but one database of ours and
// one directory entry.
func validDatabaseName(name string) error {
	if len(name) > 63 || !databaseName.MatchString(name) {
		return fmt.Errorf("%q must be lower-case DNS labels with dots in between, 63 characters at most, such as acme.planapulse.app", name)
	}
	return nil
}
