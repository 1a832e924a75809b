package xdr

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The ways in which bytes fail to be what they should be. Every decoder error wraps one of them.
var (
	// ErrShort says that the input ends inside an item.
	ErrShort = errors.New("xdr: input ends inside an item")
	// ErrTooLong says that a length on the wire exceeds what the caller allows.
	ErrTooLong = errors.New("xdr: length exceeds its limit")
	// ErrInvalid says that a value is none its type has, such as a boolean of 2.
	ErrInvalid = errors.New("xdr: value outside its type")
	// ErrTrailing says that bytes are left after the last item.
	ErrTrailing = errors.New("xdr: bytes left after the last item")
)

// Decoder is a cursor over one XDR encoding. The first error sticks: from then on every read returns a zero value, so a
// caller decodes a whole structure and asks Err once.
type Decoder struct {
	buf []byte
	off int
	err error
}

// NewDecoder returns a decoder at the start of b. The decoder, and opaque data it returns, alias b.
func NewDecoder(b []byte) *Decoder { return &Decoder{buf: b} }

// Reset puts the decoder at the start of b and forgets any error.
func (d *Decoder) Reset(b []byte) { *d = Decoder{buf: b} }

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// Fail records err as the decoder's error, unless there is one already. Callers use it for values that are well-formed
// XDR but outside the type that is being decoded.
func (d *Decoder) Fail(err error) {
	if d.err == nil {
		d.err = fmt.Errorf("at byte %d: %w", d.off, err)
	}
}

// Finish returns the first error, which is ErrTrailing when everything decoded but bytes are left.
func (d *Decoder) Finish() error {
	if d.err == nil && d.off < len(d.buf) {
		d.Fail(ErrTrailing)
	}
	return d.err
}

// Remaining returns how many bytes are left to decode: 0 after an error.
func (d *Decoder) Remaining() int {
	if d.err != nil {
		return 0
	}
	return len(d.buf) - d.off
}

// Rest returns all bytes that are left, and consumes them.
func (d *Decoder) Rest() []byte { return d.take(d.Remaining()) }

// take consumes n bytes, or fails and returns nil.
func (d *Decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.buf)-d.off {
		d.Fail(ErrShort)
		return nil
	}
	b := d.buf[d.off : d.off+n : d.off+n]
	d.off += n
	return b
}

// Uint32 decodes an unsigned integer (RFC 4506 §4.2).
func (d *Decoder) Uint32() uint32 {
	b := d.take(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// Uint64 decodes an unsigned hyper integer (RFC 4506 §4.5).
func (d *Decoder) Uint64() uint64 {
	b := d.take(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// Bool decodes a boolean, which is 0 or 1 and nothing else (RFC 4506 §4.4).
func (d *Decoder) Bool() bool {
	v := d.Uint32()
	if v > 1 {
		d.Fail(fmt.Errorf("boolean of %d: %w", v, ErrInvalid))
		return false
	}
	return v == 1
}

// Enum decodes an enumeration whose values are 0 … limit−1 (RFC 4506 §4.3).
func (d *Decoder) Enum(limit uint32) uint32 {
	v := d.Uint32()
	if d.err == nil && v >= limit {
		d.Fail(fmt.Errorf("enumeration of %d, values end at %d: %w", v, limit-1, ErrInvalid))
		return 0
	}
	return v
}

// Fixed decodes fixed-length opaque data of n bytes (RFC 4506 §4.9). The result aliases the input; nil after an error.
func (d *Decoder) Fixed(n int) []byte {
	b := d.take(n)
	d.take(padding(n))
	if d.err != nil {
		return nil
	}
	return b
}

// Opaque decodes variable-length opaque data of at most limit bytes (RFC 4506 §4.10). The result aliases the input; nil
// after an error. Padding bytes are skipped whatever they hold, as other servers do.
func (d *Decoder) Opaque(limit int) []byte {
	n := d.Uint32()
	if d.err != nil {
		return nil
	}
	if uint64(n) > uint64(max(limit, 0)) {
		d.Fail(fmt.Errorf("opaque data of %d bytes, limit %d: %w", n, limit, ErrTooLong))
		return nil
	}
	return d.Fixed(int(n))
}

// String decodes a string of at most limit bytes (RFC 4506 §4.11). The bytes need not be ASCII: NFS names are bytes.
func (d *Decoder) String(limit int) string { return string(d.Opaque(limit)) }

// ArrayLen decodes the length of a variable-length array of at most limit elements (RFC 4506 §4.13), each of which
// takes elemMin bytes or more. It fails when the input cannot hold that many, so the result is safe to allocate for.
func (d *Decoder) ArrayLen(limit, elemMin int) int {
	n := d.Uint32()
	if d.err != nil {
		return 0
	}
	if uint64(n) > uint64(max(limit, 0)) {
		d.Fail(fmt.Errorf("array of %d elements, limit %d: %w", n, limit, ErrTooLong))
		return 0
	}
	if uint64(n)*uint64(elemMin) > uint64(d.Remaining()) {
		d.Fail(fmt.Errorf("array of %d elements in %d bytes: %w", n, d.Remaining(), ErrShort))
		return 0
	}
	return int(n)
}

// padding is how many bytes follow n bytes of opaque data to reach a multiple of four.
func padding(n int) int { return -n & 3 }
