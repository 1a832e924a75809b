package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxDepth is the deepest nesting of arrays that any message needs.
const maxDepth = 8

// checkShape walks msgpack bytes without allocating: only arrays, unsigned integers, booleans, nil and byte strings; no
// array that claims more elements than there are bytes left; bounded depth; the outermost array has the given number of
// elements; nothing behind it. What passes cannot make the decoder allocate or recurse beyond a multiple of its input.
func checkShape(b []byte, fields int) error {
	var open [maxDepth]int // elements still to come, of each open array
	depth, pos := 0, 0
	for first := true; first || depth > 0; first = false {
		if !first {
			open[depth-1]--
		}
		elements, next, err := token(b, pos)
		if err != nil {
			return err
		}
		if first && elements != fields {
			return fmt.Errorf("not an array of %d", fields)
		}
		pos = next
		if elements >= 0 {
			if elements > len(b)-pos {
				return fmt.Errorf("array of %d elements in %d bytes", elements, len(b)-pos)
			}
			if depth == maxDepth {
				return fmt.Errorf("arrays nested deeper than %d", maxDepth)
			}
			open[depth] = elements
			depth++
		}
		for depth > 0 && open[depth-1] == 0 {
			depth--
		}
	}
	if pos != len(b) {
		return fmt.Errorf("%d bytes after the message", len(b)-pos)
	}
	return nil
}

var errTruncated = errors.New("truncated")

// token reads the token at pos: for an array the number of its elements, else −1, and where the next token starts.
func token(b []byte, pos int) (elements, next int, err error) {
	if pos >= len(b) {
		return 0, 0, errTruncated
	}
	c := b[pos]
	pos++
	size := func(width int) (int, error) {
		if len(b)-pos < width {
			return 0, errTruncated
		}
		var n uint64
		switch width {
		case 1:
			n = uint64(b[pos])
		case 2:
			n = uint64(binary.BigEndian.Uint16(b[pos:]))
		case 4:
			n = uint64(binary.BigEndian.Uint32(b[pos:]))
		}
		pos += width
		if n > MaxFrame {
			return 0, fmt.Errorf("length %d exceeds %d", n, MaxFrame)
		}
		return int(n), nil
	}
	skip := 0
	switch {
	case c <= 0x7f, c == 0xc0, c == 0xc2, c == 0xc3: // small integer, nil, false, true
	case c&0xf0 == 0x90: // small array
		return int(c & 0x0f), pos, nil
	case c == 0xdc, c == 0xdd: // array
		n, err := size(2 << (c - 0xdc))
		return n, pos, err
	case c >= 0xc4 && c <= 0xc6: // byte string
		skip, err = size(1 << (c - 0xc4))
	case c >= 0xcc && c <= 0xcf: // unsigned integer
		skip = 1 << (c - 0xcc)
	default:
		err = fmt.Errorf("unexpected msgpack type %#x", c)
	}
	if err == nil && skip > len(b)-pos {
		err = errTruncated
	}
	return -1, pos + skip, err
}
