package tree

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// Snapshot is a frozen state. Its methods are safe on any goroutine, concurrently with the tree's writer.
type Snapshot struct {
	root atomic.Pointer[node]

	released atomic.Bool

	mu    sync.Mutex
	given map[Digest]*node // the root, and the children of nodes that were given out
	all   []indexed        // every node, once one was asked for that is not in given
	h     *hasher          // for Node
}

// indexed is a node under the first bytes of its digest, by which all is sorted.
type indexed struct {
	digest uint64
	node   *node
}

func newSnapshot(root *node) *Snapshot {
	s := new(Snapshot)
	s.root.Store(root)
	return s
}

// Reader returns a view for reading.
func (s *Snapshot) Reader() Reader { return Reader{s.root.Load()} }

// Fork returns a tree of its own that begins with the snapshot's content. Its snapshots are not the first tree's.
func (s *Snapshot) Fork() *Tree {
	t := New()
	if t.root = s.root.Load(); t.root != nil {
		t.epoch = t.root.epoch + 1 // no node is younger than the root above it
	}
	return t
}

// Root returns the digest of the content, hashing what changed since the last snapshot that was hashed.
func (s *Snapshot) Root() Digest { return rootDigest(s.root.Load()) }

// Release says the snapshot is not needed any more: it becomes empty, and its memory is freed when nobody else shares it.
func (s *Snapshot) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released.Store(true)
	s.root.Store(nil)
	s.given, s.all, s.h = nil, nil, nil
}

// Node returns the encoding of the node with digest d; false if the snapshot has none. A peer that restores asks from the
// root downwards, so the children of what was given out are all that need be remembered; only who asks several servers
// for different parts makes each of them index the whole snapshot, at 16 bytes a node.
func (s *Snapshot) Node(d Digest) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	root := s.root.Load()
	if root == nil {
		return []byte{tagLeaf}, d == emptyDigest()
	}
	if s.h == nil {
		s.h = new(hasher)
	}
	n := s.lookup(s.h, root, d)
	if n == nil {
		return nil, false
	}
	if n.kind == inner && s.all == nil {
		for _, kid := range n.kids {
			if kid != nil {
				s.given[s.h.digest(kid)] = kid
			}
		}
	}
	return n.appendEncoding(make([]byte, 0, n.encodedLen())), true
}

func (s *Snapshot) lookup(h *hasher, root *node, d Digest) *node {
	if s.given == nil {
		s.given = map[Digest]*node{h.digest(root): root}
	}
	if n, ok := s.given[d]; ok {
		return n
	}
	if s.all == nil {
		s.all = h.index(nil, root)
		slices.SortFunc(s.all, func(a, b indexed) int { return cmp.Compare(a.digest, b.digest) })
	}
	head := binary.BigEndian.Uint64(d[:])
	i, _ := slices.BinarySearchFunc(s.all, head, func(a indexed, d uint64) int { return cmp.Compare(a.digest, d) })
	for ; i < len(s.all) && s.all[i].digest == head; i++ {
		if n := s.all[i].node; h.digest(n) == d {
			return n
		}
	}
	return nil
}

// index appends n and every node below it.
func (h *hasher) index(all []indexed, n *node) []indexed {
	d := h.digest(n)
	all = append(all, indexed{binary.BigEndian.Uint64(d[:]), n})
	if n.kind == inner {
		for _, kid := range n.kids {
			if kid != nil {
				all = h.index(all, kid)
			}
		}
	}
	return all
}
