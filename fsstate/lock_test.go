package fsstate

import (
	"fmt"
	"strings"
	"testing"

	"bfsd/fsstate/tree"

	"github.com/google/go-cmp/cmp"
)

// locker is one process of a client machine at a lock table under test.
type locker struct {
	*world
	machine string
	owner   LockOwner
	state   uint32
	front   string
}

func (w *world) locker(name string, svid uint32) *locker {
	return &locker{w, "192.0.2." + name, LockOwner{LockClient{Name: name}, svid, "oh"}, 3, "front"}
}

func (p *locker) do(a Args) Result {
	p.Helper()
	p.now += 1000
	op := EncodeOp(&Op{Cred: alice, Machine: p.machine, Args: a})
	r, err := DecodeResult(a.Kind(), p.fs.Execute(op, p.now))
	if err != nil {
		p.Fatalf("%T: %v", a, err)
	}
	if bad := Check(p.fs.Snapshot()); bad != nil {
		p.Fatalf("after %T %+v: %v", a, a, bad)
	}
	return r
}

func (p *locker) want(s Status, a Args) *LockResult {
	p.Helper()
	r := p.do(a).(*LockResult)
	if r.Status != s {
		p.Errorf("%T %+v: status %d, want %d", a, a, r.Status, s)
	}
	return r
}

func (p *locker) args(f Handle, from, length uint64, exclusive, block bool) *Lock {
	return &Lock{
		Object: f, Owner: p.owner, Range: LockRange{from, length}, Exclusive: exclusive, Block: block, State: p.state, Front: p.front, Server: "192.0.2.99",
	}
}

// takes is F_SETLK of an exclusive lock that must succeed.
func (p *locker) takes(f Handle, from, length uint64) {
	p.Helper()
	p.want(OK, p.args(f, from, length, true, false))
}

// waits is F_SETLKW of an exclusive lock that must block.
func (p *locker) waits(f Handle, from, length uint64) {
	p.Helper()
	if r := p.want(EAGAIN, p.args(f, from, length, true, true)); !r.Blocked {
		p.Errorf("it does not wait")
	}
}

func (p *locker) unlocks(f Handle, from, length uint64) *LockResult {
	p.Helper()
	return p.want(OK, &Unlock{f, p.owner, LockRange{from, length}})
}

// held lists the locks on a file as "owner's svid kind first-last".
func (w *world) held(f Handle) string {
	var all []string
	for _, h := range w.fs.view().heldOn(f.Ino, 0, sizeMax) {
		kind := "shared"
		if h.exclusive {
			kind = "exclusive"
		}
		all = append(all, fmt.Sprintf("%d %s %d-%d", h.owner.svid, kind, h.first, h.last))
	}
	return strings.Join(all, ", ")
}

// grantsOf lists the svids of whom a front end has to tell, in order.
func (w *world) grantsOf(front string) (svids []uint32, list []LockGrant) {
	r := w.fs.Apply(&Op{Args: &LockGrants{front}}, w.now).(*LockGrantsResult)
	for _, g := range r.Grants {
		svids = append(svids, g.Owner.SVID)
	}
	return svids, r.Grants
}

func (w *world) wantGrants(front string, want ...uint32) []LockGrant {
	w.Helper()
	got, list := w.grantsOf(front)
	if d := cmp.Diff(want, got); d != "" {
		w.Fatalf("grants to tell (-want +got):\n%s", d)
	}
	return list
}

func lockWorld(t testing.TB) (*world, Handle) {
	w := newWorld(t, Config{Duplicates: 16})
	return w, w.create(alice, w.root(), "f", 0o644)
}

// TestLockRanges follows POSIX, fcntl(): an owner's new lock replaces, splits and joins its old ones.
func TestLockRanges(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *locker, f Handle)
		want string
	}{
		"apart":           {func(p *locker, f Handle) { p.takes(f, 0, 2); p.takes(f, 3, 2) }, "1 exclusive 0-1, 1 exclusive 3-4"},
		"touching":        {func(p *locker, f Handle) { p.takes(f, 0, 2); p.takes(f, 4, 2); p.takes(f, 2, 2) }, "1 exclusive 0-5"},
		"overlapping":     {func(p *locker, f Handle) { p.takes(f, 0, 5); p.takes(f, 3, 5) }, "1 exclusive 0-7"},
		"within":          {func(p *locker, f Handle) { p.takes(f, 0, 9); p.takes(f, 3, 2) }, "1 exclusive 0-8"},
		"over everything": {func(p *locker, f Handle) { p.takes(f, 2, 1); p.takes(f, 5, 1); p.takes(f, 0, 0) }, "1 exclusive 0-9223372036854775807"},
		"unlock in the middle": {
			func(p *locker, f Handle) { p.takes(f, 0, 10); p.unlocks(f, 4, 2) }, "1 exclusive 0-3, 1 exclusive 6-9",
		},
		"unlock the end": {func(p *locker, f Handle) { p.takes(f, 0, 0); p.unlocks(f, 4, 0) }, "1 exclusive 0-3"},
		"unlock beyond":  {func(p *locker, f Handle) { p.takes(f, 3, 3); p.unlocks(f, 0, 0) }, ""},
		"downgrade the middle": {
			func(p *locker, f Handle) { p.takes(f, 0, 9); p.want(OK, p.args(f, 3, 3, false, false)) },
			"1 shared 3-5, 1 exclusive 0-2, 1 exclusive 6-8",
		},
		"upgrade across": {
			func(p *locker, f Handle) {
				p.want(OK, p.args(f, 0, 4, false, false))
				p.want(OK, p.args(f, 6, 4, false, false))
				p.takes(f, 2, 6)
			}, "1 exclusive 2-7, 1 shared 0-1, 1 shared 8-9",
		},
		"the last byte": {func(p *locker, f Handle) { p.takes(f, sizeMax, 1); p.takes(f, sizeMax-1, 0) }, "1 exclusive 9223372036854775806-9223372036854775807"},
	} {
		w, f := lockWorld(t)
		p := w.locker("1", 1)
		c.do(p, f)
		if got := w.held(f); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		p.unlocks(f, 0, 0)
		if n := w.fs.view().lockTotals().records; n != 0 {
			t.Errorf("%s: %d records are left", name, n)
		}
	}
}

func TestLockRefuses(t *testing.T) {
	w, f := lockWorld(t)
	p := w.locker("1", 1)
	dir := w.mkdir(alice, w.root(), "d", 0o755)
	secret := w.create(bob, w.root(), "secret", 0o600)
	for _, c := range []struct {
		want Status
		h    Handle
		r    LockRange
	}{
		{EFBIG, f, LockRange{sizeMax + 1, 0}},
		{EFBIG, f, LockRange{sizeMax, 2}},
		{EFBIG, f, LockRange{1, ^uint64(0)}},
		{EISDIR, dir, LockRange{0, 0}},
		{EACCES, secret, LockRange{0, 0}},
		{ESTALE, Handle{f.Ino, f.Gen + 1}, LockRange{0, 0}},
	} {
		p.want(c.want, &Lock{Object: c.h, Owner: p.owner, Range: c.r})
		if r := p.do(&LockTest{Object: c.h, Owner: p.owner, Range: c.r}); r.Code() != c.want {
			t.Errorf("test of %v: status %d, want %d", c.r, r.Code(), c.want)
		}
	}
}

func TestLocksOfDifferentOwnersExclude(t *testing.T) {
	w, f := lockWorld(t)
	p := w.locker("1", 1)
	p.takes(f, 10, 10)
	p.want(OK, p.args(f, 30, 10, false, false))
	sameMachine := w.locker("1", 2)
	otherHandle := w.locker("1", 1)
	otherHandle.owner.OH = "other"
	otherName := w.locker("1", 1)
	otherName.owner.Client.Name = "alias"
	otherAddress := w.locker("1", 1)
	otherAddress.machine = "198.51.100.7"
	otherGateway := w.locker("1", 1)
	otherGateway.owner.Client.Via = "gateway 101"
	for i, q := range []*locker{sameMachine, otherHandle, otherName, otherAddress, otherGateway} {
		q.want(EAGAIN, q.args(f, 19, 5, false, false))
		q.want(EAGAIN, q.args(f, 39, 5, true, false))
		q.want(OK, q.args(f, 30, 10, false, false))
		r := q.do(&LockTest{f, q.owner, LockRange{0, 0}, true}).(*LockTestResult)
		want := &LockTestResult{Head{EAGAIN}, &LockHolder{p.owner, LockRange{10, 10}, true}}
		if d := cmp.Diff(want, r); d != "" {
			t.Errorf("%d: test (-want +got):\n%s", i, d)
		}
		q.unlocks(f, 0, 0)
	}
	if r := p.do(&LockTest{f, p.owner, LockRange{0, 0}, true}).(*LockTestResult); r.Status != OK {
		t.Errorf("an owner's own lock is in its way: %+v", r)
	}
}

// TestBlockedLocksAreGrantedInOrder: XNFS §10.3.3, "monitored locks": who waits is served first come, first served.
func TestBlockedLocksAreGrantedInOrder(t *testing.T) {
	w, f := lockWorld(t)
	holder := w.locker("1", 1)
	holder.takes(f, 0, 0)
	for svid := uint32(2); svid < 6; svid++ {
		w.locker("2", svid).waits(f, 0, 10)
	}
	w.locker("2", 3).waits(f, 0, 10) // asks again: keeps its place
	w.wantGrants("front")
	if r := holder.unlocks(f, 0, 0); !r.Wake {
		t.Error("nobody was woken")
	}
	for svid := uint32(2); svid < 6; svid++ {
		g := w.wantGrants("front", svid)[0]
		if g.Machine != "192.0.2.2" || g.Server != "192.0.2.99" || g.Range != (LockRange{0, 10}) || !g.Exclusive || g.Object != f {
			t.Errorf("grant %+v", g)
		}
		p := w.locker("2", svid)
		p.want(OK, &LockAnswer{f, g.ID, GrantSending})
		p.want(OK, &LockAnswer{f, g.ID, GrantAccepted})
		p.want(ENOENT, &LockAnswer{f, g.ID, GrantAccepted})
		w.wantGrants("front")
		p.unlocks(f, 0, 10)
	}
}

func TestSharedWaitersAreGrantedTogether(t *testing.T) {
	w, f := lockWorld(t)
	holder := w.locker("1", 1)
	holder.takes(f, 0, 0)
	for svid := uint32(2); svid < 5; svid++ {
		p := w.locker("2", svid)
		p.want(EAGAIN, p.args(f, 0, 0, svid == 3, true))
	}
	holder.unlocks(f, 0, 0)
	w.wantGrants("front", 2, 4)
}

// TestDowngradeLetsReadersIn: an exclusive lock that becomes shared.
func TestDowngradeLetsReadersIn(t *testing.T) {
	w, f := lockWorld(t)
	holder, reader := w.locker("1", 1), w.locker("2", 2)
	holder.takes(f, 0, 0)
	reader.want(EAGAIN, reader.args(f, 5, 5, false, true))
	if r := holder.want(OK, holder.args(f, 0, 0, false, false)); !r.Wake {
		t.Error("nobody was woken")
	}
	w.wantGrants("front", 2)
}

func TestLockAskedForAgainIsGrantedOnce(t *testing.T) {
	w, f := lockWorld(t)
	holder, p := w.locker("1", 1), w.locker("2", 2)
	holder.takes(f, 0, 0)
	p.waits(f, 0, 10)
	holder.unlocks(f, 0, 0)
	p.want(OK, p.args(f, 0, 10, true, true)) // the client's timer was quicker than the front end
	w.wantGrants("front")
	p.want(OK, p.args(f, 0, 10, true, true))
	if got := w.held(f); got != "2 exclusive 0-9" {
		t.Errorf("held: %s", got)
	}
}

// TestWaiterFollowsItsClientToAnotherFrontEnd: the one that took the call last calls back.
func TestWaiterFollowsItsClientToAnotherFrontEnd(t *testing.T) {
	w, f := lockWorld(t)
	holder, p := w.locker("1", 1), w.locker("2", 2)
	holder.takes(f, 0, 0)
	p.waits(f, 0, 10)
	p.front = "another"
	p.waits(f, 0, 10)
	holder.unlocks(f, 0, 0)
	w.wantGrants("front")
	w.wantGrants("another", 2)
}

func TestCancel(t *testing.T) {
	w, f := lockWorld(t)
	holder, p := w.locker("1", 1), w.locker("2", 2)
	holder.takes(f, 0, 0)
	p.waits(f, 0, 10)
	p.want(EAGAIN, &LockCancel{f, p.owner, LockRange{0, 11}, true})
	p.want(EAGAIN, &LockCancel{f, p.owner, LockRange{0, 10}, false})
	p.want(OK, &LockCancel{f, p.owner, LockRange{0, 10}, true})
	p.want(EAGAIN, &LockCancel{f, p.owner, LockRange{0, 10}, true})
	holder.unlocks(f, 0, 0)
	w.wantGrants("front")

	holder.takes(f, 0, 0)
	p.waits(f, 0, 10)
	holder.unlocks(f, 0, 0)
	p.want(EAGAIN, &LockCancel{f, p.owner, LockRange{0, 10}, true}) // too late: granted
	w.wantGrants("front", 2)
	p.unlocks(f, 0, 10)
	w.wantGrants("front")
	if got := w.held(f); got != "" {
		t.Errorf("held: %s", got)
	}
}

// TestGrantAnswers: a lock is released just if its client certainly does not believe to hold it.
func TestGrantAnswers(t *testing.T) {
	const soon, late = Time(1e9), grantPatience
	for name, c := range map[string]struct {
		answers []GrantAnswer
		after   Time // before the last answer
		held    bool
		pending bool
	}{
		"accepted":                          {[]GrantAnswer{GrantSending, GrantAccepted}, soon, true, false},
		"refused at once":                   {[]GrantAnswer{GrantSending, GrantRefused}, soon, false, false},
		"refused after a call got lost":     {[]GrantAnswer{GrantSending, GrantSending, GrantRefused}, soon, true, false},
		"refused after one certainly not":   {[]GrantAnswer{GrantSending, GrantUndelivered, GrantSending, GrantRefused}, soon, false, false},
		"undelivered":                       {[]GrantAnswer{GrantSending, GrantUndelivered}, soon, true, true},
		"undelivered for long":              {[]GrantAnswer{GrantSending, GrantUndelivered}, late, false, false},
		"undelivered after a call got lost": {[]GrantAnswer{GrantSending, GrantSending, GrantUndelivered}, late, true, true},
		"nothing heard":                     {[]GrantAnswer{GrantSending}, late, true, true},
	} {
		w, f := lockWorld(t)
		holder, p, next := w.locker("1", 1), w.locker("2", 2), w.locker("3", 3)
		holder.takes(f, 0, 0)
		p.waits(f, 0, 10)
		next.front = "next"
		next.waits(f, 0, 10)
		holder.unlocks(f, 0, 0)
		id := w.wantGrants("front", 2)[0].ID
		for i, a := range c.answers {
			if i == len(c.answers)-1 {
				w.now += c.after
			}
			p.want(OK, &LockAnswer{f, id, a})
		}
		want := "3 exclusive 0-9"
		if c.held {
			want = "2 exclusive 0-9"
		}
		if got := w.held(f); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got, _ := w.grantsOf("front"); (len(got) > 0) != c.pending {
			t.Errorf("%s: yet to tell %v", name, got)
		}
		if got, _ := w.grantsOf("next"); (len(got) > 0) == c.held {
			t.Errorf("%s: granted to the next: %v", name, got)
		}
	}
}

// TestRefusedUpgradeKeepsWhatWasHeld: releasing the granted range would take what the owner held before it waited.
func TestRefusedUpgradeKeepsWhatWasHeld(t *testing.T) {
	w, f := lockWorld(t)
	reader, p := w.locker("1", 1), w.locker("2", 2)
	reader.want(OK, reader.args(f, 0, 10, false, false))
	p.want(OK, p.args(f, 0, 10, false, false))
	p.waits(f, 0, 10)
	reader.unlocks(f, 0, 0)
	id := w.wantGrants("front", 2)[0].ID
	p.want(OK, &LockAnswer{f, id, GrantSending})
	p.want(OK, &LockAnswer{f, id, GrantRefused})
	if got := w.held(f); got != "2 exclusive 0-9" {
		t.Errorf("held: %s", got)
	}
}

func TestDeadlock(t *testing.T) {
	w, f := lockWorld(t)
	g := w.create(alice, w.root(), "g", 0o644)
	a, b, c := w.locker("1", 1), w.locker("2", 2), w.locker("3", 3)
	a.takes(f, 0, 1)
	b.takes(f, 1, 1)
	c.takes(g, 0, 1)
	a.waits(f, 1, 1)
	b.waits(g, 0, 1)
	if r := c.want(EDEADLK, c.args(f, 0, 1, true, true)); r.Blocked {
		t.Error("it waits all the same")
	}
	c.want(EAGAIN, c.args(f, 0, 1, true, false))
	d := w.locker("4", 4)
	d.waits(f, 0, 1) // who holds nothing cannot close a circle
	c.unlocks(g, 0, 1)
	w.wantGrants("front", 2)
}

func TestReclaim(t *testing.T) {
	w, f := lockWorld(t)
	p, other := w.locker("1", 1), w.locker("2", 2)
	reclaim := func(q *locker, from, length uint64, exclusive bool) *Lock {
		a := q.args(f, from, length, exclusive, false)
		a.Reclaim = true
		return a
	}
	p.want(EAGAIN, reclaim(p, 0, 10, true))
	p.takes(f, 0, 5)
	p.want(OK, p.args(f, 5, 5, false, false))
	p.want(OK, reclaim(p, 0, 5, true))
	p.want(OK, reclaim(p, 0, 10, false))
	p.want(EAGAIN, reclaim(p, 0, 10, true))
	p.want(EAGAIN, reclaim(p, 0, 11, false))
	other.want(EAGAIN, reclaim(other, 0, 5, true))
	if got := w.held(f); got != "1 exclusive 0-4, 1 shared 5-9" {
		t.Errorf("held: %s", got)
	}
}

func TestRemovingAFileEndsItsLocks(t *testing.T) {
	w, f := lockWorld(t)
	p, q := w.locker("1", 1), w.locker("2", 2)
	p.takes(f, 0, 0)
	q.waits(f, 0, 0)
	p.want(OK, &Share{Object: f, Owner: p.owner, Access: ShareRead})
	must[*LinkResult](w, alice, &Link{Object: f, Dir: w.root(), Name: "g"})
	must[*RemoveResult](w, alice, &Remove{Dir: w.root(), Name: "f"})
	q.waits(f, 0, 0) // it has another name
	must[*RemoveResult](w, alice, &Remove{Dir: w.root(), Name: "g"})
	q.want(ESTALE, q.args(f, 0, 0, true, true))
	p.want(ESTALE, &Unlock{f, p.owner, LockRange{}})
	if n := w.fs.view().lockTotals().records; n != 0 {
		t.Errorf("%d records are left", n)
	}
	before := w.locks()
	if w.create(alice, w.root(), "h", 0o644); w.locks() != before {
		t.Error("creating a file touched the lock table")
	}
}

// locks is the digest of what the lock table holds.
func (w *world) locks() string {
	var all strings.Builder
	w.fs.view().Scan(tree.Key{Hi: lockTag}, tree.Key{Hi: ^uint64(0), Lo: ^uint64(0)}, func(k tree.Key, b []byte) bool {
		fmt.Fprintf(&all, "%x %x\n", k.Append(nil), b)
		return true
	})
	return all.String()
}

func TestShare(t *testing.T) {
	w, f := lockWorld(t)
	p, q := w.locker("1", 1), w.locker("2", 2)
	const r, rw = ShareRead, ShareRead | ShareWrite
	p.want(OK, &Share{Object: f, Owner: p.owner, Access: r, Deny: ShareWrite})
	q.want(EAGAIN, &Share{Object: f, Owner: q.owner, Access: rw})
	q.want(EAGAIN, &Share{Object: f, Owner: q.owner, Access: r, Deny: r})
	q.want(OK, &Share{Object: f, Owner: q.owner, Access: r, Deny: ShareWrite})
	p.want(EAGAIN, &Share{Object: f, Owner: p.owner, Access: rw}) // its own old one does not bind it, the other's does
	q.want(OK, &Unshare{f, q.owner})
	q.want(OK, &Unshare{f, q.owner})
	p.want(OK, &Share{Object: f, Owner: p.owner, Access: rw, Deny: rw})
	p.owner.SVID = 9
	p.want(OK, &Share{Object: f, Owner: p.owner, Access: r}) // of the same owner
	q.want(OK, q.args(f, 0, 0, true, false))                 // reservations and locks do not meet
	w.now += LockExpiry + 1
	q.want(OK, &Share{Object: f, Owner: q.owner, Access: rw, Deny: rw})
}

// TestLockCallSentAgain: a LOCK that comes twice, the second time after the UNLOCK that followed it, locks once.
func TestLockCallSentAgain(t *testing.T) {
	w, f := lockWorld(t)
	p := w.locker("1", 1)
	lock, unlock := p.args(f, 0, 10, true, false), &Unlock{f, p.owner, LockRange{0, 10}}
	for range 2 {
		if s := w.call(p.machine, 1, alice, lock).Code(); s != OK {
			t.Errorf("lock: status %d", s)
		}
	}
	w.call(p.machine, 2, alice, unlock)
	w.call(p.machine, 1, alice, lock)
	if got := w.held(f); got != "" {
		t.Errorf("held: %s", got)
	}
}
