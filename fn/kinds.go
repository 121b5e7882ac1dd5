package fn

import (
	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/fn/tenant"
)

// kinds of composites that this function composes. A new one is a package beside tenant,
// and a row here.
var kinds = []plan.Kind{
	tenant.Kind{},
}
