package fsstate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"bfsd/fsstate/tree"
)

// fill gives the locker so many locks of one byte on a file, without asking who is in the way: that is what takes long.
func (p *locker) fill(f Handle, n int) {
	l := locking{FS: p.fs, now: p.now}
	owner := lockOwner{l.enroll(p.machine, &p.owner.Client, p.state), p.owner.SVID, p.owner.OH}
	for i := range uint64(n) {
		l.addHeld(f.Ino, &heldLock{owner: owner, exclusive: true, first: 2 * i, last: 2 * i})
	}
}

// fillWaiting is fill for requests, each of a process of its own, for the whole file.
func (p *locker) fillWaiting(f Handle, n int) {
	l := locking{FS: p.fs, now: p.now}
	client := l.enroll(p.machine, &p.owner.Client, p.state)
	for i := range uint32(n) {
		r := lockRequest{heldLock: heldLock{owner: lockOwner{client, 1000 + i, p.owner.OH}, exclusive: true, last: sizeMax}, front: p.front}
		r.id = l.addRecord(f.Ino, client, lockWanted, r.append)
		l.list(lockWaits, f.Ino, &r)
	}
}

// TestLockLimits: past each bound the answer is ENOLCK, and what is held stays.
func TestLockLimits(t *testing.T) {
	w, f := lockWorld(t)
	const far = 1 << 40
	files := 0
	file := func() Handle {
		files++
		return w.create(alice, w.root(), fmt.Sprint("file", files), 0o644)
	}
	p := w.locker("1", 1)
	p.fill(f, locksPerFileMax-1)
	p.takes(f, far, 1)
	p.want(ENOLCK, p.args(f, 2*far, 1, true, false))
	p.takes(f, 0, 1) // nothing new

	q := w.locker("2", 2)
	q.fillWaiting(f, locksPerFileMax-1)
	q.waits(f, 0, 0)
	q.owner.SVID++
	q.want(ENOLCK, q.args(f, 0, 0, true, true))

	g := f // of one client, on many files
	for n := locksPerClientMax - locksPerFileMax - 2; n > 0; n -= min(n, locksPerFileMax-1) {
		g = file()
		p.fill(g, min(n, locksPerFileMax-1))
	}
	p.takes(g, far, 1)
	p.want(ENOLCK, p.args(g, 2*far, 1, true, false))
	var c lockClient
	if w.fs.view().findLockClient(p.machine, &p.owner.Client, &c); c.records != locksPerClientMax-1 {
		t.Errorf("a client has %d records, %d at most", c.records, locksPerClientMax)
	}

	r := w.locker("3", 3)
	wide := file()
	r.fill(wide, locksPerFileMax-2)
	r.takes(wide, far, 0)
	r.unlocks(wide, 2*far, 1) // which makes two of it
	r.want(ENOLCK, &Unlock{wide, r.owner, LockRange{3 * far, 1}})
	r.unlocks(wide, far, 1)

	for m := 10; ; m++ { // many clients
		left := int(locksMax - 2 - w.fs.view().lockTotals().records)
		if left == 0 {
			break
		}
		w.locker(fmt.Sprint(m), 1).fill(file(), min(left, locksPerFileMax))
	}
	y := w.locker("98", 1)
	y.takes(file(), 0, 1)
	y.want(ENOLCK, y.args(file(), 0, 1, true, false))
	if n := w.fs.view().lockTotals().records; n != locksMax-1 {
		t.Fatalf("%d records, %d at most", n, locksMax)
	}
	w.now += LockExpiry + 1 // the first clients have been silent for longest, and make room
	w.locker("99", 1).takes(file(), 0, 1)
}

// TestCheckFindsInTheLockTable breaks a sound table in every way that Check knows.
func TestCheckFindsInTheLockTable(t *testing.T) {
	spoilAt := func(k tree.Key, edit func(b []byte) []byte) func(*FS, Handle) {
		return func(fs *FS, _ Handle) {
			b, ok := fs.tree.Get(k)
			if !ok {
				t.Fatalf("no pair at %x", k.Append(nil))
			}
			fs.tree.Put(k, edit(append([]byte(nil), b...)))
		}
	}
	last := func(b []byte) []byte { b[len(b)-1]++; return b }
	drop := func(k tree.Key) func(*FS, Handle) { return func(fs *FS, _ Handle) { fs.tree.Delete(k) } }
	const ino = 2
	for name, c := range map[string]struct {
		spoil func(fs *FS, h Handle)
		want  string
	}{
		"record counter":      {spoilAt(lockTotalsKey(), last), "counts 5 records, there are 4"},
		"next id":             {spoilAt(lockTotalsKey(), func(b []byte) []byte { clear(b[8:16]); return b }), "is malformed"},
		"client's counter":    {spoilAt(lockClientKey(1), func(b []byte) []byte { b[19]++; return b }), "client 1 counts 3 records, there are 2"},
		"client's record":     {spoilAt(lockClientKey(1), func(b []byte) []byte { return b[:10] }), "client 1 is malformed"},
		"client gone":         {drop(lockClientKey(1)), "client 1 is none, but has 2 records"},
		"name gone":           {drop(lockNameKey("192.0.2.1", &LockClient{Name: "1"})), "cannot be found by its name"},
		"name astray":         {func(fs *FS, _ Handle) { fs.tree.Put(tree.Key{Hi: lockNames, Lo: 5}, make([]byte, 8)) }, "leads nowhere"},
		"index":               {spoilAt(lockIndexKey(1, ino), last), "records of client 1 on file 2, there are 2"},
		"index gone":          {drop(lockIndexKey(1, ino)), "the index lacks 1"},
		"lock's range":        {spoilAt(lockFileKey(ino, lockHeld, 1), func(b []byte) []byte { b[13] = 0x70; return b }), "is malformed"},
		"locks that conflict": {spoilAt(lockFileKey(ino, lockHeld, 1), func(b []byte) []byte { b[28] = 25; return b }), "collide"},
		"shares that conflict": {func(fs *FS, _ Handle) {
			h := shareLock{owner: lockOwner{client: 1, oh: "x"}, access: ShareWrite}
			(&locking{FS: fs}).addRecord(ino, 1, lockShared, h.append)
		}, "reservations 4 and 5 on file 2 collide"},
		"waiting for nothing":  {func(fs *FS, _ Handle) { (&locking{FS: fs}).dropRecord(ino, 1, lockHeld, 1) }, "waits for nothing"},
		"request under no one": {drop(lockFrontKey(lockWaits, ownFront(LocalFrontEnd, "front"), 3)), "1 requests are under no front end"},
		"front end's entry":    {spoilAt(lockFrontKey(lockWaits, ownFront(LocalFrontEnd, "front"), 3), last), "leads to no request"},
		"on a directory": {func(fs *FS, _ Handle) {
			h := heldLock{owner: lockOwner{client: 1}}
			(&locking{FS: fs}).addRecord(rootIno, 1, lockHeld, h.append)
		}, "a record on inode 1, which is no file"},
		"unknown kind": {func(fs *FS, _ Handle) { (&locking{FS: fs}).addRecord(ino, 1, 3<<62, (&heldLock{}).append) }, "is malformed"},
		"elsewhere":    {func(fs *FS, _ Handle) { fs.tree.Put(tree.Key{Hi: lockEnd, Lo: 5}, nil) }, "where none belongs"},
	} {
		w, f := lockWorld(t)
		p, q := w.locker("1", 1), w.locker("2", 2)
		p.takes(f, 0, 10)
		p.takes(f, 20, 10)
		q.waits(f, 5, 10)
		q.want(OK, &Share{Object: f, Owner: q.owner, Deny: ShareWrite})
		c.spoil(w.fs, f)
		if err := errors.Join(Check(w.fs.Snapshot())...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, want %q", name, err, c.want)
		}
	}
}
