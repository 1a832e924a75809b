package replica

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// Flow is the way of one batch, as one replica saw it: the messages of the normal case (TOCS figure 1) that it sent and
// received. The request shown is the batch's first.
type Flow struct {
	Seq      uint64     `json:"seq"`
	View     uint64     `json:"view"`
	Client   uint32     `json:"client"`
	Slot     uint32     `json:"slot"`
	Number   uint64     `json:"number"`
	Requests int        `json:"requests"` // in the batch; 0: not known yet
	Steps    []FlowStep `json:"steps"`
}

// FlowStep is one message that was sent or received, or the batch's execution.
type FlowStep struct {
	What string `json:"what"` // request, pre-prepare, prepare, commit, execute, reply
	From int    `json:"from"` // a replica; FlowClient: the client. -2 for this replica's own sending to all others
	AtUs int64  `json:"at_us"`
}

// Who a step's From can be, besides a replica.
const (
	FlowClient = -1
	FlowSent   = -2 // this replica itself sent it
)

// The steps' names.
const (
	FlowRequest    = "request"
	FlowPrePrepare = "pre-prepare"
	FlowPrepare    = "prepare"
	FlowCommit     = "commit"
	FlowExecute    = "execute"
	FlowReply      = "reply"
)

// flows keeps the ways of some recent batches while somebody watches. Nobody watching, it costs the event loop one atomic
// read for each message.
//
// All replicas must keep the same batches, for a picture is put together from all of them, whatever the load: so the last
// flowsKept of those numbers that are no multiple of 16 are kept, the last of those that are one, and the last of the
// multiples of 256. At 5000 batches a second the latter still reach back some seconds.
type flows struct {
	watched atomic.Bool

	mu       sync.Mutex
	until    time.Time
	kept     [flowClasses][flowsKept]Flow
	arrivals [256]arrival // of requests that are not in a batch yet
	next     int
}

type arrival struct {
	client wire.ClientID
	slot   wire.Slot
	number uint64
	at     time.Time
}

const (
	flowClasses  = 3
	flowsKept    = 32
	flowStepsMax = 128
	flowPatience = 10 * time.Second // after the last look, nobody watches any more
)

// watch has flows kept for a while, and returns those that are.
func (f *flows) watch(now time.Time) []Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = now.Add(flowPatience)
	f.watched.Store(true)
	var all []Flow
	for i := range f.kept {
		for j := range f.kept[i] {
			if k := &f.kept[i][j]; k.Seq != 0 {
				flow := *k
				flow.Steps = slices.Clone(k.Steps)
				all = append(all, flow)
			}
		}
	}
	slices.SortFunc(all, func(a, b Flow) int { return int(int64(b.Seq) - int64(a.Seq)) })
	return all
}

// rest stops keeping flows when nobody has looked for long.
func (f *flows) rest(now time.Time) {
	if !f.watched.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.After(f.until) {
		f.watched.Store(false)
		f.kept = [flowClasses][flowsKept]Flow{}
		f.arrivals = [256]arrival{}
	}
}

// at finds the place of a batch; nil if a newer one has it. The mutex is held.
func (f *flows) at(seq wire.Seq, view wire.View) *Flow {
	class := min(bits.TrailingZeros64(uint64(seq))/4, flowClasses-1)
	k := &f.kept[class][uint64(seq)>>(4*class)%flowsKept]
	if k.Seq > uint64(seq) {
		return nil
	}
	if k.Seq != uint64(seq) || k.View < uint64(view) {
		*k = Flow{Seq: uint64(seq), View: uint64(view)}
	}
	return k
}

func (f *flows) step(seq wire.Seq, view wire.View, what string, from int, now time.Time) {
	if k := f.at(seq, view); k != nil && len(k.Steps) < flowStepsMax {
		k.Steps = append(k.Steps, FlowStep{What: what, From: from, AtUs: now.UnixMicro()})
	}
}

// saw notes a message that was received (from a replica or FlowClient) or sent to all (FlowSent). Those of the window count
// only: a faulty replica cannot have anything else kept.
func (f *flows) saw(m wire.Message, from int, info *pbft.Info) {
	now := time.Now()
	within := func(seq wire.Seq) bool { return seq > info.Low && seq <= info.High }
	f.mu.Lock()
	defer f.mu.Unlock()
	commits := func(view wire.View, votes []wire.SlotVote) {
		for _, v := range votes {
			if within(v.Seq) {
				f.step(v.Seq, view, FlowCommit, from, now)
			}
		}
	}
	switch m := m.(type) {
	case *wire.Request:
		if from == FlowClient && !m.ReadOnly() {
			f.arrivals[f.next%len(f.arrivals)] = arrival{m.Client, m.Slot, m.Number, now}
			f.next++
		}
	case *wire.PrePrepare:
		commits(m.View, m.Commits)
		if within(m.Seq) {
			f.prePrepare(m, from, now)
		}
	case *wire.Prepare:
		commits(m.View, m.Commits)
		if within(m.Seq) {
			f.step(m.Seq, m.View, FlowPrepare, from, now)
		}
	case *wire.Commit:
		if within(m.Seq) {
			f.step(m.Seq, m.View, FlowCommit, from, now)
		}
	}
}

func (f *flows) prePrepare(m *wire.PrePrepare, from int, now time.Time) {
	f.step(m.Seq, m.View, FlowPrePrepare, from, now)
	k := f.at(m.Seq, m.View)
	if k == nil {
		return
	}
	k.Requests = len(m.Requests())
	if k.Requests > 0 && m.Requests()[0] != nil {
		f.identify(k, m.Requests()[0])
	}
}

// identify notes which request a flow is of, and when that arrived.
func (f *flows) identify(k *Flow, r *wire.Request) {
	if k.Number != 0 {
		return
	}
	k.Client, k.Slot, k.Number = uint32(r.Client), uint32(r.Slot), r.Number
	for i := range f.arrivals {
		if a := &f.arrivals[i]; a.client == r.Client && a.slot == r.Slot && a.number == r.Number && !a.at.IsZero() {
			k.Steps = append(k.Steps, FlowStep{What: FlowRequest, From: FlowClient, AtUs: a.at.UnixMicro()})
		}
	}
}

// executed notes that a batch was executed.
func (f *flows) executed(e *pbft.Execute) {
	f.mu.Lock()
	defer f.mu.Unlock()
	class := min(bits.TrailingZeros64(uint64(e.Seq))/4, flowClasses-1)
	k := &f.kept[class][uint64(e.Seq)>>(4*class)%flowsKept]
	if k.Seq != uint64(e.Seq) || len(k.Steps) >= flowStepsMax {
		return
	}
	f.identify(k, e.Requests[0])
	k.Steps = append(k.Steps, FlowStep{What: FlowExecute, From: FlowSent, AtUs: time.Now().UnixMicro()})
}

// replied notes that a reply was sent, if it is one to a request that a flow shows.
func (f *flows) replied(r *wire.Reply) {
	if r.ReadOnly {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.kept {
		for j := range f.kept[i] {
			k := &f.kept[i][j]
			if k.Number == r.Number && k.Client == uint32(r.Client) && k.Slot == uint32(r.Slot) && len(k.Steps) < flowStepsMax {
				k.Steps = append(k.Steps, FlowStep{What: FlowReply, From: FlowSent, AtUs: time.Now().UnixMicro()})
				return
			}
		}
	}
}
