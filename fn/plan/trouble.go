package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Trouble keeps a composite from being as it should, and only a person can end it.
// Conditions and the reference page are made of these.
type Trouble struct {
	// Reason of the condition.
	Reason string

	// Means says what the trouble is.
	Means string

	// Remedies are what to do, in order, or one instead of another.
	Remedies []Remedy
}

// A Remedy is one thing to do about a trouble. Words in braces, such as {name},
// are filled in.
type Remedy struct {
	// Say what to do, or when.
	Say string

	// Command that does it. Empty where there is none to give.
	Command string
}

// Outcome is how a step stands that is in trouble: what was seen, and what to do about
// it. Words in braces are filled in from at.
func (x Trouble) Outcome(at map[string]string, seen string, args ...any) Outcome {
	message := fmt.Sprintf(seen, args...)
	for _, r := range x.Remedies {
		message += ". " + r.in(at)
	}
	return Outcome{StateFailed, x.Reason, message}
}

// in fills in where the trouble is.
func (r Remedy) in(at map[string]string) string {
	pairs := make([]string, 0, 2*len(at))
	for _, name := range slices.Sorted(maps.Keys(at)) {
		pairs = append(pairs, "{"+name+"}", at[name])
	}
	text := r.Say
	if r.Command != "" {
		text += ": " + r.Command
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
