package main

import (
	"fmt"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// plotLatencies draws which part of the calls was answered within which time.
func plotLatencies(dir string, calls []callResult) error {
	for _, c := range calls {
		p := plot.New()
		p.Title.Text = fmt.Sprintf("%s: one call over gRPC with mTLS", c.Name)
		p.X.Label.Text = "milliseconds"
		p.Y.Label.Text = "part of the calls answered within"
		p.X.Scale = plot.LogScale{}
		p.X.Tick.Marker = plot.LogTicks{Prec: -1}
		p.Legend.Top = false
		if err := plotutil.AddLines(p, "echo", curve(c.Echo), "function", curve(c.Function)); err != nil {
			return err
		}
		if err := p.Save(14*vg.Centimeter, 8*vg.Centimeter, filepath.Join(dir, "latency-"+c.Name+".svg")); err != nil {
			return err
		}
	}
	return nil
}

// curve of a sample of latencies, which is sorted.
func curve(c cost) plotter.XYs {
	xy := make(plotter.XYs, len(c.Latencies))
	for i, l := range c.Latencies {
		xy[i].X = l.Seconds() * 1000
		xy[i].Y = float64(i) / float64(len(c.Latencies)-1)
	}
	return xy
}
