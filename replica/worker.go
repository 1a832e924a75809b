package replica

import (
	"fmt"
	"sync"
	"time"

	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

// worker does what would hold up the event loop: it hashes snapshots and writes checkpoints, in the order in which it is
// asked, on one goroutine.
type worker struct {
	node      *Node
	persisted Snapshot // the state that the store's pages are; nil: it has none

	mu     sync.Mutex
	wake   sync.Cond
	jobs   []func()
	closed bool
	done   chan struct{}
}

func newWorker(n *Node) *worker {
	w := &worker{node: n, done: make(chan struct{})}
	w.wake.L = &w.mu
	if k := len(n.snaps.pinned); k > 0 {
		w.persisted = n.snaps.pinned[k-1].state
	}
	go w.run()
	return w
}

// do queues a job. The protocol bounds how many there are: a checkpoint interval lies between two, and the window holds
// two intervals.
func (w *worker) do(job func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = append(w.jobs, job)
	w.wake.Signal()
}

func (w *worker) run() {
	defer close(w.done)
	for {
		w.mu.Lock()
		for len(w.jobs) == 0 && !w.closed {
			w.wake.Wait()
		}
		jobs := w.jobs
		w.jobs = nil
		w.mu.Unlock()
		if len(jobs) == 0 {
			return
		}
		for _, job := range jobs {
			job()
		}
	}
}

// close lets the queued jobs finish.
func (w *worker) close() {
	w.mu.Lock()
	w.closed = true
	w.wake.Signal()
	w.mu.Unlock()
	<-w.done
}

// root computes the root that a TakeSnapshot asks for.
func (w *worker) root(e pbft.TakeSnapshot, s Snapshot) {
	w.do(func() {
		root := s.Root()
		w.node.snaps.hashed(e.ID, root)
		w.node.post(func() { w.node.step(pbft.Snapshotted{ID: e.ID, Root: root}) })
	})
}

// release drops a snapshot after the jobs that were queued before and may use it.
func (w *worker) release(s Snapshot) {
	if s != nil {
		w.do(s.Release)
	}
}

// checkpoint makes a stable checkpoint durable and available to peers.
func (w *worker) checkpoint(e pbft.StableCheckpoint, s Snapshot) {
	if s == nil {
		panic(fmt.Sprintf("replica: checkpoint %d is stable, but no snapshot was kept for it", e.Seq))
	}
	w.do(func() { w.adopt(wire.CheckpointRef{Seq: e.Seq, Root: e.Root}, e.Proof, s) })
}

// adopt makes s the stable state: in the store, and for peers to fetch. It runs on the worker.
func (w *worker) adopt(at wire.CheckpointRef, proof []*wire.Checkpoint, s Snapshot) {
	if w.node.store != nil {
		meta := store.Meta{Seq: at.Seq, Root: at.Root, Size: s.Size(), Certificate: encodeProof(proof)}
		since, began := w.persisted, time.Now()
		err := w.node.store.Checkpoint(meta, since == nil, func(emit func(key, value []byte) error) error {
			return s.Diff(since, emit)
		})
		if err != nil {
			w.node.storeFailed(err)
			return
		}
		w.node.metrics.checkpoints.Observe(time.Since(began).Seconds())
	}
	w.persisted = s
	for _, dropped := range w.node.snaps.pin(pinnedState{at: at, proof: proof, state: s}, time.Now()) {
		dropped.Release()
	}
}
