package xdr

import "encoding/binary"

// Encoder appends XDR items to a buffer. Large opaque data may be spliced in by reference (OpaqueRef); the encoding is
// then several pieces, which Pieces hands to a vectored write. The zero value is ready for use.
type Encoder struct {
	buf    []byte
	refs   []ref
	refLen int // bytes in refs
}

// ref is a piece of the encoding that lies outside buf, just before buf[at].
type ref struct {
	at   int
	data []byte
}

// NewEncoder returns an encoder that appends to buf, whose contents stay in front.
func NewEncoder(buf []byte) *Encoder { return &Encoder{buf: buf} }

// Reset makes the encoder append to buf, forgetting what it held.
func (e *Encoder) Reset(buf []byte) {
	clear(e.refs)
	e.buf, e.refs, e.refLen = buf, e.refs[:0], 0
}

// Len returns the length of the encoding in bytes.
func (e *Encoder) Len() int { return len(e.buf) + e.refLen }

// Truncate cuts the encoding back to its first n bytes, which must have been written before any OpaqueRef.
func (e *Encoder) Truncate(n int) {
	if n > len(e.buf) || len(e.refs) > 0 && e.refs[0].at < n {
		panic("xdr: truncation into a referenced piece")
	}
	e.Reset(e.buf[:n])
}

// Buf returns the bytes that the encoder itself holds: all of the encoding, unless there was an OpaqueRef.
func (e *Encoder) Buf() []byte { return e.buf }

// Bytes returns the encoding in one piece. It copies only if there was an OpaqueRef.
func (e *Encoder) Bytes() []byte {
	if len(e.refs) == 0 {
		return e.buf
	}
	b := make([]byte, 0, e.Len())
	for _, p := range e.Pieces(nil) {
		b = append(b, p...)
	}
	return b
}

// Pieces appends the encoding's pieces, in order, to dst.
func (e *Encoder) Pieces(dst [][]byte) [][]byte {
	from := 0
	for _, r := range e.refs {
		if r.at > from {
			dst = append(dst, e.buf[from:r.at])
		}
		dst = append(dst, r.data)
		from = r.at
	}
	if from < len(e.buf) {
		dst = append(dst, e.buf[from:])
	}
	return dst
}

// Uint32 encodes an unsigned integer (RFC 4506 §4.2).
func (e *Encoder) Uint32(v uint32) { e.buf = binary.BigEndian.AppendUint32(e.buf, v) }

// PutUint32 overwrites the integer at byte offset at, which must have been written before any OpaqueRef.
func (e *Encoder) PutUint32(at int, v uint32) { binary.BigEndian.PutUint32(e.buf[at:], v) }

// Uint64 encodes an unsigned hyper integer (RFC 4506 §4.5).
func (e *Encoder) Uint64(v uint64) { e.buf = binary.BigEndian.AppendUint64(e.buf, v) }

// Bool encodes a boolean (RFC 4506 §4.4).
func (e *Encoder) Bool(v bool) {
	if v {
		e.Uint32(1)
		return
	}
	e.Uint32(0)
}

// Fixed encodes fixed-length opaque data (RFC 4506 §4.9).
func (e *Encoder) Fixed(b []byte) {
	e.buf = append(e.buf, b...)
	e.pad(len(b))
}

// Opaque encodes variable-length opaque data (RFC 4506 §4.10), copying it.
func (e *Encoder) Opaque(b []byte) {
	e.Uint32(uint32(len(b)))
	e.Fixed(b)
}

// OpaqueRef encodes variable-length opaque data without copying it: b must not change until the encoding was used.
func (e *Encoder) OpaqueRef(b []byte) {
	e.Uint32(uint32(len(b)))
	if len(b) == 0 {
		return
	}
	e.refs = append(e.refs, ref{at: len(e.buf), data: b})
	e.refLen += len(b)
	e.pad(len(b))
}

// String encodes a string (RFC 4506 §4.11).
func (e *Encoder) String(s string) {
	e.Uint32(uint32(len(s)))
	e.buf = append(e.buf, s...)
	e.pad(len(s))
}

func (e *Encoder) pad(n int) {
	var zero [3]byte
	e.buf = append(e.buf, zero[:padding(n)]...)
}
