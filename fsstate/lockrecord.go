package fsstate

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"bfsd/fsstate/tree"
)

// The lock table, as pairs of the tree. Numbers in records are big-endian.
//
//	Hi                               Lo                       value
//	15<<60                           0                        totals
//	15<<60 | 1<<56                   client number            a client
//	15<<60 | 2<<56 | hash            rest of the hash         the number of the client so named
//	15<<60 | 3<<56 | inode number    kind of record | id      a lock, request or reservation on a file
//	15<<60 | 4<<56 | client number   inode number             how many records the client has on the file
//	15<<60 | 5<<56 | hash            id                       a request that waits, by hash of its front end
//	15<<60 | 6<<56 | hash            id                       a granted one whose client has yet to be told
//
// Ids grow, so the requests on a file lie in order of arrival. A client has a record just while it has others.

const (
	lockTag     = 15 << 60
	lockClients = lockTag | 1<<56
	lockNames   = lockTag | 2<<56
	lockFiles   = lockTag | 3<<56
	lockIndex   = lockTag | 4<<56
	lockWaits   = lockTag | 5<<56
	lockGrants  = lockTag | 6<<56
	lockEnd     = lockTag | 7<<56

	lockLowMask = 1<<56 - 1 // of inode and client numbers: a million a second for two thousand years

	lockHeld    = 0 << 62
	lockWanted  = 1 << 62
	lockShared  = 2 << 62
	lockKind    = 3 << 62
	lockIDMask  = 1<<62 - 1
	lockIDLimit = lockIDMask
)

// Limits of the lock table. Granting a request may add up to two locks beyond them, for those that it splits.
const (
	locksMax          = 1 << 16 // records in all
	locksPerClientMax = 1 << 14
	locksPerFileMax   = 1 << 12 // of each kind
)

func lockTotalsKey() tree.Key { return tree.Key{Hi: lockTag} }

func lockClientKey(number uint64) tree.Key { return tree.Key{Hi: lockClients, Lo: number} }

func lockFileKey(ino, kind, id uint64) tree.Key { return tree.Key{Hi: lockFiles | ino, Lo: kind | id} }

func lockIndexKey(client, ino uint64) tree.Key {
	return tree.Key{Hi: lockIndex | client&lockLowMask, Lo: ino}
}

// lockNameKey is where a client's number is. Machine and Via hold no NUL, or at least none that helps whoever puts one
// there: it would only make two of his own clients one.
func lockNameKey(machine string, c *LockClient) tree.Key {
	b := make([]byte, 0, len(machine)+len(c.Via)+len(c.Name)+2)
	b = append(append(append(b, machine...), 0), c.Via...)
	sum := sha256.Sum256(append(append(b, 0), c.Name...))
	k := tree.ParseKey(sum[:])
	k.Hi = lockNames | k.Hi&lockLowMask
	return k
}

// lockFrontKey is where a request is entered under its front end; tag is lockWaits or lockGrants.
func lockFrontKey(tag uint64, front string, id uint64) tree.Key {
	sum := sha256.Sum256([]byte(front))
	return tree.Key{Hi: tag | binary.BigEndian.Uint64(sum[:])&lockLowMask, Lo: id}
}

// lockTotals are the table's counters.
type lockTotals struct {
	nextClient uint64 // never goes back, nor does nextID
	nextID     uint64
	records    uint64
}

const lockTotalsLen = 24

func (v view) lockTotals() lockTotals {
	b, ok := v.Get(lockTotalsKey())
	if !ok || len(b) != lockTotalsLen {
		return lockTotals{nextClient: 1, nextID: 1}
	}
	return lockTotals{
		nextClient: binary.BigEndian.Uint64(b), nextID: binary.BigEndian.Uint64(b[8:]), records: binary.BigEndian.Uint64(b[16:]),
	}
}

func (fs *FS) putLockTotals(t lockTotals) {
	var b [lockTotalsLen]byte
	binary.BigEndian.PutUint64(b[:], t.nextClient)
	binary.BigEndian.PutUint64(b[8:], t.nextID)
	binary.BigEndian.PutUint64(b[16:], t.records)
	fs.tree.Put(lockTotalsKey(), b[:])
}

// lockClient is a client machine in the table.
type lockClient struct {
	number  uint64
	machine string
	client  LockClient
	state   uint32
	seen    Time
	records uint64
}

// put stores a client: state (4), seen (8), records (8), then machine and Via, each behind a byte for its length, Name.
func (c *lockClient) put(fs *FS) {
	b := binary.BigEndian.AppendUint32(fs.page[:0], c.state)
	b = binary.BigEndian.AppendUint64(b, uint64(c.seen))
	b = binary.BigEndian.AppendUint64(b, c.records)
	b = appendShort(appendShort(b, c.machine), c.client.Via)
	fs.tree.Put(lockClientKey(c.number), append(b, c.client.Name...))
}

func (c *lockClient) decode(number uint64, b []byte) bool {
	if len(b) < 20 {
		return false
	}
	*c = lockClient{
		number: number, state: binary.BigEndian.Uint32(b), seen: Time(binary.BigEndian.Uint64(b[4:])), records: binary.BigEndian.Uint64(b[12:]),
	}
	var ok1, ok2 bool
	c.machine, b, ok1 = cutShort(b[20:])
	c.client.Via, b, ok2 = cutShort(b)
	c.client.Name = string(b)
	return ok1 && ok2
}

// appendShort appends a string of up to 255 bytes behind its length.
func appendShort(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// cutShort takes what appendShort appended from b.
func cutShort(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

// lockOwner is LockOwner with its client's number in the table, 0 if it is not there.
type lockOwner struct {
	client uint64
	svid   uint32
	oh     string
}

// heldLock is a lock on a file: all of it, as no two locks of an owner that are alike overlap or touch.
type heldLock struct {
	id          uint64
	owner       lockOwner
	exclusive   bool
	first, last uint64 // bytes
}

// stands reports whether h keeps o from being granted.
func (h *heldLock) stands(o *heldLock) bool {
	return (h.exclusive || o.exclusive) && h.meets(o.first, o.last) && h.owner != o.owner
}

func (h *heldLock) meets(first, last uint64) bool { return h.first <= last && first <= h.last }

const heldLockLen = 8 + 4 + 1 + 8 + 8

// appendFixed appends client (8), svid (4), exclusive (1), first (8) and last (8); oh comes at the end of a record.
func (h *heldLock) appendFixed(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, h.owner.client)
	b = binary.BigEndian.AppendUint32(b, h.owner.svid)
	b = append(b, bit(h.exclusive))
	b = binary.BigEndian.AppendUint64(b, h.first)
	return binary.BigEndian.AppendUint64(b, h.last)
}

func (h *heldLock) append(b []byte) []byte { return append(h.appendFixed(b), h.owner.oh...) }

// decodeFixed is decode for all but oh.
func (h *heldLock) decodeFixed(id uint64, b []byte) bool {
	if len(b) < heldLockLen {
		return false
	}
	*h = heldLock{
		id: id, owner: lockOwner{client: binary.BigEndian.Uint64(b), svid: binary.BigEndian.Uint32(b[8:])},
		exclusive: b[12] == 1, first: binary.BigEndian.Uint64(b[13:]), last: binary.BigEndian.Uint64(b[21:]),
	}
	return true
}

func (h *heldLock) decode(id uint64, b []byte) bool {
	if !h.decodeFixed(id, b) {
		return false
	}
	h.owner.oh = string(b[heldLockLen:])
	return true
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// lockRequest is a lock that somebody waits for, or that was granted while its owner waited, who has yet to be told.
type lockRequest struct {
	heldLock
	granted  bool
	fresh    bool   // granted: its owner held none of it before, so that it may be released if it is not wanted any more
	attempts uint32 // granted: calls to the client that may have reached it
	length   uint64 // as in LockRange
	since    Time   // when it was granted
	front    string
	server   string
}

// append appends the lock's fixed part, flags (1), attempts (4), length (8), since (8), front (ownFront) and server as short strings,
// and oh.
func (r *lockRequest) append(b []byte) []byte {
	b = append(r.appendFixed(b), bit(r.granted)|bit(r.fresh)<<1)
	b = binary.BigEndian.AppendUint32(b, r.attempts)
	b = binary.BigEndian.AppendUint64(b, r.length)
	b = binary.BigEndian.AppendUint64(b, uint64(r.since))
	return append(appendShort(appendShort(b, r.front), r.server), r.owner.oh...)
}

func (r *lockRequest) decode(id uint64, b []byte) bool {
	if len(b) < heldLockLen+21 || !r.decodeFixed(id, b) {
		return false
	}
	b = b[heldLockLen:]
	r.granted, r.fresh, r.attempts = b[0]&1 != 0, b[0]&2 != 0, binary.BigEndian.Uint32(b[1:])
	r.length, r.since = binary.BigEndian.Uint64(b[5:]), Time(binary.BigEndian.Uint64(b[13:]))
	var ok1, ok2 bool
	r.front, b, ok1 = cutShort(b[21:])
	r.server, b, ok2 = cutShort(b)
	r.owner.oh = string(b)
	return ok1 && ok2
}

// shareLock is a reservation. Its owner's svid is 0.
type shareLock struct {
	id     uint64
	owner  lockOwner
	access byte
	deny   byte
}

// append appends client (8), access (1), deny (1) and oh.
func (h *shareLock) append(b []byte) []byte {
	b = append(binary.BigEndian.AppendUint64(b, h.owner.client), h.access, h.deny)
	return append(b, h.owner.oh...)
}

func (h *shareLock) decode(id uint64, b []byte) bool {
	if len(b) < 10 {
		return false
	}
	*h = shareLock{id: id, owner: lockOwner{client: binary.BigEndian.Uint64(b), oh: string(b[10:])}, access: b[8], deny: b[9]}
	return true
}

// scanLocks calls yield for the records of one kind on a file, in order of their ids.
func (v view) scanLocks(ino, kind uint64, yield func(id uint64, b []byte) bool) {
	if ino > lockLowMask {
		return
	}
	v.Scan(lockFileKey(ino, kind, 0), lockFileKey(ino, kind, lockIDMask), func(k tree.Key, b []byte) bool {
		return yield(k.Lo&lockIDMask, b)
	})
}

// heldOn returns the locks on a file that reach into a range or touch it, in order of their ids.
func (v view) heldOn(ino, first, last uint64) []heldLock {
	var all []heldLock
	v.eachHeld(ino, max(first, 1)-1, min(last, sizeMax-1)+1, func(h *heldLock, oh []byte) {
		h.owner.oh = string(oh)
		all = append(all, *h)
	})
	return all
}

// eachHeld calls yield for the locks on a file that reach into a range, in order of their ids. The owner's oh comes apart,
// as it aliases the tree.
func (v view) eachHeld(ino, first, last uint64, yield func(h *heldLock, oh []byte)) {
	var h heldLock
	v.scanLocks(ino, lockHeld, func(id uint64, b []byte) bool {
		if h.decodeFixed(id, b) && h.meets(first, last) {
			yield(&h, b[heldLockLen:])
		}
		return true
	})
}

// requestsOn returns the requests on a file, in order of arrival.
func (v view) requestsOn(ino uint64) []lockRequest {
	return v.requests(ino, func(*heldLock) bool { return true })
}

// requestsOf returns an owner's requests on a file, in order of arrival.
func (v view) requestsOf(ino uint64, owner lockOwner) []lockRequest {
	all := v.requests(ino, func(h *heldLock) bool { return h.owner.client == owner.client && h.owner.svid == owner.svid })
	return slices.DeleteFunc(all, func(r lockRequest) bool { return r.owner.oh != owner.oh })
}

// requests returns the requests on a file that are wanted for all but their owner's oh.
func (v view) requests(ino uint64, wanted func(h *heldLock) bool) []lockRequest {
	var all []lockRequest
	v.scanLocks(ino, lockWanted, func(id uint64, b []byte) bool {
		var r lockRequest
		if r.decodeFixed(id, b) && wanted(&r.heldLock) && r.decode(id, b) {
			all = append(all, r)
		}
		return true
	})
	return all
}

// countOn counts the records of a kind on a file.
func (v view) countOn(ino, kind uint64) (n int) {
	v.scanLocks(ino, kind, func(uint64, []byte) bool {
		n++
		return true
	})
	return n
}

func (v view) sharesOn(ino uint64) []shareLock {
	var all []shareLock
	v.scanLocks(ino, lockShared, func(id uint64, b []byte) bool {
		var h shareLock
		if h.decode(id, b) {
			all = append(all, h)
		}
		return true
	})
	return all
}

// lockRequest reads one request.
func (v view) lockRequest(ino, id uint64, r *lockRequest) bool {
	if ino > lockLowMask || id > lockIDMask {
		return false
	}
	b, ok := v.Get(lockFileKey(ino, lockWanted, id))
	return ok && r.decode(id, b)
}
