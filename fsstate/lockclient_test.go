package fsstate

import "testing"

// TestClientRestart: NSM's state number tells a client's lives apart (XNFS §11).
func TestClientRestart(t *testing.T) {
	for name, c := range map[string]struct {
		news Args
		from string // machine
		gone bool
	}{
		"newer state":             {&LockRelease{LockClient{Name: "1"}, 5, false}, "192.0.2.1", true},
		"around the end":          {&LockRelease{LockClient{Name: "1"}, 3 + 1<<31 - 1, false}, "192.0.2.1", true},
		"the same state":          {&LockRelease{LockClient{Name: "1"}, 3, false}, "192.0.2.1", false},
		"older state":             {&LockRelease{LockClient{Name: "1"}, 1, false}, "192.0.2.1", false},
		"another address":         {&LockRelease{LockClient{Name: "1"}, 5, false}, "192.0.2.66", false},
		"another name":            {&LockRelease{LockClient{Name: "2"}, 5, false}, "192.0.2.1", false},
		"another gateway":         {&LockRelease{LockClient{"1", "gateway"}, 5, false}, "192.0.2.1", false},
		"free all":                {&LockRelease{LockClient{Name: "1"}, 0, true}, "192.0.2.1", true},
		"free all from elsewhere": {&LockRelease{LockClient{Name: "1"}, 0, true}, "192.0.2.66", false},
	} {
		w, f := lockWorld(t)
		p, next := w.locker("1", 1), w.locker("2", 2)
		p.takes(f, 0, 0)
		next.waits(f, 0, 0)
		news := w.locker("1", 1)
		news.machine = c.from
		if r := news.want(OK, c.news); r.Wake != c.gone {
			t.Errorf("%s: woke %v", name, r.Wake)
		}
		if got := w.held(f); (got == "2 exclusive 0-9223372036854775807") != c.gone {
			t.Errorf("%s: held: %s", name, got)
		}
	}
}

// TestLockOfANewLifeEndsTheFormer: the news of a client's restart may come after its first locks, or not at all.
func TestLockOfANewLifeEndsTheFormer(t *testing.T) {
	w, f := lockWorld(t)
	p := w.locker("1", 1)
	p.takes(f, 0, 10)
	p.waitsNot(f)
	p.owner.SVID, p.state = 2, 5
	p.takes(f, 5, 10)
	if got := w.held(f); got != "2 exclusive 5-14" {
		t.Errorf("held: %s", got)
	}
	p.want(OK, &LockRelease{p.owner.Client, 5, false}) // comes late: it speaks of the former life
	if got := w.held(f); got != "2 exclusive 5-14" {
		t.Errorf("held after late news: %s", got)
	}
	p.owner.SVID, p.state = 3, 3 // a call that was long on its way
	p.want(EAGAIN, p.args(f, 5, 10, true, false))
	if got := w.held(f); got != "2 exclusive 5-14" {
		t.Errorf("held after a late call: %s", got)
	}
}

// waitsNot queues a request of another process of the same machine.
func (p *locker) waitsNot(f Handle) {
	q := *p
	q.owner.SVID = 77
	q.waits(f, 0, 0)
}

// TestExpiry: locks of a client that is unheard of give way when somebody asks, and not before.
func TestExpiry(t *testing.T) {
	w, f := lockWorld(t)
	p, next := w.locker("1", 1), w.locker("2", 2)
	p.takes(f, 0, 10)
	w.now += LockExpiry - Time(1e9)
	next.want(EAGAIN, next.args(f, 0, 10, true, false))
	next.want(OK, &LockRenew{[]uint64{1, 99}})
	w.now += LockExpiry - Time(1e9)
	next.want(EAGAIN, next.args(f, 0, 10, true, false))
	w.now += Time(2e9)
	if got := w.held(f); got != "1 exclusive 0-9" {
		t.Errorf("held while nobody asks: %s", got)
	}
	p.takes(f, 20, 1) // it was alive after all
	next.want(EAGAIN, next.args(f, 0, 10, true, false))
	w.now += LockExpiry + 1
	next.takes(f, 0, 10)
	if got := w.held(f); got != "2 exclusive 0-9" {
		t.Errorf("held after expiry: %s", got)
	}
}

// The state numbers of NSM wrap around (XNFS §11).
func TestStateNumbersWrapAround(t *testing.T) {
	for _, tc := range []struct {
		b, a uint32
		want bool
	}{
		{2, 1, true},
		{1, 2, false},
		{3, 3, false},
		{1, 0xffffffff, true},
		{0xffffffff, 1, false},
		{0x80000001, 0x7fffffff, true},
		{0x7fffffff, 0x80000001, false},
	} {
		if got := newerState(tc.b, tc.a); got != tc.want {
			t.Errorf("%#x after %#x: %t", tc.b, tc.a, got)
		}
	}
}

// Two machines of one name are two clients: their locks exclude each other, and news of one change nothing for the other.
func TestMachinesOfOneName(t *testing.T) {
	w, f := lockWorld(t)
	one, two := w.locker("1", 1), w.locker("2", 1)
	two.owner = one.owner
	one.takes(f, 0, 1)
	two.want(EAGAIN, two.args(f, 0, 1, true, false))
	two.want(OK, &Unlock{f, two.owner, LockRange{0, 0}})
	two.want(OK, &LockRelease{Client: two.owner.Client, State: 99, All: true})
	if got := w.held(f); got != "1 exclusive 0-0" {
		t.Errorf("held: %s", got)
	}
}
