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
	node *Node

	writing   sync.Mutex // held by who writes into the store, but for the log, or decides what to write
	persisted Snapshot   // the state that the store's pages are; nil: it has none
	at        wire.Seq   // its sequence number

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
		w.persisted, w.at = n.snaps.pinned[k-1].state, n.snaps.pinned[k-1].at.Seq
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
	w.do(func() { w.adopt(wire.CheckpointRef{Seq: e.Seq, Root: e.Root}, e.Proof, s, false) })
}

// restore has the service restore a state, and returns it. If the store has no checkpoint yet, the state's pages are written into
// it while they come, to appear there in one step with the certificate, once the service has found all of it to be what the
// certificate says; a replica that is killed before has none of it (store.Checkpoint). It runs on the fetcher's goroutine, which
// has the service for itself.
func (w *worker) restore(e pbft.FetchState, restore func(each func(key, value []byte) error) error) (s Snapshot, written bool, err error) {
	w.writing.Lock()
	if w.node.store == nil || w.persisted != nil {
		w.writing.Unlock()
		if err := restore(nil); err != nil {
			return nil, false, err
		}
		return w.node.service.Snapshot(), false, nil
	}
	defer w.writing.Unlock()
	var failed, unwritten error
	meta := store.Meta{Seq: e.Seq, Root: e.Root, Certificate: encodeProof(e.Proof)}
	err = w.node.store.Checkpoint(meta, true, func(emit func(key, value []byte) error) error {
		failed = restore(func(key, value []byte) error {
			unwritten = emit(key, value)
			return unwritten
		})
		return failed
	})
	if failed != nil && unwritten == nil {
		return nil, false, failed
	}
	if err != nil {
		w.node.storeFailed(err)
		return nil, false, err
	}
	w.persisted, w.at = w.node.service.Snapshot(), e.Seq
	return w.persisted, true, nil
}

// adopt makes s the stable state: in the store, unless it was written there, and for peers to fetch. It runs on the worker.
func (w *worker) adopt(at wire.CheckpointRef, proof []*wire.Checkpoint, s Snapshot, written bool) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if at.Seq < w.at { // a newer one was restored meanwhile
		s.Release()
		return
	}
	if w.node.store != nil && !written {
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
	w.persisted, w.at = s, at.Seq
	for _, dropped := range w.node.snaps.pin(pinnedState{at: at, proof: proof, state: s}, time.Now()) {
		dropped.Release()
	}
}

// settle tells the store that nothing is in doubt any more. It runs on the worker.
func (w *worker) settle() {
	w.writing.Lock()
	defer w.writing.Unlock()
	if err := w.node.store.Settle(); err != nil {
		w.node.storeFailed(err)
	}
}
