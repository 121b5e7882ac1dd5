package plan

import "time"

// How long a response holds. Crossplane watches everything that a composite composes and
// requires, so these only catch what no watch tells.
const (
	// Soon, when the next thing may be done as soon as this one is recorded.
	Soon = time.Second

	// TTLProgressing while something is expected. Crossplane stops listening to watches
	// once a composite has changed some fifty times within a minute or two, which one
	// that comes to be quickly does: then it asks again by this alone.
	TTLProgressing = 5 * time.Second

	// TTLStuck while a person has to act, which may take days.
	TTLStuck = time.Minute

	// TTLUnwatched while Crossplane has stopped listening, which it does for five
	// minutes, and TTLUnwatchedAtRest once the composite is as it should be: all that is
	// missed then is a person who wants something else of it.
	TTLUnwatched       = time.Second
	TTLUnwatchedAtRest = 10 * time.Second

	// TTLAtRest while nothing is expected. Crossplane looks at a composite at rest all
	// the same, as often as it looks at everything (--sync-interval). With Crossplane's
	// response cache those looks don't come here for as long as this.
	TTLAtRest = 24 * time.Hour
)
