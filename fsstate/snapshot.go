package fsstate

import (
	"sync"

	"bfsd/fsstate/tree"
)

// Snapshot is a frozen state. Its methods are safe on any goroutine, concurrently with the FS it was taken from.
type Snapshot struct {
	tree   *tree.Snapshot
	super  super
	stored super // what the tree holds of it

	mu    sync.Mutex
	whole *tree.Snapshot // tree with its superblock up to date, once somebody looks
}

// Snapshot freezes the current state, in O(1).
func (fs *FS) Snapshot() *Snapshot {
	return &Snapshot{tree: fs.tree.Snapshot(), super: fs.super, stored: fs.stored}
}

// Rollback returns to a snapshot of this FS, in O(1). The snapshot stays valid; it must not have been released.
func (fs *FS) Rollback(s *Snapshot) {
	fs.tree.Rollback(s.tree)
	fs.super, fs.stored = s.super, s.stored
}

// sealed returns the tree with its superblock. Most snapshots are taken in case of a rollback and never looked at, so this
// is put off until somebody does, on whatever goroutine.
func (s *Snapshot) sealed() *tree.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.whole == nil {
		s.whole = s.tree
		if s.super != s.stored {
			t := s.tree.Fork()
			t.Put(tree.Key{}, s.super.encode())
			s.whole = t.Snapshot()
		}
	}
	return s.whole
}

// Root returns the digest of everything replicated, hashing what changed since it was last hashed.
func (s *Snapshot) Root() [32]byte { return s.sealed().Root() }

// Node returns the encoding of the tree node with a digest; false if the snapshot has none.
func (s *Snapshot) Node(digest [32]byte) ([]byte, bool) { return s.sealed().Node(digest) }

// Size returns how many bytes all pairs take, keys and lengths included.
func (s *Snapshot) Size() uint64 { return s.tree.Reader().Size() }

// Diff calls emit for every pair in which this snapshot differs from an earlier one of the same FS (nil: from nothing),
// in key order; a nil value means the key is gone. It costs what has changed. The slices are valid during the call.
func (s *Snapshot) Diff(since *Snapshot, emit func(key, value []byte) error) error {
	var before *tree.Snapshot
	if since != nil {
		before = since.sealed()
	}
	var key [tree.KeyLen]byte
	return s.sealed().Diff(before, func(k tree.Key, value []byte) error { return emit(k.Append(key[:0]), value) })
}

// Query answers a read-only operation from the frozen state; ok is false if op is not read-only.
func (s *Snapshot) Query(op []byte) (result []byte, ok bool) {
	return s.view().answer(LocalFrontEnd, op)
}

// LastTime returns the time of the last operation that may have changed something.
func (s *Snapshot) LastTime() Time { return s.super.last }

// Release says the snapshot is not needed any more: what it alone held is freed.
func (s *Snapshot) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.whole != nil {
		s.whole.Release()
	}
	s.whole = s.tree
	s.tree.Release()
}

func (s *Snapshot) view() view { return view{s.tree.Reader(), &s.super} }
