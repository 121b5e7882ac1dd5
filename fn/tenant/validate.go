package tenant

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// These rules are the XRD's too. They are repeated here because a Composition
// can be used with an older XRD, and because a preview validates nothing.
var (
	subdomain    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)
	templateName = regexp.MustCompile(`-template-[0-9][0-9]$`)
	mailAddress  = regexp.MustCompile(`^[^\pC\s@,;:<>()"]+@[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+$`)
	lineBreaking = regexp.MustCompile(`[\p{Cc}\p{Zl}\p{Zp}]`)
	visible      = regexp.MustCompile(`[^\s]`)

	tiers = []v1alpha1.Tier{v1alpha1.TierStarter, v1alpha1.TierPro, v1alpha1.TierEnterprise}

	// versions of Odoo, oldest first.
	versions = []v1alpha1.OdooVersion{v1alpha1.OdooVersion17, v1alpha1.OdooVersion18, v1alpha1.OdooVersion19}
)

const (
	mostProjectID     = 999999999
	longestOwnerName  = 128
	longestOwnerEmail = 254
)

// validate a tenant, on its own and against what it already is.
func validate(c *v1alpha1.PLANAClient, p *v1beta1.Platform) field.ErrorList {
	var errs field.ErrorList
	spec, status := field.NewPath("spec"), &c.Status

	invalid := func(name string, value any, detail string) {
		errs = append(errs, field.Invalid(spec.Child(name), value, detail))
	}

	switch name := c.Spec.Subdomain; {
	case !subdomain.MatchString(name):
		invalid("subdomain", name, "must be 1 to 30 lower-case letters, digits and dashes, and start and end with a letter or a digit, such as acme-2")
	case name == "www" || slices.Contains(p.ReservedSubdomains, name):
		invalid("subdomain", name, "is reserved: choose another subdomain")
	case templateName.MatchString(name):
		invalid("subdomain", name, "names that end in -template-NN are reserved for template databases: choose another subdomain")
	case name != c.GetName():
		invalid("subdomain", name, fmt.Sprintf("must be the same as metadata.name, %q: that keeps a subdomain unique, and it can't be changed later", c.GetName()))
	}

	switch id := c.Spec.ProjectID; {
	case id < 1 || id > mostProjectID:
		invalid("projectId", id, fmt.Sprintf("must be from 1 to %d", mostProjectID))
	case status.ProjectID != 0 && status.ProjectID != id:
		invalid("projectId", id, fmt.Sprintf("can't be changed: this tenant is project %d; create another PLANAClient instead", status.ProjectID))
	}

	if !slices.Contains(tiers, c.Spec.Tier) {
		errs = append(errs, field.NotSupported(spec.Child("tier"), c.Spec.Tier, tiers))
	}

	requirements := slices.Index(versions, c.Spec.OdooVersion)
	switch {
	case requirements < 0:
		errs = append(errs, field.NotSupported(spec.Child("odooVersion"), c.Spec.OdooVersion, versions))
	case requirements < slices.Index(versions, status.OdooVersion):
		invalid("odooVersion", c.Spec.OdooVersion, fmt.Sprintf("can't be lowered: this tenant is on %s, and Odoo has no way back to an older version", strconv.Quote(string(status.OdooVersion))))
	}

	if len(c.Spec.OwnerEmail) > longestOwnerEmail || !mailAddress.MatchString(c.Spec.OwnerEmail) {
		invalid("ownerEmail", c.Spec.OwnerEmail, fmt.Sprintf("must be one mail address of at most %d characters, such as ceo@acme.bg", longestOwnerEmail))
	}

	switch name := c.Spec.OwnerName; {
	case utf8.RuneCountInString(name) > longestOwnerName || !visible.MatchString(name):
		invalid("ownerName", name, fmt.Sprintf("must be 1 to %d characters, one of them visible", longestOwnerName))
	case lineBreaking.MatchString(name):
		invalid("ownerName", name, "must be one line without control characters")
	}

	return errs
}
