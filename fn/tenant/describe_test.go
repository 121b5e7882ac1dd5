package tenant

import (
	"slices"
	"testing"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// What people are told of the steps is whole.
func TestStepDocs(t *testing.T) {
	for name, sequence := range map[string]struct {
		steps []plan.Step[*tenant]
		docs  []StepDoc
	}{
		"Plan": {provisioning, Plan()}, "Suspension": {suspension, Suspension()}, "Teardown": {teardown, Teardown()},
	} {
		var names []string
		for i, d := range sequence.docs {
			if d.Name == "" || d.Does == "" || d.Condition == "" || (d.Key == "") != (d.Composes == "") {
				t.Errorf("%s: step %q lacks a name, a condition, what it does, or what it composes: %+v", name, d.Name, d)
			}
			if conditional := sequence.steps[i].Applies != nil; conditional != (d.Unless != "") {
				t.Errorf("%s: step %s: a step that not every tenant has must say why, and no other: %q", name, d.Name, d.Unless)
			}
			for _, before := range d.After {
				if !slices.Contains(names, before) {
					t.Errorf("%s: step %s comes after %s, which isn't in front of it", name, d.Name, before)
				}
			}
			names = append(names, d.Name)
		}
	}
}
