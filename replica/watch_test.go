package replica

import (
	"testing"
	"time"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// While somebody watches, the last batches are kept of every class of numbers, so that even under load those of all replicas
// overlap; nothing is kept for numbers outside the window, or when nobody has looked for long.
func TestFlowsAreKeptWhileSomebodyWatches(t *testing.T) {
	var f flows
	now := time.Now()
	if f.watched.Load() {
		t.Fatal("somebody watches from the start")
	}
	if got := f.watch(now); len(got) != 0 || !f.watched.Load() {
		t.Fatalf("the first look shows %d flows", len(got))
	}
	info := &pbft.Info{Low: 0, High: 5000}
	for seq := wire.Seq(1); seq <= 5000; seq++ {
		f.saw(&wire.Prepare{View: 3, Seq: seq, Replica: 1}, 1, info)
		f.saw(&wire.Commit{View: 3, Seq: seq, Replica: 1}, FlowSent, info)
	}
	f.saw(&wire.Prepare{View: 3, Seq: 1 << 60, Replica: 2}, 2, info)
	kept := f.watch(now)
	if len(kept) == 0 || len(kept) > flowClasses*flowsKept {
		t.Fatalf("%d flows are kept", len(kept))
	}
	classes := map[int]int{}
	for i, k := range kept {
		switch {
		case k.Seq%256 == 0:
			classes[256]++
		case k.Seq%16 == 0:
			classes[16]++
		default:
			classes[1]++
		}
		if k.Seq > 5000 {
			t.Errorf("batch %d is kept, which is outside the window", k.Seq)
		}
		if i > 0 && k.Seq >= kept[i-1].Seq {
			t.Errorf("batch %d comes after %d", k.Seq, kept[i-1].Seq)
		}
		if len(k.Steps) != 2 || k.Steps[0].What != FlowPrepare || k.Steps[0].From != 1 || k.Steps[1].What != FlowCommit || k.Steps[1].From != FlowSent {
			t.Errorf("batch %d: %+v", k.Seq, k.Steps)
		}
	}
	if classes[256] < 19 || classes[16] < 20 || classes[1] < 20 { // 4864, 4608, …
		t.Errorf("kept by class: %v", classes)
	}
	for range 10 * flowStepsMax {
		f.saw(&wire.Prepare{View: 3, Seq: 5000, Replica: 2}, 2, info)
	}
	if kept := f.watch(now); len(kept[0].Steps) != flowStepsMax {
		t.Errorf("a replica that repeats itself has %d steps kept", len(kept[0].Steps))
	}
	f.rest(now.Add(flowPatience))
	if !f.watched.Load() {
		t.Error("flows are not kept for as long as they should")
	}
	f.rest(now.Add(flowPatience + time.Second))
	if f.watched.Load() || len(f.watch(now)) != 0 {
		t.Error("flows are kept although nobody watches")
	}
}

// A replica that does the same again and again, or many things, takes no more memory; what it is suspected of is counted.
func TestAChronicleIsBounded(t *testing.T) {
	var c chronicle
	now := time.Now()
	for i := range 3 * occurrencesKept {
		c.note(pbft.Trace{Event: pbft.TraceEquivocation, View: 1, Seq: wire.Seq(i), Replica: 2}, now)
		c.suspect(2, "equivocation", now)
		c.note(pbft.Trace{Event: pbft.TraceCommitted, Seq: wire.Seq(i)}, now)
	}
	occurrences, suspicions := c.read()
	if len(occurrences) != 1 || occurrences[0].Count != 3*occurrencesKept || occurrences[0].About != 2 || occurrences[0].Seq != 3*occurrencesKept-1 {
		t.Errorf("%d occurrences: %+v", len(occurrences), occurrences[0])
	}
	if len(suspicions) != 1 || suspicions[0] != (Suspicion{2, "equivocation", 3 * occurrencesKept, now.UnixMilli()}) {
		t.Errorf("%+v", suspicions)
	}
	for v := range wire.View(3 * occurrencesKept) {
		c.note(pbft.Trace{Event: pbft.TraceViewChange, View: v, Reason: pbft.ReasonTimeout}, now)
	}
	occurrences, _ = c.read()
	if last := occurrences[len(occurrences)-1]; len(occurrences) != occurrencesKept || last.View != 3*occurrencesKept-1 || last.Reason != "timeout" || last.About != -1 {
		t.Errorf("%d occurrences, the last: %+v", len(occurrences), last)
	}
	c = chronicle{}
	for _, up := range []bool{false, true, true, false, false, true} { // not linked yet; linked; lost; linked again
		c.linked(1, up, now)
	}
	occurrences, _ = c.read()
	if len(occurrences) != 2 || occurrences[0].Event != LinkLost || occurrences[1].Event != LinkBack {
		t.Errorf("%+v", occurrences)
	}
}

// A second's load is what was counted in it.
func TestLoadIsSampled(t *testing.T) {
	var l load
	at := time.Unix(1000, 0)
	l.observe(at, 0)
	for i := range 2 * loadKept {
		l.executed, l.queried, l.commits, l.commitTime = 500, 100, 4, 8*time.Millisecond
		if l.observe(at.Add(time.Second/2), 3) {
			t.Fatal("a sample was taken after half a second")
		}
		at = at.Add(2 * time.Second)
		if !l.observe(at, 3) {
			t.Fatalf("sample %d was not taken", i)
		}
	}
	samples := l.read()
	if last := samples[len(samples)-1]; len(samples) != loadKept || last != (LoadSample{at.UnixMilli(), 250, 50, 2000, 3}) {
		t.Errorf("%d samples, the last: %+v", len(samples), last)
	}
}
