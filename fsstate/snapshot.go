package fsstate

import "bfsd/fsstate/tree"

// Snapshot is a frozen state. Its methods are safe on any goroutine, concurrently with the FS it was taken from.
type Snapshot struct {
	tree  *tree.Snapshot
	super super
}

// Snapshot freezes the current state, in O(1).
func (fs *FS) Snapshot() *Snapshot {
	fs.flush()
	return &Snapshot{tree: fs.tree.Snapshot(), super: fs.super}
}

// Rollback returns to a snapshot of this FS, in O(1). The snapshot stays valid.
func (fs *FS) Rollback(s *Snapshot) {
	fs.tree.Rollback(s.tree)
	fs.super, fs.stored = s.super, s.super
}

// Root returns the digest of everything replicated, hashing what changed since it was last hashed.
func (s *Snapshot) Root() [32]byte { return s.tree.Root() }

// Node returns the encoding of the tree node with a digest; false if the snapshot has none.
func (s *Snapshot) Node(digest [32]byte) ([]byte, bool) { return s.tree.Node(digest) }

// Diff calls emit for every pair in which this snapshot differs from an earlier one of the same FS (nil: from nothing),
// in key order; a nil value means the key is gone. It costs what has changed. The slices are valid during the call.
func (s *Snapshot) Diff(since *Snapshot, emit func(key, value []byte) error) error {
	var before *tree.Snapshot
	if since != nil {
		before = since.tree
	}
	var key [tree.KeyLen]byte
	return s.tree.Diff(before, func(k tree.Key, value []byte) error { return emit(k.Append(key[:0]), value) })
}

// Query answers a read-only operation from the frozen state; ok is false if op is not read-only.
func (s *Snapshot) Query(op []byte) (result []byte, ok bool) { return s.view().answer(op) }

// LastTime returns the time of the last operation that may have changed something.
func (s *Snapshot) LastTime() Time { return s.super.last }

// Release says the snapshot is not needed any more: what it alone held is freed.
func (s *Snapshot) Release() { s.tree.Release() }

func (s *Snapshot) view() view { return view{s.tree.Reader(), &s.super} }
