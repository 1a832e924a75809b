package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// cursor reads msgpack by hand. The first error sticks, and everything after it reads as zero. What it returns does not
// alias the input, but for the views.
type cursor struct {
	b   []byte
	err error
}

func unexpected(marker byte) error { return fmt.Errorf("unexpected msgpack type %#x", marker) }

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.b = nil
}

// take removes n bytes.
func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.fail(errTruncated)
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) byte() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return mpNil
}

// number reads a big-endian number of 1, 2, 4 or 8 bytes.
func (c *cursor) number(width int) uint64 {
	v := c.take(width)
	if v == nil {
		return 0
	}
	switch width {
	case 1:
		return uint64(v[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(v))
	case 4:
		return uint64(binary.BigEndian.Uint32(v))
	}
	return binary.BigEndian.Uint64(v)
}

// uint reads an unsigned integer of whatever width, at most limit; nil reads as zero, as go-msgpack has it.
func (c *cursor) uint(limit uint64) uint64 {
	m := c.byte()
	var n uint64
	switch {
	case m < 1<<7:
		n = uint64(m)
	case m == mpNil:
	case m >= mpUint8 && m <= mpUint64:
		n = c.number(1 << (m - mpUint8))
	default:
		c.fail(unexpected(m))
	}
	if n > limit {
		c.fail(fmt.Errorf("number %d exceeds %d", n, limit))
		return 0
	}
	return n
}

func (c *cursor) uint32() uint32 { return uint32(c.uint(math.MaxUint32)) }
func (c *cursor) uint64() uint64 { return c.uint(math.MaxUint64) }

func (c *cursor) bool() bool {
	switch m := c.byte(); m {
	case mpTrue:
		return true
	case mpFalse, mpNil:
	default:
		c.fail(unexpected(m))
	}
	return false
}

// view reads a byte string without copying it; nil when it is nil or there was an error.
func (c *cursor) view() []byte {
	switch m := c.byte(); m {
	case mpNil:
	case mpBin8, mpBin16, mpBin32:
		n := c.number(1 << (m - mpBin8))
		if n <= uint64(len(c.b)) {
			return c.take(int(n))
		}
		c.fail(errTruncated)
	default:
		c.fail(unexpected(m))
	}
	return nil
}

// bytes reads a byte string.
func (c *cursor) bytes() []byte {
	v := c.view()
	if v == nil {
		return nil
	}
	return append(make([]byte, 0, len(v)), v...)
}

// fixed reads a byte string of exactly the length of dst.
func (c *cursor) fixed(dst []byte) {
	v := c.view()
	if c.err == nil && len(v) != len(dst) {
		c.fail(fmt.Errorf("byte string of %d bytes, want %d", len(v), len(dst)))
		return
	}
	copy(dst, v)
}

// array reads the head of an array of at most limit elements; present is false for nil.
func (c *cursor) array(limit int) (n int, present bool) {
	m := c.byte()
	switch {
	case m == mpNil:
		return 0, false
	case m&0xf0 == mpFixArray:
		n = int(m & 0x0f)
	case m == mpArray16:
		n = int(c.number(2))
	case m == mpArr32:
		n = int(c.number(4))
	default:
		c.fail(unexpected(m))
	}
	if n > limit || n > len(c.b) {
		c.fail(fmt.Errorf("array of %d elements in %d bytes, at most %d are allowed", n, len(c.b), limit))
		return 0, false
	}
	return n, c.err == nil
}

// open reads the head of a struct.
func (c *cursor) open(fields int) {
	if n, _ := c.array(math.MaxInt32); c.err == nil && n != fields {
		c.fail(fmt.Errorf("not an array of %d", fields))
	}
}

// done says what went wrong, or that bytes are left.
func (c *cursor) done() error {
	if c.err == nil && len(c.b) > 0 {
		return fmt.Errorf("%d bytes after the message", len(c.b))
	}
	return c.err
}

func (c *cursor) votes() []SlotVote {
	n, present := c.array(MaxVotes)
	if !present {
		return nil
	}
	votes := make([]SlotVote, n)
	for i := range votes {
		c.open(2)
		votes[i].Seq = Seq(c.uint64())
		c.fixed(votes[i].Digest[:])
	}
	return votes
}

// body reads [body, authenticator], keeping no byte of what it reads.
func (c *cursor) body() (b Body) {
	b = c.bodyView()
	b.Bytes = slices.Clone(b.Bytes)
	return b
}

// bodyView is body without a copy of the bytes.
func (c *cursor) bodyView() (b Body) {
	c.open(2)
	b.Bytes = c.view()
	if n, present := c.array(MaxReplicas); present {
		b.Auth = make([]MAC, n)
		for i := range b.Auth {
			c.fixed(b.Auth[i][:])
		}
	}
	return b
}

func (f *requestBody) decode(c *cursor) error {
	c.open(6)
	f.Client, f.Slot, f.Number = ClientID(c.uint32()), Slot(c.uint32()), c.uint64()
	f.Flags, f.Replier = Flags(c.uint(math.MaxUint8)), ReplicaID(c.uint32())
	f.Op = c.view() // the body keeps the bytes
	return c.done()
}

func (b *Batch) decode(c *cursor) error {
	c.open(2)
	b.Choice = c.bytes()
	if n, present := c.array(MaxBatch); present {
		b.Requests = make([]Digest, n)
		for i := range b.Requests {
			c.fixed(b.Requests[i][:])
		}
	}
	return c.done()
}

func (p *PrePrepare) decode(c *cursor) error {
	c.open(6)
	p.View, p.Seq, p.Replica = View(c.uint64()), Seq(c.uint64()), ReplicaID(c.uint32())
	p.Choice = c.bytes()
	if n, present := c.array(MaxBatch); present {
		p.Entries = make([]Entry, n)
		for i := range p.Entries {
			c.open(2)
			p.Entries[i].Inline = c.body()
			c.fixed(p.Entries[i].Digest[:])
		}
	}
	p.Commits = c.votes()
	return c.done()
}

func (p *Prepare) decode(c *cursor) error {
	c.open(5)
	p.View, p.Seq = View(c.uint64()), Seq(c.uint64())
	c.fixed(p.Digest[:])
	p.Replica = ReplicaID(c.uint32())
	p.Commits = c.votes()
	return c.done()
}

func (c *Commit) decode(in *cursor) error {
	in.open(4)
	c.View, c.Seq = View(in.uint64()), Seq(in.uint64())
	in.fixed(c.Digest[:])
	c.Replica = ReplicaID(in.uint32())
	return in.done()
}

func (r *Reply) decode(c *cursor) error {
	c.open(11)
	r.View, r.Seq, r.Client, r.Slot, r.Number = View(c.uint64()), Seq(c.uint64()), ClientID(c.uint32()), Slot(c.uint32()), c.uint64()
	r.Replica, r.Tentative, r.ReadOnly = ReplicaID(c.uint32()), c.bool(), c.bool()
	c.fixed(r.Digest[:])
	r.Full, r.Result = c.bool(), c.view() // hardly smaller than the message
	return c.done()
}

func (d *Data) decode(c *cursor) error {
	c.open(4)
	d.Replica = ReplicaID(c.uint32())
	c.fixed(d.Root[:])
	if n, present := c.array(MaxDigests); present {
		d.Nodes = make([][]byte, n)
		for i := range d.Nodes {
			d.Nodes[i] = c.view() // together almost all of the message
		}
	}
	d.Size = c.uint64()
	return c.done()
}
