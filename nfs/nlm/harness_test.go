package nlm

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/nsm"
	"bfsd/nfs/rpc"
	"bfsd/nfs/rpcbind"
	"bfsd/nfs/xdr"
)

// site is a file system with front ends and clients on loopback addresses.
type site struct {
	testing.TB
	ctx  context.Context
	file []byte // a handle
	dir  []byte

	mu    sync.Mutex
	fs    *fsstate.FS
	late  time.Duration // by which its clock is ahead
	fail  error         // what Invoke returns
	ports map[string]string
	looks int // how often somebody asked for locks that were granted
}

// Invoke implements Backend.
func (s *site) Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	if o, err := fsstate.DecodeOp(op); err == nil && o.Args.Kind() == fsstate.KindLockGrants {
		s.looks++
	}
	if readOnly {
		if res, ok := s.fs.Query(op); ok {
			return res, nil
		}
	}
	return s.fs.Execute(op, fsstate.Time(time.Now().Add(s.late).UnixNano())), ctx.Err()
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{TB: t, fs: fsstate.New(fsstate.Config{Seed: fsstate.Seed{1}, Mode: 0o777}), ports: map[string]string{}}
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	root := s.fs.Apply(&fsstate.Op{Args: &fsstate.Resolve{Path: "/"}}, 1).(*fsstate.LookupResult).Object
	mode := uint32(0o666)
	create := &fsstate.Create{Dir: root, Name: "f", Set: fsstate.SetAttrs{Mode: &mode}}
	s.file = makeFH(s.fs.Apply(&fsstate.Op{Args: create}, 2).(*fsstate.CreateResult).Object)
	s.dir = makeFH(root)
	return s
}

func makeFH(h fsstate.Handle) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, h.Ino), h.Gen)
}

func readFH(fh []byte) (fsstate.Handle, bool) {
	if len(fh) != 16 {
		return fsstate.Handle{}, false
	}
	return fsstate.Handle{Ino: binary.BigEndian.Uint64(fh), Gen: binary.BigEndian.Uint64(fh[8:])}, true
}

// siteDialer finds clients' port mappers where they are in the test.
type siteDialer struct {
	*site
	local netip.Addr
}

func (d siteDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	if at, ok := d.ports[network+" "+address]; ok {
		address = at
	}
	d.mu.Unlock()
	return dialer{d.local}.DialContext(ctx, network, address)
}

// frontEnd is a server of the site.
type frontEnd struct {
	*Server
	rpc  *rpc.Server
	addr string
	stop func()
}

func (s *site) frontEnd(name string, change ...func(*Config)) *frontEnd {
	s.Helper()
	cfg := Config{
		Backend: s, Handle: readFH, FH: makeFH, Front: name, Log: slog.New(slog.DiscardHandler), CallTimeout: 5 * time.Second,
		Dial: func(local netip.Addr) rpcbind.Dialer { return siteDialer{s, local} },
	}
	for _, f := range change {
		f(&cfg)
	}
	f := &frontEnd{Server: NewServer(cfg)}
	f.rpc = rpc.NewServer(rpc.Limits{}, cfg.Log, f.Programs()...)
	l, pc := listenBoth(s, "127.0.0.9")
	f.addr = l.Addr().String()
	served := make(chan error, 2)
	go func() { served <- f.rpc.Serve(l) }()
	go func() { served <- f.rpc.ServePacket(pc) }()
	f.Start()
	f.stop = sync.OnceFunc(func() {
		f.rpc.Close()
		f.Close()
		for range 2 {
			if err := <-served; !errors.Is(err, rpc.ErrServerClosed) {
				s.Errorf("serving ended with %v", err)
			}
		}
	})
	s.Cleanup(f.stop)
	return f
}

// listenBoth listens by TCP and UDP at one port of a host.
func listenBoth(t testing.TB, host string) (net.Listener, *net.UDPConn) {
	t.Helper()
	for range 100 { // until there is a port that is free for both
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: l.Addr().(*net.TCPAddr).Port})
		if err == nil {
			return l, pc
		}
		l.Close()
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

// heard is a call that a client's lock manager got.
type heard struct {
	proc Proc
	from netip.Addr
	args Message
}

// client is a client machine: it calls a front end, and has a lock manager of its own.
type client struct {
	*site
	addr  string // 127.0.0.x
	name  string
	state uint32
	conn  *rpc.Client
	calls chan heard // to its lock manager

	mu     sync.Mutex
	answer []any // Status or rpc.Outcome, or a channel to wait for, one for each call of GRANTED; then Granted
}

// client makes a client at 127.0.0.last.
func (s *site) client(last, name string) *client {
	return &client{site: s, addr: "127.0.0." + last, name: name, state: 3, calls: make(chan heard, 100)}
}

// mounts connects a client to a front end.
func (c *client) mounts(f *frontEnd) *client {
	c.Helper()
	d := dialer{netip.MustParseAddr(c.addr)}
	nc, err := d.DialContext(c.ctx, "tcp", f.addr)
	if err != nil {
		c.Fatal(err)
	}
	c.conn = rpc.NewClient(nc)
	c.Cleanup(func() { c.conn.Close() })
	return c
}

// listens starts the client's lock manager and port mapper.
func (c *client) listens(networks ...string) *client {
	c.Helper()
	l, pc := listenBoth(c, c.addr)
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	var services []rpcbind.Service
	for _, n := range networks {
		services = append(services, rpcbind.Service{Prog: Program, Vers: Version, Netid: n, Port: port})
	}
	lockd := rpc.Program{Number: Program, Low: Version, High: Version, Serve: c.serve, Datagrams: true}
	s := rpc.NewServer(rpc.Limits{}, slog.New(slog.DiscardHandler), rpcbind.NewProgram(services), lockd)
	served := make(chan error, 2)
	go func() { served <- s.Serve(l) }()
	go func() { served <- s.ServePacket(pc) }()
	c.Cleanup(func() {
		s.Close()
		for range 2 {
			if err := <-served; !errors.Is(err, rpc.ErrServerClosed) {
				c.Errorf("serving ended with %v", err)
			}
		}
	})
	c.site.mu.Lock()
	c.ports["tcp "+c.addr+":111"], c.ports["udp "+c.addr+":111"] = l.Addr().String(), l.Addr().String()
	c.site.mu.Unlock()
	return c
}

func (c *client) serve(_ context.Context, call *rpc.Call, reply *xdr.Encoder) rpc.Outcome {
	args := NewArgs(Proc(call.Proc))
	b := append([]byte(nil), call.Args...)
	if args.Decode(xdr.NewDecoder(b)); call.Proc != uint32(ProcNull) {
		c.calls <- heard{Proc(call.Proc), call.Peer, args}
	}
	if Proc(call.Proc) != ProcGranted {
		return rpc.Success
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := any(Granted)
	if len(c.answer) > 0 {
		answer, c.answer = c.answer[0], c.answer[1:]
	}
	switch a := answer.(type) {
	case rpc.Outcome:
		return a
	case chan struct{}:
		<-a
		answer = Granted
	}
	(&Res{args.(*TestArgs).Cookie, answer.(Status)}).Encode(reply)
	return rpc.Success
}

// answers says what the client's lock manager answers to the next calls of GRANTED.
func (c *client) answers(to ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = to
}

func (c *client) cred() rpc.Credential {
	return rpc.Credential{Flavor: rpc.AuthSys, Machine: c.name, UID: 1000, GID: 100}
}

// call makes a call of NLM and returns its results.
func (c *client) call(p Proc, args Message) Message {
	c.Helper()
	results, err := c.conn.Call(c.ctx, rpc.Call{Prog: Program, Vers: Version, Proc: uint32(p), Cred: c.cred()}, args.Encode)
	if err != nil {
		c.Fatalf("%v: %v", p, err)
	}
	res := NewRes(p)
	d := xdr.NewDecoder(results)
	if res.Decode(d); d.Finish() != nil {
		c.Fatalf("%v: %v", p, d.Err())
	}
	return res
}

// want is call for what answers a nlm4_res, and verifies it.
func (c *client) want(status Status, p Proc, args Message) {
	c.Helper()
	r := c.call(p, args).(*Res)
	if r.Status != status || string(r.Cookie) != "cookie" {
		c.Errorf("%v: %v with cookie %q, want %v", p, r.Status, r.Cookie, status)
	}
}

func (c *client) lockOf(svid uint32, from, length uint64) Lock {
	return Lock{Caller: c.name, FH: c.file, OH: []byte("owner"), SVID: svid, Offset: from, Length: length}
}

// lock is an exclusive lock.
func (c *client) lock(svid uint32, block bool) *LockArgs {
	return &LockArgs{Cookie: []byte("cookie"), Block: block, Exclusive: true, Lock: c.lockOf(svid, 0, 0), State: c.state}
}

func (c *client) unlock(svid uint32) *UnlockArgs {
	return &UnlockArgs{Cookie: []byte("cookie"), Lock: c.lockOf(svid, 0, 0)}
}

// restarted sends SM_NOTIFY.
func (c *client) restarted(name string, state uint32) {
	c.Helper()
	change := &nsm.StatChange{Name: name, State: state}
	if _, err := c.conn.Call(c.ctx, rpc.Call{Prog: nsm.Program, Vers: nsm.Version, Proc: uint32(nsm.ProcNotify)}, change.Encode); err != nil {
		c.Fatal(err)
	}
}

// hears waits for a call to the client's lock manager.
func (c *client) hears(p Proc) heard {
	c.Helper()
	select {
	case h := <-c.calls:
		if h.proc != p {
			c.Fatalf("the client heard %v, want %v", h.proc, p)
		}
		return h
	case <-c.ctx.Done():
		c.Fatalf("the client did not hear %v", p)
	}
	return heard{}
}

// holder tells who holds the file's lock: "name svid", or "" if nobody does.
func (s *site) holder(asks *client) string {
	s.Helper()
	res := asks.call(ProcTest, &TestArgs{Exclusive: true, Lock: asks.lockOf(999, 0, 0)}).(*TestRes)
	if res.Status == Granted {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.fs.Apply(&fsstate.Op{Args: &fsstate.LockTest{Object: first(readFH(s.file)), Exclusive: true}}, 0).(*fsstate.LockTestResult)
	if r.Holder == nil {
		return ""
	}
	if r.Holder.Owner.SVID != res.Holder.SVID {
		s.Errorf("TEST names %d, the state %d", res.Holder.SVID, r.Holder.Owner.SVID)
	}
	return strings.TrimSpace(r.Holder.Owner.Client.Name + " " + string(rune('0'+r.Holder.Owner.SVID)))
}

func first[T any](v T, _ bool) T { return v }

// waitHolder waits until somebody holds the file's lock.
func (s *site) waitHolder(asks *client, want string) {
	s.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		got := s.holder(asks)
		if got == want {
			return
		}
		select {
		case <-again.C:
		case <-s.ctx.Done():
			s.Fatalf("the lock is held by %q, want %q", got, want)
		}
	}
}

// passes lets time pass for the state.
func (s *site) passes(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late += d
}

// fails has the backend fail, until it is given nil.
func (s *site) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}
