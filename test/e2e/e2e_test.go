//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"testing"
)

// TestE2E installs this project in a cluster, and walks the runbook.
func TestE2E(t *testing.T) {
	r := &report{}
	c := startCluster(t)
	defer end(c, r)
	r.scenario(t, c, "1 runbook", func(t *testing.T) { testRunbook(t, c, r) })
	r.scenario(t, c, "2 cleanup", func(t *testing.T) { testCleanup(t, c, r) })
	r.scenario(t, c, "3 troubleshooting", func(t *testing.T) { testTrouble(t, c) })
	r.scenario(t, c, "4 faults, a sample", func(t *testing.T) { testFaults(t, c, 1) })
	r.scenario(t, c, "5 hostile and clumsy", func(t *testing.T) { testHostile(t, c) })
}

// TestFaults strikes every fault twenty times. It is asked for by name.
func TestFaults(t *testing.T) {
	if os.Getenv("FAULTS") == "" {
		t.Skip("it takes hours: make e2e-faults runs it")
	}
	r := &report{}
	c := startCluster(t)
	defer end(c, r)
	r.scenario(t, c, "4 faults", func(t *testing.T) { testFaults(t, c, 20) })
}

// end prints what was found, and leaves the cluster up if it is asked to.
func end(c *cluster, r *report) {
	r.print()
	if os.Getenv("KEEP") != "" && interrupted.Err() == nil {
		fmt.Printf("\nthe cluster is left up until Ctrl-C:\n  export KUBECONFIG=%s\n", c.kubeconfig)
		<-interrupted.Done()
	}
}
