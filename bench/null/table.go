package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// tables writes everything that was measured as Markdown.
func (s *summary) tables(w io.Writer) {
	fmt.Fprintf(w, "Measured %s with `%s`", s.Date.Format("2006-01-02 15:04"), strings.Join(s.Command, " "))
	if s.Machine.Commit != "" {
		fmt.Fprintf(w, " at commit %s", s.Machine.Commit)
	}
	fmt.Fprintf(w, ".\n%s, %d cores, %d MB, %s, %s; load average before: %.2f. ", s.Machine.CPU, s.Machine.Cores, s.Machine.MemoryMB, s.Machine.System, s.Machine.Go, s.LoadBefore)
	fmt.Fprintf(w, "Durability %s; medians of %d interleaved runs of %.3g s each (smallest–largest).\n", s.Durability, s.Runs, s.Seconds)
	if s.Echo != nil {
		fmt.Fprintf(w, "For scale: a TCP echo of %d bytes between two goroutines took %.1f µs (%.1f–%.1f) in the same runs.\n", echoBytes, s.Echo.Median*1e6, s.Echo.Min*1e6, s.Echo.Max*1e6)
	}
	for _, part := range []struct {
		name  string
		table func(w io.Writer, entries []*entry)
	}{
		{partGroups, groupTables}, {partSwitches, switchTables}, {partViewChange, viewChangeTable}, {partCheckpoint, s.checkpointTable},
	} {
		var entries []*entry
		for _, e := range s.Entries {
			if e.Part == part.name {
				entries = append(entries, e)
			}
		}
		if len(entries) > 0 {
			part.table(w, entries)
		}
	}
	for _, e := range s.Entries {
		if e.Failed > 0 {
			fmt.Fprintf(w, "\n%d of %d runs of %+v FAILED and are not in the figures.\n", e.Failed, e.Runs, e.key)
		}
	}
}

// groupTables compares groups of several sizes with the unreplicated server: latency with the fewest clients, throughput
// with each number of them, and processor time with the most.
func groupTables(w io.Writer, entries []*entry) {
	targets := distinct(entries, func(e *entry) int { return e.Replicas })
	clients := distinct(entries, func(e *entry) int { return e.Clients })
	rows := distinct(entries, func(e *entry) workloadKey { return e.workload() })
	table := func(title, unit string, clients []int, cell func(*entry) string) {
		fmt.Fprintf(w, "\n**%s**, × is the ratio to the unreplicated server in the same run\n\n", title)
		head := []string{unit, "clients"}
		for _, n := range targets {
			head = append(head, groupName(n))
		}
		header(w, head)
		for _, row := range rows {
			for _, c := range clients {
				cells := []string{row.String(), strconv.Itoa(c)}
				for _, n := range targets {
					cells = append(cells, cell(find(entries, func(e *entry) bool { return e.workload() == row && e.Clients == c && e.Replicas == n })))
				}
				line(w, cells)
			}
		}
	}
	table("Latency", "µs: p50, p99, p99.9", clients[:1], func(e *entry) string {
		if e == nil || e.P50 == nil {
			return "–"
		}
		return fmt.Sprintf("%s, %.0f, %.0f", e.P50.cell(1e6), e.P99.Median*1e6, e.P999.Median*1e6)
	})
	table("Throughput", "operations per second", clients, func(e *entry) string {
		if e == nil {
			return "–"
		}
		return e.Throughput.cell(1)
	})
	table("Processor time of one operation, all processes", "µs", clients[len(clients)-1:], func(e *entry) string {
		if e == nil {
			return "–"
		}
		return e.CPUPerOp.cell(1e6)
	})
}

func groupName(replicas int) string {
	if replicas == 0 {
		return targetPlain
	}
	return fmt.Sprintf("n = %d", replicas)
}

// switchTables has a table for each operation: each optimisation off, beside all on.
func switchTables(w io.Writer, entries []*entry) {
	clients := distinct(entries, func(e *entry) int { return e.Clients })
	few, many := clients[0], clients[len(clients)-1]
	offs := distinct(entries, func(e *entry) string { return e.Off })
	for _, row := range distinct(entries, func(e *entry) workloadKey { return e.workload() }) {
		fmt.Fprintf(w, "\n**Each optimisation off: %s**, n = %d; × is the ratio to all on in the same run (smallest–largest)\n\n", row, entries[0].Replicas)
		header(w, []string{
			"off", "p50 µs, " + plural(few), "operations per second, " + plural(many),
			"µs of processor for each, " + plural(many), "operations in a batch, " + plural(many),
		})
		for _, off := range offs {
			at := func(clients int) *entry {
				return find(entries, func(e *entry) bool { return e.workload() == row && e.Clients == clients && e.Off == off })
			}
			a, b := at(few), at(many)
			if a == nil || b == nil {
				continue
			}
			name := "nothing"
			if off != "" {
				name = about(off)
			}
			line(w, []string{name, a.P50.cell(1e6), b.Throughput.cell(1), b.CPUPerOp.cell(1e6), b.OpsPerBatch.plain(1, "%.1f")})
		}
	}
}

// viewChangeTable tells how long nobody was served when the primary was killed.
func viewChangeTable(w io.Writer, entries []*entry) {
	fmt.Fprint(w, "\n**The primary killed (kill -9) under load**: the longest time in which no operation of any client ended; the view-change timeout is 0.5 s\n\n")
	header(w, []string{"group", "clients", "longest pause, s"})
	for _, e := range entries {
		line(w, []string{groupName(e.Replicas), strconv.Itoa(e.Clients), e.LongestPause.plain(1, "%.3f")})
	}
}

// checkpointTable tells what checkpoints cost.
func (s *summary) checkpointTable(w io.Writer, entries []*entry) {
	fmt.Fprintf(w, "\n**Checkpoints**, n = %d, random pages of the state overwritten; × is the ratio to the longest interval in the same run\n\n", entries[0].Replicas)
	header(w, []string{"state", "batches between checkpoints", "clients", "p50 µs", "p99.9 µs", "longest µs", "operations per second", "µs of processor for each"})
	for _, e := range entries {
		line(w, []string{
			fmt.Sprintf("%d MiB", e.StateMiB), strconv.Itoa(e.Interval), strconv.Itoa(e.Clients), e.P50.cell(1e6), e.P999.plain(1e6, "%.0f"),
			e.Max.plain(1e6, "%.0f"), e.Throughput.cell(1), e.CPUPerOp.cell(1e6),
		})
	}
	fmt.Fprintf(w, "\nThe same with 1 client, where every operation is a batch: the %d from a checkpoint on, and the others.\n\n", batchesAfter)
	header(w, []string{"state", "batches between checkpoints", "p50 µs after a checkpoint", "p50 µs otherwise", "longest µs after a checkpoint", "longest µs otherwise"})
	for _, e := range entries {
		if e.After != nil && e.Otherwise != nil {
			line(w, []string{
				fmt.Sprintf("%d MiB", e.StateMiB), strconv.Itoa(e.Interval), e.After.P50.plain(1e6, "%.0f"), e.Otherwise.P50.plain(1e6, "%.0f"),
				e.After.Max.plain(1e6, "%.0f"), e.Otherwise.Max.plain(1e6, "%.0f"),
			})
		}
	}
	for _, c := range s.Costs {
		if c.CPU != nil {
			fmt.Fprintf(w, "\nOne checkpoint of a state of %d MiB, on all replicas together: %.2f ms of processor time (%.2f–%.2f), less what a longer interval saves by overwriting the same page twice.\n",
				c.StateMiB, c.CPU.Median*1e3, c.CPU.Min*1e3, c.CPU.Max*1e3)
		}
	}
}

// workloadKey is what the rows of a table are about.
type workloadKey struct{ mode, op string }

func (e *entry) workload() workloadKey { return workloadKey{e.Mode, e.Op} }

// String names the row.
func (k workloadKey) String() string {
	mode := "ordered"
	if k.mode == modeReadOnly {
		mode = "read-only"
	}
	return k.op + " " + mode
}

// cell is a figure with its ratio: median ×ratio (smallest–largest).
func (f *figure) cell(scale float64) string {
	if f == nil {
		return "–"
	}
	text := fmt.Sprintf("%.0f", f.Median*scale)
	if f.Ratio != nil {
		text += fmt.Sprintf(" ×%.2f (%.2f–%.2f)", *f.Ratio, *f.RatioMin, *f.RatioMax)
	}
	return text
}

// plain is a figure with its range.
func (f *figure) plain(scale float64, format string) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", f.Median*scale, f.Min*scale, f.Max*scale)
}

func plural(clients int) string {
	if clients == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", clients)
}

func header(w io.Writer, cells []string) {
	line(w, cells)
	fmt.Fprintln(w, strings.Repeat("|---", len(cells))+"|")
}

func line(w io.Writer, cells []string) { fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |") }

// distinct gives the values of something, in the order of their first appearance.
func distinct[T comparable](entries []*entry, of func(*entry) T) []T {
	var values []T
	seen := map[T]bool{}
	for _, e := range entries {
		if v := of(e); !seen[v] {
			seen[v] = true
			values = append(values, v)
		}
	}
	return values
}

// find gives the first entry that is meant; nil if there is none.
func find(entries []*entry, is func(*entry) bool) *entry {
	for _, e := range entries {
		if is(e) {
			return e
		}
	}
	return nil
}
