package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"bfsd/bench/internal/measure"
	"bfsd/replica/sim"
)

// The operations, and the loads: all clients do the one, or the other, or both.
const (
	opOrdered  = "ordered"
	opReadOnly = "read-only"
	loadMixed  = "mixed"
)

// load is what all clients do at once.
type load struct {
	name  string
	reads float64
}

var loads = []load{{opOrdered, 0}, {opReadOnly, 1}, {loadMixed, 0.5}}

// entry is one operation from one region under one load. Times are in seconds.
type entry struct {
	Load   string  `json:"load"`
	Region string  `json:"region"`
	Op     string  `json:"op"`
	Calls  int     `json:"calls"`
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// group is what one group's clients saw.
type group struct {
	F        int     `json:"f"`
	Replicas int     `json:"replicas"`
	Primary  string  `json:"primary"`
	Entries  []entry `json:"entries"`
}

// observation is one line of observations.jsonl.
type observation struct {
	Date     time.Time `json:"date"`
	F        int       `json:"f"`
	Replicas int       `json:"replicas"`
	Primary  string    `json:"primary"`
	entry
}

// summary is DIR/summary.json.
type summary struct {
	Date    time.Time       `json:"date"`
	Command []string        `json:"command"`
	Machine measure.Machine `json:"machine"`
	Source  string          `json:"source"`
	Regions []string        `json:"regions"`
	Groups  []group         `json:"groups"`
}

// measure runs all loads on a group.
func (o options) measure(ctx context.Context, f int) (g group, err error) {
	n := 3*f + 1
	order, err := places(n, o.Primary)
	if err != nil {
		return g, err
	}
	g = group{F: f, Replicas: n, Primary: regions[order[0]]}
	results := make([][]sim.WideCall, len(loads))
	running, ctx := errgroup.WithContext(ctx)
	for i, l := range loads {
		running.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			calls, err := sim.Wide{
				F: f, Delay: delays(order), Calls: o.Calls, Reads: l.reads, ViewChangeTimeout: o.Timeout, RequestTimeout: o.Timeout, Seed: o.Seed,
			}.Run()
			results[i] = calls
			return err
		})
	}
	if err := running.Wait(); err != nil {
		return g, fmt.Errorf("f = %d: %w", f, err)
	}
	for i, l := range loads {
		g.Entries = append(g.Entries, entries(l.name, order, results[i])...)
	}
	return g, nil
}

// entries are the figures of each place and operation.
func entries(load string, order []int, calls []sim.WideCall) (list []entry) {
	for place, region := range order {
		for _, op := range []string{opOrdered, opReadOnly} {
			var took []float64
			for _, c := range calls {
				if c.Place == place && c.ReadOnly == (op == opReadOnly) {
					took = append(took, c.Took.Seconds())
				}
			}
			if len(took) == 0 {
				continue
			}
			slices.Sort(took)
			last := len(took) - 1
			list = append(list, entry{
				Load: load, Region: regions[region], Op: op, Calls: len(took), Min: took[0], Max: took[last],
				P50: took[rank(0.5, len(took))], P99: took[rank(0.99, len(took))],
			})
		}
	}
	return list
}

// rank is the place of a quantile among n sorted values: the smallest that at least that share of the values does not exceed.
func rank(q float64, n int) int {
	for i := range n {
		if float64(i+1) >= q*float64(n) {
			return i
		}
	}
	return n - 1
}

// print writes a group's table.
func (g *group) print(w io.Writer) error {
	fmt.Fprintf(w, "\nf = %d, %d replicas, the primary in %s: milliseconds, p50 / p99\n\n", g.F, g.Replicas, g.Primary)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "client in\tordered alone\tread-only alone\tordered, mixed\tread-only, mixed\t")
	var seen []string
	for _, e := range g.Entries {
		if slices.Contains(seen, e.Region) {
			continue
		}
		seen = append(seen, e.Region)
		row := []string{e.Region}
		for _, c := range [][2]string{{opOrdered, opOrdered}, {opReadOnly, opReadOnly}, {loadMixed, opOrdered}, {loadMixed, opReadOnly}} {
			row = append(row, g.cell(e.Region, c[0], c[1]))
		}
		fmt.Fprintln(table, strings.Join(row, "\t")+"\t")
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

func (g *group) cell(region, load, op string) string {
	for _, e := range g.Entries {
		if e.Region == region && e.Load == load && e.Op == op {
			return fmt.Sprintf("%.0f / %.0f", e.P50*1e3, e.P99*1e3)
		}
	}
	return "-"
}
