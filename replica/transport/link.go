package transport

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	writeBuffer  = 64 << 10  // frames are gathered up to here before they are encrypted and written
	releaseBytes = 256 << 10 // a writer gives queue space back in steps of this size
)

// link is one authenticated connection to a peer. Its reader runs on the goroutine that made the connection, its writer on
// one more; the first of them that fails closes the connection, and both end.
type link struct {
	peer   *peer
	conn   *tls.Conn
	meter  *meteredConn
	frames *frameReader

	retired atomic.Bool // a newer link has taken its place
	closing sync.Once
	reason  error // why it was closed; set once, in closing
}

// meteredConn counts the bytes below TLS: that they move is how a link shows that it lives.
type meteredConn struct {
	net.Conn
	in, out atomic.Uint64
	writes  atomic.Uint64
	foreign string // versions that the other end offered in vain; set during the handshake
}

func (m *meteredConn) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.in.Add(uint64(n))
	return n, err
}

func (m *meteredConn) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.out.Add(uint64(n))
	m.writes.Add(1)
	return n, err
}

var errReplaced = errors.New("the peer connected anew")

// close ends the link. It gives up the queue first, so that no frame is taken for a connection that is already closed. The
// connection below TLS is closed, without a parting alert: that could block on a stuck peer.
func (l *link) close(why error) {
	l.closing.Do(func() {
		l.reason = why
		l.peer.queue.detach(l)
		l.meter.Close()
	})
}

// run serves the link until it breaks, or a newer one has taken its place and both sides have sent what they had; and says
// why it ended.
func (l *link) run(handler Handler) error {
	var writer sync.WaitGroup
	writer.Go(func() {
		err := l.write()
		if l.retired.Load() && errors.Is(err, errReplaced) && l.conn.CloseWrite() == nil {
			return // the reader goes on until the other side has sent all it had
		}
		l.close(err)
	})
	err := l.read(handler)
	if errors.Is(err, io.EOF) { // the other side sends no more, but may still read
		l.retired.Store(true)
		l.peer.queue.detach(l)
		_ = l.meter.SetWriteDeadline(time.Now().Add(retiredFor)) // of a connection that is closed already, which is as good
		writer.Wait()
	}
	l.close(err)
	writer.Wait()
	return l.reason
}

func (l *link) read(handler Handler) error {
	for {
		frame, err := l.frames.next()
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if len(frame) == 0 {
			continue // a keep-alive
		}
		l.peer.received(frame)
		handler(l.peer.principal, frame)
	}
}

// write drains the peer's queue: all that waits goes out in as few TLS records as it fits in.
//
// Two things were tried and left out, because they gained nothing (22 November 2026, 2 cores, interleaved runs): writing on
// the sender's goroutine when the queue is empty (BenchmarkCalls in cmd/bfsd), and gathering the records of one large
// frame below TLS into one system call (BenchmarkThroughput).
func (l *link) write() error {
	w := bufio.NewWriterSize(l.conn, writeBuffer)
	var batch [][]byte
	for {
		var ok bool
		batch, ok = l.peer.queue.take(l, batch)
		if !ok {
			return errReplaced // or closed for a reason already noted
		}
		if err := l.writeBatch(w, batch); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		clear(batch)
	}
}

func (l *link) writeBatch(w *bufio.Writer, batch [][]byte) error {
	held, heldBytes := 0, 0
	release := func() {
		l.peer.queue.release(held, heldBytes)
		held, heldBytes = 0, 0
	}
	for i, frame := range batch {
		if err := writeFrame(w, frame); err != nil {
			l.lose(batch[i-held:])
			return err
		}
		held++
		heldBytes += len(frame)
		l.peer.sent(frame)
		if heldBytes >= releaseBytes {
			release()
		}
	}
	err := w.Flush()
	release()
	return err
}

// lose accounts for frames that were taken but did not get out.
func (l *link) lose(frames [][]byte) {
	bytes := 0
	for _, f := range frames {
		bytes += len(f)
	}
	l.peer.queue.release(len(frames), bytes)
	l.peer.framesLost.Add(uint64(len(frames)))
}
