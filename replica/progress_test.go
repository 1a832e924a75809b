package replica

import (
	"math"
	"testing"
	"time"

	"bfsd/replica/wire"
)

// followed plays samples, a quarter of a second apart, and reports after the last.
func followed(p *progress, samples int, at func(i int) (executed, ahead wire.Seq)) Rejoin {
	now := time.Unix(1000, 0)
	for i := range samples {
		executed, ahead := at(i)
		p.add(sample{at: now, executed: executed, ahead: ahead})
		now = now.Add(sampleEvery)
	}
	return p.report(now.Add(-sampleEvery))
}

func TestAReplicaThatKeepsUpIsNotBehind(t *testing.T) {
	p := &progress{slack: 8}
	r := followed(p, 30, func(i int) (wire.Seq, wire.Seq) { return wire.Seq(100 * i), wire.Seq(100*i + 8) })
	if r.How != RejoinNone || r.String() != "up to date" {
		t.Errorf("%+v", r)
	}
	if r := (&progress{}).report(time.Now()); r.How != RejoinNone || r.LeftMs != -1 {
		t.Errorf("before the first sample: %+v", r)
	}
}

func TestTheTimeLeftFollowsFromHowFastTheDistanceShrinks(t *testing.T) {
	for _, tc := range []struct {
		name             string
		executed, others int // batches in a quarter of a second
		rate             float64
		left             int64
	}{
		{"the others rest", 100, 0, 400, 20_250},
		{"the others go on", 100, 50, 400, 45_250},
		{"the others are as fast", 100, 100, 400, -1},
		{"the others are faster", 100, 150, 400, -1},
	} {
		p := &progress{slack: 8}
		r := followed(p, 20, func(i int) (wire.Seq, wire.Seq) { return wire.Seq(tc.executed * i), wire.Seq(10_000 + tc.others*i) })
		if r.How != RejoinMessages || r.Rate != tc.rate || tc.left < 0 != (r.LeftMs < 0) || math.Abs(float64(r.LeftMs-tc.left)) > 250 {
			t.Errorf("%s: %+v (%v), want %v batches/s and %d ms", tc.name, r, r, tc.rate, tc.left)
		}
	}
}

func TestWhoAdoptsWhatOthersDecidedSaysSo(t *testing.T) {
	p := &progress{slack: 8}
	r := followed(p, 10, func(i int) (wire.Seq, wire.Seq) {
		p.adopted()
		return wire.Seq(i), 1000
	})
	if r.How != RejoinDecided || r.Adopted != 10 {
		t.Errorf("%+v", r)
	}
}

func TestAStateTransferTellsHowFarItIs(t *testing.T) {
	p := &progress{slack: 8}
	d := newDownload(wire.Digest{1}, []wire.ReplicaID{0, 1, 2}, nil, nil)
	followed(p, 4, func(int) (wire.Seq, wire.Seq) { return 10, 5000 })
	p.fetching(d, 5000)
	for i, size := range []uint64{1000 << 20, 1 << 60, 1000 << 20} { // one lies
		d.sources[i].size.Store(size)
	}
	d.kept.Store(200 << 20)
	r := followed(p, 9, func(i int) (wire.Seq, wire.Seq) {
		d.bytes.Store(uint64(i) * 25 << 20)
		return 10, 5000
	})
	const mib = 1 << 20
	if r.How != RejoinTransfer || r.StateBytes != 1000*mib || r.FetchedBytes != 200*mib || r.KeptBytes != 200*mib {
		t.Errorf("%+v", r)
	}
	if math.Abs(r.Rate-100*mib) > 20*mib || math.Abs(float64(r.LeftMs)-6000) > 1500 {
		t.Errorf("%v: want 100 MiB/s and 6 s", r)
	}
	p.fetched(d, true)
	if r := p.report(time.Unix(2000, 0)); r.How == RejoinTransfer || r.Transfers != 1 || r.TransferredBytes != 200*mib {
		t.Errorf("after it: %+v", r)
	}
}
