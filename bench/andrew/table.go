package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"bfsd/bench/internal/measure"
)

// print writes the summary for people: the normal case, and a table of the faults if there are any.
func (s *summary) print(w io.Writer) error {
	s.printHead(w)
	normal := slices.DeleteFunc(slices.Clone(s.Targets), func(t targetSummary) bool { return t.Fault != faultNone })
	if len(normal) > 0 {
		if err := s.printTargets(w, normal); err != nil {
			return err
		}
	}
	if len(normal) < len(s.Targets) {
		if err := s.printFaults(w); err != nil {
			return err
		}
	}
	for _, t := range s.Skipped {
		fmt.Fprintf(w, "%s: skipped, %s\n", t.Target, t.Reason)
	}
	for _, t := range s.Targets {
		if t.Failed > 0 {
			fmt.Fprintf(w, "%s: %d of %d runs FAILED and are not in the figures; see observations.jsonl\n", t.name(), t.Failed, t.Runs)
		}
	}
	return nil
}

func (s *summary) printHead(w io.Writer) {
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
	if c := s.Settings; c != nil {
		fmt.Fprintf(w, "\nbfs: %d processes, batches of up to %d requests or %d bytes, %d in flight, a checkpoint every %d batches, view-change timeout %d ms",
			c.Processes, c.BatchRequests, c.BatchBytes, c.BatchWindow, c.CheckpointInterval, c.ViewChangeTimeoutMS)
	}
	fmt.Fprint(w, "\nseconds: median (min–max)")
	if s.Baseline != "" {
		fmt.Fprintf(w, ", × is the ratio to %s", s.Baseline)
	}
	fmt.Fprint(w, "\n")
}

// name is the target as a reader wants it named.
func (s *targetSummary) name() string {
	name := s.Target
	if s.Replicas > 0 {
		name += fmt.Sprintf(" (%d replicas, %s)", s.Replicas, s.Durability)
	}
	if s.Fault != faultNone {
		name += ", " + s.Fault
	}
	return name
}

// quantity is a row of the table of targets.
type quantity struct {
	name   string
	of     func(t targetSummary) *measure.Statistic
	format string
}

func (s *summary) quantities() []quantity {
	var list []quantity
	for _, kind := range workloadKinds {
		for _, p := range kind.names() {
			list = append(list,
				quantity{string(p), func(t targetSummary) *measure.Statistic { return t.Phases[p] }, "%.3f"},
				quantity{kind.unit(p), func(t targetSummary) *measure.Statistic { return t.Rates[p] }, "%.1f"})
		}
	}
	list = append(list, quantity{"total", func(t targetSummary) *measure.Statistic { return t.Total }, "%.3f"})
	if s.Compiler != "" {
		list = append(list, quantity{"without Make", func(t targetSummary) *measure.Statistic { return t.TotalWithoutMake }, "%.3f"})
	}
	return append(list,
		quantity{"longest pause", func(t targetSummary) *measure.Statistic { return t.LongestPause }, "%.4f"},
		quantity{"prober's median", func(t targetSummary) *measure.Statistic { return t.Probe }, "%.4f"},
		quantity{"RPCs", func(t targetSummary) *measure.Statistic { return t.RPCs }, "%.0f"})
}

func (s *summary) printTargets(w io.Writer, targets []targetSummary) error {
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{""}
	for _, t := range targets {
		head = append(head, t.name())
	}
	fmt.Fprintln(table, strings.Join(head, "\t")+"\t")
	for _, q := range s.quantities() {
		cells := []string{q.name}
		measured := false
		for _, t := range targets {
			stat := q.of(t)
			measured = measured || stat != nil
			cells = append(cells, stat.Cell(q.format))
		}
		if measured {
			fmt.Fprintln(table, strings.Join(cells, "\t")+"\t")
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

// printFaults writes a row for each fault.
func (s *summary) printFaults(w io.Writer) error {
	fmt.Fprint(w, "\nbfs under faults; ×× is the ratio to its total without one\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "fault\ttotal\t××\tlongest pause\tviews\tback after\tverified\t")
	for _, t := range s.Targets {
		if t.Replicas == 0 {
			continue
		}
		toNormal := "-"
		if t.ToNormal != nil {
			toNormal = fmt.Sprintf("%.2f", *t.ToNormal)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\t\n", t.Fault, t.Total.Cell("%.3f"), toNormal, t.LongestPause.Cell("%.3f"),
			t.ViewChanges.Cell("%.0f"), t.Recovered.Cell("%.2f"), t.Runs-t.Failed, t.Runs)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table of faults: %w", err)
	}
	return nil
}
