package tree

import (
	"cmp"
	"encoding/binary"
	"math/bits"
)

// KeyLen is the length of an encoded key, in bytes.
const KeyLen = 16

// nibbles is the length of a key in the tree's digits.
const nibbles = 2 * KeyLen

// Key is a 16-byte key: Hi and Lo, big-endian, in that order. Keys sort as their encodings do.
type Key struct{ Hi, Lo uint64 }

// Compare orders keys.
func (k Key) Compare(l Key) int {
	if k.Hi != l.Hi {
		return cmp.Compare(k.Hi, l.Hi)
	}
	return cmp.Compare(k.Lo, l.Lo)
}

// Append appends the key's encoding to b.
func (k Key) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, k.Hi), k.Lo)
}

// ParseKey decodes a key from the first KeyLen bytes of b, which must be there.
func ParseKey(b []byte) Key {
	_ = b[KeyLen-1]
	return Key{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
}

func (k Key) put(b []byte) {
	binary.BigEndian.PutUint64(b, k.Hi)
	binary.BigEndian.PutUint64(b[8:], k.Lo)
}

// nibble returns digit i, 0 being the most significant.
func (k Key) nibble(i int) int {
	if i < 16 {
		return int(k.Hi>>(60-4*i)) & 15
	}
	return int(k.Lo>>(60-4*(i-16))) & 15
}

// first returns the least key with the same first n digits.
func (k Key) first(n int) Key {
	switch {
	case n >= nibbles:
		return k
	case n >= 16:
		return Key{Hi: k.Hi, Lo: k.Lo &^ (^uint64(0) >> (4 * (n - 16)))}
	}
	return Key{Hi: k.Hi &^ (^uint64(0) >> (4 * n))}
}

// last returns the greatest key with the same first n digits.
func (k Key) last(n int) Key {
	switch {
	case n >= nibbles:
		return k
	case n >= 16:
		return Key{Hi: k.Hi, Lo: k.Lo | ^uint64(0)>>(4*(n-16))}
	}
	return Key{Hi: k.Hi | ^uint64(0)>>(4*n), Lo: ^uint64(0)}
}

// common returns the number of leading digits that k and l share.
func (k Key) common(l Key) int {
	if x := k.Hi ^ l.Hi; x != 0 {
		return bits.LeadingZeros64(x) / 4
	}
	return 16 + bits.LeadingZeros64(k.Lo^l.Lo)/4
}

// child returns k, whose digits from depth on are zero, with digit i at depth.
func (k Key) child(depth, i int) Key {
	if depth < 16 {
		return Key{Hi: k.Hi | uint64(i)<<(60-4*depth)}
	}
	return Key{Hi: k.Hi, Lo: k.Lo | uint64(i)<<(60-4*(depth-16))}
}
