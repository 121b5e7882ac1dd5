//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strconv"
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

// TestPages reads every page that takes a cluster, and does what it says.
func TestPages(t *testing.T) {
	r := &report{}
	c := startCluster(t)
	defer end(c, r)
	r.scenario(t, c, "pages", func(t *testing.T) { testPages(t, c) })
}

// TestFaults has every fault meet FAULTS tenants on their way in, and on their
// way out.
func TestFaults(t *testing.T) {
	times, err := strconv.Atoi(os.Getenv("FAULTS"))
	if err != nil {
		t.Skip("it takes long: make e2e-faults runs it")
	}
	r := &report{}
	c := startCluster(t)
	defer end(c, r)
	r.scenario(t, c, "4 faults", func(t *testing.T) { testFaults(t, c, times) })
}

// end prints what was found, and leaves the cluster up if it is asked to.
func end(c *cluster, r *report) {
	r.print()
	if os.Getenv("KEEP") != "" && interrupted.Err() == nil {
		fmt.Printf("\nthe cluster is left up until Ctrl-C:\n  export KUBECONFIG=%s CURL_HOME=%s\n  cd %s\n", c.kubeconfig, c.reader.home, c.reader.folder)
		<-interrupted.Done()
	}
}
