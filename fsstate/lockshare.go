package fsstate

// share answers Share.
func (fs *FS) share(via FrontEnd, op *Op, a *Share, now Time) *LockResult {
	l := locking{FS: fs, via: via, now: now}
	var n inode
	if s := fs.view().lockable(&op.Cred, a.Object, &n); s != OK {
		return l.result(s)
	}
	client := l.hear(op.Machine, &a.Owner.Client, a.State)
	want := shareLock{owner: lockOwner{client: client, oh: a.Owner.OH}, access: byte(a.Access), deny: byte(a.Deny)}
	old, dead := l.sharesAgainst(n.ino, &want)
	for dead != 0 {
		l.dropClient(dead)
		old, dead = l.sharesAgainst(n.ino, &want)
	}
	if old.against {
		return l.result(EAGAIN)
	}
	if old.own == 0 && (old.count >= locksPerFileMax || !l.room(client, 1)) {
		return l.result(ENOLCK)
	}
	want.owner.client = l.enroll(op.Machine, &a.Owner.Client, a.State)
	l.addRecord(n.ino, want.owner.client, lockShared, want.append)
	if old.own != 0 {
		l.dropRecord(n.ino, want.owner.client, lockShared, old.own)
	}
	return l.result(OK)
}

// otherShares is what there is on a file besides a reservation that is asked for.
type otherShares struct {
	against bool   // another owner's is in the way
	own     uint64 // id of the one that its owner has, 0 if none
	count   int
}

// sharesAgainst looks for what is in the way of a reservation. dead is a client among them that has expired, 0 if none.
func (l *locking) sharesAgainst(ino uint64, want *shareLock) (old otherShares, dead uint64) {
	for _, h := range l.view().sharesOn(ino) {
		old.count++
		switch {
		case h.owner == want.owner:
			old.own = h.id
		case h.access&want.deny != 0 || h.deny&want.access != 0:
			old.against = true
			dead = l.firstExpired(dead, h.owner.client)
		}
	}
	return old, dead
}

// unshare answers Unshare.
func (fs *FS) unshare(op *Op, a *Unshare, now Time) *LockResult {
	l := locking{FS: fs, now: now}
	var n inode
	if s := fs.view().load(a.Object, &n); s != OK {
		return l.result(s)
	}
	owner := lockOwner{client: l.hear(op.Machine, &a.Owner.Client, 0), oh: a.Owner.OH}
	for _, h := range fs.view().sharesOn(n.ino) {
		if h.owner == owner {
			l.dropRecord(n.ino, owner.client, lockShared, h.id)
		}
	}
	return l.result(OK)
}
