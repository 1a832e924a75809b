package fsstate

import (
	"encoding/binary"

	"bfsd/fsstate/tree"
)

// The reply table: the last reply to each slot of each client, which makes execution exactly once (TOCS §4.2). It is kept
// under the root, so that a replica that restores the state cannot execute a request twice. The first part of a reply
// begins with its number and length.

const sessionHead = 8 + 4

func sessionKeyMax() tree.Key { return sessionKey(^uint32(0), ^uint32(0), ^uint32(0)) }

// SetSession records the last reply to a client's slot in place of the one before.
func (fs *FS) SetSession(client, slot uint32, number uint64, reply []byte) {
	before := 0
	if b, ok := fs.tree.Get(sessionKey(client, slot, 0)); ok && len(b) >= sessionHead {
		before = sessionParts(int(binary.BigEndian.Uint32(b[8:])))
	}
	head := binary.BigEndian.AppendUint64(fs.page[:0], number)
	head = binary.BigEndian.AppendUint32(head, uint32(len(reply)))
	first := min(len(reply), pageSize-sessionHead)
	fs.tree.Put(sessionKey(client, slot, 0), append(head, reply[:first]...))
	parts := uint32(1)
	for rest := reply[first:]; len(rest) > 0; parts++ {
		n := min(len(rest), pageSize)
		fs.tree.Put(sessionKey(client, slot, parts), rest[:n])
		rest = rest[n:]
	}
	if int(parts) < before {
		fs.tree.DeleteRange(sessionKey(client, slot, parts), sessionKey(client, slot, sessionPartMax))
	}
}

// sessionParts returns the number of parts of a reply of n bytes.
func sessionParts(n int) int { return 1 + max(0, n-(pageSize-sessionHead)+pageSize-1)/pageSize }

// Sessions calls yield for every recorded reply, in order of client and slot, until it returns false. The reply is the
// callee's to keep.
func (fs *FS) Sessions(yield func(client, slot uint32, number uint64, reply []byte) bool) {
	fs.view().sessions(yield)
}

// Sessions is FS.Sessions for the frozen state.
func (s *Snapshot) Sessions(yield func(client, slot uint32, number uint64, reply []byte) bool) {
	s.view().sessions(yield)
}

func (v view) sessions(yield func(client, slot uint32, number uint64, reply []byte) bool) {
	var reply []byte
	var number uint64
	var want int
	v.Scan(tree.Key{Hi: sessionTag}, sessionKeyMax(), func(k tree.Key, b []byte) bool {
		if uint32(k.Lo) == 0 {
			if len(b) < sessionHead {
				return true // not a reply: fsck tells
			}
			number, want = binary.BigEndian.Uint64(b), int(binary.BigEndian.Uint32(b[8:]))
			reply = make([]byte, 0, min(want, resultMax))
			b = b[sessionHead:]
		}
		reply = append(reply, b...)
		if len(reply) != want {
			return true
		}
		return yield(uint32(k.Hi), uint32(k.Lo>>32), number, reply)
	})
}
