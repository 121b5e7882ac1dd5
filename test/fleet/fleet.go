// Package fleet is what test/e2e measures of many tenants, and test/bench reports.
package fleet

import "time"

// A Fleet is what a number of tenants cost that are applied at once, then left
// alone, then deleted.
type Fleet struct {
	Tenants int `json:"tenants"`

	// Date and Commit that it was measured at, on so many Cores.
	Date   string `json:"date"`
	Commit string `json:"commit"`
	Cores  int    `json:"cores"`

	// Restored tells that the tenants came out of a backup of etcd. Nothing
	// is known then of how they come and go.
	Restored bool `json:"restored,omitempty"`

	// Cached tells whether Crossplane kept the function's answers.
	Cached bool `json:"cached,omitempty"`

	// Ready is the time from applying the first to having all of them Ready, and
	// Curve how many were by when.
	Ready time.Duration `json:"ready"`
	Curve []Point       `json:"curve"`

	// Calls of the function, and Requests to the API server by verb, until then.
	Calls    int            `json:"calls"`
	Requests map[string]int `json:"requests"`

	// Programs are what each that ran took until then.
	Programs map[string]Program `json:"programs"`

	// Etcd is how many bytes the tenants added to it, compacted.
	Etcd int64 `json:"etcd"`

	// Objects that the tenants consist of, at rest.
	Objects int  `json:"objects"`
	Rest    Rest `json:"rest"`

	// FirstLook is the time from the start of a new Crossplane until it has looked at
	// all of them and has nothing to do.
	FirstLook time.Duration `json:"firstLook,omitempty"`

	// Gone is the time from deleting the first to having none of them.
	Gone time.Duration `json:"gone"`
}

// A Point of a curve: how many tenants were Ready by when.
type Point struct {
	At    time.Duration `json:"at"`
	Ready int           `json:"ready"`
}

// A Program is what all its processes together took of the processors, and the
// most memory that one of them had, in bytes.
type Program struct {
	Processor time.Duration `json:"processor"`
	Memory    int64         `json:"memory"`
}

// Rest is what happened while the tenants were left alone, in which Crossplane looked
// at everything once, by its --sync-interval, and at each guard, by its --poll-interval.
type Rest struct {
	Lasted time.Duration `json:"lasted"`

	// Calls of the function, and Writes to tenants' objects.
	Calls  int `json:"calls"`
	Writes int `json:"writes"`

	// Requests that everybody made to the API server, by verb.
	Requests map[string]int `json:"requests"`

	// Programs are what each that ran took.
	Programs map[string]Program `json:"programs"`
}

// Processor time that programs took together.
func Processor(programs map[string]Program) time.Duration {
	var sum time.Duration
	for _, p := range programs {
		sum += p.Processor
	}
	return sum
}

// Busy is the part of the processors' time that was taken until all were Ready.
func (f Fleet) Busy() float64 {
	return Processor(f.Programs).Seconds() / f.Ready.Seconds() / float64(f.Cores)
}

// Rate of tenants that become Ready in a second.
func (f Fleet) Rate() float64 { return float64(f.Tenants) / f.Ready.Seconds() }

// CallsEach tenant took to become Ready.
func (f Fleet) CallsEach() float64 { return float64(f.Calls) / float64(f.Tenants) }

// RequestsEach tenant took to become Ready, watches aside.
func (f Fleet) RequestsEach() float64 {
	sum := 0
	for verb, n := range f.Requests {
		if verb != "WATCH" {
			sum += n
		}
	}
	return float64(sum) / float64(f.Tenants)
}

// EtcdEach tenant takes, in bytes.
func (f Fleet) EtcdEach() int { return int(f.Etcd) / f.Tenants }

// ObjectsEach tenant consists of.
func (f Fleet) ObjectsEach() float64 { return float64(f.Objects) / float64(f.Tenants) }

// CallsPerLook of Crossplane at a tenant at rest.
func (f Fleet) CallsPerLook() float64 {
	return float64(f.Rest.Calls) / float64(f.Tenants)
}

// CallsPerHour of the function, for a tenant at rest that Crossplane looks at every so
// often.
func (f Fleet) CallsPerHour(interval time.Duration) float64 {
	return f.CallsPerLook() / interval.Hours()
}

// PerLook is the processor time that a program took for each of Crossplane's looks
// at a tenant at rest.
func (f Fleet) PerLook(program string) time.Duration {
	return f.Rest.Programs[program].Processor / time.Duration(f.Tenants)
}
