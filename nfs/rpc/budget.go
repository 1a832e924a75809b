package rpc

import (
	"time"

	"bfsd/nfs/internal/bufpool"
)

// Memory is bounded for each connection (Limits.Bytes) and for all of them together (Limits.Total). So that those who hold
// all there is do not shut out the others, what is small comes out of a share that each connection has of its own
// (Limits.Share), and only bulk data out of what all have in common, first come, first served. Of that a connection gets more
// only while it holds little of it, compared with what is left (fairPart): so a few that read slowly leave the others room,
// and one that is alone may have as much as it can use. Who waits for some of that holds none of it for the call that it waits with, so nobody waits for ever; and while somebody waits, connections whose
// peers have stopped in the middle of something are closed, the one that holds most first.

const (
	// callCost is charged for every call, in bytes: its reply, and the stack of the goroutine that serves it.
	callCost = 2 << 10
	// smallMax is up to what a reservation is small, in bytes.
	smallMax = 32 << 10
	// fairPart is by how much what a connection holds of the common memory must be smaller than what is left of that, to get
	// more (Choudhury and Hahne, "Dynamic queue length thresholds", 1998). Of 256 MiB one connection gets 28 MiB, and 40 of
	// them, whose peers do not read, leave 2 MiB.
	fairPart = 8
	// plainRecord is the length up to which a record has no bulk data in it.
	plainRecord = 16 << 10
)

// recordCost is what a record of n bytes is charged: a large one the buffer that it takes, and as much again for what is
// made of it.
func recordCost(n int) int {
	if n <= plainRecord {
		return n
	}
	return 2 * bufpool.Room(n)
}

// grant is what is reserved for a call, in bytes.
type grant struct {
	small int // of the connection's own share
	bulk  int // of what all connections have in common
}

func (g grant) size() int { return g.small + g.bulk }

// reserve blocks until n more bytes may be held for the record that is being received: this is where a peer that asks for
// more than its share waits. Only the reading goroutine reserves.
func (c *conn) reserve(n int) error {
	limits := &c.srv.limits
	g := grant{small: n}
	if n > smallMax {
		g = grant{bulk: n}
	}
	c.mu.Lock()
	waited := false
	c.waiting = true
	for !c.stopping && c.calls > 0 && (c.bytes+n > limits.Bytes || c.calls >= limits.Calls || c.small+g.small > limits.Share || c.greedy(g)) {
		c.freed.Wait()
		waited = true
	}
	stopping := c.stopping
	c.waiting = false
	c.mu.Unlock()
	if stopping {
		return errStopped
	}
	if g.bulk > 0 && !c.srv.common.TryAcquire(int64(g.bulk)) {
		waited = true
		if !c.acquire(g.bulk) {
			return errStopped
		}
	}
	c.srv.bulk.Add(int64(g.bulk))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes, c.small = c.bytes+n, c.small+g.small
	c.held.small, c.held.bulk = c.held.small+g.small, c.held.bulk+g.bulk
	if c.stopping {
		return errStopped
	}
	if waited { // the peer is not to blame for this time
		c.progress.read.Store(time.Now().UnixNano())
		return c.nc.SetReadDeadline(time.Now().Add(limits.Read))
	}
	return nil
}

// greedy reports whether a connection that has some of what all have in common shall wait for its own calls to end before it
// gets more.
func (c *conn) greedy(g grant) bool {
	held := c.bytes - c.small
	return g.bulk > 0 && held > 0 && (held+g.bulk)*fairPart > c.srv.limits.Total-int(c.srv.bulk.Load())
}

// acquire waits for n bytes of what all connections have in common; false if the connection ends first.
func (c *conn) acquire(n int) bool {
	c.srv.count(EventMemory)
	c.setWaiting(true)
	defer c.setWaiting(false)
	got := make(chan struct{})
	defer close(got)
	go c.srv.relieveUntil(got)
	return c.srv.common.Acquire(c.reading, int64(n)) == nil
}

func (c *conn) setWaiting(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = waiting
}

// settle gives back what was reserved for the record in excess of its length, which was not known before.
func (c *conn) settle(length int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if excess := c.held.bulk - recordCost(length); excess > 0 {
		c.held.bulk -= excess
		c.bytes -= excess
		c.srv.giveBack(excess)
	}
}

// take gives what is reserved to the call whose record has arrived.
func (c *conn) take() grant {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.held
	c.held = grant{}
	return g
}

// free gives back what a call held.
func (c *conn) free(g grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freeLocked(g)
}

func (c *conn) freeLocked(g grant) {
	c.bytes -= g.size()
	c.small -= g.small
	c.srv.giveBack(g.bulk)
	c.freed.Signal() // the reader is the only one that waits
}

func (s *Server) giveBack(bulk int) {
	if bulk > 0 {
		s.bulk.Add(-int64(bulk))
		s.common.Release(int64(bulk))
	}
}

// relieveUntil makes room every now and then until done is closed.
func (s *Server) relieveUntil(done <-chan struct{}) {
	t := time.NewTicker(s.limits.Stall)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-t.C:
			s.relieve()
		}
	}
}

// relieve closes the connection that holds most of what all have in common, of those whose peers have neither sent nor
// accepted anything for Limits.Stall though it is their turn.
func (s *Server) relieve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var worst *conn
	most := 0
	for c := range s.conns {
		if bulk := c.stalled(s.limits.Stall); bulk > most {
			worst, most = c, bulk
		}
	}
	if worst == nil {
		return
	}
	s.count(EventStalled)
	s.complaints.warn(s.log, "memory is short: closed the connection of a peer that has stopped", "peer", worst.nc.RemoteAddr(), "bytes", most)
	worst.kill()
}

// stalled returns how much of what all have in common a connection holds whose peer has done nothing for d; 0 if the peer
// has, or need not.
func (c *conn) stalled(d time.Duration) (bulk int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	reading := c.receiving && !c.waiting && c.progress.silent(now) > d
	writing := c.writing && c.progress.stuck(c.nc, now) > d
	if c.dead || !reading && !writing {
		return 0
	}
	return c.bytes - c.small
}
