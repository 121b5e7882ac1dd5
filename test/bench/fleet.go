package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/plana-pulse/function-planaclient/test/fleet"
)

func sortFleets(all []fleet.Fleet) {
	slices.SortFunc(all, func(a, b fleet.Fleet) int {
		return cmp.Or(cmp.Compare(a.Tenants, b.Tenants), cmp.Compare(label(a), label(b)))
	})
}

// label of a fleet in tables and plots.
func label(f fleet.Fleet) string {
	if f.Cached {
		return strconv.Itoa(f.Tenants) + ", response cache on"
	}
	return strconv.Itoa(f.Tenants)
}

// busiest programs of a fleet, with their parts of the processor time.
func busiest(f fleet.Fleet) string {
	programs := slices.SortedFunc(maps.Keys(f.Programs), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.Programs[b].Processor, f.Programs[a].Processor), cmp.Compare(a, b))
	})
	var said []string
	for _, name := range programs {
		part := float64(f.Programs[name].Processor) / float64(f.Processor())
		if part < 0.01 && name != "function" {
			continue
		}
		said = append(said, fmt.Sprintf("%s %.0f %%", name, 100*part))
	}
	return strings.Join(said, ", ")
}

// plotFleets draws how many tenants were Ready by when.
func plotFleets(dir string, fleets []fleet.Fleet) error {
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
		lines = append(lines, label(f), xy)
	}
	if err := plotutil.AddLines(p, lines...); err != nil {
		return err
	}
	return p.Save(14*vg.Centimeter, 8*vg.Centimeter, filepath.Join(dir, "burst.svg"))
}
