package sim

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// somewhere are the delays of four places, all different.
func somewhere() [][]time.Duration {
	const ms = time.Millisecond
	return [][]time.Duration{
		{0, 10 * ms, 35 * ms, 80 * ms},
		{10 * ms, 0, 40 * ms, 90 * ms},
		{35 * ms, 40 * ms, 0, 60 * ms},
		{80 * ms, 90 * ms, 60 * ms, 0},
	}
}

func wideTest(reads float64) Wide {
	return Wide{F: 1, Delay: somewhere(), Calls: 30, Reads: reads, ViewChangeTimeout: time.Minute, RequestTimeout: time.Minute, Seed: 3}
}

// nth is the n-th smallest, from 1.
func nth(list []time.Duration, n int) time.Duration { return slices.Sorted(slices.Values(list))[n-1] }

// orderedLatency is what the messages of one ordered operation take, computed without any of the code (TOCS §4.2, §5.2): the
// request goes to the primary, which is at place 0; pre-prepares go to the backups; each backup tells all others that it is
// prepared; a replica executes tentatively when it has the pre-prepare and 2f prepares of backups, its own included; the
// client has the result from 2f+1 replicas.
func orderedLatency(d [][]time.Duration, f, client int) time.Duration {
	n := len(d)
	replies := make([]time.Duration, n)
	request := d[client][0]
	for replica := range n {
		var prepares []time.Duration
		for backup := 1; backup < n; backup++ {
			prepares = append(prepares, request+d[0][backup]+d[backup][replica])
		}
		ready := nth(prepares, 2*f)
		if replica > 0 {
			ready = max(ready, request+d[0][replica])
		}
		replies[replica] = ready + d[replica][client]
	}
	return nth(replies, 2*f+1)
}

// readLatency is that of an operation that is not ordered (TOCS §5.1): there and back, from 2f+1 replicas.
func readLatency(d [][]time.Duration, f, client int) time.Duration {
	var replies []time.Duration
	for replica := range d {
		replies = append(replies, d[client][replica]+d[replica][client])
	}
	return nth(replies, 2*f+1)
}

func TestWideOperationsTakeWhatTheirMessagesTake(t *testing.T) {
	for _, test := range []struct {
		name  string
		reads float64
		least func(d [][]time.Duration, f, client int) time.Duration
	}{{"ordered", 0, orderedLatency}, {"read-only", 1, readLatency}} {
		t.Run(test.name, func(t *testing.T) {
			calls, err := wideTest(test.reads).Run()
			if err != nil {
				t.Fatal(err)
			}
			for place := range somewhere() {
				var took []time.Duration
				for _, c := range calls {
					if c.Place == place {
						took = append(took, c.Took)
						if c.ReadOnly != (test.reads == 1) {
							t.Errorf("a call of place %d is read-only: %t", place, c.ReadOnly)
						}
					}
				}
				if len(took) != 30 {
					t.Fatalf("%d calls from place %d", len(took), place)
				}
				// Nothing is faster than the messages, and the fastest call waited for nothing else.
				want := test.least(somewhere(), 1, place)
				if got := slices.Min(took); got < want || got > want+time.Millisecond {
					t.Errorf("the fastest call from place %d took %v, its messages %v", place, got, want)
				}
			}
		})
	}
}

func TestWideRunsAreRepeatable(t *testing.T) {
	first, err := wideTest(0.5).Run()
	if err != nil {
		t.Fatal(err)
	}
	again, err := wideTest(0.5).Run()
	if err != nil || !slices.Equal(first, again) {
		t.Errorf("the same seed gave another run (%v)", err)
	}
}

// Timers that fire although nothing is wrong would make figures of something else.
func TestWideRefusesTimersThatAreTooShort(t *testing.T) {
	o := wideTest(0)
	o.ViewChangeTimeout = 20 * time.Millisecond
	if _, err := o.Run(); err == nil || !strings.Contains(err.Error(), "timers are too short") {
		t.Errorf("got %v", err)
	}
	for name, change := range map[string]func(o *Wide){
		"no group":       func(o *Wide) { o.F = 0 },
		"a large group":  func(o *Wide) { o.F = 1000 },
		"too few places": func(o *Wide) { o.F = 2 },
		"no calls":       func(o *Wide) { o.Calls = 0 },
		"a ragged table": func(o *Wide) { o.Delay = somewhere(); o.Delay[2] = o.Delay[2][:3] },
		"the past":       func(o *Wide) { o.Delay = somewhere(); o.Delay[2][1] = -1 },
	} {
		o := wideTest(0)
		change(&o)
		if calls, err := o.Run(); err == nil {
			t.Errorf("%s: %d calls", name, len(calls))
		}
	}
}
