package main

import (
	"fmt"
	"slices"
	"strconv"

	"bfsd/bench/internal/measure"
)

// nullSection shows a run of bench/null.
func nullSection(m *measurement) (*section, error) {
	s := m.null
	sec := newSection(m, "Null operations")
	sec.Facts = append(sec.Facts,
		fact{"Durability", s.Durability}, fact{"Gateways", strconv.Itoa(s.Gateways)}, fact{"Runs", strconv.Itoa(s.Runs)},
		fact{"Load average before", fmt.Sprintf("%.1f", s.LoadBefore)})
	if s.Echo != nil {
		sec.Facts = append(sec.Facts, fact{"TCP echo on this machine, p50", s.Echo.Cell("%.6f") + " s"})
	}
	for _, part := range s.parts() {
		sec.add(s.table(part))
	}
	for _, mode := range s.modes() {
		c := s.throughputChart(mode)
		if len(c.lines) == 0 {
			continue
		}
		if err := sec.draw(m.dir+"-throughput-"+mode, c); err != nil {
			return nil, err
		}
	}
	return sec, nil
}

func (s *nullSummary) parts() (list []string) {
	for _, e := range s.Entries {
		if !slices.Contains(list, e.Part) {
			list = append(list, e.Part)
		}
	}
	return list
}

func (s *nullSummary) modes() (list []string) {
	for _, e := range s.Entries {
		if !slices.Contains(list, e.Mode) {
			list = append(list, e.Mode)
		}
	}
	return list
}

func (e *nullEntry) name() string {
	name := e.Target
	if e.Replicas > 0 {
		name += fmt.Sprintf(", %d replicas", e.Replicas)
	}
	if e.Off != "" {
		name += ", without " + e.Off
	}
	return name
}

func (s *nullSummary) table(part string) *table {
	t := &table{
		Caption: "Part " + part + ". Microseconds and operations per second: median (min–max) of the runs, × the ratio to the part's baseline in the same run.",
		Head:    []string{"what", "operation", "clients", "p50 µs", "p99 µs", "p99.9 µs", "operations/s", "runs"},
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Part != part {
			continue
		}
		t.Rows = append(t.Rows, []string{
			e.name(), e.Op + " " + e.Mode, strconv.Itoa(e.Clients), micro(e.P50), micro(e.P99), micro(e.P999), e.Throughput.Cell("%.0f"),
			fmt.Sprintf("%d of %d", e.Runs-e.Failed, e.Runs),
		})
	}
	return t
}

// micro is a time in microseconds.
func micro(s *measure.Statistic) string {
	if s == nil {
		return "-"
	}
	return (&measure.Statistic{Median: s.Median * 1e6, Min: s.Min * 1e6, Max: s.Max * 1e6, Ratio: s.Ratio}).Cell("%.0f")
}

// throughputChart is throughput over clients, of the smallest operations.
func (s *nullSummary) throughputChart(mode string) lineChart {
	c := lineChart{title: "Null operations (0/0, " + mode + "): throughput", unit: "operations/s", over: "clients"}
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Part != "groups" || e.Mode != mode || e.Op != "0/0" || e.Throughput == nil {
			continue
		}
		k := slices.IndexFunc(c.lines, func(l line) bool { return l.name == e.name() })
		if k < 0 {
			c.lines = append(c.lines, line{name: e.name()})
			k = len(c.lines) - 1
		}
		c.lines[k].xs = append(c.lines[k].xs, float64(e.Clients))
		c.lines[k].ys = append(c.lines[k].ys, e.Throughput)
	}
	return c
}
