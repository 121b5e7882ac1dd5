package effect

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHashPassword(t *testing.T) {
	// Computed by another implementation of PBKDF2. The salt has bytes that tell
	// passlib's base64 from the usual one; the password is that of nobody.
	salt := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	got, err := hashPassword("Ёжик", salt)
	if err != nil {
		t.Fatal(err)
	}
	want := "$pbkdf2-sha512$600000$AAECAwQFBgcICQoLDA0ODw$xNP.DpevrQ6.VBynW/0pJHsWmPQl8zUdCbV4KzAc8mEpmTD2c7GDXoAPMQTKDUIQeGqGpu0s6jB08hfbwR4AZw"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestUnusablePassword(t *testing.T) {
	one, err := unusablePassword()
	if err != nil {
		t.Fatal(err)
	}
	other, err := unusablePassword()
	if err != nil {
		t.Fatal(err)
	}
	if one == other {
		t.Errorf("two tenants have one password: %s", one)
	}
}

func TestDatabaseConfigs(t *testing.T) {
	tenant := acme
	tenant.Database, tenant.OwnerName, tenant.OwnerEmail = "beta.planapulse.app", "\xff", "\xfe"
	postgres := Postgres{Host: "h", User: "u", Password: "hunter2", SSLMode: "sometimes"}
	cases := map[string]struct {
		reason string
		config Validator
		want   []string
	}{
		"Prepare": {
			reason: "PostgreSQL would refuse what isn't UTF-8, in words that name no variable.",
			config: TenantPrepareConfig{Tenant: tenant, Postgres: postgres},
			want:   []string{"TENANT_DATABASE", "TENANT_OWNER_NAME", "TENANT_OWNER_EMAIL", "PGPORT", "PGSSLMODE", "ODOO_ROLE"},
		},
		"Grant": {
			reason: "A bad module name is found before Odoo is started.",
			config: ModuleGrantConfig{Tenant: tenant, Postgres: postgres, Modules: Modules{Modules: []string{"base", "--help", "sale crm", ""}}},
			want:   []string{"TENANT_DATABASE", "PGPORT", "PGSSLMODE", "ODOO_ROLE", `"--help"`, `"sale crm"`, `""`},
		},
		"Verify": {
			reason: "What can't be a module's name can't be installed.",
			config: ModuleVerifyConfig{Tenant: tenant, Postgres: postgres, Modules: Modules{Modules: []string{" web"}}},
			want:   []string{"TENANT_DATABASE", "PGPORT", "PGSSLMODE", "ODOO_ROLE", `" web"`},
		},
		"Drain": {
			reason: "Only a tenant's own database is drained.",
			config: ConnectionsDrainConfig{Tenant: tenant, Postgres: postgres},
			want:   []string{"TENANT_DATABASE", "PGPORT", "PGSSLMODE"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := tc.config.Validate()
			if err == nil {
				t.Fatalf("%s: want an error", tc.reason)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: the error doesn't say %s: %v", tc.reason, want, err)
				}
			}
			if strings.Contains(err.Error(), postgres.Password) {
				t.Errorf("the error says the password: %v", err)
			}
		})
	}
}

// TestEveryConfigIsValidated catches a configuration that embeds two parts with
// rules, and so has the rules of neither.
func TestEveryConfigIsValidated(t *testing.T) {
	for _, e := range Effects() {
		if _, ok := e.Config.(Validator); !ok {
			t.Errorf("%s: %T has no Validate: give it one that joins those of what it embeds", e.Name, e.Config)
		}
	}
}
