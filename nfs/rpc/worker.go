package rpc

import (
	"sync"
	"sync/atomic"

	"bfsd/nfs/internal/bufpool"
)

// idleWorkersMax is how many workers wait for calls when there are none.
const idleWorkersMax = 64

// task is one call to be served.
type task struct {
	conn   *conn
	call   Call
	deny   *denial         // why it is refused, or nil
	record *bufpool.Buffer // what the call was decoded from
	cost   grant           // what is reserved for it
}

// workers are the goroutines that serve calls. A call never waits for one: if none is idle, another is started. They
// are kept for the next calls because a stack that has grown deep enough for a handler is worth keeping: growing it
// anew was a sixth of the processor time of a GETATTR.
type workers struct {
	idle    chan task // received from by those that wait
	waiting atomic.Int32
	wg      sync.WaitGroup
	stopped sync.Once
}

// start gives a call to a worker.
func (s *Server) start(t task) {
	select {
	case s.workers.idle <- t:
	default:
		s.workers.wg.Go(func() { s.workers.run(t) })
	}
}

// run serves calls until there are none and enough others wait for them.
func (w *workers) run(t task) {
	for more := true; more; {
		t.conn.serve(&t)
		t = task{} // or an idle worker would keep its last call alive
		if w.waiting.Add(1) > idleWorkersMax {
			w.waiting.Add(-1)
			return
		}
		t, more = <-w.idle
		w.waiting.Add(-1)
	}
}

// stop ends the workers, after all connections have ended.
func (w *workers) stop() {
	w.stopped.Do(func() { close(w.idle) })
	w.wg.Wait()
}
