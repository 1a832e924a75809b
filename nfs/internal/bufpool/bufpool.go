// Package bufpool lends byte buffers in a few sizes: RPC records and encoded operations, which are either tiny or about
// a megabyte. It knows nothing of what they hold. A Pool is owned by one server; there is no global one.
package bufpool

import "sync"

// sizes are the capacities lent, in bytes: most calls fit the first; the last holds a WRITE of 1 MiB with its
// envelope.
var sizes = [...]int{512, 16 << 10, 128 << 10, 1<<20 + 64<<10}

// Pool lends buffers. The zero value is ready for use, and it is safe for concurrent use.
type Pool struct {
	classes [len(sizes)]sync.Pool
}

// Buffer is a lent buffer: B may be resliced and appended to freely, and replaced by a larger array.
type Buffer struct {
	B     []byte
	array []byte // as allocated; B may have grown out of it
	class int    // −1: too large to be kept
}

// Get lends a buffer with len(B) = 0 and room for n bytes.
func (p *Pool) Get(n int) *Buffer {
	for i, size := range sizes {
		if n > size {
			continue
		}
		if b, ok := p.classes[i].Get().(*Buffer); ok {
			return b
		}
		array := make([]byte, size)
		return &Buffer{B: array[:0], array: array, class: i}
	}
	return &Buffer{B: make([]byte, 0, n), class: -1}
}

// Room returns how many bytes a buffer with room for n takes.
func Room(n int) int {
	for _, size := range sizes {
		if n <= size {
			return size
		}
	}
	return n
}

// Put takes a buffer back. Nothing may use B, or slices of it, any more. Nil is allowed.
func (p *Pool) Put(b *Buffer) {
	if b == nil || b.class < 0 {
		return
	}
	b.B = b.array[:0]
	p.classes[b.class].Put(b)
}
