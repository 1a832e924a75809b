package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"bfsd/replica"
	"bfsd/replica/config"
)

type waitCmd struct {
	Config  string        `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	ID      []uint32      `name:"id" placeholder:"I" help:"Wait for these replicas alone (all)."`
	Timeout time.Duration `default:"5m" help:"Give up after this time (${default})."`
}

// Help is shown by --help below the summary.
func (waitCmd) Help() string {
	return `Returns when each of the replicas is up, has links to a quorum, votes, is in a view that has begun, as 2f+1 are, and has come up to what the group had committed when the command was given: when it is safe to go on to the next one. For scripts that restart replicas one after the other.
The exit code is 0 then, and 1 if that takes longer than --timeout; the message says what is still missing.`
}

const waitPoll = 200 * time.Millisecond

// Run implements the subcommand.
func (c waitCmd) Run(p *process) error {
	cluster, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	wanted := c.ID
	for _, id := range wanted {
		if int64(id) >= int64(cluster.N()) {
			return &exitError{exitUsage, fmt.Errorf("--id %d: the cluster has replicas 0 to %d", id, cluster.N()-1)}
		}
	}
	if len(wanted) == 0 {
		for _, r := range cluster.Replicas {
			wanted = append(wanted, uint32(r.ID))
		}
	}
	over := time.NewTimer(c.Timeout)
	defer over.Stop()
	poll := time.NewTicker(waitPoll)
	defer poll.Stop()
	var goal *uint64
	for {
		report := askAll(p.ctx, cluster, 2*time.Second)
		if seq, ok := groupCommitted(report.Replicas, cluster.F()); ok && goal == nil {
			goal = &seq
		}
		missing := []string{"fewer than 2f+1 replicas answer"}
		if goal != nil {
			missing = notReady(report.Replicas, wanted, *goal, 2*cluster.F())
			if !inOneView(report.Replicas, 2*cluster.F()+1) {
				missing = append(missing, "2f+1 replicas are not in one view yet: they are agreeing on a primary")
			}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-poll.C:
		case <-p.ctx.Done():
			return p.ctx.Err()
		case <-over.C:
			return fmt.Errorf("waited %v, and %s", c.Timeout, strings.Join(missing, "; "))
		}
	}
}

// groupCommitted is what f+1 replicas have committed, so at least one correct one has; ok if 2f+1 answer.
func groupCommitted(all []replicaReport, f int) (seq uint64, ok bool) {
	var committed []uint64
	for _, r := range all {
		if r.Up {
			committed = append(committed, r.Committed)
		}
	}
	if len(committed) < 2*f+1 {
		return 0, false
	}
	slices.SortFunc(committed, func(a, b uint64) int { return cmp.Compare(b, a) })
	return committed[f], true
}

// inOneView says whether so many replicas at least are in the same view, and it has begun. Restarting a further one while they
// are not would make them begin again, with longer timeouts each time.
func inOneView(all []replicaReport, quorum int) bool {
	in := map[uint64]int{}
	for _, r := range all {
		if r.Up && r.Active {
			in[r.View]++
		}
	}
	for _, count := range in {
		if count >= quorum {
			return true
		}
	}
	return false
}

// notReady says what the wanted replicas still lack.
func notReady(all []replicaReport, wanted []uint32, goal uint64, links int) (missing []string) {
	for _, id := range wanted {
		r := all[id]
		var lacks string
		switch {
		case r.Rejoin.How != replica.RejoinNone:
			lacks = r.Rejoin.String()
		case !r.Up:
			lacks = "does not answer: " + r.Error
		case r.Peers < links:
			lacks = fmt.Sprintf("has links to %d others, of %d that it needs", r.Peers, links)
		case r.Fetching:
			lacks = "fetches the state"
		case r.InDoubt:
			lacks = "does not vote yet, because it may have forgotten what it said"
		case !r.Active:
			lacks = fmt.Sprintf("waits for view %d to begin", r.View)
		case r.Committed < goal:
			lacks = fmt.Sprintf("has committed batch %d, the group had committed %d", r.Committed, goal)
		default:
			continue
		}
		missing = append(missing, fmt.Sprintf("replica %d %s", id, lacks))
	}
	return missing
}
