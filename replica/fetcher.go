package replica

import (
	"context"
	"errors"
	"fmt"
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

// errStateGone says that no source keeps the state any longer.
var errStateGone = errors.New("no replica keeps that state any longer")

// fetchRetry is how long a source has to answer before the next one is asked.
const fetchRetry = 500 * time.Millisecond

// fetchRounds is how often all sources are asked for one node before the state is taken to be gone.
const fetchRounds = 10

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
	answers := make(chan wire.Message, 64)
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
				f.node.step(ev)
			}
		})
	}()
}

// restore does the work and returns the event that answers e; nil if ctx ended.
func (f *fetcher) restore(ctx context.Context, e pbft.FetchState, answers <-chan wire.Message) pbft.Event {
	began := time.Now()
	fetched := 0
	source := 0
	err := f.node.service.Restore(e.Root, func(d wire.Digest) ([]byte, error) {
		node, err := f.get(ctx, e, d, answers, &source)
		fetched++
		return node, err
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		f.node.log.Info("state not fetched", "replica", f.node.self, "seq", e.Seq, "err", err)
		return pbft.StateUnavailable{Seq: e.Seq, Root: e.Root}
	}
	f.node.log.Info("state fetched", "replica", f.node.self, "seq", e.Seq, "nodes", fetched, "took", time.Since(began))
	stable := make(chan struct{})
	s := f.node.service.Snapshot()
	f.node.worker.do(func() {
		f.node.worker.adopt(wire.CheckpointRef{Seq: e.Seq, Root: e.Root}, e.Proof, s)
		close(stable)
	})
	select {
	case <-stable:
	case <-ctx.Done(): // replaced; the loop must not have to wait for the worker, which may be waiting for the loop
		return nil
	}
	return pbft.StateFetched{Seq: e.Seq, Root: e.Root, Replies: clientTable(f.node.service)}
}

// get asks the sources in turn for the node with a digest. The service checks what comes against the digest, so a lie
// costs a round and nothing else.
func (f *fetcher) get(ctx context.Context, e pbft.FetchState, d wire.Digest, answers <-chan wire.Message, source *int) ([]byte, error) {
	retry := time.NewTimer(fetchRetry)
	defer retry.Stop()
	gone := make(map[wire.ReplicaID]bool)
	for range fetchRounds * len(e.Sources) {
		from := e.Sources[*source%len(e.Sources)]
		ask := &wire.Fetch{Replica: f.node.self, Root: e.Root, Digests: []wire.Digest{d}}
		f.node.send(wire.Principal{Role: wire.RoleReplica, ID: uint32(from)}, wire.Encode(ask))
		retry.Reset(fetchRetry)
		node, lacks, err := f.await(ctx, e.Root, d, from, answers, retry)
		if err != nil || node != nil {
			return node, err
		}
		if lacks {
			gone[from] = true
		}
		if len(gone) == len(e.Sources) {
			return nil, errStateGone
		}
		*source++
	}
	return nil, fmt.Errorf("fetching a node of the state: %d sources did not answer %d times", len(e.Sources), fetchRounds)
}

// await waits for the node, for the source's word that it lacks it, or for the retry timer.
func (f *fetcher) await(ctx context.Context, root, d wire.Digest, from wire.ReplicaID, answers <-chan wire.Message, retry *time.Timer) (node []byte, lacks bool, err error) {
	for {
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-retry.C:
			return nil, false, nil
		case m := <-answers:
			switch m := m.(type) {
			case *wire.Data:
				if m.Root != root || m.Replica != from {
					continue
				}
				for _, node := range m.Nodes {
					if wire.ResultDigest(node) == d {
						return node, false, nil
					}
				}
				return nil, true, nil
			case *wire.MetaData:
				if m.Root == root && m.Replica == from {
					return nil, true, nil
				}
			}
		}
	}
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
