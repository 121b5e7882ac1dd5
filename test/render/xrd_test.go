package render

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// TestXRD asks the API server's own validators about PLANAClients, under the CRD
// that Crossplane makes of the XRD.
func TestXRD(t *testing.T) {
	// The runbook's tenant.
	acme := map[string]any{
		"apiVersion": "planapulse.com/v1alpha1",
		"kind":       "PLANAClient",
		"metadata":   map[string]any{"name": "acme"},
		"spec": map[string]any{
			"subdomain": "acme", "projectId": int64(23), "tier": "pro", "odooVersion": "18",
			"ownerEmail": "ceo@acme.bg", "ownerName": "Acme Corp",
		},
	}
	named := func(name string) map[string]any { return map[string]any{"name": name, "subdomain": name} }

	cases := map[string]struct {
		reason string
		old    map[string]any
		set    map[string]any // Fields of the spec, and the name.
		unset  string
		want   string // Part of the message. Empty: it is accepted.
	}{
		"Runbook":            {reason: "The runbook's tenant is a good one."},
		"ShortestName":       {reason: "One character is enough.", set: named("a")},
		"LongestName":        {reason: "30 characters are allowed.", set: named(strings.Repeat("a", 30))},
		"AnyScript":          {reason: "Names are written in any script.", set: map[string]any{"ownerName": `Ёжик "Ltd" \ 株式会社`}},
		"Hostile":            {reason: "A name is only ever data, so it may look like a script.", set: map[string]any{"ownerName": `"; $(reboot) '--`}},
		"Defaults":           {reason: "Tier and version have defaults.", unset: "tier"},
		"VersionRaised":      {reason: "A version may be raised.", old: map[string]any{"odooVersion": "17"}},
		"NameNotSubdomain":   {reason: "Only metadata.name is unique in a cluster.", set: map[string]any{"name": "other"}, want: "metadata.name and spec.subdomain must be the same"},
		"UpperCase":          {reason: "A subdomain is lower case.", set: named("Acme"), want: "must be lower-case letters, digits and dashes"},
		"LeadingDash":        {reason: "A DNS label starts with a letter or digit.", set: named("-a"), want: "must be lower-case letters, digits and dashes"},
		"TrailingDash":       {reason: "A DNS label ends with a letter or digit.", set: named("a-"), want: "must be lower-case letters, digits and dashes"},
		"Dot":                {reason: "A subdomain is one label.", set: named("a.b"), want: "must be lower-case letters, digits and dashes"},
		"TrailingNewline":    {reason: "An anchored rule must not overlook a line's end.", set: named("acme\n"), want: "must be lower-case letters, digits and dashes"},
		"TooLongName":        {reason: "Names of Jobs are made of it.", set: named(strings.Repeat("a", 31)), want: "30"},
		"EmptyName":          {reason: "A subdomain has a character.", set: named(""), want: "at least 1 chars"},
		"WWW":                {reason: "www is the company's own.", set: named("www"), want: "www is reserved"},
		"Template":           {reason: "Template databases are named so.", set: named("pro-template-18"), want: "reserved for template databases"},
		"ProjectZero":        {reason: "Projects are numbered from 1.", set: map[string]any{"projectId": int64(0)}, want: "must be from 1 to 999999999"},
		"ProjectTooLarge":    {reason: "Names of Jobs are made of it.", set: map[string]any{"projectId": int64(1000000000)}, want: "must be from 1 to 999999999"},
		"ProjectText":        {reason: "A project is a number.", set: map[string]any{"projectId": "23"}, want: "must be of type integer"},
		"TierGold":           {reason: "There are three tiers.", set: map[string]any{"tier": "gold"}, want: `supported values: "starter", "pro", "enterprise"`},
		"Version16":          {reason: "Three versions are supported.", set: map[string]any{"odooVersion": "16"}, want: `supported values: "17", "18", "19"`},
		"VersionNumber":      {reason: "An unquoted version is a number, and refused.", set: map[string]any{"odooVersion": int64(18)}, want: "must be of type string"},
		"VersionLowered":     {reason: "Odoo has no way back.", old: map[string]any{"odooVersion": "18"}, set: map[string]any{"odooVersion": "17"}, want: "can't be lowered"},
		"SubdomainChanged":   {reason: "Everything a tenant has is named by it.", old: map[string]any{}, set: map[string]any{"subdomain": "other"}, want: "can't be changed"},
		"ProjectChanged":     {reason: "Names of Jobs and repositories are made of it.", old: map[string]any{"projectId": int64(22)}, want: "can't be changed"},
		"EmailWithoutAt":     {reason: "It is the login, and mail goes there.", set: map[string]any{"ownerEmail": "x"}, want: "must be one mail address"},
		"EmailTwo":           {reason: "There is one owner.", set: map[string]any{"ownerEmail": "a@acme.bg,b@acme.bg"}, want: "must be one mail address"},
		"EmailMissing":       {reason: "Somebody must be able to log in.", unset: "ownerEmail", want: "Required value"},
		"OwnerNewline":       {reason: "A name is one line.", set: map[string]any{"ownerName": "Acme\nCorp"}, want: "must be one line without control characters"},
		"OwnerEscape":        {reason: "A terminal would act on it.", set: map[string]any{"ownerName": "Acme\x1b[31m"}, want: "must be one line without control characters"},
		"OwnerLineSeparator": {reason: "Unicode has line ends of its own.", set: map[string]any{"ownerName": "Acme\u2028Corp"}, want: "must be one line without control characters"},
		"OwnerBlank":         {reason: "A name can be seen.", set: map[string]any{"ownerName": "  "}, want: "must have a visible character"},
		"OwnerTooLong":       {reason: "128 characters are enough for a name.", set: map[string]any{"ownerName": strings.Repeat("株", 129)}, want: "128"},
		"OwnerLongest":       {reason: "Characters are counted, not bytes.", set: map[string]any{"ownerName": strings.Repeat("株", 128)}},
		"UnknownField":       {reason: "A typing error must not be swallowed.", set: map[string]any{"odoVersion": "18"}, want: "unknown field"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			build := func(set map[string]any) map[string]any {
				o := runtime.DeepCopyJSON(acme)
				for k, v := range set {
					if k == "name" {
						o["metadata"].(map[string]any)["name"] = v
						continue
					}
					o["spec"].(map[string]any)[k] = v
				}
				return o
			}
			o := build(tc.set)
			delete(o["spec"].(map[string]any), tc.unset)
			var old map[string]any
			if tc.old != nil {
				old = build(tc.old)
			}

			got := strings.Join(admit(t.Context(), theXRD, o, old), "\n")
			switch {
			case tc.want == "" && got != "":
				t.Errorf("\n%s\nit is refused: %s", tc.reason, got)
			case tc.want != "" && !strings.Contains(got, tc.want):
				t.Errorf("\n%s\nwant a refusal with %q, got: %s", tc.reason, tc.want, got)
			}
		})
	}
}
