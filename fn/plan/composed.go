package plan

import (
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/plana-pulse/function-planaclient/fn/wire"
)

// Composed is what a step desires to exist: a typed object, or one that is preserved as
// it was observed. The zero value is nothing.
type Composed struct {
	Object    runtime.Object
	Preserved *structpb.Struct
}

// Exists tells whether there is anything to compose.
func (c Composed) Exists() bool { return c.Object != nil || c.Preserved != nil }

// Wire returns the wire form of what is composed.
func (c Composed) Wire() (*structpb.Struct, error) {
	if c.Preserved != nil {
		return c.Preserved, nil
	}
	return wire.Encode(c.Object)
}
