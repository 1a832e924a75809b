package main

import (
	"fmt"
	"slices"
	"strings"

	"bfsd/bench/internal/measure"
)

const noFault = "none"

// phaseOrder is that of all workloads' phases.
var phaseOrder = append(slices.Clone(andrewPhases), "Create", "Transactions", "Delete", "Write", "Read")

// normal are the targets without a fault.
func (s *andrewSummary) normal() []*andrewTarget {
	return s.where(func(t *andrewTarget) bool { return t.Fault == noFault })
}

// replicated are bfs without and with its faults.
func (s *andrewSummary) replicated() []*andrewTarget {
	return s.where(func(t *andrewTarget) bool { return t.Replicas > 0 })
}

func (s *andrewSummary) where(keep func(*andrewTarget) bool) (list []*andrewTarget) {
	for i := range s.Targets {
		if keep(&s.Targets[i]) {
			list = append(list, &s.Targets[i])
		}
	}
	return list
}

func (t *andrewTarget) name() string {
	if t.Replicas > 0 {
		return fmt.Sprintf("%s (%d replicas, %s)", t.Target, t.Replicas, t.Durability)
	}
	return t.Target + " (" + t.Durability + ")"
}

// phases are those that were measured.
func (s *andrewSummary) phases() (list []string) {
	for _, p := range phaseOrder {
		if slices.ContainsFunc(s.Targets, func(t andrewTarget) bool { return t.Phases[p] != nil }) {
			list = append(list, p)
		}
	}
	return list
}

// andrewSection shows one run of bench/andrew.
func andrewSection(m *measurement) (*section, error) {
	s := m.andrew
	sec := newSection(m, fmt.Sprintf("Workload %s, %s client", s.Workload, s.client()))
	sec.Facts = append(sec.Facts, s.facts()...)
	if len(s.normal()) > 0 {
		sec.add(s.targetTable())
	}
	if s.Baseline != "" {
		if err := sec.draw(m.dir+"-phases", s.phaseChart()); err != nil {
			return nil, err
		}
	}
	if len(s.Units) > 0 {
		if err := s.drawRates(sec, m.dir); err != nil {
			return nil, err
		}
	}
	if len(s.replicated()) > 1 {
		sec.add(s.faultTable())
		for _, c := range []struct {
			name  string
			chart barChart
		}{
			{"-faults", s.faultChart("Total time under faults", func(t *andrewTarget) *measure.Statistic { return t.Total })},
			{"-pauses", s.faultChart("Longest pause that a user saw", func(t *andrewTarget) *measure.Statistic { return t.LongestPause })},
		} {
			if err := sec.draw(m.dir+c.name, c.chart); err != nil {
				return nil, err
			}
		}
	}
	if s.Workload == "andrew" && s.Baseline != "" {
		sec.add(paperTable(s))
	}
	return sec, nil
}

func (s *andrewSummary) client() string {
	if s.Client != "kernel" {
		return s.Client
	}
	if s.Kernel == "uml" {
		return "Linux kernel (user-mode Linux)"
	}
	return "Linux kernel"
}

// facts say what the figures are of.
func (s *andrewSummary) facts() []fact {
	list := []fact{
		{"Scale", fmt.Sprintf("%d: files: %d, %.1f MB", s.Scale, s.Files, float64(s.Bytes)/1e6)},
		{"Durability", s.Durability + " (of bfs; that of the others is beside their names)"},
	}
	if s.Compiler != "" {
		list = append(list, fact{"Make compiles with", s.Compiler})
	}
	if s.Load != nil {
		list = append(list, fact{"Load average before the runs", fmt.Sprintf("%.1f–%.1f", s.Load.Min, s.Load.Max)})
	}
	if c := s.Settings; c != nil {
		list = append(list, fact{"bfs", fmt.Sprintf("%d processes on one machine; batches of up to %d requests or %d bytes, %d in flight; a checkpoint every %d batches; view-change timeout %d ms",
			c.Processes, c.BatchRequests, c.BatchBytes, c.BatchWindow, c.CheckpointInterval, c.ViewChangeTimeoutMS)})
	}
	for _, t := range s.normal() {
		if about := s.About[t.Target]; about != "" {
			list = append(list, fact{t.Target, about})
		}
	}
	for _, skipped := range s.Skipped {
		list = append(list, fact{skipped.Target, "skipped: " + skipped.Reason})
	}
	return list
}

// targetTable compares the targets without faults.
func (s *andrewSummary) targetTable() *table {
	t := &table{Caption: "Seconds: median (min–max) of interleaved runs" + s.ratioNote() + ". Every run was verified.", Head: []string{""}}
	targets := s.normal()
	for _, target := range targets {
		name := target.name()
		if target.Failed > 0 {
			name += fmt.Sprintf(", %d of %d runs FAILED and left out", target.Failed, target.Runs)
		}
		t.Head = append(t.Head, name)
	}
	row := func(name, format string, of func(*andrewTarget) *measure.Statistic) {
		cells := []string{name}
		for _, target := range targets {
			cells = append(cells, of(target).Cell(format))
		}
		if slices.ContainsFunc(cells[1:], func(cell string) bool { return cell != "-" }) {
			t.Rows = append(t.Rows, cells)
		}
	}
	for _, p := range s.phases() {
		row(p, "%.3f", func(t *andrewTarget) *measure.Statistic { return t.Phases[p] })
		if unit := s.Units[p]; unit != "" {
			row(p+", "+unit, "%.1f", func(t *andrewTarget) *measure.Statistic { return t.Rates[p] })
		}
	}
	row("total", "%.3f", func(t *andrewTarget) *measure.Statistic { return t.Total })
	if s.Compiler != "" {
		row("without Make", "%.3f", func(t *andrewTarget) *measure.Statistic { return t.TotalWithoutMake })
	}
	row("longest pause", "%.3f", func(t *andrewTarget) *measure.Statistic { return t.LongestPause })
	row("a prober's median write", "%.4f", func(t *andrewTarget) *measure.Statistic { return t.Probe })
	row("calls", "%.0f", func(t *andrewTarget) *measure.Statistic { return t.RPCs })
	return t
}

func (s *andrewSummary) ratioNote() string {
	if s.Baseline == "" {
		return ""
	}
	return "; × is the ratio to " + s.Baseline
}

// phaseChart shows how much longer than the baseline each phase takes.
func (s *andrewSummary) phaseChart() barChart {
	c := barChart{
		title: fmt.Sprintf("%s, %s client, scale %d: time relative to %s (median, range)", s.Workload, s.client(), s.Scale, s.Baseline),
		unit:  "× " + s.Baseline, groups: append(s.phases(), "total"), line: 1,
	}
	var base *andrewTarget
	for _, t := range s.normal() {
		if t.Target == s.Baseline {
			base = t
		}
	}
	for _, t := range s.normal() {
		if t == base || base == nil {
			continue
		}
		row := series{name: t.name()}
		for _, p := range s.phases() {
			row.values = append(row.values, relative(t.Phases[p], base.Phases[p]))
		}
		row.values = append(row.values, relative(t.Total, base.Total))
		c.series = append(c.series, row)
	}
	return c
}

// relative divides by another's median.
func relative(s, base *measure.Statistic) *measure.Statistic {
	if s == nil || base == nil || base.Median == 0 {
		return nil
	}
	return &measure.Statistic{Median: s.Median / base.Median, Min: s.Min / base.Median, Max: s.Max / base.Median}
}

// drawRates draws the rates of phases, those of one unit together.
func (s *andrewSummary) drawRates(sec *section, dir string) error {
	byUnit := map[string][]string{}
	var units []string
	for _, p := range s.phases() {
		u := s.Units[p]
		if u == "" {
			continue
		}
		if byUnit[u] == nil {
			units = append(units, u)
		}
		byUnit[u] = append(byUnit[u], p)
	}
	for _, u := range units {
		c := barChart{title: fmt.Sprintf("%s, %s client, scale %d (median, range)", s.Workload, s.client(), s.Scale), unit: u, groups: byUnit[u]}
		for _, t := range s.normal() {
			row := series{name: t.name()}
			for _, p := range byUnit[u] {
				row.values = append(row.values, t.Rates[p])
			}
			c.series = append(c.series, row)
		}
		if err := sec.draw(dir+"-"+strings.ReplaceAll(strings.ToLower(u), "/", "-per-"), c); err != nil {
			return err
		}
	}
	return nil
}

// faultTable has a row for each fault.
func (s *andrewSummary) faultTable() *table {
	t := &table{
		Caption: "bfs while something is wrong with it. ×× is the ratio of the total to that without a fault. The longest pause is that of one operation of the " +
			"workload or of one write of a prober that writes all the time. After every run all files were compared with what was written, and the states of all correct replicas with each other.",
		Head: []string{"fault", "what is wrong"},
	}
	t.Head = append(t.Head, s.phases()...)
	t.Head = append(t.Head, "total", "××", "longest pause", "view changes", "replica back after", "runs verified")
	for _, target := range s.replicated() {
		row := []string{target.Fault, s.About[target.Fault]}
		for _, p := range s.phases() {
			row = append(row, target.Phases[p].Cell("%.2f"))
		}
		toNormal := "–"
		if target.ToNormal != nil {
			toNormal = ratio(*target.ToNormal)
		}
		t.Rows = append(t.Rows, append(row, target.Total.Cell("%.2f"), toNormal, target.LongestPause.Cell("%.3f"), target.ViewChanges.Cell("%.0f"),
			target.Recovered.Cell("%.2f"), fmt.Sprintf("%d of %d", target.Runs-target.Failed, target.Runs)))
	}
	return t
}

func (s *andrewSummary) faultChart(title string, of func(*andrewTarget) *measure.Statistic) barChart {
	c := barChart{title: fmt.Sprintf("%s (%s, %s client; median, range)", title, s.Workload, s.client()), unit: "seconds"}
	row := series{name: "bfs"}
	for _, t := range s.replicated() {
		c.groups = append(c.groups, t.Fault)
		row.values = append(row.values, of(t))
	}
	c.series = []series{row}
	return c
}

func ratio(v float64) string { return fmt.Sprintf("×%.2f", v) }
