package gonfs

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// lastFragment marks the last fragment of a record (RFC 5531 §11).
	lastFragment = 1 << 31
	markLen      = 4
	// fragmentsMax bounds the fragments of one record, which may be empty.
	fragmentsMax = 1 << 12
	// keptBuffer is the largest record buffer, in bytes, that a connection keeps between calls.
	keptBuffer = 64 << 10
)

var errRecord = errors.New("not an RPC call")

// conn is a client's connection as go-nfs is given it. What go-nfs reads from it is whole records of one fragment each,
// each a call that passed screen, and each available in one Read as far as it fits: go-nfs takes a short read of a
// handle for the handle. The end of the stream comes only after every call was answered, because go-nfs drops the reply
// it is still writing when it sees the end.
type conn struct {
	net.Conn
	in        *bufio.Reader
	log       *slog.Logger
	recordMax int
	begin     func()             // a new call is about to be served
	cancel    context.CancelFunc // ends the calls in progress
	done      chan struct{}      // closed when go-nfs is through with the connection
	end       func()             // closes done, once

	// rec and rest belong to go-nfs's reading goroutine.
	rec  []byte // the record being read, with its mark
	rest []byte // what go-nfs has not read of it

	mu       sync.Mutex
	owed     int  // calls given to go-nfs whose replies are not written yet
	draining bool // no further call is to be read
	broken   bool // no reply can be written any more
	answered *sync.Cond

	// mark and left follow the records go-nfs writes, in its writing goroutine.
	mark []byte // of the next record's mark, what came already
	left int    // bytes to come of the current record
}

func newConn(c net.Conn, recordMax int, log *slog.Logger, cancel context.CancelFunc) *conn {
	nc := &conn{
		Conn: c, in: bufio.NewReader(c), log: log, recordMax: recordMax, cancel: cancel,
		done: make(chan struct{}),
	}
	nc.end = sync.OnceFunc(func() { close(nc.done) })
	nc.answered = sync.NewCond(&nc.mu)
	return nc
}

// Read gives go-nfs the next bytes of a call, or io.EOF, at which it closes the connection.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if err := c.next(); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !c.isDraining() {
				c.log.Warn("closing NFS connection", "err", err)
			}
			c.awaitReplies()
			c.end()
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// next reads records until one is for go-nfs.
func (c *conn) next() error {
	for {
		if c.isDraining() {
			return io.EOF
		}
		if err := c.readRecord(); err != nil {
			return err
		}
		reply, ok := screen(c.rec[markLen:])
		switch {
		case !ok:
			return fmt.Errorf("record of %d bytes: %w", len(c.rec)-markLen, errRecord)
		case reply != nil:
			c.awaitReplies() // go-nfs may be writing one
			if _, err := c.Conn.Write(reply); err != nil {
				return fmt.Errorf("write reply: %w", err)
			}
			continue
		}
		c.begin()
		c.mu.Lock()
		c.owed++
		c.mu.Unlock()
		c.rest = c.rec
		return nil
	}
}

// readRecord reads a record of any number of fragments into rec, and gives it the mark of a single one.
func (c *conn) readRecord() error {
	if cap(c.rec) > keptBuffer {
		c.rec = nil
	}
	c.rec = append(c.rec[:0], make([]byte, markLen)...)
	for range fragmentsMax {
		var mark [markLen]byte
		if _, err := io.ReadFull(c.in, mark[:]); err != nil {
			return fmt.Errorf("read record mark: %w", err)
		}
		m := binary.BigEndian.Uint32(mark[:])
		n, have := int(m&^lastFragment), len(c.rec)
		if n > c.recordMax-(have-markLen) {
			return fmt.Errorf("record longer than %d bytes: %w", c.recordMax, errRecord)
		}
		if err := c.readFragment(n); err != nil {
			return fmt.Errorf("read record: %w", noEOF(err))
		}
		if m&lastFragment != 0 {
			binary.BigEndian.PutUint32(c.rec, lastFragment|uint32(len(c.rec)-markLen))
			return nil
		}
	}
	return fmt.Errorf("record of more than %d fragments: %w", fragmentsMax, errRecord)
}

// readFragment appends n bytes to rec. The buffer grows with what has arrived, not with what was announced.
func (c *conn) readFragment(n int) error {
	for n > 0 {
		have := len(c.rec)
		step := min(n, max(have, keptBuffer))
		c.rec = append(c.rec, make([]byte, step)...)
		if _, err := io.ReadFull(c.in, c.rec[have:]); err != nil {
			return err
		}
		n -= step
	}
	return nil
}

// noEOF keeps an end inside a record from looking like one between records.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write passes a piece of a reply on and counts the replies that are complete.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.count(p[:n])
	if err != nil {
		// go-nfs ignores this, and would wait for ever to write its next reply but one.
		c.fail()
	}
	return n, err
}

func (c *conn) count(p []byte) {
	for len(p) > 0 {
		if c.left == 0 {
			k := min(len(p), markLen-len(c.mark))
			c.mark, p = append(c.mark, p[:k]...), p[k:]
			if len(c.mark) < markLen {
				return
			}
			c.left = int(binary.BigEndian.Uint32(c.mark) &^ lastFragment)
			c.mark = c.mark[:0]
		}
		k := min(len(p), c.left)
		c.left, p = c.left-k, p[k:]
		if c.left == 0 {
			c.mu.Lock()
			c.owed--
			c.answered.Broadcast()
			c.mu.Unlock()
		}
	}
}

// awaitReplies returns when every call that go-nfs was given is answered, or none can be any more.
func (c *conn) awaitReplies() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.owed > 0 && !c.broken {
		c.answered.Wait()
	}
}

func (c *conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// drain lets the call in progress be answered and ends the connection then.
func (c *conn) drain() {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes go-nfs if it waits for the next call; fails only if closed already
}

// fail ends the connection and its calls without waiting: the client will ask again over a new one. It is for when no
// true answer can be given.
func (c *conn) fail() {
	c.mu.Lock()
	c.broken = true
	c.answered.Broadcast()
	c.mu.Unlock()
	c.cancel()
	c.Conn.Close()
}

// Close is for go-nfs, which calls it last of all.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.fail()
	c.end()
	return err
}
