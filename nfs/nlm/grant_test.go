package nlm

import (
	"net"
	"sync"
	"testing"
	"time"

	"bfsd/nfs/rpc"

	"github.com/google/go-cmp/cmp"
)

// granted verifies a call of GRANTED for the whole file.
func (c *client) granted(svid uint32) heard {
	c.Helper()
	h := c.hears(ProcGranted)
	got := h.args.(*TestArgs)
	want := &TestArgs{got.Cookie, true, c.lockOf(svid, 0, 0)}
	if d := cmp.Diff(want, got); d != "" || len(got.Cookie) == 0 || len(got.Cookie) > 32 { // Linux takes cookies of up to 32 bytes
		c.Errorf("GRANTED with cookie %q (-want +got):\n%s", got.Cookie, d)
	}
	return h
}

// TestGranted: a lock that waited is granted by a call to the client, from the address that the client had called, soon after
// it was freed: through the same front end and through another.
func TestGranted(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		for name, frontEnds := range map[string]int{"same": 1, "another": 2} {
			t.Run(network+"/"+name, func(t *testing.T) {
				s := newSite(t)
				f := s.frontEnd("A")
				g := f
				if frontEnds == 2 {
					g = s.frontEnd("B")
				}
				a, b := s.client("2", "a").mounts(f), s.client("3", "b").mounts(g).listens(network)
				a.want(Granted, ProcLock, a.lock(1, false))
				b.want(Blocked, ProcLock, b.lock(2, true))
				begin := time.Now()
				a.want(Granted, ProcUnlock, a.unlock(1))
				h := b.granted(2)
				if took := time.Since(begin); took > time.Second {
					t.Errorf("it took %v", took)
				}
				if from := h.from.String(); from != "127.0.0.9" {
					t.Errorf("called from %s", from)
				}
				s.waitHolder(a, "b 2")
				s.waitNothingToTell()
				b.want(Granted, ProcUnlock, b.unlock(2))
				if got := s.holder(a); got != "" {
					t.Errorf("held by %q", got)
				}
			})
		}
	}
}

// waitNothingToTell waits until the state lists no grants.
func (s *site) waitNothingToTell() {
	s.Helper()
	f := NewServer(Config{Backend: s, Front: "A"})
	g := NewServer(Config{Backend: s, Front: "B"})
	defer f.Close()
	defer g.Close()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		a, errA := f.listGrants()
		b, errB := g.listGrants()
		if errA != nil || errB != nil {
			s.Fatal(errA, errB)
		}
		if len(a.Grants)+len(b.Grants) == 0 {
			return
		}
		select {
		case <-again.C:
		case <-s.ctx.Done():
			s.Fatal("there are clients to tell")
		}
	}
}

// TestGranted_once: a client that takes its time to answer is not called again meanwhile, however often the front end looks
// whom it has to tell.
func TestGranted_once(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a, b, c := s.client("2", "a").mounts(f), s.client("3", "b").mounts(f).listens("tcp"), s.client("4", "c").mounts(f)
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	b.answers(held)
	a.want(Granted, ProcLock, a.lock(1, false))
	b.want(Blocked, ProcLock, b.lock(2, true))
	c.want(Blocked, ProcLock, c.lock(3, true)) // so that it goes on looking
	a.want(Granted, ProcUnlock, a.unlock(1))
	b.granted(2)
	looks := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.looks
	}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for from := looks(); looks() < from+3; {
		select {
		case <-again.C:
		case <-s.ctx.Done():
			t.Fatal("the front end does not look any more")
		}
	}
	release()
	s.waitNothingToTell()
	if n := len(b.calls); n != 0 {
		t.Errorf("it was called %d times more", n)
	}
}

// TestGranted_refused: a client that does not wait any more gives way to the next.
func TestGranted_refused(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a, b, c := s.client("2", "a").mounts(f), s.client("3", "b").mounts(f).listens("tcp"), s.client("4", "c").mounts(f).listens("tcp")
	b.answers(Denied)
	a.want(Granted, ProcLock, a.lock(1, false))
	b.want(Blocked, ProcLock, b.lock(2, true))
	c.want(Blocked, ProcLock, c.lock(3, true))
	a.want(Granted, ProcUnlock, a.unlock(1))
	b.granted(2)
	c.granted(3)
	s.waitHolder(a, "c 3")
}

// TestGranted_notNow: a client that has just restarted asks to be called again.
func TestGranted_notNow(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a, b := s.client("2", "a").mounts(f), s.client("3", "b").mounts(f).listens("tcp")
	b.answers(DeniedGracePeriod, rpc.SystemErr)
	a.want(Granted, ProcLock, a.lock(1, false))
	b.want(Blocked, ProcLock, b.lock(2, true))
	a.want(Granted, ProcUnlock, a.unlock(1))
	for range 3 {
		b.granted(2)
	}
	s.waitNothingToTell()
	if got := s.holder(a); got != "b 2" {
		t.Errorf("held by %q", got)
	}
}

// TestGranted_answerLost: the client may hold the lock, so it is kept for it, even when it says later that it does not wait.
func TestGranted_answerLost(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a, b := s.client("2", "a").mounts(f), s.client("3", "b").mounts(f).listens("tcp")
	b.answers(rpc.Drop, Denied)
	a.want(Granted, ProcLock, a.lock(1, false))
	b.want(Blocked, ProcLock, b.lock(2, true))
	a.want(Granted, ProcUnlock, a.unlock(1))
	b.granted(2)
	b.granted(2)
	s.waitNothingToTell()
	if got := s.holder(a); got != "b 2" {
		t.Errorf("held by %q", got)
	}
}

// TestGranted_unreachable: a client that cannot be called keeps the lock until it must have asked again by itself, and loses
// it then.
func TestGranted_unreachable(t *testing.T) {
	s := newSite(t)
	f := s.frontEnd("A")
	a, b := s.client("2", "a").mounts(f), s.client("3", "b").mounts(f)
	s.mu.Lock()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port where nobody is, in place of the client's port mapper
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s.ports["tcp 127.0.0.3:111"], s.ports["udp 127.0.0.3:111"] = l.Addr().String(), l.Addr().String()
	s.mu.Unlock()
	a.want(Granted, ProcLock, a.lock(1, false))
	b.want(Blocked, ProcLock, b.lock(2, true))
	a.want(Granted, ProcUnlock, a.unlock(1))
	s.waitHolder(a, "b 2")
	s.passes(time.Minute)
	s.waitHolder(a, "")

	a.want(Granted, ProcLock, a.lock(1, false)) // and one that asks in time keeps it
	b.want(Blocked, ProcLock, b.lock(2, true))
	a.want(Granted, ProcUnlock, a.unlock(1))
	b.want(Granted, ProcLock, b.lock(2, true))
	s.passes(time.Minute)
	s.waitNothingToTell()
	if got := s.holder(a); got != "b 2" {
		t.Errorf("held by %q", got)
	}
}

// TestGranted_afterFrontEndRestart: what a front end had to tell, the next process of its name tells.
func TestGranted_afterFrontEndRestart(t *testing.T) {
	s := newSite(t)
	f, other := s.frontEnd("A"), s.frontEnd("B")
	a, b := s.client("2", "a").mounts(other), s.client("3", "b").mounts(f).listens("tcp")
	a.want(Granted, ProcLock, a.lock(1, false))
	b.want(Blocked, ProcLock, b.lock(2, true))
	f.stop()
	a.want(Granted, ProcUnlock, a.unlock(1))
	select {
	case h := <-b.calls:
		t.Fatalf("%v by a front end that it did not call", h.proc)
	case <-time.After(2 * lookMax):
	}
	s.frontEnd("A")
	b.granted(2)
	s.waitHolder(a, "b 2")
}

// TestGranted_manyWaiters: each in its turn.
func TestGranted_manyWaiters(t *testing.T) {
	s := newSite(t)
	f, g := s.frontEnd("A"), s.frontEnd("B")
	a := s.client("2", "a").mounts(f)
	a.want(Granted, ProcLock, a.lock(1, false))
	var waiters []*client
	for i := range 8 {
		c := s.client(string(rune('3'+i%3)), string(rune('b'+i))).mounts([]*frontEnd{f, g}[i%2])
		c.want(Blocked, ProcLock, c.lock(uint32(i), true))
		waiters = append(waiters, c)
	}
	for i := range 3 { // the clients of an address share its lock manager
		s.client(string(rune('3'+i)), "").listens("tcp").forward(waiters, i)
	}
	a.want(Granted, ProcUnlock, a.unlock(1))
	for i, c := range waiters {
		c.granted(uint32(i))
		for _, later := range waiters[i+1:] {
			if len(later.calls) > 0 {
				t.Fatalf("granted to a later one before %d", i)
			}
		}
		c.want(Granted, ProcUnlock, c.unlock(uint32(i)))
	}
}

// forward hands the calls that a lock manager gets to the clients that it is for.
func (c *client) forward(waiters []*client, from int) {
	c.Cleanup(func() { close(c.calls) })
	go func() {
		for h := range c.calls {
			svid := h.args.(*TestArgs).Lock.SVID
			if int(svid)%3 == from {
				waiters[svid].calls <- h
			}
		}
	}()
}
