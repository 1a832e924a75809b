package replica

import (
	"context"
	"errors"
	"sync"
	"time"

	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// fetcher restores the service to a state that other replicas have (state transfer, TOCS §4.6). While it runs, the loop
// keeps away from the service; the node goes on taking part in the protocol.
type fetcher struct {
	node *Node

	// The loop's.
	active     bool
	generation uint64 // counts the fetches, so that the end of a replaced one is not taken for the end of this
	stop       context.CancelFunc
	ended      chan struct{} // closed when the current fetch's goroutine has ended

	mu      sync.Mutex
	answers chan wire.Message // where deliver puts what peers send; nil while nothing is fetched
}

// errStateGone says that no source keeps the state any longer, or that none sends it unchanged.
var errStateGone = errors.New("no replica sends that state any longer")

const (
	// fetchRetry is how long a source has to answer before others are asked. While nobody answers it doubles, up to
	// fetchRetryMax.
	fetchRetry    = 500 * time.Millisecond
	fetchRetryMax = 2 * time.Second
	// fetchRounds is how often a source may fail to answer in time before it is given up.
	fetchRounds = 10
	// fetchChunk is how many nodes one FETCH asks for: pages of 4 KiB, so some 256 KiB.
	fetchChunk = 64
	// fetchAhead is how many FETCHes one source has to answer at a time.
	fetchAhead = 4
)

func newFetcher(n *Node) *fetcher { return &fetcher{node: n} }

// running reports, on the loop, whether the service is being replaced.
func (f *fetcher) running() bool { return f.active }

// cancel ends the current fetch, if any, and waits for it.
func (f *fetcher) cancel() {
	if f.stop == nil {
		return
	}
	f.stop()
	<-f.ended
	f.stop = nil
}

// start begins to fetch a state, in place of whatever was being fetched.
func (f *fetcher) start(e pbft.FetchState) {
	f.cancel()
	ctx, stop := context.WithCancel(context.Background())
	f.stop, f.ended = stop, make(chan struct{})
	f.active = true
	f.generation++
	generation, ended := f.generation, f.ended
	answers := make(chan wire.Message, fetchAhead*len(e.Sources)+16)
	f.mu.Lock()
	f.answers = answers
	f.mu.Unlock()
	go func() {
		defer close(ended)
		ev := f.restore(ctx, e, answers)
		if ev == nil {
			return // replaced, or the node stops
		}
		f.node.postUntil(ctx, func() {
			if f.generation == generation {
				f.active = false
				f.node.keys.install(f.node, true)
				f.node.step(ev)
			}
		})
	}()
}

// restore does the work and returns the event that answers e; nil if ctx ended.
func (f *fetcher) restore(ctx context.Context, e pbft.FetchState, answers <-chan wire.Message) pbft.Event {
	began := time.Now()
	d := newDownload(e.Root, e.Sources, answers, func(to wire.Principal, digests []wire.Digest) {
		f.node.send(to, wire.Encode(&wire.Fetch{Replica: f.node.self, Root: e.Root, Digests: digests}))
	})
	f.node.progress.fetching(d, e.Seq)
	s, written, err := f.node.worker.restore(e, func(each func(key, value []byte) error) error {
		return f.node.service.Restore(e.Root, func(more []wire.Digest) ([]StateNode, error) {
			return d.fetch(ctx, more)
		}, func(bytes uint64) { d.kept.Add(bytes) }, each)
	})
	f.node.progress.fetched(d, err == nil)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		f.node.log.Info("state not fetched", "replica", f.node.self, "seq", e.Seq, "err", err)
		return pbft.StateUnavailable{Seq: e.Seq, Root: e.Root}
	}
	f.node.log.Info("state fetched", "replica", f.node.self, "seq", e.Seq, "nodes", d.fetched.Load(), "bytes", d.bytes.Load(), "took", time.Since(began))
	stable := make(chan struct{})
	f.node.worker.do(func() {
		f.node.worker.adopt(wire.CheckpointRef{Seq: e.Seq, Root: e.Root}, e.Proof, s, written)
		close(stable)
	})
	select {
	case <-stable:
	case <-ctx.Done(): // replaced; the loop must not have to wait for the worker, which may be waiting for the loop
		return nil
	}
	return pbft.StateFetched{Seq: e.Seq, Root: e.Root, Replies: clientTable(f.node.service)}
}

// deliver takes an answer, on the goroutine of the link it came on. What nobody waits for is dropped.
func (f *fetcher) deliver(m wire.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.answers <- m:
	default:
	}
}

// clientTable reads the client table from the service's state.
func clientTable(s Service) []pbft.ClientReply {
	var table []pbft.ClientReply
	s.Replies(func(c wire.ClientID, slot wire.Slot, number uint64, result []byte) bool {
		table = append(table, pbft.ClientReply{Client: c, Slot: slot, Number: number, Result: result})
		return true
	})
	return table
}
