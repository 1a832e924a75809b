package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"bfsd/nfs/xdr"
)

const (
	bulkReply = 256 << 10
	// bulkTotal lets the replies of four such calls be held, and the largest record received.
	bulkTotal = 4 * bulkReply
)

// bulkLimits make bulkTotal all that there is.
func bulkLimits(stall time.Duration) Limits {
	return Limits{Total: bulkTotal, Record: 128 << 10, Stall: stall, Linger: time.Millisecond}
}

// askBulk sends n calls for bulk replies.
func askBulk(t *testing.T, nc net.Conn, n int) {
	t.Helper()
	var stream []byte
	for i := range n {
		stream = append(stream, mark(true, callRecord(Call{XID: uint32(i), Prog: testProg, Vers: 3, Proc: procBulk}, bulkReply))...)
	}
	if _, err := nc.Write(stream); err != nil {
		t.Fatal(err)
	}
}

// asksOnly asks for more than it reads, and more than fits into the sockets' buffers.
func (ts *testServer) asksOnly(t *testing.T) net.Conn {
	t.Helper()
	nc := dialRaw(t, ts.addr)
	if err := nc.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	askBulk(t, nc, 200)
	return nc
}

// hog takes all bulk memory there is, by as many connections as that takes.
func (ts *testServer) hog(t *testing.T) (conns []net.Conn) {
	t.Helper()
	for range bulkTotal / bulkReply {
		conns = append(conns, ts.asksOnly(t))
	}
	waitFor(t, "peers that do not read to hold all bulk memory", func() bool {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		held := 0
		for c := range ts.conns {
			held += c.stalled(100 * time.Millisecond)
		}
		return held > bulkTotal-bulkReply
	})
	return conns
}

// bulk makes one call for a bulk reply.
func bulk(ctx context.Context, c *Client) error {
	got, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBulk}, func(e *xdr.Encoder) { e.Uint32(bulkReply) })
	if err == nil && len(got) < bulkReply {
		err = fmt.Errorf("%d bytes, want %d", len(got), bulkReply)
	}
	return err
}

func TestServer_smallCallsDoNotWaitForBulkMemory(t *testing.T) {
	ts := startServer(t, bulkLimits(time.Hour))
	hog := ts.hog(t)
	c := dialClient(t, ts.addr)
	ctx := testContext(t)
	large := make(chan error, 1)
	waited := ts.Count(EventMemory)
	go func() { large <- bulk(ctx, c) }()
	waitFor(t, "the bystander's bulk call to wait", func() bool { return ts.Count(EventMemory) > waited })
	other := dialClient(t, ts.addr)
	for range 100 {
		if err := echo(ctx, other, pattern(8<<10)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-large:
		t.Errorf("the bulk call did not wait: %v", err)
	default:
	}
	if st := ts.Stats(); st.Bulk > bulkTotal {
		t.Errorf("%d bytes of bulk are held, %d are allowed", st.Bulk, bulkTotal)
	}
	for _, nc := range hog {
		nc.Close()
	}
	if err := <-large; err != nil {
		t.Error(err)
	}
	if n := ts.Count(EventStalled); n != 0 {
		t.Errorf("%d connections were closed long before they had stalled", n)
	}
}

// A few peers that do not read leave room for others, who need not wait until those are cut off.
func TestServer_peersThatDoNotReadLeaveRoom(t *testing.T) {
	const hogs = 12
	limits := bulkLimits(time.Hour)
	limits.Total = 32 * bulkReply
	ts := startServer(t, limits)
	for i := range hogs {
		ts.asksOnly(t)
		waitFor(t, "a peer that does not read to get no more", func() bool {
			ts.mu.Lock()
			defer ts.mu.Unlock()
			waiting := 0
			for c := range ts.conns {
				c.mu.Lock()
				if c.waiting && c.bytes > c.small {
					waiting++
				}
				c.mu.Unlock()
			}
			return waiting == i+1
		})
	}
	c := dialClient(t, ts.addr)
	for range 20 {
		if err := bulk(testContext(t), c); err != nil {
			t.Fatal(err)
		}
	}
	if n := ts.Count(EventMemory); n != 0 {
		t.Errorf("somebody had to wait %d times for memory that others hold", n)
	}
	if held := ts.Stats().Bulk; held < hogs*bulkReply || held > limits.Total {
		t.Errorf("%d peers that do not read hold %d bytes", hogs, held)
	}
}

// Peers that ask for much and read nothing give way as soon as somebody else needs the memory.
func TestServer_peersThatDoNotReadGiveWay(t *testing.T) {
	ts := startServer(t, bulkLimits(200*time.Millisecond))
	ts.hog(t)
	c := dialClient(t, ts.addr)
	for range 3 {
		if err := bulk(testContext(t), c); err != nil {
			t.Fatal(err)
		}
	}
	if ts.Count(EventStalled) == 0 {
		t.Error("no connection was closed, and yet there was room")
	}
}

// So do peers that stop in the middle of a record.
func TestServer_peersThatDoNotSendGiveWay(t *testing.T) {
	ts := startServer(t, bulkLimits(20*time.Millisecond))
	half := append(binary.BigEndian.AppendUint32(nil, 1<<31|120<<10), make([]byte, 60<<10)...)
	for range bulkTotal/recordCost(120<<10) + 2 { // two more than there is room for
		if _, err := dialRaw(t, ts.addr).Write(half); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "all bulk memory to be taken", func() bool { return ts.Stats().Bulk+recordCost(120<<10) > bulkTotal })
	if err := bulk(testContext(t), dialClient(t, ts.addr)); err != nil {
		t.Fatal(err)
	}
	if ts.Count(EventStalled) == 0 {
		t.Error("no connection was closed, and yet there was room")
	}
}

// Whoever reads, however slowly, is served to the end, and so is whoever waits for the memory.
func TestServer_slowPeersDoNotGiveWay(t *testing.T) {
	const calls = 12
	ts := startServer(t, bulkLimits(500*time.Millisecond))
	ctx := testContext(t)
	var wg sync.WaitGroup
	for range 3 {
		nc := dialRaw(t, ts.addr)
		askBulk(t, nc, calls)
		wg.Go(func() {
			want := calls * (len(mark(true, words(0, 1, 0, 0, 0, 0))) + 4 + bulkReply)
			got := 0
			buf := make([]byte, 64<<10)
			for got < want {
				n, err := nc.Read(buf)
				if got += n; err != nil {
					t.Errorf("cut off after %d of %d bytes: %v", got, want, err)
					return
				}
			}
		})
	}
	c := dialClient(t, ts.addr)
	for range 10 {
		wg.Go(func() {
			if err := bulk(ctx, c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := ts.Count(EventStalled); n != 0 {
		t.Errorf("%d connections were closed", n)
	}
}

// Many connections that all want bulk at once hold no more than there is, and all get it in the end.
func TestServer_bulkIsBoundedOverAllConnections(t *testing.T) {
	ts := startServer(t, bulkLimits(time.Minute))
	ctx := testContext(t)
	done := make(chan struct{})
	most := 0
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				most = max(most, ts.Stats().Bulk)
			}
		}
	})
	var wg sync.WaitGroup
	for range 20 {
		c := dialClient(t, ts.addr)
		for i := range 6 {
			wg.Go(func() {
				var err error
				if i%2 == 0 {
					err = bulk(ctx, c)
				} else {
					err = echo(ctx, c, pattern(100<<10))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	close(done)
	watching.Wait()
	if most > bulkTotal || most == 0 {
		t.Errorf("up to %d bytes of bulk were held, %d are allowed", most, bulkTotal)
	}
	waitFor(t, "all of it to be given back", func() bool { return ts.Stats().Bytes == 0 && ts.Stats().Calls == 0 })
	if !ts.common.TryAcquire(bulkTotal) {
		t.Error("not all of it was given back")
	}
	ts.common.Release(bulkTotal)
}

// How long a record of several fragments will be is not known at first; what was reserved too much is given back.
func TestServer_fragmentsReserveNoMoreThanTheirRecord(t *testing.T) {
	ts := startServer(t, Limits{})
	nc := dialRaw(t, ts.addr)
	record := callRecord(Call{XID: 1, Prog: testProg, Vers: 3, Proc: procBlock})
	stream := append(mark(false, record[:8]), mark(false, record[8:20])...)
	if _, err := nc.Write(append(stream, mark(true, record[20:])...)); err != nil {
		t.Fatal(err)
	}
	<-ts.started
	if st := ts.Stats(); st.Bytes > callCost+2*len(record) || st.Bytes < len(record) {
		t.Errorf("a call of %d bytes in three fragments holds %+v", len(record), st)
	}
	ts.release <- struct{}{}
	if _, err := io.ReadFull(nc, make([]byte, 28)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it to be given back", func() bool { return ts.Stats() == Stats{Conns: 1} })
}

// dialFrom connects from another address of this machine.
func dialFrom(t *testing.T, from, addr string) (*Client, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := NewClient(nc)
	t.Cleanup(func() { c.Close() })
	return c, nil
}

// A machine that opens as many connections as it can, and uses them all, does not keep others out.
func TestServer_connectionsAreSharedFairly(t *testing.T) {
	const limit = 10
	ts := startServer(t, Limits{Conns: limit, Evict: time.Hour})
	ctx := testContext(t)
	if c, err := dialFrom(t, "127.0.0.2", ts.addr); err != nil {
		t.Skipf("this machine has only one loopback address: %v", err)
	} else if err := echo(ctx, c, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 * limit {
		c, err := dialFrom(t, "127.0.0.2", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		go c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil) //nolint:errcheck // refused, evicted, or cut off at the end
	}
	waitFor(t, "the flood to have all connections", func() bool { return ts.Conns() == limit && ts.Count(EventRefused) >= 2*limit })
	var quiet []*Client
	for i := range 4 {
		c, err := dialFrom(t, "127.0.0.3", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := echo(ctx, c, nil); err != nil {
			t.Fatalf("connection %d of another machine: %v", i+1, err)
		}
		quiet = append(quiet, c)
	}
	for range limit { // the flood goes on
		if c, err := dialFrom(t, "127.0.0.2", ts.addr); err == nil {
			_ = echo(ctx, c, nil) // refused, most likely
		}
	}
	for i, c := range quiet {
		if err := echo(ctx, c, nil); err != nil {
			t.Errorf("connection %d of the other machine was lost: %v", i+1, err)
		}
	}
	if ts.Conns() > limit {
		t.Errorf("%d connections, %d are allowed", ts.Conns(), limit)
	}
}
