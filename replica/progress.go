package replica

import (
	"fmt"
	"sync"
	"time"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// Rejoin says how a replica that is behind comes up to the others, and how it did before (PROTOCOL: by its log, by DECIDED,
// or by state transfer).
type Rejoin struct {
	How      RejoinHow `json:"how"`      // "" when it is not behind
	Executed uint64    `json:"executed"` // the last batch executed and committed
	Target   uint64    `json:"target"`   // how far a correct replica has certainly got

	// Of the state transfer that is under way.
	FetchedBytes uint64 `json:"fetched_bytes"`
	FetchedNodes uint64 `json:"fetched_nodes"`
	KeptBytes    uint64 `json:"kept_bytes"`  // were here already, and need not be fetched
	StateBytes   uint64 `json:"state_bytes"` // the whole state, as the others say; 0: not known yet

	Rate   float64 `json:"rate"`    // per second: bytes of a state transfer, else batches
	LeftMs int64   `json:"left_ms"` // estimate of the time left, under the present load; -1: none can be given

	// Since the process started.
	LoadedBytes      uint64 `json:"loaded_bytes"`      // of the checkpoint in its store
	LoadMs           int64  `json:"load_ms"`           // until it could take part, or so far
	Replayed         uint64 `json:"replayed"`          // batches executed again from its own log
	Adopted          uint64 `json:"adopted"`           // batches that others vouched for (DECIDED)
	Transfers        uint64 `json:"transfers"`         // state transfers that were finished
	TransferredBytes uint64 `json:"transferred_bytes"` // bytes that they fetched
}

// RejoinHow is a way to come up to the others.
type RejoinHow string

// The ways, from the cheapest to the dearest; before them what a replica does when it starts.
const (
	RejoinNone     RejoinHow = ""
	RejoinOpening  RejoinHow = "opening store"
	RejoinLoading  RejoinHow = "loading checkpoint"
	RejoinChecking RejoinHow = "checking checkpoint" // its root is computed
	RejoinReplay   RejoinHow = "replaying log"
	RejoinMessages RejoinHow = "messages"       // the others send the protocol's messages again
	RejoinDecided  RejoinHow = "decided"        // f+1 others vouch for what committed
	RejoinTransfer RejoinHow = "state transfer" // the state is fetched
)

// Starting says that the replica does not take part yet.
func (h RejoinHow) Starting() bool {
	switch h {
	case RejoinOpening, RejoinLoading, RejoinChecking, RejoinReplay:
		return true
	case RejoinNone, RejoinMessages, RejoinDecided, RejoinTransfer:
	}
	return false
}

// behind is by how many batches.
func (r Rejoin) behind() uint64 { return r.Target - min(r.Target, r.Executed) }

// String tells a person where the replica is.
func (r Rejoin) String() string {
	left := ""
	if r.LeftMs >= 0 {
		left = fmt.Sprintf(", about %v left", (time.Duration(r.LeftMs) * time.Millisecond).Round(100*time.Millisecond))
	}
	const mib = 1 << 20
	of := ""
	if r.StateBytes > 0 {
		of = fmt.Sprintf(" of %.1f MiB", float64(r.StateBytes)/mib)
	}
	switch r.How {
	case RejoinNone:
		return "up to date"
	case RejoinTransfer:
		return fmt.Sprintf("fetches the state of batch %d: %.1f MiB%s, at %.1f MiB/s%s", r.Target, float64(r.FetchedBytes+r.KeptBytes)/mib, of, r.Rate/mib, left)
	case RejoinOpening:
		return "starts: it opens its store"
	case RejoinLoading:
		return fmt.Sprintf("starts: it loads its checkpoint, %.1f MiB%s, at %.1f MiB/s%s", float64(r.LoadedBytes)/mib, of, r.Rate/mib, left)
	case RejoinChecking:
		return fmt.Sprintf("starts: it has loaded %.1f MiB and compares them with their certificate", float64(r.LoadedBytes)/mib)
	case RejoinReplay:
		return "starts: it executes its log again"
	case RejoinMessages, RejoinDecided:
	}
	by := "messages sent again"
	if r.How == RejoinDecided {
		by = "what the others decided"
	}
	return fmt.Sprintf("catches up by %s: batch %d of %d, %.0f batches/s%s", by, r.Executed, r.Target, r.Rate, left)
}

// progress follows how this replica comes up to the others. The loop observes, anybody may ask.
type progress struct {
	mu       sync.Mutex
	slack    wire.Seq // batches in flight are no lag
	samples  []sample // the newest last
	executed wire.Seq // as in a sample, but newer maybe
	ahead    wire.Seq
	totals   Rejoin
	download *download // under way; nil: none
	fetches  wire.Seq  // the checkpoint that it is of
}

// sample is where the replica was at a time.
type sample struct {
	at              time.Time
	executed, ahead wire.Seq
	adopted         uint64
	bytes           uint64 // of the state transfer under way
	download        *download
}

const (
	sampleEvery = 250 * time.Millisecond
	samplesKept = 20 // so a rate is that of the last five seconds
)

// resumed notes what the log brought back, after the core's first Tick.
func (p *progress) resumed(info pbft.Info) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals.Replayed = uint64(info.Executed - min(info.Executed, info.Stable.Seq))
}

// adopted counts a batch that others vouched for.
func (p *progress) adopted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals.Adopted++
}

// fetching and fetched say when a state transfer begins and ends.
func (p *progress) fetching(d *download, seq wire.Seq) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.download, p.fetches = d, seq
}

func (p *progress) fetched(d *download, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.download == d {
		p.download = nil
	}
	p.totals.TransferredBytes += d.bytes.Load()
	if whole {
		p.totals.Transfers++
	}
}

// observe takes a sample, now and then.
func (p *progress) observe(now time.Time, core *pbft.Core) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := len(p.samples); k > 0 && now.Sub(p.samples[k-1].at) < sampleEvery {
		return
	}
	p.add(sample{at: now, executed: core.Info().Committed, ahead: core.Ahead()})
}

// look takes note of where the replica is just now, for a report that follows: it may have arrived since the last sample.
func (p *progress) look(core *pbft.Core) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.executed, p.ahead = core.Info().Committed, core.Ahead()
}

func (p *progress) add(s sample) {
	s.adopted, s.download = p.totals.Adopted, p.download
	if p.download != nil {
		s.bytes = p.download.bytes.Load() + p.download.kept.Load()
	}
	if len(p.samples) == samplesKept {
		p.samples = append(p.samples[:0], p.samples[1:]...)
	}
	p.samples = append(p.samples, s)
	p.executed, p.ahead = s.executed, s.ahead
}

// report says where the replica is.
func (p *progress) report(now time.Time) Rejoin {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.totals
	r.LeftMs = -1
	k := len(p.samples)
	if k == 0 {
		return r
	}
	last := p.samples[k-1]
	r.Executed, r.Target = uint64(p.executed), uint64(max(p.executed, p.ahead))
	switch d := p.download; {
	case d != nil:
		p.transfer(&r, d, now)
	case r.behind() > uint64(p.slack):
		p.batches(&r, last)
	}
	return r
}

// transfer tells of a state transfer.
func (p *progress) transfer(r *Rejoin, d *download, now time.Time) {
	r.How, r.Target = RejoinTransfer, uint64(p.fetches)
	r.FetchedBytes, r.FetchedNodes, r.KeptBytes, r.StateBytes = d.bytes.Load(), d.fetched.Load(), d.kept.Load(), d.size()
	done := r.FetchedBytes + r.KeptBytes
	for _, s := range p.samples {
		if s.download == d {
			r.Rate = rate(float64(done-min(done, s.bytes)), now.Sub(s.at))
			break
		}
	}
	if r.StateBytes > 0 {
		r.LeftMs = left(float64(r.StateBytes-min(r.StateBytes, done)), r.Rate)
	}
}

// batches tells of catching up batch by batch. The others go on meanwhile, so the time left depends on how fast the
// distance shrinks.
func (p *progress) batches(r *Rejoin, last sample) {
	first := last
	for i := len(p.samples) - 1; i >= 0 && p.samples[i].download == nil; i-- { // while it executed, and did not fetch
		first = p.samples[i]
	}
	r.How = RejoinMessages
	if last.adopted > first.adopted {
		r.How = RejoinDecided
	}
	took := last.at.Sub(first.at)
	r.Rate = rate(float64(last.executed-min(last.executed, first.executed)), took)
	gained := float64(last.executed) - float64(first.executed) - (float64(last.ahead) - float64(first.ahead))
	r.LeftMs = left(float64(r.behind()), rate(gained, took))
}

func rate(amount float64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return amount / took.Seconds()
}

// left is how many milliseconds an amount takes at a rate; -1 if it never comes to an end.
func left(amount, perSecond float64) int64 {
	const longest = 100 * 24 * time.Hour
	if perSecond <= 0 || amount/perSecond > longest.Seconds() {
		return -1
	}
	return int64(amount / perSecond * 1000)
}
