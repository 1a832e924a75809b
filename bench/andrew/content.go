package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// content makes the bytes of generated files: cheaply, since the client that writes or compares them shares a processor with
// the servers, and such that no part of a file looks like another part or another file.
type content struct {
	random []byte // twice the same blockBytes bytes, so that a block can begin anywhere
}

func newContent(seed uint64) content {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	random := make([]byte, 2*blockBytes)
	_, _ = rand.NewChaCha8(key).Read(random[:blockBytes]) // never fails
	copy(random[blockBytes:], random)
	return content{random}
}

// fileStep is odd, so that the first blockBytes files all begin at other places.
const fileStep = 4099

// prefix is the first n bytes of file number k, n being at most blockBytes: a longer one begins with a shorter one.
func (c content) prefix(k, n int) []byte {
	from := k * fileStep % blockBytes
	return c.random[from : from+n]
}

// pageBytes is the distance of the stamps in a block.
const pageBytes = 4096

// fill makes block i of a large file: random bytes, and in each page a stamp of its own.
func (c content) fill(i int, block []byte) {
	copy(block, c.random)
	for page := range len(block) / pageBytes {
		binary.LittleEndian.PutUint64(block[page*pageBytes:], stamp(i, page))
	}
}

func stamp(i, page int) uint64 { return uint64(i)<<32 | uint64(page) | 1<<63 }

// stamped reports whether a block is block i, as far as its stamps tell.
func stamped(i int, block []byte) bool {
	for page := range len(block) / pageBytes {
		if binary.LittleEndian.Uint64(block[page*pageBytes:]) != stamp(i, page) {
			return false
		}
	}
	return true
}

// equal reports whether every byte of a block is that of block i. It is for any number of goroutines.
func (c content) equal(i int, block []byte) bool {
	if len(block) != blockBytes || !stamped(i, block) {
		return false
	}
	const after = 8 // the bytes of a stamp
	for page := 0; page < len(block); page += pageBytes {
		if !bytes.Equal(block[page+after:page+pageBytes], c.random[page+after:page+pageBytes]) {
			return false
		}
	}
	return true
}
