package main

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// A fleet is what test/e2e has measured with a number of tenants.
type fleet struct {
	Tenants int

	// Ready is the time from applying the first to having all of them Ready, and
	// Curve how many were by when.
	Ready time.Duration
	Curve []point

	// Calls of the function, and Requests to the API server, until then.
	Calls    int
	Requests map[string]int

	Memory struct{ Function, Core, APIServer int64 }

	// Etcd is how many bytes the tenants added to it.
	Etcd    int64
	Objects int

	Rest struct {
		Lasted time.Duration
		Looks  float64
		Calls  int
		Writes int
	}
}

// A point of a curve.
type point struct {
	At    time.Duration
	Ready int
}

// Rate of tenants that become Ready in a second.
func (f fleet) Rate() float64 { return float64(f.Tenants) / f.Ready.Seconds() }

// CallsEach tenant took to become Ready.
func (f fleet) CallsEach() float64 { return float64(f.Calls) / float64(f.Tenants) }

// RequestsEach tenant took to become Ready, watches aside.
func (f fleet) RequestsEach() float64 {
	sum := 0
	for verb, n := range f.Requests {
		if verb != "WATCH" {
			sum += n
		}
	}
	return float64(sum) / float64(f.Tenants)
}

// EtcdEach tenant takes, in bytes.
func (f fleet) EtcdEach() int { return int(f.Etcd) / f.Tenants }

// ObjectsEach tenant consists of.
func (f fleet) ObjectsEach() float64 { return float64(f.Objects) / float64(f.Tenants) }

// CallsPerLook of Crossplane at a tenant at rest.
func (f fleet) CallsPerLook() float64 {
	return float64(f.Rest.Calls) / float64(f.Tenants) / f.Rest.Looks
}

func sortFleets(all []fleet) {
	slices.SortFunc(all, func(a, b fleet) int { return cmp.Compare(a.Tenants, b.Tenants) })
}

// plotFleets draws how many tenants were Ready by when.
func plotFleets(dir string, fleets []fleet) error {
	if len(fleets) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text = "Tenants applied at once"
	p.X.Label.Text = "seconds"
	p.Y.Label.Text = "part of them Ready"
	var lines []any
	for _, f := range fleets {
		xy := make(plotter.XYs, len(f.Curve))
		for i, at := range f.Curve {
			xy[i].X, xy[i].Y = at.At.Seconds(), float64(at.Ready)/float64(f.Tenants)
		}
		lines = append(lines, strconv.Itoa(f.Tenants), xy)
	}
	if err := plotutil.AddLines(p, lines...); err != nil {
		return err
	}
	return p.Save(14*vg.Centimeter, 8*vg.Centimeter, filepath.Join(dir, "burst.svg"))
}
