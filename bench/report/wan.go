package main

import (
	"fmt"
	"slices"

	"bfsd/bench/internal/measure"
)

// wanSection shows a run of bench/wan.
func wanSection(m *measurement) (*section, error) {
	s := m.wan
	sec := newSection(m, "Wide area (simulated)")
	sec.Facts = append(sec.Facts, fact{"Round-trip times", s.Source},
		fact{"What is simulated", "the protocol's core in virtual time, a client in each replica's region; computing and disks cost nothing, delays do not vary"})
	for i := range s.Groups {
		g := &s.Groups[i]
		sec.add(g.table())
		if err := sec.draw(fmt.Sprintf("%s-f%d", m.dir, g.F), g.chart()); err != nil {
			return nil, err
		}
	}
	return sec, nil
}

func (g *wanGroup) regions() (list []string) {
	for _, e := range g.Entries {
		if !slices.Contains(list, e.Region) {
			list = append(list, e.Region)
		}
	}
	return list
}

// columns are the loads with their operations.
func (g *wanGroup) columns() (list [][2]string) {
	for _, e := range g.Entries {
		if c := [2]string{e.Load, e.Op}; !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

func (g *wanGroup) entry(region string, column [2]string) *wanEntry {
	i := slices.IndexFunc(g.Entries, func(e wanEntry) bool { return e.Region == region && e.Load == column[0] && e.Op == column[1] })
	if i < 0 {
		return nil
	}
	return &g.Entries[i]
}

func columnName(c [2]string) string {
	if c[0] == c[1] {
		return c[1] + " alone"
	}
	return c[1] + ", " + c[0]
}

func (g *wanGroup) table() *table {
	t := &table{
		Caption: fmt.Sprintf("f = %d, %d replicas, the primary in %s: milliseconds from a client in each region, p50 / p99.", g.F, g.Replicas, g.Primary),
		Head:    []string{"client in"},
	}
	for _, c := range g.columns() {
		t.Head = append(t.Head, columnName(c))
	}
	for _, region := range g.regions() {
		row := []string{region}
		for _, c := range g.columns() {
			cell := "–"
			if e := g.entry(region, c); e != nil {
				cell = fmt.Sprintf("%.0f / %.0f", e.P50*1e3, e.P99*1e3)
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (g *wanGroup) chart() barChart {
	c := barChart{
		title: fmt.Sprintf("f = %d: latency from each region (p50, line to p99)", g.F), unit: "milliseconds", groups: g.regions(),
	}
	for _, column := range g.columns() {
		row := series{name: columnName(column)}
		for _, region := range c.groups {
			var v *measure.Statistic
			if e := g.entry(region, column); e != nil {
				v = &measure.Statistic{Median: e.P50 * 1e3, Min: e.P50 * 1e3, Max: e.P99 * 1e3}
			}
			row.values = append(row.values, v)
		}
		c.series = append(c.series, row)
	}
	return c
}
