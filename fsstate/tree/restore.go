package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

var (
	errDigest    = errors.New("bytes do not have the digest asked for")
	errMalformed = errors.New("not the encoding of a node")
	errShape     = errors.New("not the canonical shape")
)

// batchMax bounds how many nodes are asked for at once.
const batchMax = 4096

// Restore replaces the content by the one whose root is given. fetch returns the encodings of the nodes with some
// digests, in order; each is verified, as is that the tree is canonical, and only nodes that the current content lacks are
// asked for. After an error the old content is kept. Snapshots of this tree stay valid.
func (t *Tree) Restore(root Digest, fetch func([]Digest) ([][]byte, error)) error {
	return t.RestoreObserved(root, fetch, func(uint64) {})
}

// RestoreObserved is Restore that tells kept how many bytes of pairs were found in the current content, each time some were.
func (t *Tree) RestoreObserved(root Digest, fetch func([]Digest) ([][]byte, error), kept func(bytes uint64)) error {
	t.epoch++ // so that the nodes made here are known by theirs
	if root == emptyDigest() {
		t.root = nil
		return nil
	}
	r := restorer{epoch: t.epoch, fetch: fetch, kept: kept}
	var n *node
	err := r.run(wanted{digest: root, local: t.root, into: &n})
	if err == nil {
		err = r.finish(n)
	}
	if err != nil {
		return fmt.Errorf("tree: restore %x: %w", root[:4], err)
	}
	t.root = n
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
	epoch uint64
	fetch func([]Digest) ([][]byte, error)
	kept  func(bytes uint64)
	h     hasher
	todo  []wanted
}

// run finds a node and all below it. What is to do is a stack, so that however large the tree, little of it is pending.
func (r *restorer) run(root wanted) error {
	r.todo = append(r.todo, root)
	for len(r.todo) > 0 {
		var batch []wanted
		var digests []Digest
		for len(batch) < batchMax && len(r.todo) > 0 {
			w := r.todo[len(r.todo)-1]
			r.todo = r.todo[:len(r.todo)-1]
			if w.local = w.local.below(w.prefix, w.digits); w.local != nil && r.h.digest(w.local) == w.digest {
				*w.into = w.local
				r.kept(w.local.size)
				continue
			}
			batch, digests = append(batch, w), append(digests, w.digest)
		}
		if len(batch) == 0 {
			continue
		}
		nodes, err := r.fetch(digests)
		if err != nil {
			return fmt.Errorf("fetch %d nodes: %w", len(batch), err)
		}
		if len(nodes) != len(batch) {
			return fmt.Errorf("asked for %d nodes, given %d", len(batch), len(nodes))
		}
		for i, w := range batch {
			if err := r.take(w, nodes[i]); err != nil {
				return fmt.Errorf("node %x: %w", w.digest[:4], err)
			}
		}
	}
	return nil
}

// take puts a node in its place once its bytes are found to be the right ones.
func (r *restorer) take(w wanted, b []byte) error {
	if sha256.Sum256(b) != w.digest {
		return errDigest
	}
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
	return &node{kind: bucket, epoch: r.epoch, count: count, size: uint64(len(b)), data: append(bytesFor(len(b)), b...)}, nil
}

func (r *restorer) parseInner(b []byte, w wanted) (*node, error) {
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
			r.todo = append(r.todo, wanted{Digest(b[:sha256.Size]), k.child(depth, i), depth + 1, w.local, &n.kids[i]})
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
