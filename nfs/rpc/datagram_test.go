package rpc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"bfsd/nfs/xdr"
)

// startPackets is startServer for datagrams: the test program and one that is served by TCP alone.
func startPackets(t *testing.T, limits Limits, listen string) (*testServer, *net.UDPAddr) {
	t.Helper()
	ts := &testServer{started: make(chan struct{}, 1000), release: make(chan struct{})}
	whoami := func(_ context.Context, call *Call, reply *xdr.Encoder) Outcome {
		reply.String(call.Peer.String())
		reply.String(call.Local.String())
		reply.Bool(call.Datagram)
		return Success
	}
	ts.Server = NewServer(limits, slog.New(slog.DiscardHandler),
		Program{Number: testProg, Low: 2, High: 3, Serve: ts.serve, Datagrams: true},
		Program{Number: testProg + 1, Low: 1, High: 1, Serve: ts.serve},
		Program{Number: testProg + 2, Low: 1, High: 1, Serve: whoami, Datagrams: true},
	)
	addr, err := net.ResolveUDPAddr("udp", listen)
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenUDP("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- ts.ServePacket(pc) }()
	t.Cleanup(func() {
		ts.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("ServePacket = %v, want ErrServerClosed", err)
		}
	})
	return ts, pc.LocalAddr().(*net.UDPAddr)
}

func dialUDP(t *testing.T, addr *net.UDPAddr) *net.UDPConn {
	t.Helper()
	nc, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestServePacket_answersCalls(t *testing.T) {
	_, addr := startPackets(t, Limits{}, "127.0.0.1:0")
	nc, ctx := dialUDP(t, addr), within(t, 10*time.Second)
	data := bytes.Repeat([]byte("d"), 8000)
	got, err := CallPacket(ctx, nc, Call{Prog: testProg, Vers: 2, Proc: procEcho}, func(e *xdr.Encoder) { e.Opaque(data) })
	if err != nil {
		t.Fatal(err)
	}
	if b := xdr.NewDecoder(got).Opaque(1 << 20); !bytes.Equal(b, data) {
		t.Errorf("echo of %d bytes: %d", len(data), len(b))
	}
	for _, c := range []struct {
		prog, vers, proc uint32
		want             Outcome
	}{
		{testProg, 4, 0, ProgMismatch}, {testProg, 2, 99, ProcUnavail}, {testProg + 1, 1, 0, ProgUnavail}, {testProg, 2, procPanic, SystemErr},
	} {
		_, err := CallPacket(ctx, nc, Call{Prog: c.prog, Vers: c.vers, Proc: c.proc}, nil)
		var accept *AcceptError
		if !errors.As(err, &accept) || accept.Outcome != c.want {
			t.Errorf("program %d version %d procedure %d: %v, want %v", c.prog, c.vers, c.proc, err, c.want)
		}
	}
	var denied *DeniedError
	if _, err := CallPacket(ctx, nc, Call{Prog: testProg, Vers: 2, Cred: Credential{Flavor: 6}}, nil); !errors.As(err, &denied) {
		t.Errorf("a credential that is not served: %v", err)
	}
}

// TestServePacket_answersFromWhereItWasCalled: on a socket that listens at every address.
func TestServePacket_answersFromWhereItWasCalled(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0"} {
		_, addr := startPackets(t, Limits{}, listen)
		for _, called := range []string{"127.0.0.1", "127.0.0.2"} {
			nc := dialUDP(t, &net.UDPAddr{IP: net.ParseIP(called), Port: addr.Port}) // connected: takes answers from there alone
			got, err := CallPacket(within(t, 5*time.Second), nc, Call{Prog: testProg + 2, Vers: 1}, nil)
			if err != nil {
				t.Fatalf("%s, called at %s: %v", listen, called, err)
			}
			d := xdr.NewDecoder(got)
			peer, local, datagram := d.String(99), d.String(99), d.Bool()
			if peer != netip.MustParseAddrPort(nc.LocalAddr().String()).Addr().String() || local != called || !datagram {
				t.Errorf("%s, called at %s: peer %s local %s datagram %v", listen, called, peer, local, datagram)
			}
		}
	}
}

func TestServePacket_isSilentOnWhatIsNoCall(t *testing.T) {
	_, addr := startPackets(t, Limits{}, "127.0.0.1:0")
	nc := dialUDP(t, addr)
	var reply xdr.Encoder
	encodeAccepted(&reply, 7, Success, 0, 0)
	whole := callRecord(Call{XID: 1, Prog: testProg, Vers: 2, Proc: procNull})
	for _, b := range [][]byte{{}, {1}, reply.Bytes(), whole[:20], bytes.Repeat([]byte("x"), datagramMax+1)} {
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	// Whatever was said to the above comes before the answer to a call.
	if _, err := nc.Write(callRecord(Call{XID: 99, Prog: testProg, Vers: 2, Proc: procNull})); err != nil {
		t.Fatal(err)
	}
	if err := nc.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := nc.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if xid, failure, bad := decodeReply(xdr.NewDecoder(buf[:n])); xid != 99 || failure != nil || bad != nil {
		t.Errorf("first reply: xid %d, %v, %v", xid, failure, bad)
	}
}

// TestServePacket_dropsCallsPastTheLimit, and answers again when there is room.
func TestServePacket_dropsCallsPastTheLimit(t *testing.T) {
	ts, addr := startPackets(t, Limits{Datagrams: 2}, "127.0.0.1:0")
	nc := dialUDP(t, addr)
	for xid := range uint32(10) {
		if _, err := nc.Write(callRecord(Call{XID: xid, Prog: testProg, Vers: 2, Proc: procBlock})); err != nil {
			t.Fatal(err)
		}
	}
	<-ts.started
	<-ts.started
	if n := ts.running.Load(); n != 2 {
		t.Errorf("%d calls run, 2 at most", n)
	}
	close(ts.release)
	if _, err := CallPacket(within(t, 10*time.Second), dialUDP(t, addr), Call{Prog: testProg, Vers: 2, Proc: procNull}, nil); err != nil {
		t.Error(err)
	}
}

func TestServePacket_shutdownAnswersWhatIsInFlight(t *testing.T) {
	ts, addr := startPackets(t, Limits{}, "127.0.0.1:0")
	nc := dialUDP(t, addr)
	answered := make(chan error, 1)
	go func() {
		_, err := CallPacket(within(t, 10*time.Second), nc, Call{Prog: testProg, Vers: 2, Proc: procBlock}, nil)
		answered <- err
	}()
	<-ts.started
	down := make(chan error, 1)
	go func() { down <- ts.Shutdown(within(t, 10*time.Second)) }()
	close(ts.release)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestCallPacket_asksAgain(t *testing.T) {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go func() { // loses the first call, and answers the second after a stray reply
		buf := make([]byte, 1000)
		for i := range 2 {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if call, _, err := parseCall(buf[:n]); err == nil && i == 1 {
				for _, xid := range []uint32{call.XID + 1, call.XID} {
					var e xdr.Encoder
					encodeAccepted(&e, xid, Success, 0, 0)
					e.Uint32(xid - call.XID)
					_, _ = pc.WriteToUDPAddrPort(e.Bytes(), from)
				}
			}
		}
	}()
	got, err := CallPacket(within(t, 10*time.Second), dialUDP(t, pc.LocalAddr().(*net.UDPAddr)), Call{Prog: testProg, Vers: 2}, nil)
	if err != nil || !bytes.Equal(got, make([]byte, 4)) {
		t.Errorf("%x, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := CallPacket(ctx, dialUDP(t, pc.LocalAddr().(*net.UDPAddr)), Call{Prog: testProg, Vers: 2}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
}

func TestHeard(t *testing.T) {
	ts := startServer(t, Limits{})
	peer := netip.MustParseAddr("127.0.0.1")
	if got := ts.Heard(peer); !got.IsZero() {
		t.Errorf("heard of at %v, before it connected", got)
	}
	before := time.Now()
	c := dialClient(t, ts.addr)
	if _, err := c.Call(within(t, 10*time.Second), Call{Prog: testProg, Vers: 2}, nil); err != nil {
		t.Fatal(err)
	}
	if got := ts.Heard(peer); got.Before(before) {
		t.Errorf("heard of at %v, called after %v", got, before)
	}
	if got := ts.Heard(netip.MustParseAddr("127.0.0.2")); !got.IsZero() {
		t.Errorf("another machine was heard of at %v", got)
	}
}
