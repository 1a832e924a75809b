package fsstate

import (
	"cmp"
	"encoding/binary"
	"slices"

	"bfsd/fsstate/tree"
)

// locks verifies the lock table: that its counters, its indexes and its records agree, that no two locks conflict, and
// that whoever waits has something to wait for.
func (c *checker) locks() {
	k := lockChecker{checker: c, totals: c.lockTotals(), records: map[uint64]uint64{}, on: map[[2]uint64]uint64{}, listed: map[uint64]bool{}}
	c.Scan(lockFileKey(0, 0, 0), lockFileKey(lockLowMask, lockKind, lockIDMask), k.record)
	k.endFile()
	if k.seen != k.totals.records {
		c.report("lock table: counts %d records, there are %d", k.totals.records, k.seen)
	}
	c.Scan(lockClientKey(0), lockClientKey(^uint64(0)), k.client)
	for _, client := range k.order {
		if k.records[client] != 0 {
			c.report("lock table: client %d is none, but has %d records", client, k.records[client])
		}
	}
	c.Scan(tree.Key{Hi: lockNames}, tree.Key{Hi: lockNames | lockLowMask, Lo: ^uint64(0)}, k.name)
	c.Scan(lockIndexKey(0, 0), lockIndexKey(lockLowMask, ^uint64(0)), k.index)
	if len(k.on) != 0 {
		c.report("lock table: the index lacks %d pairs of client and file", len(k.on))
	}
	c.Scan(tree.Key{Hi: lockWaits}, tree.Key{Hi: lockGrants | lockLowMask, Lo: ^uint64(0)}, k.front)
	if len(k.listed) != 0 {
		c.report("lock table: %d requests are under no front end", len(k.listed))
	}
}

type lockChecker struct {
	*checker
	totals  lockTotals
	seen    uint64
	ino     uint64               // of the file being read
	records map[uint64]uint64    // by client, taken away once compared
	order   []uint64             // the clients, as they were met
	on      map[[2]uint64]uint64 // by client and file, likewise
	listed  map[uint64]bool      // requests by id, likewise; true if granted
}

// record takes the next record on a file.
func (k *lockChecker) record(key tree.Key, b []byte) bool {
	ino, id := key.Hi&lockLowMask, key.Lo&lockIDMask
	if ino != k.ino {
		k.endFile()
		k.ino = ino
	}
	k.seen++
	if i, ok := k.at[ino]; !ok || k.inodes[i].typ != TypeRegular {
		k.report("lock table: a record on inode %d, which is no file", ino)
	}
	var owner lockOwner
	var ok bool
	switch key.Lo & lockKind {
	case lockHeld:
		var h heldLock
		ok = h.decode(id, b) && h.first <= h.last && h.last <= sizeMax
		owner = h.owner
	case lockWanted:
		var r lockRequest
		ok = r.decode(id, b) && r.first <= r.last && r.last <= sizeMax && r.since <= k.super.last
		owner = r.owner
		k.listed[id] = r.granted
	case lockShared:
		var h shareLock
		ok = h.decode(id, b) && h.access <= shareMask && h.deny <= shareMask
		owner = h.owner
	}
	if !ok || id >= k.totals.nextID {
		k.report("lock table: record %#x on file %d is malformed", key.Lo, ino)
	}
	if k.records[owner.client] == 0 {
		k.order = append(k.order, owner.client)
	}
	k.records[owner.client]++
	k.on[[2]uint64{owner.client, ino}]++
	return true
}

// endFile compares the records on one file, all of which have been seen.
func (k *lockChecker) endFile() {
	held := k.heldOn(k.ino, 0, sizeMax)
	slices.SortStableFunc(held, func(a, b heldLock) int { return cmp.Compare(a.first, b.first) })
	for i := range held {
		a := &held[i]
		for j := i + 1; j < len(held) && held[j].first <= a.last+1; j++ { // those that meet or touch it; last is sizeMax at most
			b := &held[j]
			mine := a.owner == b.owner && (a.meets(b.first, b.last) || a.exclusive == b.exclusive && touches(a, b))
			if mine || a.stands(b) {
				k.report("lock table: locks %d and %d on file %d collide", min(a.id, b.id), max(a.id, b.id), k.ino)
			}
		}
	}
	for _, r := range k.requestsOn(k.ino) {
		if !r.granted && !k.blocked(held, &r) {
			k.report("lock table: request %d on file %d waits for nothing", r.id, k.ino)
		}
	}
	shares := k.sharesOn(k.ino)
	for i := range shares {
		for j := range shares[:i] {
			a, b := &shares[i], &shares[j]
			if a.owner == b.owner || a.access&b.deny != 0 || a.deny&b.access != 0 {
				k.report("lock table: reservations %d and %d on file %d collide", b.id, a.id, k.ino)
			}
		}
	}
}

func (k *lockChecker) blocked(held []heldLock, r *lockRequest) bool {
	for i := range held {
		if held[i].stands(&r.heldLock) {
			return true
		}
	}
	return false
}

func (k *lockChecker) client(key tree.Key, b []byte) bool {
	var c lockClient
	if !c.decode(key.Lo, b) || c.number == 0 || c.number >= k.totals.nextClient || c.seen > k.super.last {
		k.report("lock table: client %d is malformed", key.Lo)
		return true
	}
	if c.records == 0 || c.records != k.records[c.number] {
		k.report("lock table: client %d counts %d records, there are %d", c.number, c.records, k.records[c.number])
	}
	k.records[c.number] = 0
	if n, ok := k.Get(lockNameKey(c.machine, &c.client)); !ok || len(n) != 8 || binary.BigEndian.Uint64(n) != c.number {
		k.report("lock table: client %d cannot be found by its name", c.number)
	}
	return true
}

func (k *lockChecker) name(key tree.Key, b []byte) bool {
	var c lockClient
	if len(b) != 8 || !k.lockClient(binary.BigEndian.Uint64(b), &c) || lockNameKey(c.machine, &c.client) != key {
		k.report("lock table: name %x leads nowhere", key.Append(nil))
	}
	return true
}

func (k *lockChecker) index(key tree.Key, b []byte) bool {
	pair := [2]uint64{key.Hi & lockLowMask, key.Lo}
	if len(b) != 8 || binary.BigEndian.Uint64(b) == 0 || binary.BigEndian.Uint64(b) != k.on[pair] {
		k.report("lock table: the index counts %x records of client %d on file %d, there are %d", b, pair[0], pair[1], k.on[pair])
	}
	delete(k.on, pair)
	return true
}

// front takes the next entry of a request under its front end.
func (k *lockChecker) front(key tree.Key, b []byte) bool {
	var r lockRequest
	tag := key.Hi &^ lockLowMask
	if len(b) < 8 || !k.lockRequest(binary.BigEndian.Uint64(b), key.Lo, &r) ||
		r.front != string(b[8:]) || lockFrontKey(tag, r.front, r.id) != key || r.granted != (tag == lockGrants) {
		k.report("lock table: entry %x leads to no request", key.Append(nil))
	}
	delete(k.listed, key.Lo)
	return true
}
