package main

import "bfsd/bench/internal/measure"

// What the paper reports, for the shape: its machines were 133 MHz Alphas on a switched 10 Mbit/s network, one for each
// replica, and its client the Digital Unix kernel's NFS V2. Times are in seconds. Source: Castro and Liskov, "Practical
// Byzantine Fault Tolerance", OSDI '99, §7.3: tables 2 (BFS and BFS-nr) and 3 (NFS-std). BFS-nr is BFS without replication, as
// our target plain is; NFS-std is Digital Unix's own NFS server.
var paperAndrew = []struct {
	name    string
	seconds [5]float64 // phases 1 to 5
	total   float64
}{
	{"BFS strict", [5]float64{0.55, 9.24, 7.24, 8.77, 38.68}, 64.48},
	{"BFS r/o lookup", [5]float64{0.47, 7.91, 6.45, 7.87, 38.38}, 61.07},
	{"BFS-nr", [5]float64{0.35, 5.08, 6.11, 7.41, 32.12}, 51.07},
	{"NFS-std", [5]float64{1.75, 9.46, 5.36, 6.60, 39.35}, 62.52},
}

// paperBaseline is the paper's configuration that ratios are taken to, as ours are to plain.
const paperBaseline = "BFS-nr"

// andrewPhases are the Andrew benchmark's, in the paper's order.
var andrewPhases = []string{"MakeDir", "Copy", "ScanDir", "ReadAll", "Make"}

// paperTable puts the paper's ratios beside ours.
func paperTable(s *andrewSummary) *table {
	t := &table{
		Caption: "The paper's figures beside ours: ratios to the same file system without replication. The paper's are from OSDI '99 §7.3, tables 2 and 3 (one " +
			"machine for each replica, 133 MHz Alphas, 10 Mbit/s); ours are of one machine that does the work of all processes and of the client.",
		Head: append(append([]string{""}, andrewPhases...), "total"),
	}
	var base [6]float64
	for _, p := range paperAndrew {
		if p.name == paperBaseline {
			base = paperRow(p.seconds, p.total)
		}
	}
	for _, p := range paperAndrew {
		row := []string{"OSDI '99: " + p.name}
		for i, v := range paperRow(p.seconds, p.total) {
			row = append(row, ratio(v/base[i]))
		}
		t.Rows = append(t.Rows, row)
	}
	for _, target := range s.normal() {
		row := []string{"ours: " + target.name()}
		for _, p := range andrewPhases {
			row = append(row, ratioOf(target.Phases[p]))
		}
		t.Rows = append(t.Rows, append(row, ratioOf(target.Total)))
	}
	return t
}

func paperRow(seconds [5]float64, total float64) (row [6]float64) {
	copy(row[:], seconds[:])
	row[5] = total
	return row
}

func ratioOf(s *measure.Statistic) string {
	if s == nil || s.Ratio == nil {
		return "–"
	}
	return ratio(*s.Ratio)
}
