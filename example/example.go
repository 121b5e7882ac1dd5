// Package example has the tenant with which the documentation begins.
package example

import _ "embed"

// PLANAClient of the runbook, in YAML.
//
//go:embed planaclient.yaml
var PLANAClient []byte
