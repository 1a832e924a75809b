package nlm

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/nsm"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
)

func TestProcedures(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a, b := s.client("2", "a").mounts(f), s.client("3", "b").mounts(f)
	shared := func(c *client) *LockArgs {
		l := c.lock(1, false)
		l.Exclusive = false
		return l
	}
	t.Run("NULL", func(*testing.T) { a.call(ProcNull, &Void{}) })
	t.Run("LOCK/Granted", func(*testing.T) { a.want(Granted, ProcLock, a.lock(1, false)) })
	t.Run("LOCK/Granted again", func(*testing.T) { a.want(Granted, ProcLock, a.lock(1, true)) })
	t.Run("LOCK/Denied", func(*testing.T) { b.want(Denied, ProcLock, shared(b)) })
	t.Run("LOCK/Denied to another process", func(*testing.T) { a.want(Denied, ProcLock, a.lock(2, false)) })
	t.Run("LOCK/Blocked", func(*testing.T) { b.want(Blocked, ProcLock, b.lock(1, true)) })
	t.Run("LOCK/Reclaimed", func(*testing.T) {
		l := a.lock(1, false)
		l.Reclaim = true
		a.want(Granted, ProcLock, l)
	})
	t.Run("LOCK/Not reclaimed", func(*testing.T) {
		l := b.lock(1, false)
		l.Reclaim = true
		b.want(Denied, ProcLock, l)
	})
	t.Run("TEST/Denied", func(t *testing.T) {
		got := b.call(ProcTest, &TestArgs{[]byte("cookie"), true, b.lockOf(1, 5, 1)})
		want := &TestRes{[]byte("cookie"), Denied, Holder{Exclusive: true, SVID: 1, OH: []byte("owner")}}
		if d := cmp.Diff(Message(want), got); d != "" {
			t.Error(d)
		}
	})
	t.Run("TEST/Granted", func(t *testing.T) {
		if got := a.call(ProcTest, &TestArgs{Exclusive: true, Lock: a.lockOf(1, 5, 1)}).(*TestRes); got.Status != Granted {
			t.Error(got.Status)
		}
	})
	t.Run("CANCEL/Denied", func(*testing.T) {
		b.want(Denied, ProcCancel, &CancelArgs{[]byte("cookie"), true, false, b.lockOf(1, 0, 0)})
	})
	t.Run("CANCEL/Granted", func(*testing.T) {
		b.want(Granted, ProcCancel, &CancelArgs{[]byte("cookie"), true, true, b.lockOf(1, 0, 0)})
	})
	t.Run("UNLOCK/Granted", func(*testing.T) { b.want(Granted, ProcUnlock, b.unlock(1)); a.want(Granted, ProcUnlock, a.unlock(1)) })
	t.Run("LOCK/Not reclaimed though free", func(*testing.T) { // others may have had it since
		l := a.lock(1, false)
		l.Reclaim = true
		a.want(Denied, ProcLock, l)
	})
	t.Run("NM_LOCK/Granted", func(*testing.T) { a.want(Granted, ProcNMLock, a.lock(1, false)) })
	t.Run("FREE_ALL", func(t *testing.T) {
		b.call(ProcFreeAll, &Notify{"a", 0}) // from elsewhere
		if got := s.holder(b); got != "a 1" {
			t.Errorf("held by %q", got)
		}
		a.call(ProcFreeAll, &Notify{"a", 0})
		if got := s.holder(b); got != "" {
			t.Errorf("held by %q", got)
		}
	})
	t.Run("LOCK/Deadlock", func(*testing.T) {
		part := func(c *client, from uint64, block bool) *LockArgs {
			l := c.lock(1, block)
			l.Lock.Offset, l.Lock.Length = from, 1
			return l
		}
		a.want(Granted, ProcLock, part(a, 0, false))
		b.want(Granted, ProcLock, part(b, 1, false))
		a.want(Blocked, ProcLock, part(a, 1, true))
		b.want(Deadlock, ProcLock, part(b, 0, true))
	})
	t.Run("SHARE and UNSHARE", func(t *testing.T) {
		share := func(c *client, p Proc, mode, access uint32) Status {
			res := c.call(p, &ShareArgs{[]byte("cookie"), c.name, c.file, []byte("o"), mode, access, false}).(*ShareRes)
			if string(res.Cookie) != "cookie" {
				t.Errorf("cookie %q", res.Cookie)
			}
			return res.Status
		}
		for i, got := range []Status{
			share(a, ProcShare, 2, 1), share(b, ProcShare, 0, 2), share(b, ProcShare, 0, 1), share(a, ProcUnshare, 0, 0), share(b, ProcShare, 3, 3),
		} {
			if want := []Status{Granted, Denied, Granted, Granted, Granted}[i]; got != want {
				t.Errorf("share %d: %v, want %v", i, got, want)
			}
		}
	})
	t.Run("GRANTED/Denied", func(*testing.T) {
		a.want(Denied, ProcGranted, &TestArgs{[]byte("cookie"), true, a.lockOf(1, 0, 0)})
	})
	for name, c := range map[string]struct {
		edit func(l *Lock)
		want Status
	}{
		"Stale":            {func(l *Lock) { l.FH = bytes.Repeat([]byte{7}, 16) }, StaleFH},
		"Stale, no handle": {func(l *Lock) { l.FH = []byte("x") }, StaleFH},
		"Too big":          {func(l *Lock) { l.Offset = 1 << 63 }, TooBig},
		"Too big, length":  {func(l *Lock) { l.Offset, l.Length = 5, math.MaxUint64 }, TooBig},
		"Failed, no file":  {func(l *Lock) { l.FH = s.dir }, Failed},
		"Failed, name":     {func(l *Lock) { l.Caller = strings.Repeat("n", 256) }, Failed},
	} {
		t.Run("LOCK/"+name, func(t *testing.T) {
			l := a.lock(1, true)
			c.edit(&l.Lock)
			a.want(c.want, ProcLock, l)
			if got := a.call(ProcTest, &TestArgs{Lock: l.Lock}).(*TestRes); got.Status != c.want {
				t.Errorf("TEST: %v, want %v", got.Status, c.want)
			}
		})
	}
	for name, c := range map[string]struct {
		call rpc.Call
		want rpc.Outcome
	}{
		"NFS version 2's locks": {rpc.Call{Vers: 3}, rpc.ProgMismatch},
		"no procedure":          {rpc.Call{Vers: 4, Proc: 17}, rpc.ProcUnavail},
		"no arguments":          {rpc.Call{Vers: 4, Proc: uint32(ProcLock)}, rpc.GarbageArgs},
	} {
		c.call.Prog = Program
		_, err := a.conn.Call(s.ctx, c.call, nil)
		var accept *rpc.AcceptError
		if !errors.As(err, &accept) || accept.Outcome != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAsynchronousForms: the answer comes by a call to the client's lock manager.
func TestAsynchronousForms(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a, b := s.client("2", "a").mounts(f).listens("udp"), s.client("3", "b").mounts(f).listens("tcp")
	cookie := []byte("cookie")
	for _, c := range []struct {
		who  *client
		call Proc
		args Message
		want heard
	}{
		{a, ProcLockMsg, a.lock(1, false), heard{proc: ProcLockRes, args: &Res{cookie, Granted}}},
		{b, ProcTestMsg, &TestArgs{cookie, true, b.lockOf(1, 3, 1)}, heard{proc: ProcTestRes, args: &TestRes{cookie, Denied, Holder{true, 1, []byte("owner"), 0, 0}}}},
		{b, ProcLockMsg, b.lock(1, false), heard{proc: ProcLockRes, args: &Res{cookie, Denied}}},
	} {
		c.who.call(c.call, c.args)
		if got := c.who.hears(c.want.proc); cmp.Diff(c.want.args, got.args) != "" {
			t.Errorf("%s heard %+v, want %+v", c.who.name, got.args, c.want.args)
		}
	}
	b.call(ProcCancelMsg, &CancelArgs{cookie, true, true, b.lockOf(1, 0, 0)})
	b.hears(ProcCancelRes)
	a.call(ProcUnlockMsg, a.unlock(1))
	a.hears(ProcUnlockRes)
	a.call(ProcGrantedMsg, &TestArgs{cookie, true, a.lockOf(1, 0, 0)})
	if got := a.hears(ProcGrantedRes).args.(*Res); got.Status != Denied {
		t.Errorf("GRANTED_MSG: %v", got.Status)
	}
	for p := ProcTestRes; p <= ProcGrantedRes; p++ { // answers to what was never asked
		if p == ProcTestRes {
			a.call(p, &TestRes{})
		} else {
			a.call(p, &Res{})
		}
	}
}

// TestRestart: SM_NOTIFY frees a client's locks, if it comes from where they were taken.
func TestRestart(t *testing.T) {
	s := newSite(t)
	f, g := s.frontEnd("A"), s.frontEnd("B")
	a, b := s.client("2", "a").mounts(f), s.client("3", "b").mounts(g)
	a.want(Granted, ProcLock, a.lock(1, false))
	b.restarted("a", 5)
	a.restarted("other", 5)
	a.restarted("a", 3)
	a.restarted("a", 1)
	if got := s.holder(b); got != "a 1" {
		t.Errorf("held by %q", got)
	}
	a.mounts(g).restarted("a", 5)
	if got := s.holder(b); got != "" {
		t.Errorf("held by %q after a restart", got)
	}
}

// TestDatagrams: locks and news of restarts by UDP.
func TestDatagrams(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a, b := s.client("2", "a"), s.client("3", "b").mounts(f)
	nc, err := dialer{netip.MustParseAddr(a.addr)}.DialContext(s.ctx, "udp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	results, err := rpc.CallPacket(s.ctx, nc, rpc.Call{Prog: Program, Vers: Version, Proc: uint32(ProcLock), Cred: a.cred()}, a.lock(1, false).Encode)
	var res Res
	if res.Decode(xdr.NewDecoder(results)); err != nil || res.Status != Granted {
		t.Fatalf("LOCK by UDP: %v, %v", res.Status, err)
	}
	if got := s.holder(b); got != "a 1" {
		t.Errorf("held by %q", got)
	}
	change := &nsm.StatChange{Name: "a", State: 5}
	if _, err := rpc.CallPacket(s.ctx, nc, rpc.Call{Prog: nsm.Program, Vers: 1, Proc: uint32(nsm.ProcNotify)}, change.Encode); err != nil {
		t.Fatal(err)
	}
	if got := s.holder(b); got != "" {
		t.Errorf("held by %q after a restart", got)
	}
}

// TestLoopbackClients: 127.0.0.1 is another machine at each gateway.
func TestLoopbackClients(t *testing.T) {
	s := newSite(t)
	via := func(name string) func(*Config) { return func(c *Config) { c.Via = name } }
	f, g := s.frontEnd("A", via("gateway 1")), s.frontEnd("B", via("gateway 2"))
	a, b := s.client("2", "host").mounts(f), s.client("2", "host").mounts(g)
	a.want(Granted, ProcLock, a.lock(1, false))
	b.want(Denied, ProcLock, b.lock(1, false))
	b.restarted("host", 9)
	b.want(Denied, ProcLock, b.lock(1, false))
	a.restarted("host", 9)
	b.want(Granted, ProcLock, b.lock(1, false))
}

// TestBackendFails: what may have been done gets no answer, and the client asks again; a question gets "not now".
func TestBackendFails(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a := s.client("2", "a").mounts(f)
	s.fails(errors.New("no quorum"))
	if got := a.call(ProcTest, &TestArgs{Lock: a.lockOf(1, 0, 0)}).(*TestRes); got.Status != DeniedGracePeriod {
		t.Errorf("TEST: %v", got.Status)
	}
	for _, call := range []struct {
		prog, proc uint32
		args       func(*xdr.Encoder)
	}{
		{Program, uint32(ProcLock), a.lock(1, false).Encode},
		{Program, uint32(ProcLockMsg), a.lock(1, false).Encode},
		{Program, uint32(ProcFreeAll), (&Notify{"a", 1}).Encode},
		{nsm.Program, uint32(nsm.ProcNotify), (&nsm.StatChange{Name: "a", State: 1}).Encode},
	} {
		a.mounts(f)
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		_, err := a.conn.Call(ctx, rpc.Call{Prog: call.prog, Vers: map[bool]uint32{true: Version, false: 1}[call.prog == Program], Proc: call.proc}, call.args)
		if err == nil || ctx.Err() != nil {
			t.Errorf("procedure %d: %v, want a connection that ends", call.proc, err)
		}
		cancel()
	}
	s.fails(nil)
	a.mounts(f).want(Granted, ProcLock, a.lock(1, false))
}

// TestRenew: the locks of clients that can be reached, or that call, do not expire.
func TestRenew(t *testing.T) {
	s := newSite(t)
	calls := netip.MustParseAddr("127.0.0.5")
	f := s.frontEnd("A", func(c *Config) {
		c.Via = "gateway 1"
		c.Heard = func(peer netip.Addr) time.Time {
			if peer == calls {
				return time.Now().Add(time.Hour)
			}
			return time.Time{}
		}
	})
	other := s.frontEnd("B", func(c *Config) { c.Via = "gateway 2" })
	take := func(c *client, from uint64) {
		l := c.lock(1, false)
		l.Lock.Offset, l.Lock.Length = from, 1
		c.want(Granted, ProcLock, l)
	}
	take(s.client("2", "answers").mounts(f).listens("tcp"), 0)
	take(s.client("3", "by udp").mounts(f).listens("udp"), 1)
	take(s.client("4", "gone").mounts(f), 2)
	take(s.client("5", "calls").mounts(f), 3)
	take(s.client("6", "another's").mounts(other).listens("tcp"), 4)
	names := map[string]string{"127.0.0.2": "answers", "127.0.0.3": "by udp", "127.0.0.4": "gone", "127.0.0.5": "calls", "127.0.0.6": "another's"}
	clients := func() map[string]fsstate.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		seen := map[string]fsstate.Time{}
		for _, c := range s.fs.Apply(&fsstate.Op{Args: &fsstate.LockClients{}}, 0).(*fsstate.LockClientsResult).Clients {
			seen[names[c.Machine]] = c.Seen
		}
		return seen
	}
	before := clients()
	if err := f.renew(time.Now().Add(renewAge / 2)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, clients()); d != "" {
		t.Errorf("clients that were heard of lately were renewed:\n%s", d)
	}
	if err := f.renew(time.Now().Add(renewAge + time.Minute)); err != nil {
		t.Fatal(err)
	}
	after := clients()
	for name, want := range map[string]bool{"answers": true, "by udp": true, "gone": false, "calls": true, "another's": false} {
		if renewed := after[name] > before[name]; renewed != want {
			t.Errorf("client %q renewed: %v, want %v", name, renewed, want)
		}
	}
}

// FuzzServer: whatever the bytes, a call of any procedure has an outcome.
func FuzzServer(f *testing.F) {
	for p, both := range samples() {
		for _, m := range both[0] {
			f.Add(uint32(p), encode(m))
		}
	}
	s := newSite(f)
	server := NewServer(Config{Backend: s, Handle: func([]byte) (fsstate.Handle, bool) { return first(readFH(s.file)), true }, FH: makeFH})
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, p uint32, b []byte) {
		call := &rpc.Call{XID: 1, Proc: p % (procEnd + 1), Args: b} // without a peer, so that nobody is called back
		server.serve(t.Context(), call, new(xdr.Encoder))
		s.mu.Lock()
		defer s.mu.Unlock()
		snap := s.fs.Snapshot()
		defer snap.Release()
		if bad := fsstate.Check(snap); bad != nil {
			t.Fatal(bad)
		}
	})
}
