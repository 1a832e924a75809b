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

// Restore replaces the content by the one whose root is given. fetch returns the encoding of the node with a digest, which
// is verified, as is that the tree is canonical; it is asked only for nodes that the current content lacks. After an error
// the old content is kept. Snapshots of this tree stay valid.
func (t *Tree) Restore(root Digest, fetch func(Digest) ([]byte, error)) error {
	if root == emptyDigest() {
		t.root = nil
		t.epoch++
		return nil
	}
	r := restorer{epoch: t.epoch, fetch: fetch}
	n, err := r.node(root, Key{}, 0, t.root)
	if err != nil {
		return fmt.Errorf("tree: restore %x: %w", root[:4], err)
	}
	t.root = n
	t.epoch++
	return nil
}

type restorer struct {
	epoch uint64
	fetch func(Digest) ([]byte, error)
	h     hasher
}

// node returns the node with digest d, all of whose keys begin with the first n digits of prefix. local is the local
// content below that prefix, or more.
func (r *restorer) node(d Digest, prefix Key, n int, local *node) (*node, error) {
	if local = local.below(prefix, n); local != nil && r.h.digest(local) == d {
		return local, nil
	}
	b, err := r.fetch(d)
	if err != nil {
		return nil, fmt.Errorf("fetch node %x: %w", d[:4], err)
	}
	if sha256.Sum256(b) != d {
		return nil, fmt.Errorf("node %x: %w", d[:4], errDigest)
	}
	got, err := r.parse(b, prefix, n, local)
	if err != nil {
		return nil, err
	}
	got.digest = d
	got.state.Store(hashed)
	return got, nil
}

func (r *restorer) parse(b []byte, prefix Key, n int, local *node) (*node, error) {
	switch {
	case len(b) > 0 && b[0] == tagLeaf:
		return r.parseLeaf(b[1:], prefix, n)
	case len(b) > innerHead && b[0] == tagInner:
		return r.parseInner(b[1:], prefix, n, local)
	}
	return nil, errMalformed
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

func (r *restorer) parseInner(b []byte, prefix Key, n int, local *node) (*node, error) {
	depth, k := int(b[0]), ParseKey(b[1:])
	present := binary.BigEndian.Uint16(b[1+KeyLen:])
	b = b[innerHead-1:]
	if depth < n || depth >= nibbles || k.first(n) != prefix || k.first(depth) != k {
		return nil, errShape
	}
	if bits.OnesCount16(present) < 2 || len(b) != sha256.Size*bits.OnesCount16(present) {
		return nil, errShape
	}
	in := newInner(r.epoch, k, depth)
	for i := range 16 {
		if present&(1<<i) == 0 {
			continue
		}
		kid, err := r.node(Digest(b[:sha256.Size]), k.child(depth, i), depth+1, local)
		if err != nil {
			return nil, err
		}
		in.adopt(kid)
		b = b[sha256.Size:]
	}
	if in.size <= leafMax {
		return nil, errShape
	}
	return in, nil
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
