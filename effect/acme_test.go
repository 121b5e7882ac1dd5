package effect

import (
	"maps"
	"strconv"
	"strings"
)

// acme is the tenant of the tests, whose owner's name is the worst that a
// PLANAClient admits, and then some.
var acme = Tenant{
	Name:       "acme",
	UID:        "6f1e7d52-3c7e-4a30-9b0c-0a4b1f5f4c11",
	ProjectID:  23,
	Database:   "acme.planapulse.app",
	Tier:       "pro",
	Version:    "18",
	OwnerEmail: "ceo+plana@acme.example",
	OwnerName:  `"; $(reboot) '-- ` + "`id` \\ \n\r\t <b>&amp; \u202eעברית\u202c Ёжик " + strings.Repeat("株", 128),
}

// environ of a tenant's effect, with what else it is told.
func (t Tenant) environ(more ...map[string]string) map[string]string {
	environ := map[string]string{
		"TENANT_NAME":         t.Name,
		"TENANT_UID":          t.UID,
		"TENANT_PROJECT_ID":   strconv.Itoa(t.ProjectID),
		"TENANT_DATABASE":     t.Database,
		"TENANT_TIER":         t.Tier,
		"TENANT_ODOO_VERSION": t.Version,
		"TENANT_OWNER_EMAIL":  t.OwnerEmail,
		"TENANT_OWNER_NAME":   t.OwnerName,
	}
	for _, m := range more {
		maps.Copy(environ, m)
	}
	return environ
}
