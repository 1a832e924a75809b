package tree

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest is the SHA-256 of a node's encoding.
type Digest = [sha256.Size]byte

// A node is encoded as
//
//	leaf:  0x01, then for each pair: key (16 bytes), value length (2 bytes, big-endian), value
//	inner: 0x02, depth (1 byte), the key's digits before depth then zeros (16 bytes), a bitmap of the children
//	       (2 bytes, big-endian, bit i for digit i), then each child's digest
//
// The empty tree is a leaf without pairs. The first byte keeps one from being taken for the other.
const (
	tagLeaf  = 1
	tagInner = 2

	innerHead   = 1 + 1 + KeyLen + 2
	nodeLenMax  = 1 + pairHead + ValueMax
	innerLenMax = innerHead + 16*sha256.Size
)

func emptyDigest() Digest { return sha256.Sum256([]byte{tagLeaf}) }

func rootDigest(n *node) Digest {
	if n == nil {
		return emptyDigest()
	}
	var h hasher
	return h.digest(n)
}

// hasher digests nodes through one buffer.
type hasher struct{ buf [nodeLenMax]byte }

// digest returns the digest of n, hashing what has none cached below it. Several goroutines may hash the same nodes: each
// then computes, one stores.
func (h *hasher) digest(n *node) Digest {
	if n.state.Load() == hashed {
		return n.digest
	}
	if n.kind == inner {
		for _, kid := range n.kids {
			if kid != nil && kid.state.Load() != hashed {
				h.digest(kid)
			}
		}
	}
	d := sha256.Sum256(h.encode(n))
	if n.state.CompareAndSwap(unhashed, storing) {
		n.digest = d
		n.state.Store(hashed)
	}
	return d
}

// encode returns the encoding of n, valid until the next call.
func (h *hasher) encode(n *node) []byte { return n.appendEncoding(h.buf[:0]) }

// encodedLen is how long the encoding of a node is.
func (n *node) encodedLen() int {
	if n.kind == inner {
		return innerLenMax // or less
	}
	return 1 + int(n.size)
}

func (n *node) appendEncoding(b []byte) []byte {
	start := len(b)
	switch n.kind {
	case single:
		return appendPair(append(b, tagLeaf), n.key, n.data)
	case bucket:
		return append(append(b, tagLeaf), n.data...)
	case inner:
	}
	var present uint16
	b = n.key.Append(append(b, tagInner, n.depth))
	b = append(b, 0, 0)
	for i, kid := range n.kids {
		if kid == nil {
			continue
		}
		present |= 1 << i
		if kid.state.Load() == hashed {
			b = append(b, kid.digest[:]...)
			continue
		}
		var other hasher // another goroutine is about to store this very digest
		d := other.digest(kid)
		b = append(b, d[:]...)
	}
	binary.BigEndian.PutUint16(b[start+innerHead-2:], present)
	return b
}
