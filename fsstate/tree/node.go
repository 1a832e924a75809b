package tree

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
)

const (
	// ValueMax is the largest value, in bytes: a page.
	ValueMax = 4096
	// leafMax bounds the encoded pairs of a leaf with more than one: large enough that sixteen neighboring keys with a
	// hundred bytes each share one (with less, each has a node of 112 bytes to itself), small enough that a search, which
	// goes from pair to pair, and the hashing of a leaf for the sake of one changed pair stay cheap.
	leafMax = 2048
	// pairHead is the encoding of a pair without its value: key and length.
	pairHead = KeyLen + 2
)

type kind uint8

const (
	single kind = iota // a leaf with one pair: key in key, value in data
	bucket             // a leaf with several: their encodings, sorted, in data
	inner              // children by the digit at depth; key holds the digits before it, then zeros
)

// The states of a node's cached digest.
const (
	unhashed uint32 = iota
	storing         // one goroutine is writing it
	hashed
)

// node is an inner node or a leaf. See the package comment for which of them exist.
type node struct {
	epoch  uint64 // in which it was made; only the writer whose epoch this is may change it
	size   uint64 // bytes of the encoded pairs below
	count  uint64 // pairs below
	key    Key
	data   []byte
	kids   *[16]*node
	digest Digest
	state  atomic.Uint32
	kind   kind
	depth  uint8
}

// innerNode lays an inner node and its children out in one allocation.
type innerNode struct {
	node
	array [16]*node
}

// pair is a key and its value, which aliases the leaf it came from.
type pair struct {
	key Key
	val []byte
}

func pairSize(val []byte) uint64 { return pairHead + uint64(len(val)) }

// appendPair appends the encoding of a pair.
func appendPair(b []byte, k Key, val []byte) []byte {
	b = k.Append(b)
	b = binary.BigEndian.AppendUint16(b, uint16(len(val)))
	return append(b, val...)
}

// pairAt returns the pair whose encoding begins at b[at] and the offset of the next.
func pairAt(b []byte, at int) (Key, []byte, int) {
	k := ParseKey(b[at:])
	n := int(binary.BigEndian.Uint16(b[at+KeyLen:]))
	at += pairHead
	return k, b[at : at+n : at+n], at + n
}

// seek returns the offset of the first pair whose key is not less than k, and whether it is k's.
func seek(b []byte, k Key) (at int, found bool) {
	for at < len(b) {
		hi := binary.BigEndian.Uint64(b[at:])
		if hi >= k.Hi {
			lo := binary.BigEndian.Uint64(b[at+8:])
			if hi > k.Hi || lo >= k.Lo {
				return at, hi == k.Hi && lo == k.Lo
			}
		}
		at += pairHead + int(binary.BigEndian.Uint16(b[at+KeyLen:]))
	}
	return at, false
}

// appendPairs appends the pairs of a leaf or of everything below an inner node, in order.
func (n *node) appendPairs(ps []pair) []pair {
	switch n.kind {
	case single:
		ps = append(ps, pair{n.key, n.data})
	case bucket:
		for at := 0; at < len(n.data); {
			var p pair
			p.key, p.val, at = pairAt(n.data, at)
			ps = append(ps, p)
		}
	case inner:
		for _, kid := range n.kids {
			if kid != nil {
				ps = kid.appendPairs(ps)
			}
		}
	}
	return ps
}

// bytesFor returns an empty slice, never nil, with room for n bytes, and for a little more where the allocator has it
// anyway.
func bytesFor(n int) []byte { return slices.Grow([]byte{}, n) }

func newSingle(epoch uint64, k Key, val []byte) *node {
	return &node{
		kind: single, epoch: epoch, key: k, count: 1, size: pairSize(val),
		data: append([]byte{}, val...), // not bytesFor, which would clear it first
	}
}

// newInner returns an inner node without children.
func newInner(epoch uint64, k Key, depth int) *node {
	in := &innerNode{node: node{kind: inner, epoch: epoch, key: k.first(depth), depth: uint8(depth)}}
	in.kids = &in.array
	return &in.node
}

// adopt makes kid the child at its digit, which must be free.
func (n *node) adopt(kid *node) {
	n.kids[kid.anyKey().nibble(int(n.depth))] = kid
	n.size += kid.size
	n.count += kid.count
}

// anyKey returns a key that has all digits which the keys below share.
func (n *node) anyKey() Key {
	if n.kind == bucket {
		return ParseKey(n.data)
	}
	return n.key
}

// build makes the canonical nodes for sorted pairs, at least one, copying their values.
func build(epoch uint64, ps []pair) *node {
	if len(ps) == 1 {
		return newSingle(epoch, ps[0].key, ps[0].val)
	}
	size := uint64(0)
	for _, p := range ps {
		size += pairSize(p.val)
	}
	if size <= leafMax {
		return newBucket(epoch, ps, size)
	}
	depth := ps[0].key.common(ps[len(ps)-1].key)
	n := newInner(epoch, ps[0].key, depth)
	for len(ps) > 0 {
		digit, end := ps[0].key.nibble(depth), 1
		for end < len(ps) && ps[end].key.nibble(depth) == digit {
			end++
		}
		n.adopt(build(epoch, ps[:end]))
		ps = ps[end:]
	}
	return n
}

func newBucket(epoch uint64, ps []pair, size uint64) *node {
	n := &node{kind: bucket, epoch: epoch, count: uint64(len(ps)), size: size, data: bytesFor(int(size))}
	for _, p := range ps {
		n.data = appendPair(n.data, p.key, p.val)
	}
	return n
}
