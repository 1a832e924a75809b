package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"bfsd/nfs/internal/bufpool"
	"bfsd/nfs/xdr"
)

// clientRecordMax bounds a reply record, in bytes.
const clientRecordMax = 4 << 20

// ErrClientClosed is what calls return after Close.
var ErrClientClosed = errors.New("rpc: client closed")

// ErrNotSent is wrapped by the error of a call that did not leave whole, so that nobody can have executed it.
var ErrNotSent = errors.New("rpc: call was not sent")

// Client makes calls over one connection: any number at the same time, answered in any order. It does not reconnect.
type Client struct {
	nc     net.Conn
	pool   bufpool.Pool
	reader *recordReader
	done   chan struct{} // closed when receiving has ended

	turn chan struct{} // holds a token: who takes it may write

	mu      sync.Mutex
	xid     uint32
	pending map[uint32]chan answer
	err     error // why the connection is beyond use
	calls   uint64
}

// answer is a reply record and where its results begin, or why there are none.
type answer struct {
	record  *bufpool.Buffer
	results []byte
	err     error
}

// NewClient makes a client of a connection, which it owns from then on.
func NewClient(nc net.Conn) *Client {
	c := &Client{
		nc:      nc,
		done:    make(chan struct{}),
		turn:    make(chan struct{}, 1),
		pending: make(map[uint32]chan answer),
		xid:     rand.Uint32(), // so that a server's duplicate-request cache does not take it for another client
	}
	c.reader = newRecordReader(nc, &c.pool, clientRecordMax, func(int) error { return nil })
	c.turn <- struct{}{}
	go c.receive()
	return c
}

// Call makes one call and waits for its results, which are the caller's to keep. call says program, version, procedure
// and credential; the transaction id is the client's. args appends the arguments, and may reference data that does not
// change until Call returns. If ctx ends while the call is being written, the connection is beyond use: half a record
// cannot be taken back.
func (c *Client) Call(ctx context.Context, call Call, args func(*xdr.Encoder)) ([]byte, error) {
	a, err := c.exchange(ctx, call, args)
	return a.results, err
}

// Do is Call for results that are used up at once: they are valid until use returns, whose error Do returns.
func (c *Client) Do(ctx context.Context, call Call, args func(*xdr.Encoder), use func(results []byte) error) error {
	a, err := c.exchange(ctx, call, args)
	if err != nil {
		return err
	}
	defer c.pool.Put(a.record)
	return use(a.results)
}

func (c *Client) exchange(ctx context.Context, call Call, args func(*xdr.Encoder)) (answer, error) {
	got := make(chan answer, 1)
	xid, err := c.register(got)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	call.XID = xid
	if err := c.write(ctx, &call, args); err != nil {
		c.forget(xid)
		return answer{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	select {
	case a := <-got:
		return a, a.err
	case <-ctx.Done():
		c.forget(xid)
		return answer{}, fmt.Errorf("wait for reply: %w", ctx.Err())
	}
}

// Calls returns how many calls were made.
func (c *Client) Calls() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// Close ends the connection; calls in flight fail.
func (c *Client) Close() error {
	c.fail(ErrClientClosed)
	<-c.done
	return nil
}

func (c *Client) register(got chan answer) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	for {
		c.xid++
		if _, taken := c.pending[c.xid]; !taken {
			break
		}
	}
	c.pending[c.xid] = got
	c.calls++
	return c.xid, nil
}

func (c *Client) forget(xid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, xid)
}

// fail ends the connection and every call that waits.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.nc.Close()
	for xid, got := range c.pending {
		got <- answer{err: c.err} // has room: a call gets one answer
		delete(c.pending, xid)
	}
}

// write sends one call record.
func (c *Client) write(ctx context.Context, call *Call, args func(*xdr.Encoder)) error {
	e := xdr.NewEncoder(make([]byte, headerLen, 512))
	encodeCall(e, call)
	if args != nil {
		args(e)
	}
	e.PutUint32(0, lastFragment|uint32(e.Len()-headerLen))

	select {
	case <-c.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil { // nothing was written: the connection is sound
		c.turn <- struct{}{}
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.nc.SetWriteDeadline(time.Unix(1, 0)) // fails only if the connection is closed, which interrupts as well
		close(interrupted)
	})
	bufs := net.Buffers(e.Pieces(nil))
	_, err := bufs.WriteTo(c.nc)
	if !stop() {
		<-interrupted
		if err == nil {
			err = c.nc.SetWriteDeadline(time.Time{})
		}
	}
	c.turn <- struct{}{}
	if err != nil {
		c.fail(err)
	}
	return err
}

// receive hands replies to the calls that wait for them, until the connection ends.
func (c *Client) receive() {
	defer close(c.done)
	for {
		record, err := c.reader.next()
		if err != nil {
			c.fail(fmt.Errorf("receive reply: %w", err))
			return
		}
		d := xdr.NewDecoder(record.B)
		xid, failure, bad := decodeReply(d)
		if bad != nil {
			c.fail(fmt.Errorf("decode reply: %w", bad))
			return
		}
		a := answer{record: record, err: failure}
		if failure == nil {
			a.results = d.Rest()
		}
		c.mu.Lock()
		got, ok := c.pending[xid]
		delete(c.pending, xid)
		c.mu.Unlock()
		if ok {
			got <- a
		}
	}
}
