package tenant

import (
	"slices"
	"time"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// A StepDoc is one row of a plan, as people are told of it.
type StepDoc struct {
	// Name of the step.
	Name string

	// Does says what the step is for: the rest of a sentence that its name begins.
	Does string

	// Condition of the PLANAClient that tells how the step stands.
	Condition string

	// Composes is the kind of what the step composes. Empty: it changes what
	// another step composes, or waits for it.
	Composes string

	// Key of what it composes, which of a Job is the first part of its name.
	Key string

	// After names the steps without which this one may not begin.
	After []string

	// Unless says why a tenant may do without the step. Empty: every tenant has it.
	Unless string

	// Optional steps may fail without stopping anything else.
	Optional bool
}

// Plan returns the steps by which a tenant comes to be.
func Plan() []StepDoc { return describe(provisioning, "") }

// Suspension returns the steps, one after the other, by which a tenant is taken
// out of service.
func Suspension() []StepDoc { return describe(suspension, conditionSuspended) }

// Teardown returns the steps, one after the other, by which a tenant is taken
// away.
func Teardown() []StepDoc { return describe(teardown, conditionDeprovisioned) }

// describe steps. Those of a sequence share one condition.
func describe(steps []plan.Step[*tenant], shared string) []StepDoc {
	docs := make([]StepDoc, 0, len(steps))
	for i := range steps {
		s := &steps[i]
		d := StepDoc{
			Name: s.Name, Does: s.Does, Condition: s.Condition, Composes: s.Composes, Key: s.Key,
			After: slices.Clone(s.After), Unless: s.Otherwise, Optional: s.Optional,
		}
		if shared != "" {
			d.Condition = shared
			if i > 0 {
				d.After = []string{steps[i-1].Name}
			}
		}
		docs = append(docs, d)
	}
	return docs
}

// A WaitDoc says how long a response holds, while what, and why no longer.
type WaitDoc struct {
	After   time.Duration
	While   string
	Because string
}

// Waits returns how long responses hold, the shortest first.
func Waits() []WaitDoc {
	return []WaitDoc{
		{plan.Soon, "the next thing may be done as soon as this one is recorded", "nothing else would bring the next call"},
		{plan.TTLUnwatched, "Crossplane has stopped listening to what a tenant on its way is made of", "nothing else would bring the next call"},
		{plan.TTLProgressing, "something is on its way", "Crossplane may stop listening at any moment"},
		{plan.TTLUnwatchedAtRest, "Crossplane has stopped listening to a tenant at rest", "somebody may want something else of it"},
		{plan.TTLStuck, "somebody has to act", "what they do may be of a kind that isn't watched"},
		{plan.TTLAtRest, "the tenant is as it should be", "with Crossplane's response cache, a longer answer saves calls"},
	}
}
