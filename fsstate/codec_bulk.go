package fsstate

import (
	"encoding/binary"
	"errors"
)

// The two values that carry file data are decoded field by field, so that a megabyte is aliased instead of copied. Their
// encoding is the ordinary one: a test decodes it with go-msgpack alone and compares.

const (
	arrayOf1 = 0x91
	arrayOf3 = 0x93
	arrayOf4 = 0x94

	fixStr = 0xa0 // 101xxxxx: raw bytes of up to 31
	bin8   = 0xc4
	bin16  = 0xc5
	bin32  = 0xc6
	str8   = 0xd9
	str16  = 0xda
	str32  = 0xdb
	isNil  = 0xc0
)

var (
	errNotArray = errors.New("not an array of the right length")
	errNotBytes = errors.New("data is not a byte string")
	errCut      = errors.New("data is cut short")
)

// appendBytesHead appends what go-msgpack writes before n bytes of data.
func appendBytesHead(b []byte, n int) []byte {
	switch {
	case n < 32:
		return append(b, fixStr|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, str16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, str32), uint32(n))
}

// appendReadHead appends the encoding of r up to its data, of which there will be n bytes.
func appendReadHead(b []byte, r *ReadResult, n int) []byte {
	b = append(b, arrayOf4)
	b = appendValue(b, r.Status)
	b = appendValue(b, r.Attr)
	b = appendValue(b, r.EOF)
	return appendBytesHead(b, n)
}

func decodeWrite(b []byte, w *Write) error {
	if len(b) == 0 || b[0] != arrayOf3 {
		return errNotArray
	}
	rest, err := decodeValue(b[1:], &w.Object)
	if err != nil {
		return err
	}
	if rest, err = decodeValue(rest, &w.Offset); err != nil {
		return err
	}
	w.Data, err = tailBytes(rest)
	return err
}

func decodeReadResult(b []byte, r *ReadResult) error {
	if len(b) == 0 {
		return errNotArray
	}
	switch b[0] {
	case arrayOf1: // a status alone
		return decodeAll(b[1:], &r.Status)
	case arrayOf4:
	default:
		return errNotArray
	}
	rest, err := decodeValue(b[1:], &r.Status)
	if err != nil {
		return err
	}
	if rest, err = decodeValue(rest, &r.Attr); err != nil {
		return err
	}
	if rest, err = decodeValue(rest, &r.EOF); err != nil {
		return err
	}
	r.Data, err = tailBytes(rest)
	return err
}

// tailBytes returns the byte string that b holds and ends with.
func tailBytes(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errCut
	}
	head := 1
	var n int
	switch c := b[0]; {
	case c == isNil:
		if len(b) != 1 {
			return nil, errTrailing
		}
		return nil, nil
	case c&0xe0 == fixStr:
		n = int(c & 0x1f)
	case c == bin8 || c == str8:
		head = 2
		if len(b) < head {
			return nil, errCut
		}
		n = int(b[1])
	case c == bin16 || c == str16:
		head = 3
		if len(b) < head {
			return nil, errCut
		}
		n = int(binary.BigEndian.Uint16(b[1:]))
	case c == bin32 || c == str32:
		head = 5
		if len(b) < head {
			return nil, errCut
		}
		n = int(binary.BigEndian.Uint32(b[1:]))
	default:
		return nil, errNotBytes
	}
	if len(b)-head < n {
		return nil, errCut
	}
	if len(b)-head > n {
		return nil, errTrailing
	}
	return b[head : head+n : head+n], nil
}
