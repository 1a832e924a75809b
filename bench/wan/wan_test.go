package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bfsd/replica/sim"
)

func TestRoundTripsAreOfAllPairs(t *testing.T) {
	if len(roundTrips) != len(regions)-1 {
		t.Fatalf("%d rows for %d regions", len(roundTrips), len(regions))
	}
	for a := range regions {
		for b := range regions {
			switch d := delay(a, b); {
			case d != delay(b, a):
				t.Errorf("%s and %s: %v and %v", regions[a], regions[b], d, delay(b, a))
			case a == b && d != inside, a != b && (d < time.Millisecond || d > 250*time.Millisecond):
				t.Errorf("%s to %s: %v", regions[a], regions[b], d)
			}
		}
	}
	// No way around is much shorter than the direct one: else two figures were mixed up. Providers' networks do not always
	// take the shortest way, so some slack is needed.
	for a := range regions {
		for b := range regions {
			for c := range regions {
				if around := delay(a, c) + delay(c, b); around*3/2 < delay(a, b) {
					t.Errorf("%s to %s takes %v, by %s %v", regions[a], regions[b], delay(a, b), regions[c], around)
				}
			}
		}
	}
}

func TestAGroupHasItsPrimaryFirst(t *testing.T) {
	order, err := places(7, "japan east")
	if err != nil || !slices.Equal(order, []int{3, 0, 1, 2, 4, 5, 6}) {
		t.Errorf("%v, %v", order, err)
	}
	if d := delays(order); len(d) != 7 || d[0][1] != delay(3, 0) || d[2][2] != inside {
		t.Errorf("%v", d)
	}
	for _, primary := range []string{"Atlantis", "", "France Central"} {
		if _, err := places(4, primary); err == nil || !strings.Contains(err.Error(), "Japan East") {
			t.Errorf("%q: %v", primary, err)
		}
	}
}

func TestQuantilesAreOfTheRightPlace(t *testing.T) {
	for _, test := range []struct {
		q       float64
		n, want int
	}{{0.5, 1, 0}, {0.99, 1, 0}, {0.5, 2, 0}, {0.5, 3, 1}, {0.99, 100, 98}, {0.99, 101, 99}, {1, 7, 6}} {
		if got := rank(test.q, test.n); got != test.want {
			t.Errorf("%v of %d: %d, want %d", test.q, test.n, got, test.want)
		}
	}
	calls := []sim.WideCall{{Place: 1, Took: 3 * time.Second}, {Place: 1, Took: time.Second}, {Place: 1, Took: 2 * time.Second}, {Place: 0, ReadOnly: true, Took: time.Second}}
	got := entries("x", []int{2, 0}, calls)
	want := []entry{
		{Load: "x", Region: regions[2], Op: opReadOnly, Calls: 1, P50: 1, P99: 1, Min: 1, Max: 1},
		{Load: "x", Region: regions[0], Op: opOrdered, Calls: 3, P50: 2, P99: 3, Min: 1, Max: 3},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestFiguresAreWritten(t *testing.T) {
	o := options{F: []int{1, 2}, Calls: 5, Primary: "West Europe", Timeout: 3 * time.Second, Out: filepath.Join(t.TempDir(), "wan")}
	var table strings.Builder
	if err := run(t.Context(), o, &table); err != nil {
		t.Fatal(err)
	}
	var s summary
	text, err := os.ReadFile(filepath.Join(o.Out, "summary.json"))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil || len(s.Groups) != 2 || s.Source != source {
		t.Fatalf("%s, %v", text, err)
	}
	for i, g := range s.Groups {
		// Alone there is one operation for each region; mixed, both may have been drawn.
		if n := 3*(i+1) + 1; g.Replicas != n || g.Primary != "West Europe" || len(g.Entries) < 3*n || len(g.Entries) > 4*n {
			t.Errorf("%d replicas, primary %s, %d entries", g.Replicas, g.Primary, len(g.Entries))
		}
		for _, e := range g.Entries {
			// No read is faster than the way to the third-nearest replica and back, no ordered call than a read from there.
			if e.Min <= 0 || e.Min > e.P50 || e.P50 > e.P99 || e.P99 > e.Max || e.Max > 3 {
				t.Errorf("%+v", e)
			}
		}
	}
	lines, err := os.ReadFile(filepath.Join(o.Out, "observations.jsonl"))
	if n := strings.Count(string(lines), "\n"); err != nil || n != len(s.Groups[0].Entries)+len(s.Groups[1].Entries) {
		t.Errorf("%d observations, %v", n, err)
	}
	if !strings.Contains(table.String(), "Japan East") || !strings.Contains(table.String(), "f = 2, 7 replicas") {
		t.Errorf("the table:\n%s", &table)
	}
}

func TestFlags(t *testing.T) {
	good := options{F: []int{1}, Calls: 1, Primary: regions[0], Timeout: time.Second}
	for want, change := range map[string]func(o *options){
		"--f 5":     func(o *options) { o.F = []int{1, 5} },
		"no group":  func(o *options) { o.F = nil },
		"--calls":   func(o *options) { o.Calls = 0 },
		"--timeout": func(o *options) { o.Timeout = 0 },
	} {
		o := good
		change(&o)
		if err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}
