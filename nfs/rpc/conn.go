package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"bfsd/nfs/internal/bufpool"
)

var (
	// errStopped ends a connection's reading on the server's own wish.
	errStopped = errors.New("rpc: connection is being closed")
	// errBadRecord ends that of one on which something came that has no call header.
	errBadRecord = errors.New("rpc: bad record")
	// errIdle ends that of one that has been idle for too long.
	errIdle = fmt.Errorf("rpc: connection is idle: %w", os.ErrDeadlineExceeded)
)

// conn is one connection. One goroutine (run) reads; each call has one of the server's workers (worker.go) to itself;
// whichever of those finishes a reply while nobody writes does the writing (reply.go).
type conn struct {
	srv    *Server
	nc     net.Conn
	peer   netip.Addr
	local  netip.Addr
	reader *recordReader
	ctx    context.Context // ends when the connection is beyond use
	cancel context.CancelFunc

	reading     context.Context // ends when nothing more is to be read
	stopReading context.CancelFunc
	progress    progress

	handlers sync.WaitGroup

	mu       sync.Mutex
	freed    sync.Cond                  // calls or bytes fell, or stopping was set
	calls    int                        // in flight: from the record's arrival to the reply's departure
	running  map[uint32]*bufpool.Buffer // the records of those that are being served, by transaction id
	bytes    int                        // reserved for the above, and for the record that is being received
	small    int                        // of these, out of the connection's own share
	held     grant                      // of these, for the record that is being received
	idle     time.Time                  // when something last happened; counts while calls is 0
	stopping bool                       // read nothing more, finish what is in flight, close
	dead     bool                       // the socket is closed, replies go nowhere

	receiving bool     // a record has begun to arrive
	waiting   bool     // for memory to receive it
	out       []*reply // finished, not yet taken by a writer
	writing   bool     // a goroutine is writing
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, idle: time.Now(), running: make(map[uint32]*bufpool.Buffer)}
	c.freed.L = &c.mu
	c.peer = peerOf(nc)
	if a, ok := nc.LocalAddr().(*net.TCPAddr); ok {
		c.local = a.AddrPort().Addr().Unmap()
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.reading, c.stopReading = context.WithCancel(c.ctx)
	c.reader = newRecordReader(watchedReader{nc, &c.progress}, &s.pool, s.limits.Record, func(n int) error { return c.reserve(recordCost(n)) })
	return c
}

// peerOf is the address of a connection's other end; the zero Addr if it has none.
func peerOf(nc net.Conn) (peer netip.Addr) {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		peer = a.AddrPort().Addr().Unmap()
	}
	return peer
}

// run serves the connection to its end.
func (c *conn) run() {
	err := c.read()
	c.free(c.take())
	c.setReceiving(false)
	c.countEnd(err)
	var network *net.OpError
	switch {
	case errors.Is(err, io.EOF): // the peer may still be reading
		c.handlers.Wait()
	case errors.Is(err, errStopped), errors.Is(err, os.ErrDeadlineExceeded):
		c.handlers.Wait()
		c.linger()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		c.kill() // the peer is gone
		c.handlers.Wait()
	default:
		c.srv.complaints.warn(c.srv.log, "connection ended: its bytes are not rpc", "peer", c.nc.RemoteAddr(), "err", err)
		c.handlers.Wait()
		c.linger()
	}
	c.kill()
}

// countEnd counts why no more is read.
func (c *conn) countEnd(err error) {
	switch {
	case errors.Is(err, errIdle):
		c.srv.count(EventIdle)
	case errors.Is(err, os.ErrDeadlineExceeded) && !c.isStopping():
		c.srv.count(EventUnfinished)
	case errors.Is(err, errRecordTooLong), errors.Is(err, errTooManyFragments):
		c.srv.count(EventTooLong)
	case errors.Is(err, errBadRecord):
		c.srv.count(EventNotRPC)
	}
}

func (c *conn) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

func (c *conn) setReceiving(receiving bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receiving = receiving
}

// linger lets the peer read the last replies: closing a socket with unread input discards what the peer has not read.
func (c *conn) linger() {
	c.mu.Lock()
	dead := c.dead
	c.mu.Unlock()
	half, ok := c.nc.(interface{ CloseWrite() error })
	if dead || !ok || half.CloseWrite() != nil {
		return
	}
	if c.nc.SetReadDeadline(time.Now().Add(c.srv.limits.Linger)) == nil {
		_, _ = io.Copy(io.Discard, c.nc) // any outcome is the end of it
	}
}

// kill closes the connection at once.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping, c.dead = true, true
	c.cancel()
	c.nc.Close()
	c.freed.Broadcast()
}

// stop makes the connection read nothing more and close when the calls in flight are answered.
func (c *conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	c.stopReading()
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection, which is stopped
	c.freed.Broadcast()
}

// idleSince returns since when no call is in flight; false if one is.
func (c *conn) idleSince() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idle, c.calls == 0
}

// deadline sets the time by which reading must succeed, unless stop already ended it. It is called when a record begins
// and when one has ended, so the connection has not been idle until now.
func (c *conn) deadline(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return errStopped
	}
	c.idle = time.Now()
	return c.nc.SetReadDeadline(c.idle.Add(d))
}

// read starts a goroutine per call until the stream ends or makes no sense.
func (c *conn) read() error {
	for {
		if err := c.await(); err != nil {
			return err
		}
		c.setReceiving(true)
		record, err := c.reader.next()
		if err != nil {
			return err
		}
		c.setReceiving(false)
		c.settle(len(record.B))
		call, deny, err := parseCall(record.B)
		if err != nil {
			return fmt.Errorf("%w: %w", errBadRecord, err)
		}
		call.Peer, call.Local = c.peer, c.local
		if err := c.reserve(callCost); err != nil {
			return err
		}
		if bound := c.replyBound(&call); bound > 0 {
			if err := c.reserve(bound); err != nil {
				return err
			}
		}
		t := task{conn: c, call: call, deny: deny, record: record, cost: c.take()}
		if !c.begin(call.XID, record, t.cost) {
			c.srv.pool.Put(record)
			c.srv.count(EventRepeated)
			continue
		}
		c.handlers.Add(1)
		c.srv.start(t)
	}
}

// release ends a call.
func (c *conn) release(g grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releaseLocked(g)
}

func (c *conn) releaseLocked(g grant) {
	if c.calls--; c.calls == 0 {
		c.idle = time.Now()
	}
	c.freeLocked(g)
}

// begin notes that a call is in flight. It returns false for one that is already: a client that waits for a reply for long
// sends its call again on the same connection (Linux after timeo, 60 s), and one reply is all it needs.
func (c *conn) begin(xid uint32, record *bufpool.Buffer, reserved grant) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first, twice := c.running[xid]; !twice {
		c.running[xid] = record
	} else if bytes.Equal(first.B, record.B) {
		c.freeLocked(reserved)
		return false
	}
	c.calls++
	return true
}

// ran notes that a call was served, and its record is not needed any more.
func (c *conn) ran(xid uint32, record *bufpool.Buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[xid] == record {
		delete(c.running, xid)
	}
}

// await waits for the first byte of a record, for as long as a connection may be idle, and sets the time limit for the
// rest of it.
func (c *conn) await() error {
	if c.reader.buffered() {
		return nil // nothing will block, so no deadline matters
	}
	for {
		if err := c.deadline(c.srv.limits.Idle); err != nil {
			return err
		}
		_, err := c.reader.r.Peek(1)
		if err == nil {
			return c.deadline(c.srv.limits.Read)
		}
		_, idle := c.idleSince()
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case idle && !c.isStopping():
			return errIdle
		case idle:
			return errStopped
		}
	}
}

// replyBound is what to reserve for a call's reply beyond callCost.
func (c *conn) replyBound(call *Call) int {
	p, ok := c.srv.programs[call.Prog]
	if !ok || p.ReplyBound == nil || call.Args == nil {
		return 0
	}
	return min(max(0, p.ReplyBound(call)), c.srv.limits.Bytes/2, c.srv.limits.Total/2)
}

// serve runs one call and sends its reply.
func (c *conn) serve(t *task) {
	defer c.handlers.Done()
	r := c.srv.newReply()
	r.cost = t.cost
	outcome := Success
	if t.deny != nil {
		c.srv.count(EventDenied)
		encodeDenied(&r.enc, t.deny)
	} else {
		outcome = c.srv.dispatch(c.ctx, &t.call, r)
	}
	c.ran(t.call.XID, t.record)
	c.srv.pool.Put(t.record)
	if outcome == Drop {
		c.srv.freeReply(r)
		c.stop()
		c.release(t.cost)
		c.srv.count(EventDropped)
		time.AfterFunc(c.srv.limits.Linger, c.kill) // the others that are in flight may never be answered
		return
	}
	c.send(r)
}
