package fsstate

// lockable reads the file that is to be locked. Who may read or write it may lock it; that is what an open(2), which the
// lock presupposes, has checked on the client.
func (v view) lockable(c *Cred, h Handle, n *inode) Status {
	if s := v.load(h, n); s != OK {
		return s
	}
	if s := n.regular(); s != OK {
		return s
	}
	if !n.permitsRead(c) && !n.permitsWrite(c) {
		return EACCES
	}
	if n.ino > lockLowMask {
		return ENOLCK
	}
	return OK
}

// lock answers Lock.
func (fs *FS) lock(via FrontEnd, op *Op, a *Lock, now Time) *LockResult {
	l := locking{FS: fs, via: via, now: now}
	first, last, s := a.Range.bounds()
	var n inode
	if s == OK {
		s = fs.view().lockable(&op.Cred, a.Object, &n)
	}
	if s != OK {
		return l.result(s)
	}
	client := l.hear(op.Machine, &a.Owner.Client, a.State)
	want := heldLock{
		owner:     lockOwner{client: client, svid: a.Owner.SVID, oh: a.Owner.OH},
		exclusive: a.Exclusive, first: first, last: last,
	}
	if a.Reclaim {
		if !fs.view().holds(n.ino, &want) {
			return l.result(EAGAIN)
		}
		l.settle(n.ino, &want)
		return l.result(OK)
	}
	blockers := l.blockers(n.ino, &want)
	switch {
	case len(blockers) == 0:
		return l.result(l.take(op.Machine, a, n.ino, &want))
	case !a.Block:
		return l.result(EAGAIN)
	}
	s = l.wait(op.Machine, a, n.ino, &want, blockers)
	r := l.result(s)
	r.Blocked = s == EAGAIN
	return r
}

// blockers returns the owners of locks that are in the way of one, after those of clients that have expired are gone. One
// may be named more than once.
func (l *locking) blockers(ino uint64, want *heldLock) []lockOwner {
	for {
		var found []lockOwner
		var dead uint64
		l.view().eachHeld(ino, want.first, want.last, func(h *heldLock, oh []byte) {
			if !h.exclusive && !want.exclusive || want.owner.is(h, oh) || len(found) > 0 && found[len(found)-1].is(h, oh) {
				return
			}
			found = append(found, lockOwner{h.owner.client, h.owner.svid, string(oh)})
			dead = l.firstExpired(dead, h.owner.client)
		})
		if dead == 0 {
			return found
		}
		l.dropClient(dead)
	}
}

// is reports whether o owns a lock that eachHeld gave.
func (o *lockOwner) is(h *heldLock, oh []byte) bool {
	return o.client == h.owner.client && o.svid == h.owner.svid && o.oh == string(oh)
}

// holds reports whether an owner holds all of a lock already, or an exclusive one in place of it.
func (v view) holds(ino uint64, want *heldLock) bool {
	held := v.heldOn(ino, want.first, want.last)
	for next := want.first; ; { // an owner's locks lie in any order, but do not overlap
		var ext *heldLock
		for i := range held {
			if h := &held[i]; h.owner == want.owner && h.meets(next, next) && (h.exclusive || !want.exclusive) {
				ext = h
			}
		}
		switch {
		case ext == nil:
			return false
		case ext.last >= want.last:
			return true
		}
		next = ext.last + 1
	}
}

// take grants a lock that nothing is in the way of.
func (l *locking) take(machine string, a *Lock, ino uint64, want *heldLock) Status {
	if !l.view().holdsExactly(ino, want) {
		if l.view().countOn(ino, lockHeld) >= locksPerFileMax || !l.room(want.owner.client, 2) { // 2: it may split another in two
			return ENOLCK
		}
		want.owner.client = l.enroll(machine, &a.Owner.Client, a.State)
		if l.acquire(ino, want) {
			l.grantAll(ino)
		}
	}
	l.settle(ino, want)
	return OK
}

// holdsExactly reports whether an owner's lock of the same kind covers the wanted one, so that there is nothing to do.
func (v view) holdsExactly(ino uint64, want *heldLock) bool {
	for _, h := range v.heldOn(ino, want.first, want.last) {
		if h.owner == want.owner && h.exclusive == want.exclusive && h.first <= want.first && h.last >= want.last {
			return true
		}
	}
	return false
}

// acquire adds a lock in place of those that its owner holds in the range, and joins it with those like it that it touches
// (POSIX fcntl: "Changing or unlocking a segment from the middle of a larger locked segment"). It reports whether the owner
// gave up something exclusive.
func (l *locking) acquire(ino uint64, want *heldLock) (downgraded bool) {
	merged := *want
	var joined, carved []heldLock
	for _, h := range l.view().heldOn(ino, want.first, want.last) {
		switch {
		case h.owner != want.owner:
		case h.exclusive == want.exclusive && (h.meets(want.first, want.last) || touches(&h, want)):
			merged.first, merged.last = min(merged.first, h.first), max(merged.last, h.last)
			joined = append(joined, h)
		case h.exclusive != want.exclusive && h.meets(want.first, want.last):
			downgraded = downgraded || h.exclusive
			carved = append(carved, h)
		}
	}
	l.addHeld(ino, &merged) // before others are dropped: a client without records leaves the table
	for i := range joined {
		l.dropHeld(ino, &joined[i])
	}
	for i := range carved {
		l.carve(ino, &carved[i], want.first, want.last)
	}
	return downgraded
}

// touches reports whether one lock begins where the other ends.
func touches(a, b *heldLock) bool {
	return a.last < b.first && a.last+1 == b.first || b.last < a.first && b.last+1 == a.first
}

// carve takes a range out of a lock.
func (l *locking) carve(ino uint64, h *heldLock, first, last uint64) {
	if h.first < first {
		left := *h
		left.last = first - 1
		l.addHeld(ino, &left)
	}
	if h.last > last {
		right := *h
		right.first = last + 1
		l.addHeld(ino, &right)
	}
	l.dropHeld(ino, h) // last: a client without records leaves the table
}

func (l *locking) addHeld(ino uint64, h *heldLock) {
	l.addRecord(ino, h.owner.client, lockHeld, h.append)
}

func (l *locking) dropHeld(ino uint64, h *heldLock) {
	l.dropRecord(ino, h.owner.client, lockHeld, h.id)
}

// unlock answers Unlock.
func (fs *FS) unlock(op *Op, a *Unlock, now Time) *LockResult {
	l := locking{FS: fs, now: now}
	first, last, s := a.Range.bounds()
	var n inode
	if s == OK {
		s = fs.view().load(a.Object, &n)
	}
	if s != OK {
		return l.result(s)
	}
	owner := lockOwner{client: l.hear(op.Machine, &a.Owner.Client, 0), svid: a.Owner.SVID, oh: a.Owner.OH}
	if owner.client == 0 {
		return l.result(OK)
	}
	if fs.view().splits(n.ino, owner, first, last) && (fs.view().countOn(n.ino, lockHeld) >= locksPerFileMax || !l.room(owner.client, 1)) {
		return l.result(ENOLCK)
	}
	l.release(n.ino, owner, first, last)
	for _, r := range fs.view().requestsOf(n.ino, owner) {
		// One that waits for just this range is taken back, as the kernel's server does: the client may have given it up
		// with a cancellation that was lost. What was granted in the range is not held any more.
		exact := !r.granted && r.first == first && r.last == last
		if exact || r.granted && first <= r.first && r.last <= last {
			l.dropRequest(n.ino, &r)
		}
	}
	l.grantAll(n.ino)
	return l.result(OK)
}

// splits reports whether releasing a range leaves two locks of one.
func (v view) splits(ino uint64, owner lockOwner, first, last uint64) bool {
	for _, h := range v.heldOn(ino, first, last) {
		if h.owner == owner && h.first < first && h.last > last {
			return true
		}
	}
	return false
}

// release takes a range out of an owner's locks.
func (l *locking) release(ino uint64, owner lockOwner, first, last uint64) {
	for _, h := range l.view().heldOn(ino, first, last) {
		if h.owner == owner && h.meets(first, last) {
			l.carve(ino, &h, first, last)
		}
	}
}

// lockTest answers LockTest. Of several that are in the way it names the one that begins first.
func (v view) lockTest(op *Op, a *LockTest) *LockTestResult {
	first, last, s := a.Range.bounds()
	var n inode
	if s == OK {
		s = v.lockable(&op.Cred, a.Object, &n)
	}
	if s != OK {
		return &LockTestResult{Head: Head{s}}
	}
	want := heldLock{owner: v.lockOwner(op.Machine, &a.Owner), exclusive: a.Exclusive, first: first, last: last}
	var least *heldLock
	held := v.heldOn(n.ino, first, last)
	for i := range held {
		if h := &held[i]; h.stands(&want) && (least == nil || h.before(least)) {
			least = h
		}
	}
	if least == nil {
		return &LockTestResult{}
	}
	holder := &LockHolder{Range: rangeOf(least.first, least.last), Exclusive: least.exclusive}
	holder.Owner, _ = v.named(least.owner)
	return &LockTestResult{Head: Head{EAGAIN}, Holder: holder}
}

// before orders locks by where they begin, then by owner.
func (h *heldLock) before(o *heldLock) bool {
	switch {
	case h.first != o.first:
		return h.first < o.first
	case h.owner.client != o.owner.client:
		return h.owner.client < o.owner.client
	case h.owner.svid != o.owner.svid:
		return h.owner.svid < o.owner.svid
	}
	return h.owner.oh < o.owner.oh
}

// rangeOf is the range from a first to a last byte; the last possible one stands for the end of the file.
func rangeOf(first, last uint64) LockRange {
	if last == sizeMax {
		return LockRange{Offset: first}
	}
	return LockRange{Offset: first, Length: last - first + 1}
}
