package rpc

import (
	"errors"
	"net"
	"os"
	"time"

	"bfsd/nfs/internal/bufpool"
	"bfsd/nfs/xdr"
)

const (
	// replyRoom is the initial room for a reply, in bytes: attributes and handles; data is referenced.
	replyRoom = 512
	// batchMax is how many bytes of replies one write takes, unless a single reply is longer. It is what a slow peer
	// must accept within Limits.Write.
	batchMax = 1 << 20
)

// reply is one reply record on its way out: the record mark, the reply header, the results.
type reply struct {
	enc  xdr.Encoder
	room *bufpool.Buffer
	cost grant // to be released when it is gone
}

// newReply returns a reply with room for its record mark in front.
func (s *Server) newReply() *reply {
	r, ok := s.replies.Get().(*reply)
	if !ok {
		r = &reply{}
	}
	r.room = s.pool.Get(replyRoom)
	r.enc.Reset(append(r.room.B, 0, 0, 0, 0))
	return r
}

func (s *Server) freeReply(r *reply) {
	s.pool.Put(r.room)
	r.room = nil
	r.enc.Reset(nil)
	s.replies.Put(r)
}

// send queues a finished reply. If nobody is writing, the caller writes until the queue is empty; replies that finish
// meanwhile leave together with the next write. So a lone reply costs no hand-over to another goroutine, and a burst
// few system calls.
func (c *conn) send(r *reply) {
	r.enc.PutUint32(0, lastFragment|uint32(r.enc.Len()-headerLen))
	c.mu.Lock()
	c.out = append(c.out, r)
	if c.writing {
		c.mu.Unlock()
		return
	}
	c.writing = true
	var batch []*reply
	var pieces [][]byte
	for len(c.out) > 0 {
		batch = c.takeLocked(batch[:0])
		dead := c.dead
		c.mu.Unlock()
		if !dead {
			pieces = c.write(batch, pieces[:0])
		}
		c.mu.Lock()
		for _, r := range batch {
			c.releaseLocked(r.cost)
			c.srv.freeReply(r)
		}
	}
	c.writing = false
	c.mu.Unlock()
}

// takeLocked moves the next replies to write from the queue to batch.
func (c *conn) takeLocked(batch []*reply) []*reply {
	n, size := 0, 0
	for n < len(c.out) && (n == 0 || size+c.out[n].enc.Len() <= batchMax) {
		size += c.out[n].enc.Len()
		n++
	}
	batch = append(batch, c.out[:n]...)
	rest := copy(c.out, c.out[n:])
	clear(c.out[rest:])
	c.out = c.out[:rest]
	return batch
}

// write sends a batch, or ends the connection. It returns pieces for reuse.
func (c *conn) write(batch []*reply, pieces [][]byte) [][]byte {
	for _, r := range batch {
		pieces = r.enc.Pieces(pieces)
	}
	err := c.nc.SetWriteDeadline(time.Now().Add(c.srv.limits.Write))
	if err == nil {
		c.progress.sent()
		bufs := net.Buffers(pieces)
		_, err = bufs.WriteTo(c.nc)
		c.progress.sent()
	}
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.srv.count(EventSlowReader)
		}
		c.srv.log.Debug("connection ended: a reply could not be written", "peer", c.nc.RemoteAddr(), "err", err)
		c.kill()
	}
	clear(pieces)
	return pieces
}
