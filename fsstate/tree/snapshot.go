package tree

import (
	"sync"
	"sync/atomic"
)

// Snapshot is a frozen state. Its methods are safe on any goroutine, concurrently with the tree's writer.
type Snapshot struct {
	root atomic.Pointer[node]

	mu    sync.Mutex
	index map[Digest]*node // nodes that Node has been or may be asked for
	whole bool             // index holds every node
}

func newSnapshot(root *node) *Snapshot {
	s := new(Snapshot)
	s.root.Store(root)
	return s
}

// Reader returns a view for reading.
func (s *Snapshot) Reader() Reader { return Reader{s.root.Load()} }

// Root returns the digest of the content, hashing what changed since the last snapshot that was hashed.
func (s *Snapshot) Root() Digest { return rootDigest(s.root.Load()) }

// Release says the snapshot is not needed any more: it becomes empty, and its memory is freed when nobody else shares it.
func (s *Snapshot) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root.Store(nil)
	s.index, s.whole = nil, true
}

// Node returns the encoding of the node with digest d; false if the snapshot has none. A peer that restores asks from the
// root downwards, so the children of what was given out are all that need be remembered; only a question out of that order
// indexes the whole snapshot.
func (s *Snapshot) Node(d Digest) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	root := s.root.Load()
	var h hasher
	if root == nil {
		return []byte{tagLeaf}, d == emptyDigest()
	}
	if s.index == nil {
		s.index = map[Digest]*node{h.digest(root): root}
	}
	n, ok := s.index[d]
	if !ok && !s.whole {
		s.indexAll(&h, root)
		s.whole = true
		n, ok = s.index[d]
	}
	if !ok {
		return nil, false
	}
	if n.kind == inner && !s.whole {
		for _, kid := range n.kids {
			if kid != nil {
				s.index[h.digest(kid)] = kid
			}
		}
	}
	return append([]byte(nil), h.encode(n)...), true
}

func (s *Snapshot) indexAll(h *hasher, n *node) {
	s.index[h.digest(n)] = n
	if n.kind == inner {
		for _, kid := range n.kids {
			if kid != nil {
				s.indexAll(h, kid)
			}
		}
	}
}
