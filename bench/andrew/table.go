package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"bfsd/bench/internal/measure"
)

// printTable writes the summary for people: for each target and quantity the median, min–max, and the ratio to the baseline.
func (s *summary) printTable(w io.Writer) error {
	client := s.Client + " client"
	if s.Kernel != "" {
		client += " (" + s.Kernel + ")"
	}
	runs := 0
	for _, t := range s.Targets {
		runs = max(runs, t.Runs)
	}
	fmt.Fprintf(w, "\nworkload %s: %s, scale %d (files: %d, %.1f MB), %d runs interleaved, %s\n",
		s.Workload, client, s.Scale, s.Files, float64(s.Bytes)/1e6, runs, s.Date.Format("2006-01-02 15:04"))
	fmt.Fprintf(w, "%s, %d cores, %s, %s", s.Machine.CPU, s.Machine.Cores, s.Machine.System, s.Machine.Go)
	if s.Compiler != "" {
		fmt.Fprintf(w, "; Make compiles with %s", s.Compiler)
	}
	if s.Machine.Commit != "" {
		fmt.Fprintf(w, "; commit %s", s.Machine.Commit)
	}
	if s.Load != nil {
		fmt.Fprintf(w, "; load average %.1f–%.1f", s.Load.Min, s.Load.Max)
	}
	fmt.Fprint(w, "\nseconds: median (min–max)")
	if s.Baseline != "" {
		fmt.Fprintf(w, ", × is the ratio to %s", s.Baseline)
	}
	fmt.Fprint(w, "\n\n")

	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{""}
	for _, t := range s.Targets {
		name := t.Target
		if t.Replicas > 0 {
			name += fmt.Sprintf(" (%d replicas, %s)", t.Replicas, t.Durability)
		}
		head = append(head, name)
	}
	row := func(name string, of func(t targetSummary) *measure.Statistic, format string) {
		cells := []string{name}
		measured := false
		for _, t := range s.Targets {
			stat := of(t)
			measured = measured || stat != nil
			cells = append(cells, stat.Cell(format))
		}
		if measured {
			fmt.Fprintln(table, strings.Join(cells, "\t")+"\t")
		}
	}
	fmt.Fprintln(table, strings.Join(head, "\t")+"\t")
	for _, kind := range workloadKinds {
		for _, p := range kind.names() {
			row(string(p), func(t targetSummary) *measure.Statistic { return t.Phases[p] }, "%.3f")
			row(kind.unit(p), func(t targetSummary) *measure.Statistic { return t.Rates[p] }, "%.1f")
		}
	}
	row("total", func(t targetSummary) *measure.Statistic { return t.Total }, "%.3f")
	if s.Compiler != "" {
		row("without Make", func(t targetSummary) *measure.Statistic { return t.TotalWithoutMake }, "%.3f")
	}
	row("longest pause", func(t targetSummary) *measure.Statistic { return t.LongestPause }, "%.4f")
	row("RPCs", func(t targetSummary) *measure.Statistic { return t.RPCs }, "%.0f")
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	for _, t := range s.Targets {
		if t.Failed > 0 {
			fmt.Fprintf(w, "%s: %d of %d runs FAILED and are not in the figures; see observations.jsonl\n", t.Target, t.Failed, t.Runs)
		}
	}
	return nil
}
