package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"bfsd/nfs/internal/bufpool"
)

// mark encodes one fragment.
func mark(last bool, data []byte) []byte {
	h := uint32(len(data))
	if last {
		h |= lastFragment
	}
	return append(binary.BigEndian.AppendUint32(nil, h), data...)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

func testReader(r io.Reader, limit int) *recordReader {
	return newRecordReader(r, new(bufpool.Pool), limit, func(int) error { return nil })
}

func TestRecordReader_reassembles(t *testing.T) {
	data := pattern(1 << 20)
	for _, tc := range []struct {
		name  string
		sizes []int // of the fragments
	}{
		{"an empty record", []int{0}},
		{"one fragment", []int{100}},
		{"a megabyte", []int{1 << 20}},
		{"many fragments", []int{1, 2, 3, 4, 1000, 100000, 7}},
		{"empty fragments between others", []int{0, 5, 0, 0, 6, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stream, want []byte
			for i, n := range tc.sizes {
				from := len(want)
				want = append(want, data[from:from+n]...)
				stream = append(stream, mark(i == len(tc.sizes)-1, data[from:from+n])...)
			}
			stream = append(stream, mark(true, []byte("next"))...)
			for _, src := range []io.Reader{bytes.NewReader(stream), iotest.HalfReader(bytes.NewReader(stream)), iotest.OneByteReader(bytes.NewReader(stream))} {
				r := testReader(src, 1<<20)
				for _, want := range [][]byte{want, []byte("next")} {
					got, err := r.next()
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got.B, want) {
						t.Fatalf("record of %d bytes differs from the %d bytes sent", len(got.B), len(want))
					}
				}
				if _, err := r.next(); !errors.Is(err, io.EOF) {
					t.Fatalf("at the end: %v, want EOF", err)
				}
			}
		})
	}
}

func TestRecordReader_buffered(t *testing.T) {
	for _, tc := range []struct {
		name   string
		stream []byte
		want   bool
	}{
		{"nothing", nil, false},
		{"half a header", []byte{0x80, 0}, false},
		{"a header", mark(true, []byte("abc"))[:4], false},
		{"all but a byte", mark(true, []byte("abc"))[:6], false},
		{"a record", mark(true, []byte("abc")), true},
		{"an empty record", mark(true, nil), true},
		{"a fragment that is not the last", mark(false, []byte("abc")), false},
		{"a record that cannot be", []byte{0xff, 0xff, 0xff, 0xff, 1}, false},
	} {
		r := testReader(bytes.NewReader(tc.stream), 100)
		_, _ = r.r.Peek(1) // fails on nothing
		if got := r.buffered(); got != tc.want {
			t.Errorf("%s: buffered = %t", tc.name, got)
		}
	}
}

func TestRecordReader_refuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"a fragment over the limit", mark(true, make([]byte, 101)), errRecordTooLong},
		{"a fragment of 2 GiB", []byte{0xff, 0xff, 0xff, 0xff}, errRecordTooLong},
		{"fragments over the limit together", append(mark(false, make([]byte, 60)), mark(true, make([]byte, 41))...), errRecordTooLong},
		{"empty fragments without end", make([]byte, headerLen*(fragmentsMax+1)), errTooManyFragments},
		{"an end inside a header", []byte{0x80, 0}, io.ErrUnexpectedEOF},
		{"an end inside a fragment", mark(true, make([]byte, 9))[:12], io.ErrUnexpectedEOF},
		{"an end before a fragment", mark(true, make([]byte, 9))[:4], io.ErrUnexpectedEOF},
		{"an end between fragments", mark(false, make([]byte, 9)), io.ErrUnexpectedEOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := testReader(bytes.NewReader(tc.stream), 100).next(); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// A fragment header alone must not make the server hold what it announces.
func TestRecordReader_allocatesAsBytesArrive(t *testing.T) {
	for _, prefix := range [][]byte{nil, mark(false, []byte{1})} {
		stream := slices.Concat(prefix, mark(true, make([]byte, 1<<20))[:headerLen+onTrust-1])
		largest := 0
		r := testReader(io.MultiReader(bytes.NewReader(stream), readerFunc(func(p []byte) (int, error) {
			largest = len(p)
			return 0, io.EOF
		})), 2<<20)
		if _, err := r.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("error %v, want an unexpected end", err)
		}
		if largest == 0 || largest > 2*onTrust {
			t.Errorf("with %d bytes sent, the reader waits for %d more; want at most %d", onTrust-1, largest, 2*onTrust)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// reassemble is the obvious implementation, for the fuzz test to compare with.
func reassemble(stream []byte, limit int) (records [][]byte) {
	var record []byte
	for fragments := 1; len(stream) >= headerLen && fragments <= fragmentsMax; fragments++ {
		h := binary.BigEndian.Uint32(stream)
		n := int(h & 0x7fffffff)
		if n > len(stream)-headerLen || len(record)+n > limit {
			return records
		}
		record = append(record, stream[headerLen:headerLen+n]...)
		stream = stream[headerLen+n:]
		if h>>31 == 1 {
			records, record, fragments = append(records, record), nil, 0
		}
	}
	return records
}

func FuzzRecordReader(f *testing.F) {
	f.Add(append(mark(false, []byte("abc")), mark(true, []byte("def"))...), uint8(200))
	f.Add(append(mark(true, nil), mark(true, make([]byte, 300))...), uint8(10))
	f.Fuzz(func(t *testing.T, stream []byte, chunk uint8) {
		const limit = 1000
		want := reassemble(stream, limit)
		src := bytes.NewReader(stream)
		r := testReader(readerFunc(func(p []byte) (int, error) {
			return src.Read(p[:min(len(p), int(chunk)+1)])
		}), limit)
		for i := 0; ; i++ {
			got, err := r.next()
			if err != nil {
				if i != len(want) {
					t.Fatalf("%d records, then %v; want %d records", i, err, len(want))
				}
				return
			}
			if i >= len(want) || !bytes.Equal(got.B, want[i]) {
				t.Fatalf("record %d differs", i)
			}
		}
	})
}
