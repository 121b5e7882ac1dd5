// Package fleet is what test/e2e measures of many tenants, and test/bench reports.
package fleet

import "time"

// A Fleet is what a number of tenants cost that are applied at once, then left
// alone, then deleted.
type Fleet struct {
	Tenants int `json:"tenants"`

	// Cached tells whether Crossplane kept the function's answers.
	Cached bool `json:"cached,omitempty"`

	// Ready is the time from applying the first to having all of them Ready, and
	// Curve how many were by when.
	Ready time.Duration `json:"ready"`
	Curve []Point       `json:"curve"`

	// Calls of the function, and Requests to the API server by verb, until then.
	Calls    int            `json:"calls"`
	Requests map[string]int `json:"requests"`

	Memory Memory `json:"memory"`

	// Etcd is how many bytes the tenants added to it, revisions that aren't
	// compacted yet included.
	Etcd int64 `json:"etcd"`

	// Objects that the tenants consist of, at rest.
	Objects int  `json:"objects"`
	Rest    Rest `json:"rest"`

	// Gone is the time from deleting the first to having none of them.
	Gone time.Duration `json:"gone"`
}

// A Point of a curve: how many tenants were Ready by when.
type Point struct {
	At    time.Duration `json:"at"`
	Ready int           `json:"ready"`
}

// Memory is the most that one process of each kind took, in bytes.
type Memory struct {
	Function  int64 `json:"function"`
	Core      int64 `json:"core"`
	APIServer int64 `json:"apiServer"`
}

// Rest is what happened while the tenants were left alone.
type Rest struct {
	Lasted time.Duration `json:"lasted"`

	// Looks of Crossplane at everything, by its --sync-interval.
	Looks float64 `json:"looks"`

	// Calls of the function, and Writes to tenants' objects.
	Calls  int `json:"calls"`
	Writes int `json:"writes"`
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
	return float64(f.Rest.Calls) / float64(f.Tenants) / f.Rest.Looks
}
