package fsstate

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"bfsd/fsstate/tree"
)

// Limits of the table of members' keys.
const (
	// MemberKeysMax is how many members have a key by an order.
	MemberKeysMax = 1024
	// KeyNumberMax is how often the key of one member can be replaced: as many ranges of request numbers there are
	// (package wire, KeyNumberMax).
	KeyNumberMax = 3072

	memberKeyMax  = 256 // bytes of a key, and of its record less its head
	memberKeyHead = 8 + 4
)

// MemberKey is the key that a member of the cluster has by an operator's order, in place of the one that it was configured
// with. What its bytes mean is not known here: Config.MayHave judges them. It is replicated state, so it takes effect
// at the same place of the order everywhere, and whoever restores the state restores it.
type MemberKey struct {
	Member  FrontEnd
	Number  uint32 // how often the member's key was replaced; the one it was configured with has the number 0
	Version uint64 // of the table, when it was set
	Key     []byte
}

// MemberKeys finds the key that a member has by an order; false if it has none.
type MemberKeys func(member FrontEnd) (MemberKey, bool)

// memberKeys is the table in use; nil is the empty one. It never changes.
type memberKeys struct {
	version uint64      // how many orders were executed
	keys    []MemberKey // by member
}

func (t *memberKeys) search(member FrontEnd) (int, bool) {
	return slices.BinarySearchFunc(t.keys, member, func(k MemberKey, m FrontEnd) int { return cmp.Compare(k.Member, m) })
}

// find is a MemberKeys.
func (t *memberKeys) find(member FrontEnd) (MemberKey, bool) {
	if t == nil {
		return MemberKey{}, false
	}
	i, ok := t.search(member)
	if !ok {
		return MemberKey{}, false
	}
	return t.keys[i], true
}

// with is the table after an order.
func (t *memberKeys) with(k MemberKey) *memberKeys {
	next := &memberKeys{version: k.Version}
	if t != nil {
		next.keys = slices.Clone(t.keys)
	}
	i, ok := next.search(k.Member)
	if ok {
		next.keys[i] = k
	} else {
		next.keys = slices.Insert(next.keys, i, k)
	}
	return next
}

// MemberKeys returns the version of the table of members' keys, which is 0 until the first order, and what is in it, by
// member. It is not to be changed.
func (fs *FS) MemberKeys() (version uint64, keys []MemberKey) { return fs.view().memberKeys() }

// MemberKeys is FS.MemberKeys for the frozen state.
func (s *Snapshot) MemberKeys() (version uint64, keys []MemberKey) { return s.view().memberKeys() }

func (v view) memberKeys() (version uint64, keys []MemberKey) {
	if v.super.keys == nil {
		return 0, nil
	}
	return v.super.keys.version, v.super.keys.keys
}

// MemberKey returns the key that a member has by an order; false if it has none.
func (fs *FS) MemberKey(member FrontEnd) (MemberKey, bool) { return fs.super.keys.find(member) }

func memberRecordKey(member FrontEnd) tree.Key { return tree.Key{Hi: memberTag, Lo: uint64(member)} }

// storeKey puts a key into the table, and into the tree: its version, number and bytes.
func (fs *FS) storeKey(k MemberKey) {
	b := binary.BigEndian.AppendUint64(fs.page[:0], k.Version)
	b = binary.BigEndian.AppendUint32(b, k.Number)
	fs.tree.Put(memberRecordKey(k.Member), append(b, k.Key...))
	fs.super.keys = fs.super.keys.with(k)
}

var errMemberKeys = errors.New("no valid table of members' keys")

// loadKeys reads the table from the tree.
func (fs *FS) loadKeys() (*memberKeys, error) {
	var t memberKeys
	valid := true
	fs.tree.Reader().Scan(memberRecordKey(0), memberRecordKey(^FrontEnd(0)), func(k tree.Key, b []byte) bool {
		if len(b) <= memberKeyHead || len(b) > memberKeyHead+memberKeyMax || len(t.keys) == MemberKeysMax {
			valid = false
			return false
		}
		m := MemberKey{
			Member: FrontEnd(k.Lo), Version: binary.BigEndian.Uint64(b), Number: binary.BigEndian.Uint32(b[8:]),
			Key: bytes.Clone(b[memberKeyHead:]),
		}
		valid = m.Version > 0 && m.Number > 0 && m.Number <= KeyNumberMax
		t.version = max(t.version, m.Version)
		t.keys = append(t.keys, m)
		return valid
	})
	if !valid {
		return nil, errMemberKeys
	}
	if len(t.keys) == 0 {
		return nil, nil
	}
	return &t, nil
}
