package fsstate

import (
	"encoding/binary"

	"bfsd/fsstate/tree"
)

const (
	// LockExpiry is for how long a client may be unheard of before its locks give way to whoever asks for them. They do
	// not before somebody does: a client that was merely cut off finds them again (as Linux's NFS server treats those of
	// version 4 clients, "courteous server").
	LockExpiry = Time(3600e9)
	// lockSeenGrain is how stale the record of when a client was seen may be: not every operation writes it anew.
	lockSeenGrain = Time(60e9)
	// lockReapMax is how many clients are looked at for expired ones when the table is full: the oldest.
	lockReapMax = 64
	// lockServesMax is how many of a client's files are looked at for one that a front end serves.
	lockServesMax = 64
)

// locking is one operation's work on the lock table.
type locking struct {
	*FS
	via  FrontEnd
	now  Time
	woke bool // a request that waited was granted
}

func (l *locking) result(s Status) *LockResult { return &LockResult{Head: Head{s}, Wake: l.woke} }

// lockClient reads a client by its number.
func (v view) lockClient(number uint64, c *lockClient) bool {
	b, ok := v.Get(lockClientKey(number))
	return ok && c.decode(number, b)
}

// findLockClient reads a client by its name. Without one, c keeps the number 0, which none has.
func (v view) findLockClient(machine string, name *LockClient, c *lockClient) bool {
	b, ok := v.Get(lockNameKey(machine, name))
	if !ok || len(b) != 8 {
		return false
	}
	var found lockClient
	if !v.lockClient(binary.BigEndian.Uint64(b), &found) || found.machine != machine || found.client != *name {
		return false
	}
	*c = found
	return true
}

// owner is LockOwner as the table has it. Its client is 0 if the table has none of its name.
func (v view) lockOwner(machine string, o *LockOwner) lockOwner {
	var c lockClient
	v.findLockClient(machine, &o.Client, &c)
	return lockOwner{client: c.number, svid: o.SVID, oh: o.OH}
}

// named is LockOwner and machine of an owner in the table.
func (v view) named(o lockOwner) (LockOwner, string) {
	var c lockClient
	v.lockClient(o.client, &c)
	return LockOwner{Client: c.client, SVID: o.svid, OH: o.oh}, c.machine
}

// newerState reports whether NSM state b comes after a. The numbers wrap around.
func newerState(b, a uint32) bool { return int32(b-a) > 0 }

// hear takes note that a client calls, under an NSM state if that is not 0. A newer state than before ends what the client
// held. It returns the client's number, 0 if it is not in the table.
//
// An older state changes nothing: it is that of a call which was long on its way, or of a client that lost count. Nor does a
// newer one if the client has locks on files that the front end does not serve, whose word that would be.
func (l *locking) hear(machine string, name *LockClient, state uint32) uint64 {
	var c lockClient
	if !l.view().findLockClient(machine, name, &c) {
		return 0
	}
	if state != 0 && c.state != 0 && newerState(state, c.state) {
		if files, whole := l.servedFiles(c.number); whole {
			l.drop(c.number, files)
			return 0
		}
	}
	fresh := c.state == 0 && state != 0
	if fresh {
		c.state = state
	}
	if fresh || l.now-c.seen >= lockSeenGrain {
		c.seen = l.now
		c.put(l.FS)
	}
	return c.number
}

// enroll returns the number of a client, entering it in the table if it is not there. It must get a record next.
func (l *locking) enroll(machine string, name *LockClient, state uint32) uint64 {
	var c lockClient
	if l.view().findLockClient(machine, name, &c) {
		return c.number
	}
	t := l.view().lockTotals()
	c = lockClient{number: t.nextClient, machine: machine, client: *name, state: state, seen: l.now}
	t.nextClient++
	l.putLockTotals(t)
	c.put(l.FS)
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], c.number)
	l.tree.Put(lockNameKey(machine, name), number[:])
	return c.number
}

// addRecord stores a new record of a client on a file and returns its id.
func (l *locking) addRecord(ino, client, kind uint64, value func(b []byte) []byte) uint64 {
	t := l.view().lockTotals()
	id := t.nextID
	t.nextID++
	t.records++
	l.putLockTotals(t)
	l.tree.Put(lockFileKey(ino, kind, id), value(l.page[:0]))
	l.count(ino, client, 1)
	return id
}

// dropRecord removes a record of a client on a file.
func (l *locking) dropRecord(ino, client, kind, id uint64) {
	if l.tree.DeleteRange(lockFileKey(ino, kind, id), lockFileKey(ino, kind, id)) == 0 {
		return
	}
	t := l.view().lockTotals()
	t.records--
	l.putLockTotals(t)
	l.count(ino, client, -1)
}

// count changes how many records a client has, on a file and in all. With none left it leaves the table.
func (l *locking) count(ino, client uint64, by int64) {
	key := lockIndexKey(client, ino)
	var n uint64
	if b, ok := l.tree.Get(key); ok && len(b) == 8 {
		n = binary.BigEndian.Uint64(b)
	}
	if n += uint64(by); n == 0 {
		l.tree.Delete(key)
	} else {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], n)
		l.tree.Put(key, b[:])
	}
	var c lockClient
	if !l.view().lockClient(client, &c) {
		return
	}
	if c.records += uint64(by); c.records == 0 {
		l.tree.Delete(lockClientKey(client))
		l.tree.Delete(lockNameKey(c.machine, &c.client))
		return
	}
	c.put(l.FS)
}

// room reports whether the table may take n more records, of a client that may not be in it yet (0). A full table first
// loses clients that have expired.
func (l *locking) room(client, n uint64) bool {
	if l.view().lockTotals().records+n > locksMax {
		l.reap()
	}
	t := l.view().lockTotals()
	if t.records+n > locksMax || t.nextID > lockIDLimit-n || t.nextClient > lockLowMask {
		return false
	}
	var c lockClient
	return !l.view().lockClient(client, &c) || c.records+n <= locksPerClientMax
}

// reap drops the expired among the clients that are longest in the table.
func (l *locking) reap() {
	var expired []uint64
	looked := 0
	l.view().Scan(lockClientKey(0), lockClientKey(^uint64(0)), func(k tree.Key, b []byte) bool {
		var c lockClient
		if c.decode(k.Lo, b) && l.now-c.seen > LockExpiry {
			expired = append(expired, c.number)
		}
		looked++
		return looked < lockReapMax
	})
	for _, number := range expired {
		l.dropClient(number)
	}
}

// firstExpired returns the lower of two clients' numbers of which dead is that of an expired client, or 0, and the other
// counts just if that client has expired.
func (l *locking) firstExpired(dead, client uint64) uint64 {
	var c lockClient
	if dead != 0 && dead <= client || !l.view().lockClient(client, &c) || l.now-c.seen <= LockExpiry {
		return dead
	}
	return client
}

// dropClient removes all that a client has in the table, and grants what that lets through.
func (l *locking) dropClient(number uint64) {
	var files []uint64
	l.view().Scan(lockIndexKey(number, 0), lockIndexKey(number, ^uint64(0)), func(k tree.Key, _ []byte) bool {
		files = append(files, k.Lo)
		return true
	})
	l.drop(number, files)
	l.tree.Delete(lockClientKey(number)) // it is gone, unless the state was spoilt: then nobody may ask for this for ever
}

// drop removes what a client has on files, and grants what that lets through.
func (l *locking) drop(number uint64, files []uint64) {
	for _, ino := range files {
		l.dropOn(ino, func(client uint64) bool { return client == number })
		l.grantAll(ino)
	}
}

// servedFiles returns the files that a client has something on and the front end serves; whole, if those are all.
func (l *locking) servedFiles(number uint64) (files []uint64, whole bool) {
	whole = true
	l.view().Scan(lockIndexKey(number, 0), lockIndexKey(number, ^uint64(0)), func(k tree.Key, _ []byte) bool {
		var n inode
		if l.view().inode(k.Lo, &n) && !l.view().servedBy(l.via, &n) {
			whole = false
		} else {
			files = append(files, k.Lo)
		}
		return true
	})
	return files, whole
}

// dropOn removes the records on a file whose client is one of those.
func (l *locking) dropOn(ino uint64, of func(client uint64) bool) {
	v := l.view()
	held, requests, shares := v.heldOn(ino, 0, sizeMax), v.requestsOn(ino), v.sharesOn(ino)
	for i := range held {
		if of(held[i].owner.client) {
			l.dropRecord(ino, held[i].owner.client, lockHeld, held[i].id)
		}
	}
	for i := range requests {
		if of(requests[i].owner.client) {
			l.dropRequest(ino, &requests[i])
		}
	}
	for i := range shares {
		if of(shares[i].owner.client) {
			l.dropRecord(ino, shares[i].owner.client, lockShared, shares[i].id)
		}
	}
}

// dropLocks removes all locks on a file that is about to go, with who waits for them: their clients ask again, and hear
// that the file is gone.
func (fs *FS) dropLocks(ino uint64) {
	if ino > lockLowMask {
		return
	}
	found := false
	fs.view().Scan(tree.Key{Hi: lockFiles | ino}, tree.Key{Hi: lockFiles | ino, Lo: ^uint64(0)}, func(tree.Key, []byte) bool {
		found = true
		return false
	})
	if found {
		l := locking{FS: fs, now: fs.super.last}
		l.dropOn(ino, func(uint64) bool { return true })
	}
}

// lockRelease ends what a client holds because it has restarted: as far as the front end that says so serves the files,
// since it may be anybody's and say what it likes.
func (fs *FS) lockRelease(via FrontEnd, op *Op, a *LockRelease, now Time) *LockResult {
	l := locking{FS: fs, via: via, now: now}
	var c lockClient
	if fs.view().findLockClient(op.Machine, &a.Client, &c) && (a.All || c.state == 0 || newerState(a.State, c.state)) {
		files, _ := l.servedFiles(c.number)
		l.drop(c.number, files)
	}
	return l.result(OK)
}

// lockRenew notes that clients are alive.
func (fs *FS) lockRenew(via FrontEnd, a *LockRenew, now Time) *LockResult {
	for _, number := range a.Clients {
		var c lockClient
		if fs.view().lockClient(number, &c) && fs.view().serves(via, number) {
			c.seen = now
			c.put(fs)
		}
	}
	return &LockResult{}
}

// serves reports whether a client has something on a file that a front end serves. Others are none of its business. Of the
// client's files it looks at the first few: those who serve them look after the client.
func (v view) serves(via FrontEnd, client uint64) (found bool) {
	looked := 0
	v.Scan(lockIndexKey(client, 0), lockIndexKey(client, ^uint64(0)), func(k tree.Key, _ []byte) bool {
		var n inode
		found = v.inode(k.Lo, &n) && v.servedBy(via, &n)
		looked++
		return !found && looked < lockServesMax
	})
	return found
}

// lockClients answers LockClients.
func (v view) lockClients(via FrontEnd, a *LockClients) *LockClientsResult {
	r := &LockClientsResult{}
	if a.After == ^uint64(0) {
		return r
	}
	v.Scan(lockClientKey(a.After+1), lockClientKey(^uint64(0)), func(k tree.Key, b []byte) bool {
		var c lockClient
		if !c.decode(k.Lo, b) || !v.serves(via, c.number) {
			return true
		}
		if len(r.Clients) == LockListMax {
			r.More = true
			return false
		}
		r.Clients = append(r.Clients, LockClientInfo{
			Number: c.number, Machine: c.machine, Via: c.client.Via, Seen: c.seen,
		})
		return true
	})
	return r
}
