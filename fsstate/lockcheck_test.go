package fsstate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"bfsd/fsstate/tree"
)

// TestLockLimits: past each bound the answer is ENOLCK, and what is held stays.
func TestLockLimits(t *testing.T) {
	w, f := lockWorld(t)
	apply := func(machine string, a Args) Status {
		w.now++
		return w.fs.Apply(&Op{Cred: alice, Machine: machine, Args: a}, w.now).Code()
	}
	p := w.locker("1", 1)
	for i := range uint64(locksPerFileMax) {
		if s := apply(p.machine, p.args(f, 2*i, 1, true, false)); s != OK {
			t.Fatalf("lock %d: status %d", i, s)
		}
	}
	p.want(ENOLCK, p.args(f, 1<<40, 1, true, false))
	p.want(OK, p.args(f, 0, 1, true, false)) // nothing new
	q := w.locker("2", 2)
	for i := range uint32(locksPerFileMax) {
		q.owner.SVID = i
		if s := apply(q.machine, q.args(f, 0, 0, true, true)); s != EAGAIN {
			t.Fatalf("request %d: status %d", i, s)
		}
	}
	q.owner.SVID = locksPerFileMax
	q.want(ENOLCK, q.args(f, 0, 0, true, true))

	files := 1
	for ; ; files++ { // of one client, on many files
		g := w.create(alice, w.root(), fmt.Sprint("file", files), 0o644)
		s := OK
		for i := uint64(0); i < 100 && s == OK; i++ {
			s = apply(p.machine, p.args(g, 2*i, 1, true, false))
		}
		if s == ENOLCK {
			break
		}
	}
	var c lockClient
	if w.fs.view().findLockClient(p.machine, &p.owner.Client, &c); c.records < locksPerClientMax-2 || c.records > locksPerClientMax {
		t.Errorf("a client got %d records, %d at most", c.records, locksPerClientMax)
	}
	wide := w.create(alice, w.root(), "wide", 0o644)
	r := w.locker("3", 3)
	r.takes(wide, 0, 0)
	for i := uint64(0); ; i++ { // splitting a lock makes two
		if s := apply(r.machine, &Unlock{wide, r.owner, LockRange{1 + 2*i, 1}}); s == ENOLCK {
			break
		} else if s != OK || i > 2*locksPerFileMax {
			t.Fatalf("unlock %d: status %d", i, s)
		}
	}
	full := false
	for m := 10; m < 20 && !full; m++ { // many clients
		x := w.locker(fmt.Sprint(m), 1)
		for i := uint64(0); i < 14000 && !full; i++ {
			g := w.create(alice, w.root(), fmt.Sprint("x", m, "-", i/100), 0o644)
			full = apply(x.machine, x.args(g, 2*i, 1, true, false)) == ENOLCK
		}
	}
	if n := w.fs.view().lockTotals().records; !full || n > locksMax {
		t.Fatalf("%d records, %d at most", n, locksMax)
	}
	w.now += LockExpiry + 1 // the first clients have been silent for longest, and make room
	y := w.locker("99", 1)
	y.takes(w.create(alice, w.root(), "last", 0o644), 0, 1)
	if bad := Check(w.fs.Snapshot()); bad != nil {
		t.Error(bad)
	}
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
		"request under no one": {drop(lockFrontKey(lockWaits, "front", 3)), "1 requests are under no front end"},
		"front end's entry":    {spoilAt(lockFrontKey(lockWaits, "front", 3), last), "leads to no request"},
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
