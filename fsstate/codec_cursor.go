package fsstate

import (
	"encoding/binary"
	"math"
)

// The msgpack descriptors that are not part of a range.
const (
	isNil   = 0xc0
	isFalse = 0xc2
	isTrue  = 0xc3
	fixStr  = 0xa0 // 101xxxxx: up to 31 bytes
	str16   = 0xda
	str32   = 0xdb
)

// cursor reads the encodings that are ours. Whatever is not makes it bad, for good; its values are zero from then on.
type cursor struct {
	b   []byte
	bad bool
}

// done reports whether everything was read and nothing was bad.
func (c *cursor) done() bool { return !c.bad && len(c.b) == 0 }

// take returns the next n bytes, nil if there are not as many.
func (c *cursor) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad = true
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

// array reads the head of an array of n, which is less than 16.
func (c *cursor) array(n byte) {
	if c.byte() != 0x90|n {
		c.bad = true
	}
}

// nil reads a nil, if that is what comes next.
func (c *cursor) nil() bool {
	if c.bad || len(c.b) == 0 || c.b[0] != isNil {
		return false
	}
	c.b = c.b[1:]
	return true
}

// bigEndian reads an unsigned number of n bytes.
func (c *cursor) bigEndian(n int) uint64 {
	var u uint64
	for _, b := range c.take(n) {
		u = u<<8 | uint64(b)
	}
	return u
}

func (c *cursor) uint() uint64 {
	switch d := c.byte(); {
	case d <= math.MaxInt8:
		return uint64(d)
	case d == 0xcf:
		if b := c.take(8); b != nil {
			return binary.BigEndian.Uint64(b)
		}
	case d >= 0xcc && d <= 0xce:
		return c.bigEndian(1 << (d - 0xcc))
	default:
		c.bad = true
	}
	return 0
}

// below reads a number less than n.
func (c *cursor) below(n uint64) uint64 {
	u := c.uint()
	if u >= n {
		c.bad = true
		return 0
	}
	return u
}

func (c *cursor) uint32() uint32 { return uint32(c.below(1 << 32)) }

func (c *cursor) status() Status { return Status(c.below(256)) }

func (c *cursor) int() int64 {
	switch d := c.byte(); {
	case d <= math.MaxInt8 || d >= 0xe0:
		return int64(int8(d))
	case d == 0xd3:
		return int64(c.bigEndian(8))
	case d == 0xd2:
		return int64(int32(c.bigEndian(4)))
	case d == 0xd1:
		return int64(int16(c.bigEndian(2)))
	case d == 0xd0:
		return int64(int8(c.bigEndian(1)))
	}
	c.bad = true
	return 0
}

func (c *cursor) bool() bool {
	d := c.byte()
	if d != isTrue && d != isFalse {
		c.bad = true
	}
	return d == isTrue
}

// bytes reads a byte string, which aliases the encoding.
func (c *cursor) bytes() []byte {
	switch d := c.byte(); {
	case d&^0x1f == fixStr:
		return c.take(int(d & 0x1f))
	case d == str16:
		return c.take(int(c.bigEndian(2)))
	case d == str32:
		return c.take(int(c.bigEndian(4)))
	}
	c.bad = true
	return nil
}

func (c *cursor) str() string { return string(c.bytes()) }

func (c *cursor) data() []byte {
	if c.nil() {
		return nil
	}
	return c.bytes()
}

func (c *cursor) handle() Handle {
	c.array(2)
	return Handle{Ino: c.uint(), Gen: c.uint()}
}

func (c *cursor) attr() *Attr {
	if c.nil() {
		return nil
	}
	a := new(Attr)
	c.attrInto(a)
	return a
}

func (c *cursor) attrInto(a *Attr) {
	c.array(14)
	*a = Attr{
		Type: FileType(c.below(256)), Mode: c.uint32(), Nlink: c.uint32(), UID: c.uint32(), GID: c.uint32(),
		Size: c.uint(), Used: c.uint(), Major: c.uint32(), Minor: c.uint32(), Ino: c.uint(), Gen: c.uint(),
		Atime: Time(c.int()), Mtime: Time(c.int()), Ctime: Time(c.int()),
	}
}

func (c *cursor) wcc() Wcc {
	var w Wcc
	c.array(2)
	if !c.nil() {
		c.array(3)
		w.Before = &PreAttr{Size: c.uint(), Mtime: Time(c.int()), Ctime: Time(c.int())}
	}
	w.After = c.attr()
	return w
}

// entries reads a listing. An entry takes at least six bytes, which bounds what a claimed length may allocate.
func (c *cursor) entries() []DirEntry {
	var n int
	switch d := c.byte(); {
	case d == isNil:
		return nil
	case d&^0x0f == 0x90:
		n = int(d & 0x0f)
	case d == 0xdc:
		n = int(c.bigEndian(2))
	case d == 0xdd:
		n = int(c.bigEndian(4))
	default:
		c.bad = true
	}
	if c.bad || n > len(c.b)/6 {
		c.bad = true
		return nil
	}
	es := make([]DirEntry, n)
	for i := range es {
		c.array(5)
		es[i] = DirEntry{Name: c.str(), Cookie: c.uint(), Ino: c.uint(), Gen: c.uint(), Attr: c.attr()}
	}
	return es
}
