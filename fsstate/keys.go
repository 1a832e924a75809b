package fsstate

import (
	"crypto/sha256"
	"encoding/binary"

	"bfsd/fsstate/tree"
)

// Everything replicated is a pair of the tree:
//
//	Hi                  Lo                                       value
//	0                   0                                        the superblock
//	inode number        0                                        the inode (see inode.go)
//	inode number        1 + page number                          a page of a regular file: up to 4096 bytes
//	inode number        1                                        a symbolic link's target
//	inode number        1<<62 | hash of the name<<8 | collision  a directory entry: inode number, name
//	inode number        1<<62 | inode number of a directory      of what has several names: how many are there
//	1<<63 | client      slot<<32 | part                          a part of the last reply to a client's slot
//	5<<61 | machine     0                                        the duplicate-request cache: what it has of a machine
//	6<<61 | machine     generation<<63 | xid<<31 | hash          the answer to a call of the machine
//	1<<64 - 2           member                                   the key that an order gave to a member of the cluster
//	1<<64 - 1           part                                     a part of the export policy
//	15<<60 | …          …                                        the lock table (see lockrecord.go)
//
// From 1<<63 on, keys are about the clients of one cluster, not about the files: a backup that seeds another cluster leaves
// them out, but for the export policy (backup.go).
//
// So an inode lies beside its first page, a directory's entries beside each other, and small files share leaves with
// their neighbors. A directory entry's Lo is also its cookie: it belongs to the entry for as long as the entry exists,
// whatever else is added or removed.

const (
	pageSize = tree.ValueMax

	inoMax   = 1<<63 - 1
	rootIno  = 1
	pageMax  = (sizeMax + pageSize - 1) / pageSize // pages of the largest file
	sizeMax  = 1<<63 - 1                           // bytes: what off_t can say
	slotPage = 1                                   // of page 0

	slotEntry      = 1 << 62
	slotEntryMax   = 1<<63 - 1
	collisionBits  = 8
	collisionsMax  = 1 << collisionBits
	entryHashBits  = 62 - collisionBits
	sessionTag     = 4 << 61
	dupTag         = 5 << 61
	dupAnswerTag   = 6 << 61
	hashMask       = 1<<61 - 1
	policyTag      = 1<<64 - 1
	memberTag      = 1<<64 - 2
	sessionPartMax = 1<<32 - 1
)

func inodeKey(ino uint64) tree.Key { return tree.Key{Hi: ino} }

func pageKey(ino, page uint64) tree.Key { return tree.Key{Hi: ino, Lo: slotPage + page} }

func entryKey(ino, slot uint64) tree.Key { return tree.Key{Hi: ino, Lo: slot} }

func sessionKey(client, slot, part uint32) tree.Key {
	return tree.Key{Hi: sessionTag | uint64(client), Lo: uint64(slot)<<32 | uint64(part)}
}

// entrySlot returns the first of the slots that an entry called name may have. The hash is salted, so that a client cannot
// work out names that collide.
func entrySlot(seed *Seed, name string) uint64 {
	var buf [len(seed) + NameMax]byte
	sum := sha256.Sum256(append(append(buf[:0], seed[:]...), name...))
	return slotEntry | binary.BigEndian.Uint64(sum[:])>>(64-entryHashBits)<<collisionBits
}

// generation returns the generation of an inode number: what makes a handle impossible to guess. Inode numbers are never
// used twice, so it need only be secret, not fresh.
func generation(seed *Seed, ino uint64) uint64 {
	var buf [len(seed) + 8]byte
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(append(buf[:0], seed[:]...), ino))
	return binary.BigEndian.Uint64(sum[:])
}
