//go:build byzantine

package main

import "testing"

// A replica that answers clients with wrong results and vouches for wrong state raises the alerts that say so, and that name
// it; no alert is raised about any other.
func TestALyingReplicaRaisesAlerts(t *testing.T) {
	promtool := lookForPromtool(t)
	t.Setenv("BFSD_BYZANTINE", "2=lie")
	o := observe(t)
	for range 8 {
		o.scrape()
		o.work(50) // there is a checkpoint every 128
	}
	o.judge(promtool, expectation{len(o.scrapes) - 1, []string{
		`{alertname="BfsdReplicaDiverges",replica="2"}`, `{alertname="BfsdReplicaLies",replica="2"}`,
	}})
}

// Without liars, the same work raises none.
func TestCorrectReplicasRaiseNoAlert(t *testing.T) {
	promtool := lookForPromtool(t)
	o := observe(t)
	for range 8 {
		o.scrape()
		o.work(50)
	}
	o.judge(promtool, expectation{len(o.scrapes) - 1, nil})
}
