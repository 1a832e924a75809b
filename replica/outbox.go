package replica

import (
	"sync"
	"sync/atomic"

	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

// departure is a frame that is ready to leave, once what it promises is durable.
type departure struct {
	to    wire.Principal
	frame []byte
}

// outbox lets frames leave only after the log records that came before them are durable (ARCHITECTURE.md, decision 6).
// The event loop adds records and frames in order; one goroutine commits the records, many at a time with one sync, and
// then lets the frames go. The loop does not wait for the disk. Without a store frames leave at once.
type outbox struct {
	store *store.Store // nil: durability memory
	send  func(to wire.Principal, frame []byte)
	fail  func(error)           // called once if the log cannot be written; nothing leaves any more
	watch func() (ended func()) // told when the log is written, and when it has been

	current  departures   // what the loop has gathered since the last flush
	inFlight atomic.Int64 // flushes that have not left

	mu     sync.Mutex
	wake   sync.Cond
	queue  []departures
	closed bool
	done   chan struct{}
}

// departures are frames that leave together after a group of records.
type departures struct {
	group  *store.Group // nil: no records
	frames []departure
	then   []func() // what else waits for the records
}

// outboxFlushes bounds the flushes that wait for the disk; past it the loop waits too, and so do those who send to it.
const outboxFlushes = 256

func newOutbox(s *store.Store, send func(wire.Principal, []byte), fail func(error)) *outbox {
	o := &outbox{store: s, send: send, fail: fail, done: make(chan struct{})}
	o.wake.L = &o.mu
	if s == nil {
		close(o.done)
	} else {
		go o.run()
	}
	return o
}

// record adds a log record; every frame added after it waits for it.
func (o *outbox) record(r pbft.Persist) error {
	if o.store == nil {
		return nil
	}
	// Frames that were added before the record do not depend on it, but share its flush: they wait a fraction of a sync,
	// and the loop spares a flush.
	if r.Seq == 0 {
		return o.store.AppendView(r.View, r.Record)
	}
	return o.store.Append(r.Seq, r.Record)
}

// then has f called, on the outbox's goroutine, once all records added so far are durable.
func (o *outbox) then(f func()) { o.current.then = append(o.current.then, f) }

// frame adds a frame.
func (o *outbox) frame(to wire.Principal, frame []byte) {
	if o.store == nil {
		o.send(to, frame)
		return
	}
	o.current.frames = append(o.current.frames, departure{to, frame})
}

// flush hands what was gathered to the disk and the links.
func (o *outbox) flush() {
	if o.store == nil {
		return
	}
	d := o.current
	var err error
	if d.group, err = o.store.Cut(); err != nil {
		o.fail(err)
		return
	}
	o.current = departures{}
	if d.group == nil && len(d.frames) == 0 && len(d.then) == 0 {
		return
	}
	if d.group == nil && o.inFlight.Load() == 0 {
		o.depart(d) // nothing to wait for: all earlier records are durable
		return
	}
	o.inFlight.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) >= outboxFlushes && !o.closed {
		o.wake.Wait()
	}
	o.queue = append(o.queue, d)
	o.wake.Broadcast()
}

// run commits and sends until the outbox is closed and empty, or the disk fails.
func (o *outbox) run() {
	defer close(o.done)
	for {
		o.mu.Lock()
		for len(o.queue) == 0 && !o.closed {
			o.wake.Wait()
		}
		batch := o.queue
		o.queue = nil
		o.wake.Broadcast()
		o.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		var groups []*store.Group
		for _, d := range batch {
			if d.group != nil {
				groups = append(groups, d.group)
			}
		}
		if err := o.commit(groups); err != nil {
			o.fail(err)
			o.mu.Lock()
			o.closed = true
			o.wake.Broadcast()
			o.mu.Unlock()
			return
		}
		for _, d := range batch {
			o.depart(d)
		}
		o.inFlight.Add(-int64(len(batch)))
	}
}

func (o *outbox) commit(groups []*store.Group) error {
	if o.watch != nil && len(groups) > 0 {
		defer o.watch()()
	}
	return o.store.Commit(groups...)
}

func (o *outbox) depart(d departures) {
	for _, f := range d.frames {
		o.send(f.to, f.frame)
	}
	for _, f := range d.then {
		f()
	}
}

// close waits until what was flushed has left.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.wake.Broadcast()
	o.mu.Unlock()
	<-o.done
}
