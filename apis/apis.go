// Package apis has the definition of the composite resources as Crossplane gets it.
package apis

import _ "embed"

// Definition is the CompositeResourceDefinition of PLANAClients, in YAML.
//
//go:embed definition.yaml
var Definition []byte
