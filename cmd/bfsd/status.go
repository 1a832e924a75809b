package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"bfsd/replica"
	"bfsd/replica/config"
)

type statusCmd struct {
	Config   string        `required:"" placeholder:"FILE" help:"The cluster's cluster.toml."`
	JSON     bool          `name:"json" help:"Print one JSON object instead of a table."`
	Watch    bool          `help:"Show it again and again until Ctrl-C: drawn anew in a terminal, else a line each time (with --json: an object)."`
	Interval time.Duration `default:"1s" placeholder:"TIME" help:"How often, with --watch (${default})."`
	Timeout  time.Duration `default:"2s" help:"How long to wait for a replica's answer."`
}

// Help is shown by --help below the summary.
func (statusCmd) Help() string {
	return `Each replica is asked at its status address and answers for itself; a faulty replica may say anything, so what counts is what 2f+1 agree on.
The exit code is 0 while 2f+1 replicas answer, so that the file system does, and 4 otherwise; with --watch it is 0 when that is ended.`
}

// statusReport is what status --json prints.
type statusReport struct {
	View     uint64          `json:"view"`    // what f+1 replicas at least have reached
	Primary  uint32          `json:"primary"` // of that view
	Replicas []replicaReport `json:"replicas"`
}

type replicaReport struct {
	replica.Status
	Up    bool   `json:"up"` // it answers, and takes part: it has started
	Error string `json:"error,omitempty"`
}

// maxStatusBytes bounds what a replica's answer may take of this process's memory.
const maxStatusBytes = 1 << 16

// Run implements the subcommand.
func (c statusCmd) Run(p *process) error {
	cluster, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	if c.Watch {
		const shortest = 50 * time.Millisecond
		if c.Interval < shortest {
			return &exitError{exitUsage, fmt.Errorf("--interval %v: the shortest is %v", c.Interval, shortest)}
		}
		return c.watch(p, cluster)
	}
	report := askAll(p.ctx, cluster, c.Timeout)
	if c.JSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return fmt.Errorf("printing the status: %w", err)
		}
	} else if err := report.print(p.stdout, cluster); err != nil {
		return fmt.Errorf("printing the status: %w", err)
	}
	if up := report.up(); up < 2*cluster.F()+1 {
		return &exitError{exitNoQuorum, fmt.Errorf(
			"%d of %d replicas answer, %d are needed; start the others again with: bfsd replica --config %s --id I", up, cluster.N(), 2*cluster.F()+1, c.Config)}
	}
	return nil
}

// askAll asks every replica of the cluster at the same time.
func askAll(ctx context.Context, cluster *config.Cluster, timeout time.Duration) statusReport {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	report := statusReport{Replicas: make([]replicaReport, cluster.N())}
	var wg sync.WaitGroup
	for i, r := range cluster.Replicas {
		wg.Go(func() {
			report.Replicas[i] = ask(ctx, r.Status)
			report.Replicas[i].ID = uint32(i) // whatever it says
		})
	}
	wg.Wait()
	report.View = weakView(report.Replicas, cluster.F())
	report.Primary = uint32(report.View % uint64(cluster.N()))
	return report
}

func ask(ctx context.Context, addr string) (r replicaReport) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/status", nil)
	if err != nil {
		return replicaReport{Error: err.Error()}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return replicaReport{Error: err.Error()}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return replicaReport{Error: "it answered " + resp.Status}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatusBytes)).Decode(&r.Status); err != nil {
		return replicaReport{Error: fmt.Sprintf("reading its answer: %v", err)}
	}
	r.Root = strings.Map(printable, r.Root) // a faulty replica may say anything
	for i, d := range r.Damage {
		r.Damage[i] = strings.Map(printable, d)
	}
	r.Up = !r.Rejoin.How.Starting()
	return r
}

// diskColumn is how much of its disk a replica takes, and how long the disk takes to sync.
func diskColumn(d *replica.DiskUse) string {
	if d == nil {
		return "-"
	}
	return fmt.Sprintf("%s, sync %.1f ms", formatBytes(d.Bytes), d.SyncMs)
}

// weakView is the highest view that f+1 of the replicas have reached: at least one correct one has.
func weakView(replicas []replicaReport, f int) uint64 {
	var best uint64
	for _, candidate := range replicas {
		reached := 0
		for _, r := range replicas {
			if r.Up && r.View >= candidate.View {
				reached++
			}
		}
		if candidate.Up && reached > f {
			best = max(best, candidate.View)
		}
	}
	return best
}

func (s statusReport) up() int {
	up := 0
	for _, r := range s.Replicas {
		if r.Up {
			up++
		}
	}
	return up
}

func (s statusReport) print(w io.Writer, cluster *config.Cluster) error {
	fmt.Fprintf(w, "%d of %d replicas up, %d faulty ones tolerated; view %d, primary %d\n\n", s.up(), cluster.N(), cluster.F(), s.View, s.Primary)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "REPLICA\tUP\tPID\tVIEW\tEXECUTED\tCOMMITTED\tSTABLE\tROOT\tPEERS\tDISK\tADDRESS")
	for i, r := range s.Replicas {
		addr := cluster.Replicas[i].Peer
		if r.Rejoin.How.Starting() {
			fmt.Fprintf(tw, "%d\tstarts\t%d\t-\t-\t-\t-\t-\t-\t-\t%s\n", r.ID, r.PID, addr)
			continue
		}
		if !r.Up {
			fmt.Fprintf(tw, "%d\tno\t-\t-\t-\t-\t-\t-\t-\t-\t%s\n", r.ID, addr)
			continue
		}
		fmt.Fprintf(tw, "%d\tyes\t%d\t%d\t%d\t%d\t%d\t%.16s\t%d\t%s\t%s\n", r.ID, r.PID, r.View, r.Executed, r.Committed, r.Stable, r.Root, r.Peers, diskColumn(r.Disk), addr)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, r := range s.Replicas {
		if r.Rejoin.How != replica.RejoinNone {
			fmt.Fprintf(w, "\nreplica %d %v\n", r.ID, r.Rejoin)
		}
		if r.Up && !r.Active {
			fmt.Fprintf(w, "\nreplica %d waits for view %d to begin: the replicas are agreeing on a primary, and calls wait\n", r.ID, r.View)
		}
		if r.Up && r.Disk.Low() {
			fmt.Fprintf(w, "\nreplica %d has only %s left on its disk: make room, or it stops when that is full\n", r.ID, formatBytes(r.Disk.FreeBytes))
		}
		if old := outdatedKeys(r.Keys); old != "" {
			fmt.Fprintf(w, "\nreplica %d: %s\n", r.ID, old)
		}
		for _, d := range r.Damage {
			fmt.Fprintf(w, "\nreplica %d found its store damaged: %s\n", r.ID, d)
		}
		switch {
		case !r.Up || !r.InDoubt:
		case r.DoubtUntil == 0:
			fmt.Fprintf(w, "\nreplica %d may have forgotten what it said and does not vote; it waits for the answers of %d others that have forgotten nothing\n", r.ID, 2*cluster.F()+1)
		default:
			fmt.Fprintf(w, "\nreplica %d may have forgotten what it said and does not vote until the stable checkpoint %d; the last is %d\n", r.ID, r.DoubtUntil, r.Stable)
		}
	}
	for _, line := range s.suspicions() {
		fmt.Fprintf(w, "\n%s\n", line)
	}
	return nil
}
