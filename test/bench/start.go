package main

import (
	"context"
	"os/exec"
	"slices"
	"time"
)

// A startResult is how long the function takes from exec to its first answer.
type startResult struct {
	Median time.Duration
	All    []time.Duration
}

// starts is how often the function is started.
const starts = 15

// measureStart of the function: a new process each time, and a new connection.
func measureStart(ctx context.Context, certs *certificates, function string, r request) (startResult, error) {
	var all []time.Duration
	for range starts {
		began := time.Now()
		s, err := startServer(ctx, certs, exec.CommandContext(ctx, function, "--address=127.0.0.1:0", "--metrics-address=127.0.0.1:0", "--tls-certs-dir="+certs.server))
		if err != nil {
			return startResult{}, err
		}
		_, err = s.client.RunFunction(ctx, r.message)
		all = append(all, time.Since(began))
		s.stop()
		if err != nil {
			return startResult{}, err
		}
	}
	slices.Sort(all)
	return startResult{Median: all[len(all)/2], All: all}, nil
}
