package rpcbind

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var services = []Service{
	{100003, 3, TCP, 2049}, {100003, 3, TCP6, 2049}, {100021, 4, TCP, 2049}, {100021, 4, UDP, 4045}, {100021, 4, UDP6, 4045},
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// serve runs programs by TCP and UDP at one port of host, which it returns.
func serve(t *testing.T, host string, programs ...rpc.Program) netip.AddrPort {
	t.Helper()
	s := rpc.NewServer(rpc.Limits{}, slog.New(slog.DiscardHandler), programs...)
	var l net.Listener
	var pc *net.UDPConn
	for { // until there is a port that is free for both
		var err error
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			t.Fatal(err)
		}
		if pc, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: l.Addr().(*net.TCPAddr).Port}); err == nil {
			break
		}
		l.Close()
	}
	served := make(chan error, 2)
	go func() { served <- s.Serve(l) }()
	go func() { served <- s.ServePacket(pc) }()
	t.Cleanup(func() { closed(t, s, served, 2) })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// closed closes a server and waits for what serves.
func closed(t *testing.T, s *rpc.Server, served chan error, n int) {
	t.Helper()
	s.Close()
	for range n {
		if err := <-served; !errors.Is(err, rpc.ErrServerClosed) {
			t.Errorf("serving ended with %v", err)
		}
	}
}

func dial(t *testing.T, addr netip.AddrPort) *rpc.Client {
	t.Helper()
	nc, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c := rpc.NewClient(nc)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestPort(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		addr := serve(t, host, NewProgram(services))
		for _, c := range []struct {
			prog, vers uint32
			network    string
			want       uint16
		}{
			{100003, 3, TCP, 2049}, {100003, 4, TCP, 0}, {100003, 3, UDP, 0}, {100021, 4, UDP, 4045}, {1, 1, TCP, 0},
		} {
			port, err := PortAt(within(t, 10*time.Second), new(net.Dialer), addr, c.prog, c.vers, c.network)
			if port != c.want || (err != nil) != (c.want == 0) || err != nil && !errors.Is(err, ErrNotRegistered) {
				t.Errorf("%s: %d version %d by %s: %d, %v; want %d", host, c.prog, c.vers, c.network, port, err, c.want)
			}
		}
	}
}

// TestPort_byUDP: where TCP is refused.
func TestPort_byUDP(t *testing.T) {
	s := rpc.NewServer(rpc.Limits{}, slog.New(slog.DiscardHandler), NewProgram(services))
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServePacket(pc) }()
	defer closed(t, s, served, 1)
	port, err := PortAt(within(t, 10*time.Second), new(net.Dialer), pc.LocalAddr().(*net.UDPAddr).AddrPort(), 100003, 3, TCP)
	if err != nil || port != 2049 {
		t.Errorf("%d, %v", port, err)
	}
}

func TestPort_nobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	if port, err := PortAt(within(t, 2*time.Second), new(net.Dialer), addr, 100003, 3, TCP); err == nil {
		t.Errorf("port %d", port)
	}
}

func TestServer(t *testing.T) {
	addr := serve(t, "127.0.0.1", NewProgram(services))
	c, ctx := dial(t, addr), within(t, 10*time.Second)
	encode := func(f func(e *xdr.Encoder)) []byte {
		var e xdr.Encoder
		f(&e)
		return e.Bytes()
	}
	nfs := &Mapping{Prog: 100003, Vers: 3, Proto: 6}
	rpcb := &Entry{Prog: 100003, Vers: 3, Netid: TCP}
	v6 := &Entry{Prog: 100003, Vers: 3, Netid: TCP6}
	bare := &Entry{Prog: 100003, Vers: 3}
	for _, tc := range []struct {
		name string
		vers uint32
		proc Proc
		args func(*xdr.Encoder)
		want []byte
	}{
		{"null", 2, ProcNull, nil, nil},
		{"get port", 2, ProcGet, nfs.Encode, encode(func(e *xdr.Encoder) { e.Uint32(2049) })},
		{"set", 2, ProcSet, nfs.Encode, encode(func(e *xdr.Encoder) { e.Bool(false) })},
		{"unset", 4, ProcUnset, rpcb.Encode, encode(func(e *xdr.Encoder) { e.Bool(false) })},
		{"get address", 3, ProcGet, rpcb.Encode, encode(func(e *xdr.Encoder) { e.String("127.0.0.1.8.1") })},
		{"get address, the call's transport", 3, ProcGet, bare.Encode, encode(func(e *xdr.Encoder) { e.String("127.0.0.1.8.1") })},
		{"get address of another family", 4, ProcGet, v6.Encode, encode(func(e *xdr.Encoder) { e.String("") })},
		{"get address of a version", 4, ProcGetVersAddr, rpcb.Encode, encode(func(e *xdr.Encoder) { e.String("127.0.0.1.8.1") })},
		{"dump", 2, ProcDump, nil, encode(func(e *xdr.Encoder) {
			encodeList(e, []Mapping{{100003, 3, 6, 2049}, {100021, 4, 6, 2049}, {100021, 4, 17, 4045}})
		})},
		{"dump", 4, ProcDump, nil, encode(func(e *xdr.Encoder) {
			encodeList(e, []Entry{
				{100003, 3, TCP, "127.0.0.1.8.1", "bfsd"},
				{100021, 4, TCP, "127.0.0.1.8.1", "bfsd"},
				{100021, 4, UDP, "127.0.0.1.15.205", "bfsd"},
			})
		})},
	} {
		got, err := c.Call(ctx, rpc.Call{Prog: Program, Vers: tc.vers, Proc: uint32(tc.proc)}, tc.args)
		if err != nil || !bytes.Equal(got, tc.want) {
			t.Errorf("%s, version %d: %x, %v; want %x", tc.name, tc.vers, got, err, tc.want)
		}
	}
	udp, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, tc := range []struct {
		name string
		call rpc.Call
		args func(*xdr.Encoder)
		want rpc.Outcome
	}{
		{"an indirect call", rpc.Call{Vers: 2, Proc: uint32(ProcCallIt)}, nil, rpc.ProcUnavail},
		{"an indirect call", rpc.Call{Vers: 4, Proc: 10}, nil, rpc.ProcUnavail},
		{"version 4's procedure", rpc.Call{Vers: 3, Proc: uint32(ProcGetVersAddr)}, rpcb.Encode, rpc.ProcUnavail},
		{"version 5", rpc.Call{Vers: 5}, nil, rpc.ProgMismatch},
		{"half an argument", rpc.Call{Vers: 2, Proc: uint32(ProcGet)}, func(e *xdr.Encoder) { e.Uint32(1) }, rpc.GarbageArgs},
		{"too much", rpc.Call{Vers: 2, Proc: uint32(ProcNull)}, func(e *xdr.Encoder) { e.Uint32(1) }, rpc.GarbageArgs},
		{"a list by UDP", rpc.Call{Vers: 2, Proc: uint32(ProcDump), Datagram: true}, nil, rpc.ProcUnavail},
		{"a list by UDP", rpc.Call{Vers: 4, Proc: uint32(ProcDump), Datagram: true}, nil, rpc.ProcUnavail},
	} {
		tc.call.Prog = Program
		var err error
		if tc.call.Datagram {
			_, err = rpc.CallPacket(ctx, udp, tc.call, tc.args)
		} else {
			_, err = c.Call(ctx, tc.call, tc.args)
		}
		var accept *rpc.AcceptError
		if !errors.As(err, &accept) || accept.Outcome != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestUniversalAddr(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1.0.111":   "192.0.2.1:111",
		"0.0.0.0.8.1":       "0.0.0.0:2049",
		"::.8.1":            "[::]:2049",
		"2001:db8::1.255.1": "[2001:db8::1]:65281",
	} {
		a, err := ParseUniversalAddr(text)
		if err != nil || a.String() != want || UniversalAddr(a) != text {
			t.Errorf("%s: %v, %v, written %s", text, a, err, UniversalAddr(a))
		}
	}
	for _, bad := range []string{"", "1.2", "1.2.3.4", "1.2.3.4.5", "1.2.3.4.256.1", "1.2.3.4.1.-1", "x.0.1", "1.2.3.4.0.", "/run/x"} {
		if a, err := ParseUniversalAddr(bad); err == nil {
			t.Errorf("%q is %v", bad, a)
		}
	}
}

// FuzzDecode: whatever the bytes, decoding ends, and what decodes encodes to what decodes alike.
func FuzzDecode(f *testing.F) {
	var e xdr.Encoder
	encodeList(&e, []Mapping{{1, 2, 6, 4}})
	f.Add(e.Bytes())
	e.Reset(nil)
	encodeList(&e, []Entry{{1, 2, "tcp", "127.0.0.1.8.1", "superuser"}, {3, 4, "udp6", "", ""}})
	f.Add(e.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		d := xdr.NewDecoder(b)
		if list := decodeList[Mapping](d); d.Finish() == nil {
			var e xdr.Encoder
			encodeList(&e, list)
			if !bytes.Equal(e.Bytes(), b) {
				t.Errorf("%x is written %x", b, e.Bytes())
			}
		}
		d = xdr.NewDecoder(b)
		if list := decodeList[Entry](d); d.Finish() == nil {
			var e xdr.Encoder
			encodeList(&e, list)
			again := decodeList[Entry](xdr.NewDecoder(e.Bytes()))
			if diff := cmp.Diff(list, again); diff != "" {
				t.Error(diff)
			}
		}
		if port, err := decodePort(b); err == nil && len(b) != 4 {
			t.Errorf("%x is port %d", b, port)
		}
		if _, err := decodeAddrPort(b); err == nil && len(b) < 4 {
			t.Errorf("%x is an address", b)
		}
		s := server(services)
		call := rpc.Call{Args: b, Local: netip.MustParseAddr("127.0.0.1")}
		for call.Vers = VersionPmap; call.Vers <= VersionRpcb4; call.Vers++ {
			for call.Proc = 0; call.Proc < 14; call.Proc++ {
				var e xdr.Encoder
				s.serve(context.Background(), &call, &e)
			}
		}
	})
}
