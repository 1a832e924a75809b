package tree

import (
	"fmt"
	"slices"
)

// Tree is the writer's view: the current state, which one goroutine reads and changes.
type Tree struct {
	root  *node
	epoch uint64 // never used twice in a process: nodes of any other epoch are copied before they change
	pairs []pair // scratch
}

// New returns an empty tree.
func New() *Tree { return &Tree{epoch: 1} }

// Successor returns an empty tree to take the place of this one: it may be rolled back to this one's snapshots.
func (t *Tree) Successor() *Tree { return &Tree{epoch: t.epoch + 1} }

// Reader returns a view for reading, valid until the next change.
func (t *Tree) Reader() Reader { return Reader{t.root} }

// Get returns the value of k. It aliases the tree and is valid until the next change.
func (t *Tree) Get(k Key) ([]byte, bool) { return Reader{t.root}.Get(k) }

// Snapshot freezes the current state, in O(1).
func (t *Tree) Snapshot() *Snapshot {
	s := newSnapshot(t.root)
	t.epoch++
	return s
}

// Rollback returns to a snapshot of this tree, in O(1). The snapshot stays valid; it must not have been released.
func (t *Tree) Rollback(s *Snapshot) {
	root := s.root.Load()
	if s.released.Load() {
		panic("tree: rollback to a released snapshot")
	}
	if root != nil && root.epoch >= t.epoch { // taking it began a later epoch, so that its nodes are never the writer's
		panic(fmt.Sprintf("tree: rollback in epoch %d to a snapshot of epoch %d, which another tree took", t.epoch, root.epoch))
	}
	t.root = root
}

// Root returns the digest of the current content, hashing what changed.
func (t *Tree) Root() Digest { return rootDigest(t.root) }

// Put sets the value of k to a copy of val, which must not be longer than ValueMax.
func (t *Tree) Put(k Key, val []byte) {
	if len(val) > ValueMax {
		panic(fmt.Sprintf("tree: value of %d bytes, %d at most", len(val), ValueMax))
	}
	t.root = t.put(t.root, k, val)
}

func (t *Tree) put(n *node, k Key, val []byte) *node {
	if n == nil {
		return newSingle(t.epoch, k, val)
	}
	switch n.kind {
	case single:
		if n.key == k {
			return t.replaceSingle(n, val)
		}
		ps := [2]pair{{n.key, n.data}, {k, val}}
		if k.Compare(n.key) < 0 {
			ps[0], ps[1] = ps[1], ps[0]
		}
		if size := n.size + pairSize(val); size <= leafMax {
			return newBucket(t.epoch, ps[:], size)
		}
		return t.join(n, newSingle(t.epoch, k, val))
	case bucket:
		return t.putBucket(n, k, val)
	case inner:
	}
	depth := int(n.depth)
	if k.common(n.key) < depth {
		return t.join(n, newSingle(t.epoch, k, val))
	}
	old := n.kids[k.nibble(depth)]
	size, count := n.size, n.count
	if old != nil {
		size, count = size-old.size, count-old.count
	}
	kid := t.put(old, k, val)
	n = t.ownInner(n)
	n.kids[k.nibble(depth)] = kid
	n.size, n.count = size+kid.size, count+kid.count
	return t.settle(n)
}

// join returns an inner node over two nodes whose keys part above both, and which together are too large for a leaf.
func (t *Tree) join(a, b *node) *node {
	ka, kb := a.anyKey(), b.anyKey()
	n := newInner(t.epoch, ka, ka.common(kb))
	n.adopt(a)
	n.adopt(b)
	return n
}

// own reports whether the writer may change n in place, and if so forgets its digest.
func (t *Tree) own(n *node) bool {
	if n.epoch != t.epoch {
		return false
	}
	n.state.Store(unhashed)
	return true
}

// ownInner returns n, or a copy of it, that the writer may change.
func (t *Tree) ownInner(n *node) *node {
	if t.own(n) {
		return n
	}
	in := &innerNode{
		node:  node{kind: inner, epoch: t.epoch, key: n.key, depth: n.depth, size: n.size, count: n.count},
		array: *n.kids,
	}
	in.kids = &in.array
	return &in.node
}

func (t *Tree) replaceSingle(n *node, val []byte) *node {
	if !t.own(n) {
		return newSingle(t.epoch, n.key, val)
	}
	if cap(n.data) < len(val) || cap(n.data) > 2*len(val)+64 {
		n.data = bytesFor(len(val))
	}
	n.data = append(n.data[:0], val...)
	n.size = pairSize(val)
	return n
}

func (t *Tree) putBucket(n *node, k Key, val []byte) *node {
	at, found := seek(n.data, k)
	oldLen := 0
	if found {
		oldLen = pairHead + int(n.data[at+KeyLen])<<8 + int(n.data[at+KeyLen+1])
	}
	size := n.size - uint64(oldLen) + pairSize(val)
	if size > leafMax {
		return t.splitBucket(n, k, val)
	}
	if !t.own(n) || cap(n.data) < int(size) {
		data := bytesFor(int(size))
		data = append(data, n.data[:at]...)
		data = appendPair(data, k, val)
		data = append(data, n.data[at+oldLen:]...)
		c := n.count
		if !found {
			c++
		}
		return &node{kind: bucket, epoch: t.epoch, count: c, size: size, data: data}
	}
	newLen := int(pairSize(val))
	tail := n.data[at+oldLen:]
	n.data = n.data[:size]
	copy(n.data[at+newLen:], tail)
	k.put(n.data[at:])
	n.data[at+KeyLen], n.data[at+KeyLen+1] = byte(len(val)>>8), byte(len(val))
	copy(n.data[at+pairHead:], val)
	n.size = size
	if !found {
		n.count++
	}
	return n
}

// splitBucket returns the nodes for a bucket's pairs and one more, which are too many for a leaf.
func (t *Tree) splitBucket(n *node, k Key, val []byte) *node {
	ps := n.appendPairs(t.pairs[:0])
	at, found := slices.BinarySearchFunc(ps, k, func(p pair, k Key) int { return p.key.Compare(k) })
	if found {
		ps[at].val = val
	} else {
		ps = slices.Insert(ps, at, pair{k, val})
	}
	defer t.forget(ps)
	return build(t.epoch, ps)
}

// forget keeps the scratch space for the next call, without what it pointed to.
func (t *Tree) forget(ps []pair) {
	clear(ps)
	t.pairs = ps[:0]
}

// settle returns the canonical node for an inner node whose children have changed.
func (t *Tree) settle(n *node) *node {
	if n.size <= leafMax {
		if n.count == 0 {
			return nil
		}
		ps := n.appendPairs(t.pairs[:0])
		defer t.forget(ps)
		if len(ps) > 1 {
			return newBucket(t.epoch, ps, n.size)
		}
	}
	var only *node
	for _, kid := range n.kids {
		if kid != nil {
			if only != nil {
				return n
			}
			only = kid
		}
	}
	return only
}
