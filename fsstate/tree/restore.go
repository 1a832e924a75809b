package tree

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

var (
	errUnasked   = errors.New("given a node that was not asked for")
	errSilent    = errors.New("given none of the nodes that were asked for")
	errMalformed = errors.New("not the encoding of a node")
	errShape     = errors.New("not the canonical shape")
)

// askedMax bounds how many nodes are asked for at a time.
const askedMax = 2048

// Node is the encoding of a node with its digest. Whoever gives one has compared the two: only who knows where the bytes came
// from can do something about a lie, and once is enough.
type Node struct {
	Digest   Digest
	Encoding []byte // may be reused from the next call on
}

// Restore replaces the content by the one whose root is given. fetch is told the digests of more nodes that are wanted, and
// returns at least one of those that it has been told, each once, in any order. That the tree is canonical is verified, and only
// nodes that the current content lacks are asked for; kept is told how many bytes of pairs were found in it, each time some
// were. each, unless it is nil, is told all pairs of the new content in the order of their keys, as they come: if there is an
// error, they were no content. After an error the old content is kept. Snapshots of this tree stay valid.
func (t *Tree) Restore(root Digest, fetch func(more []Digest) ([]Node, error), kept func(bytes uint64), each func(k Key, val []byte) error) error {
	t.epoch++ // so that the nodes made here are known by theirs
	if root == emptyDigest() {
		t.root = nil
		return nil
	}
	r := restorer{epoch: t.epoch, fetch: fetch, kept: kept, each: each, asked: make(map[Digest]*wanted, askedMax), absent: new(node)}
	r.root, r.path = r.absent, []place{{&r.root, 0}}
	err := r.run(&wanted{digest: root, local: t.root, into: &r.root})
	if err == nil {
		err = r.finish(r.root)
	}
	if err != nil {
		return fmt.Errorf("tree: restore %x: %w", root[:4], err)
	}
	t.root = r.root
	t.epoch++
	return nil
}

// Distrust forgets every digest, so that the next Root or Restore hashes all content anew: how memory that may have gone
// bad is found out and mended. It costs the nodes, not the content. Snapshots are not affected.
func (t *Tree) Distrust() {
	t.root = t.root.withoutDigests()
}

// withoutDigests returns copies of the nodes over the same bytes. They get an epoch that is nobody's, so that the writer
// copies them before it changes anything.
func (n *node) withoutDigests() *node {
	const nobodys = 0
	if n == nil {
		return nil
	}
	if n.kind != inner {
		return &node{kind: n.kind, epoch: nobodys, size: n.size, count: n.count, key: n.key, data: n.data}
	}
	m := newInner(nobodys, n.key, int(n.depth))
	for i, kid := range n.kids {
		m.kids[i] = kid.withoutDigests()
	}
	m.size, m.count = n.size, n.count
	return m
}

// wanted is a node that is still to be found: its digest, the digits that all its keys begin with, the local content below
// that prefix (or more), and where to put it.
type wanted struct {
	digest Digest
	prefix Key
	digits int
	local  *node
	into   **node
}

type restorer struct {
	epoch  uint64
	fetch  func(more []Digest) ([]Node, error)
	kept   func(bytes uint64)
	each   func(k Key, val []byte) error
	h      hasher
	root   *node
	absent *node              // stands where a node is not there yet
	todo   lowestFirst        // not asked for yet
	asked  map[Digest]*wanted // and not there yet; no two places of a tree have the same node
	more   []Digest
	path   []place // to the first node that each was not told of; nil when it was told all
}

// place is a node's, and how many of its children are done with.
type place struct {
	of   **node
	done int
}

// lowestFirst is a heap of what is to do. Lower keys come first, so that the beginning of the content is soon there, and so
// that however large the tree, little of it is pending.
type lowestFirst []*wanted

func (l lowestFirst) Len() int           { return len(l) }
func (l lowestFirst) Less(i, j int) bool { return l[i].prefix.Compare(l[j].prefix) < 0 }
func (l lowestFirst) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }

// Push implements heap.Interface.
func (l *lowestFirst) Push(w any) { *l = append(*l, w.(*wanted)) }

// Pop implements heap.Interface.
func (l *lowestFirst) Pop() any {
	last := len(*l) - 1
	w := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return w
}

// run finds a node and all below it. More is asked for while answers are under way.
func (r *restorer) run(root *wanted) error {
	heap.Push(&r.todo, root)
	for {
		if err := r.ask(); err != nil {
			return err
		}
		if err := r.tell(); err != nil || len(r.asked) == 0 {
			return err
		}
		nodes, err := r.fetch(r.more)
		if err != nil {
			return fmt.Errorf("fetch nodes: %w", err)
		}
		if len(nodes) == 0 {
			return errSilent
		}
		for _, n := range nodes {
			w, ok := r.asked[n.Digest]
			if !ok {
				return fmt.Errorf("node %x: %w", n.Digest[:4], errUnasked)
			}
			delete(r.asked, n.Digest)
			if err := r.take(w, n.Encoding); err != nil {
				return fmt.Errorf("node %x: %w", n.Digest[:4], err)
			}
		}
	}
}

// ask moves what is to do, and not here, to what is asked for.
func (r *restorer) ask() error {
	r.more = r.more[:0]
	for len(r.asked) < askedMax && len(r.todo) > 0 {
		w := heap.Pop(&r.todo).(*wanted)
		if w.local = w.local.below(w.prefix, w.digits); w.local != nil && r.h.digest(w.local) == w.digest {
			*w.into = w.local
			r.kept(w.local.size)
			continue
		}
		if _, twice := r.asked[w.digest]; twice {
			return errShape
		}
		r.asked[w.digest] = w
		r.more = append(r.more, w.digest)
	}
	return nil
}

// tell tells each what has become whole since the last time: the pairs before the first node that is not there.
func (r *restorer) tell() error {
	for r.each != nil && len(r.path) > 0 {
		at := &r.path[len(r.path)-1]
		n := *at.of
		switch {
		case n == r.absent:
			return nil
		case n.kind != inner:
			for _, p := range n.appendPairs(nil) {
				if err := r.each(p.key, p.val); err != nil {
					return err
				}
			}
			fallthrough
		case at.done == len(n.kids):
			r.path = r.path[:len(r.path)-1]
		default:
			kid := &n.kids[at.done]
			at.done++
			if *kid != nil {
				r.path = append(r.path, place{kid, 0})
			}
		}
	}
	return nil
}

// take puts a node in its place.
func (r *restorer) take(w *wanted, b []byte) error {
	var n *node
	var err error
	switch {
	case len(b) > 0 && b[0] == tagLeaf:
		n, err = r.parseLeaf(b[1:], w.prefix, w.digits)
	case len(b) > innerHead && b[0] == tagInner:
		n, err = r.parseInner(b[1:], w)
	default:
		err = errMalformed
	}
	if err != nil {
		return err
	}
	n.digest = w.digest
	n.state.Store(hashed)
	*w.into = n
	return nil
}

// finish counts what is below the new inner nodes, whose children are now all there.
func (r *restorer) finish(n *node) error {
	if n.kind != inner || n.epoch != r.epoch {
		return nil
	}
	for _, kid := range n.kids {
		if kid == nil {
			continue
		}
		if err := r.finish(kid); err != nil {
			return err
		}
		n.size, n.count = n.size+kid.size, n.count+kid.count
	}
	if n.size <= leafMax {
		return errShape
	}
	return nil
}

func (r *restorer) parseLeaf(b []byte, prefix Key, n int) (*node, error) {
	var count uint64
	var previous Key
	for at := 0; at < len(b); count++ {
		if len(b)-at < pairHead {
			return nil, errMalformed
		}
		size := int(binary.BigEndian.Uint16(b[at+KeyLen:]))
		if size > ValueMax || len(b)-at-pairHead < size {
			return nil, errMalformed
		}
		k := ParseKey(b[at:])
		if k.first(n) != prefix || count > 0 && previous.Compare(k) >= 0 {
			return nil, errShape
		}
		previous = k
		at += pairHead + size
	}
	switch {
	case count == 0 || count > 1 && len(b) > leafMax:
		return nil, errShape
	case count == 1:
		return newSingle(r.epoch, previous, b[pairHead:]), nil
	}
	return &node{kind: bucket, epoch: r.epoch, count: count, size: uint64(len(b)), data: append([]byte{}, b...)}, nil
}

func (r *restorer) parseInner(b []byte, w *wanted) (*node, error) {
	depth, k := int(b[0]), ParseKey(b[1:])
	present := binary.BigEndian.Uint16(b[1+KeyLen:])
	b = b[innerHead-1:]
	if depth < w.digits || depth >= nibbles || k.first(w.digits) != w.prefix || k.first(depth) != k {
		return nil, errShape
	}
	if bits.OnesCount16(present) < 2 || len(b) != sha256.Size*bits.OnesCount16(present) {
		return nil, errShape
	}
	n := newInner(r.epoch, k, depth)
	for i := range 16 {
		if present&(1<<i) != 0 {
			n.kids[i] = r.absent
			heap.Push(&r.todo, &wanted{Digest(b[:sha256.Size]), k.child(depth, i), depth + 1, w.local, &n.kids[i]})
			b = b[sha256.Size:]
		}
	}
	return n, nil
}

// below returns the uppermost node all of whose keys begin with the first n digits of prefix, nil if there is none.
func (n *node) below(prefix Key, digits int) *node {
	for n != nil {
		if n.kind != inner {
			if n.anyKey().first(digits) != prefix || n.kind == bucket && n.lastKey().first(digits) != prefix {
				return nil
			}
			return n
		}
		depth := int(n.depth)
		if depth >= digits {
			if n.key.first(digits) != prefix {
				return nil
			}
			return n
		}
		n = n.kids[prefix.nibble(depth)]
	}
	return nil
}

// lastKey returns the greatest key of a bucket.
func (n *node) lastKey() Key {
	var k Key
	for at := 0; at < len(n.data); {
		k, _, at = pairAt(n.data, at)
	}
	return k
}
