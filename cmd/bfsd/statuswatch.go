package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"bfsd/replica/config"
)

// watch shows the status again and again until the process is told to stop: drawn anew in a terminal, else as one line each
// time, or one JSON object.
func (c statusCmd) watch(p *process, cluster *config.Cluster) error {
	terminal := isTerminal(p.stdout)
	again := time.NewTicker(c.Interval)
	defer again.Stop()
	for {
		report := askAll(p.ctx, cluster, c.Timeout)
		if p.ctx.Err() != nil {
			return nil // what was asked meanwhile failed for that
		}
		var out bytes.Buffer
		switch {
		case c.JSON:
			if err := json.NewEncoder(&out).Encode(report); err != nil {
				return fmt.Errorf("printing the status: %w", err)
			}
		case terminal:
			out.WriteString("\x1b[H\x1b[2J") // to the top left, and clear
			fmt.Fprintf(&out, "%s, every %v; Ctrl-C ends this\n\n", time.Now().Format(time.TimeOnly), c.Interval)
			if err := report.print(&out, cluster); err != nil {
				return fmt.Errorf("printing the status: %w", err)
			}
		default:
			fmt.Fprintf(&out, "%s %s\n", time.Now().Format(time.RFC3339), report.line(cluster))
		}
		if _, err := p.stdout.Write(out.Bytes()); err != nil {
			return fmt.Errorf("printing the status: %w", err)
		}
		select {
		case <-again.C:
		case <-p.ctx.Done():
			return nil
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// line is the status in a few words.
func (s statusReport) line(cluster *config.Cluster) string {
	var committed []uint64
	var notes []string
	for _, r := range s.Replicas {
		if !r.Up {
			notes = append(notes, fmt.Sprintf("replica %d down", r.ID))
			continue
		}
		committed = append(committed, r.Committed)
	}
	state := "working"
	if len(committed) < 2*cluster.F()+1 {
		state = "stopped"
	}
	median := uint64(0)
	if len(committed) > 0 {
		slices.Sort(committed)
		median = committed[len(committed)/2]
	}
	for _, r := range s.Replicas {
		if r.Up && r.Committed+lagTold < median {
			notes = append(notes, fmt.Sprintf("replica %d is %d batches behind", r.ID, median-r.Committed))
		}
		if r.Up && r.InDoubt {
			notes = append(notes, fmt.Sprintf("replica %d is in doubt", r.ID))
		}
	}
	notes = append(notes, s.suspicions()...)
	line := fmt.Sprintf("%s, %d of %d up, view %d, primary %d, committed %d", state, s.up(), cluster.N(), s.View, s.Primary, median)
	if len(notes) > 0 {
		line += "; " + strings.Join(notes, "; ")
	}
	return line
}

// lagTold is how many batches a replica may be behind the median without a word: they are in flight.
const lagTold = 64

// suspicions are what the replicas have against each other, in words. A faulty one can only add as many as there are replicas and
// kinds, and none longer than a line.
func (s statusReport) suspicions() []string {
	const kinds, longest = 8, 40
	var all []string
	for _, r := range s.Replicas {
		for _, x := range r.Suspicions[:min(len(r.Suspicions), kinds*len(s.Replicas))] {
			what := strings.Map(printable, x.What)
			all = append(all, fmt.Sprintf("replica %d suspects replica %d: %s (%d times)", r.ID, x.Replica, what[:min(len(what), longest)], x.Count))
		}
	}
	return all
}

// printable lets nothing through that a terminal would obey.
func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}
