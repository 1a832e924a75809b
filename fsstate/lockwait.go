package fsstate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"bfsd/fsstate/tree"
)

const (
	// grantPatience is for how long a lock that was granted while its owner waited is kept if its client certainly could
	// not be told. A Linux client asks again after 30 seconds by itself, in case it cannot be called.
	grantPatience = Time(45e9)
	// deadlockEffort and deadlockOwners bound the search for a deadlock, in records looked at and in owners followed. Past
	// them none is found, and the owners wait.
	deadlockEffort = 4096
	deadlockOwners = 64
)

// wait queues a lock that others are in the way of, or finds it in the queue. The status is EAGAIN if it waits.
func (l *locking) wait(machine string, a *Lock, ino uint64, want *heldLock, blockers []lockOwner) Status {
	front := ownFront(l.via, a.Front)
	for _, r := range l.view().requestsOf(ino, want.owner) {
		if r.granted || !r.same(want) {
			continue
		}
		if r.front != front || r.server != a.Server { // the client has turned to another front end
			l.tree.Delete(lockFrontKey(lockWaits, r.front, r.id))
			r.front, r.server = front, a.Server
			l.putRequest(ino, &r)
			l.list(lockWaits, ino, &r)
		}
		return EAGAIN
	}
	if want.owner.client != 0 && l.view().deadlock(want.owner, blockers) {
		return EDEADLK
	}
	if l.view().countOn(ino, lockWanted) >= locksPerFileMax || !l.room(want.owner.client, 1) {
		return ENOLCK
	}
	want.owner.client = l.enroll(machine, &a.Owner.Client, a.State)
	r := lockRequest{heldLock: *want, length: a.Range.Length, front: front, server: a.Server}
	r.id = l.addRecord(ino, want.owner.client, lockWanted, r.append)
	l.list(lockWaits, ino, &r)
	return EAGAIN
}

// same reports whether h is the lock that is wanted, by the same owner.
func (h *heldLock) same(want *heldLock) bool {
	return h.owner == want.owner && h.exclusive == want.exclusive && h.first == want.first && h.last == want.last
}

func (l *locking) putRequest(ino uint64, r *lockRequest) {
	l.tree.Put(lockFileKey(ino, lockWanted, r.id), r.append(l.page[:0]))
}

// list enters a request under its front end: the inode number, then the front end's name, since the key is but a hash.
func (l *locking) list(tag, ino uint64, r *lockRequest) {
	b := binary.BigEndian.AppendUint64(l.page[:0], ino)
	l.tree.Put(lockFrontKey(tag, r.front, r.id), append(b, r.front...))
}

// dropRequest removes a request, and nothing that was granted to it.
func (l *locking) dropRequest(ino uint64, r *lockRequest) {
	tag := uint64(lockWaits)
	if r.granted {
		tag = lockGrants
	}
	l.tree.Delete(lockFrontKey(tag, r.front, r.id))
	l.dropRecord(ino, r.owner.client, lockWanted, r.id)
}

// settle ends what waited for a lock that its owner has now been told of in a reply. Grants that it overlaps may not be
// released any more, should the client refuse them: the owner has a claim of its own.
func (l *locking) settle(ino uint64, have *heldLock) {
	for _, r := range l.view().requestsOf(ino, have.owner) {
		switch {
		case r.same(have):
			l.dropRequest(ino, &r)
		case r.granted && r.fresh && r.meets(have.first, have.last):
			r.fresh = false
			l.putRequest(ino, &r)
		}
	}
}

// grantAll grants the requests on a file that nothing is in the way of any more, in order of arrival.
func (l *locking) grantAll(ino uint64) {
	for l.grantSome(ino) {
		continue // what an owner gave up for its new lock may let through who came before
	}
}

// grantSome is grantAll up to the first grant for which its owner gives up an exclusive lock; true if there was one.
func (l *locking) grantSome(ino uint64) bool {
	requests := l.view().requestsOn(ino)
	if len(requests) == 0 {
		return false
	}
	held := l.view().heldOn(ino, 0, sizeMax)
	for _, r := range requests {
		if r.granted || slices.ContainsFunc(held, func(h heldLock) bool { return h.stands(&r.heldLock) }) {
			continue
		}
		if l.grant(ino, &r) {
			return true
		}
		held = append(held, r.heldLock)
	}
	return false
}

// grant gives a request its lock. It reports whether the owner gave up an exclusive one.
func (l *locking) grant(ino uint64, r *lockRequest) (downgraded bool) {
	r.fresh = !slices.ContainsFunc(l.view().heldOn(ino, r.first, r.last), func(h heldLock) bool {
		return h.owner == r.owner && h.meets(r.first, r.last)
	})
	downgraded = l.acquire(ino, &r.heldLock)
	l.tree.Delete(lockFrontKey(lockWaits, r.front, r.id))
	r.granted, r.since = true, l.now
	l.putRequest(ino, r)
	l.list(lockGrants, ino, r)
	l.woke = true
	return downgraded
}

// lockCancel answers LockCancel.
func (fs *FS) lockCancel(op *Op, a *LockCancel, now Time) *LockResult {
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
	want := heldLock{owner: owner, exclusive: a.Exclusive, first: first, last: last}
	for _, r := range fs.view().requestsOf(n.ino, owner) {
		if !r.granted && r.same(&want) {
			l.dropRequest(n.ino, &r)
			return l.result(OK)
		}
	}
	return l.result(EAGAIN)
}

// ownFront is a front end's name for the state: what it calls itself, after what it is known to be. Were it but the former, any
// front end could learn who waits through another, and answer in its place. It is short, whatever the name.
func ownFront(via FrontEnd, name string) string {
	sum := sha256.Sum256([]byte(name))
	return string(append(binary.BigEndian.AppendUint32(nil, uint32(via)), sum[:12]...))
}

// through reports whether a request waits through a front end.
func (r *lockRequest) through(via FrontEnd) bool {
	return strings.HasPrefix(r.front, string(binary.BigEndian.AppendUint32(nil, uint32(via))))
}

// lockAnswer answers LockAnswer.
func (fs *FS) lockAnswer(via FrontEnd, a *LockAnswer, now Time) *LockResult {
	l := locking{FS: fs, now: now}
	var n inode
	if s := fs.view().load(a.Object, &n); s != OK {
		return l.result(s)
	}
	var r lockRequest
	if !fs.view().lockRequest(n.ino, a.ID, &r) || !r.granted || !r.through(via) || !fs.view().servedBy(via, &n) {
		return l.result(ENOENT)
	}
	release := false
	switch a.Answer {
	case GrantSending:
		r.attempts++
		l.putRequest(n.ino, &r)
		return l.result(OK)
	case GrantAccepted:
	case GrantRefused:
		release = r.fresh && r.attempts <= 1
	case GrantUndelivered:
		r.attempts -= min(r.attempts, 1)
		if r.attempts > 0 || now-r.since < grantPatience {
			l.putRequest(n.ino, &r)
			return l.result(OK)
		}
		release = r.fresh
	}
	l.dropRequest(n.ino, &r)
	if release {
		l.release(n.ino, r.owner, r.first, r.last)
		l.grantAll(n.ino)
	}
	return l.result(OK)
}

// lockGrants answers LockGrants.
func (v view) lockGrants(via FrontEnd, a *LockGrants) *LockGrantsResult {
	res := &LockGrantsResult{}
	front := ownFront(via, a.Front)
	v.scanFront(lockWaits, front, func(uint64, uint64) bool {
		res.Waiting = true
		return false
	})
	v.scanFront(lockGrants, front, func(ino, id uint64) bool {
		var n inode
		var r lockRequest
		if !v.lockRequest(ino, id, &r) || !v.inode(ino, &n) || !v.servedBy(via, &n) {
			return true
		}
		if len(res.Grants) == LockListMax {
			res.More = true
			return false
		}
		g := LockGrant{
			ID: id, Object: n.handle(), Range: LockRange{Offset: r.first, Length: r.length}, Exclusive: r.exclusive,
			Server: r.server, Since: r.since,
		}
		g.Owner, g.Machine = v.named(r.owner)
		res.Grants = append(res.Grants, g)
		return true
	})
	return res
}

// scanFront calls yield for the requests that are entered under a front end.
func (v view) scanFront(tag uint64, front string, yield func(ino, id uint64) bool) {
	lo, hi := lockFrontKey(tag, front, 0), lockFrontKey(tag, front, ^uint64(0))
	v.Scan(lo, hi, func(k tree.Key, b []byte) bool {
		if len(b) < 8 || !bytes.Equal(b[8:], []byte(front)) {
			return true // another front end's, whose hash is the same
		}
		return yield(binary.BigEndian.Uint64(b), k.Lo)
	})
}

// deadlock reports whether one of the blockers waits, perhaps through others, for a lock of owner (POSIX fcntl, EDEADLK).
func (v view) deadlock(owner lockOwner, blockers []lockOwner) bool {
	effort := deadlockEffort
	var waiting []lockOwner
	add := func(o lockOwner) {
		if len(waiting) < deadlockOwners && !slices.Contains(waiting, o) {
			waiting = append(waiting, o)
		}
	}
	for _, o := range blockers {
		add(o)
	}
	for i := 0; i < len(waiting) && effort > 0; i++ {
		if waiting[i] == owner {
			return true
		}
		v.waitsFor(waiting[i], &effort, add)
	}
	return false
}

// waitsFor calls found for whoever is in the way of an owner's requests, on all files.
func (v view) waitsFor(owner lockOwner, effort *int, found func(lockOwner)) {
	v.Scan(lockIndexKey(owner.client, 0), lockIndexKey(owner.client, ^uint64(0)), func(k tree.Key, _ []byte) bool {
		*effort -= v.countOn(k.Lo, lockWanted) + 1
		for _, r := range v.requestsOf(k.Lo, owner) {
			*effort -= v.countOn(k.Lo, lockHeld)
			for _, h := range v.heldOn(k.Lo, r.first, r.last) {
				if !r.granted && h.stands(&r.heldLock) {
					found(h.owner)
				}
			}
		}
		return *effort > 0
	})
}
