package fsstate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"bfsd/fsstate/tree"
)

// The duplicate-request cache. An NFS client that loses its connection sends its calls again under the same transaction
// id, perhaps through another front end, while the first copy is still on its way: without the cache a REMOVE sent twice
// would fail, and a WRITE that comes late would undo a newer one (Juszczak, "Improving the Performance and Correctness of
// an NFS Server", USENIX Winter 1989). The cache is replicated state, so any replica gives the first answer. It works on
// whole encoded operations: machine, transaction id, credential and arguments must all be the same.
//
// Entries are numbered and kept first in, first out; that their replies lie in order of number, and only the numbers in
// order of hash, lets a batch touch few pages.

const (
	dupHead     = tree.KeyLen + 8 // an entry's value: its hash, its time, then the encoded result
	dupHashMask = 1<<61 - 1
	// dupWindow is for how long a call may be sent again: Linux's server has the same bound (RC_EXPIRE). It keeps a client
	// that starts anew with transaction ids used before from getting answers of its former life.
	dupWindow = Time(120e9)
	// dupWhole is up to how many bytes the hash takes the operation in full; of a longer one it takes that much and a
	// checksum of all. Only the client that sent both could gain from a collision.
	dupWhole = 1024
)

// dupEntry is an entry of the cache.
type dupEntry struct {
	hash   tree.Key
	at     Time
	result []byte
}

func dupKey(number uint64) tree.Key { return tree.Key{Hi: dupEntryTag, Lo: number} }

// dupHash tells encoded operations apart.
func dupHash(op []byte) tree.Key {
	var buf [dupWhole + 8]byte
	b := append(buf[:0], op[:min(len(op), dupWhole)]...)
	if len(op) > dupWhole {
		b = binary.BigEndian.AppendUint32(b, uint32(len(op)))
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(op, crc32.MakeTable(crc32.Castagnoli)))
	}
	sum := sha256.Sum256(b)
	k := tree.ParseKey(sum[:])
	k.Hi = dupHashTag | k.Hi&dupHashMask
	return k
}

// dupOldest returns the number of the oldest entry that is kept.
func (s *super) dupOldest() uint64 { return s.dupNext - min(s.dupNext, s.dupMax) }

// once runs an operation that may change something and returns its encoded result, or that of the first time if the call
// is one sent again. A front end that has no transaction id gives 0.
func (fs *FS) once(o *Op, op []byte, now Time) []byte {
	if fs.super.dupMax == 0 || o.Machine == "" || o.XID == 0 {
		return EncodeResult(fs.change(o, now))
	}
	hash := dupHash(op)
	if b, ok := fs.tree.Get(hash); ok {
		if e, ok := fs.view().dupEntry(b); ok && max(now, fs.super.last)-e.at <= dupWindow {
			return bytes.Clone(e.result)
		}
	}
	result := EncodeResult(fs.change(o, now))
	fs.remember(hash, result)
	return result
}

// dupEntry returns the entry whose number is given, as it is stored.
func (v view) dupEntry(number []byte) (dupEntry, bool) {
	if len(number) != 8 {
		return dupEntry{}, false
	}
	b, ok := v.Get(dupKey(binary.BigEndian.Uint64(number)))
	if !ok || len(b) < dupHead {
		return dupEntry{}, false
	}
	at := Time(binary.BigEndian.Uint64(b[tree.KeyLen:]))
	return dupEntry{hash: tree.ParseKey(b), at: at, result: b[dupHead:]}, true
}

// remember adds an entry, in place of the oldest if the cache is full.
func (fs *FS) remember(hash tree.Key, result []byte) {
	if len(result) > pageSize-dupHead {
		return // no result of an operation that changes something is nearly as long
	}
	s := &fs.super
	if s.dupNext >= s.dupMax {
		fs.forget(s.dupNext - s.dupMax)
	}
	b := hash.Append(fs.page[:0])
	b = binary.BigEndian.AppendUint64(b, uint64(s.last))
	fs.tree.Put(dupKey(s.dupNext), append(b, result...))
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], s.dupNext)
	fs.tree.Put(hash, number[:])
	s.dupNext++
}

// forget removes an entry, and its hash unless a later entry has taken that over.
func (fs *FS) forget(number uint64) {
	b, ok := fs.tree.Get(dupKey(number))
	if !ok || len(b) < dupHead {
		return
	}
	hash := tree.ParseKey(b)
	if at, ok := fs.tree.Get(hash); ok && len(at) == 8 && binary.BigEndian.Uint64(at) == number {
		fs.tree.Delete(hash)
	}
	fs.tree.Delete(dupKey(number))
}
