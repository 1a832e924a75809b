package rpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bfsd/nfs/internal/bufpool"
)

// Record marking (RFC 5531 §11): a record is a sequence of fragments, each behind a 4-byte header whose top bit marks
// the last and whose other bits are the length.
const (
	lastFragment = 1 << 31
	headerLen    = 4

	// fragmentsMax bounds the fragments of a record, so that empty fragments cannot keep a reader busy for ever. Known
	// clients send one; 4096 lets the largest record arrive in pieces of 300 bytes.
	fragmentsMax = 4096

	// readAhead is the connection's read buffer, in bytes: some hundred small calls. Larger records bypass it.
	readAhead = 16 << 10

	// onTrust is how many bytes are allocated because a fragment header announces them. More is allocated once these
	// have arrived: holding a megabyte of the server costs its holder something.
	onTrust = 64 << 10
)

// The ways in which a byte stream is no sequence of records.
var (
	errRecordTooLong    = errors.New("rpc: record exceeds the limit")
	errTooManyFragments = errors.New("rpc: too many fragments in a record")
)

// recordReader reassembles records.
type recordReader struct {
	r     *bufio.Reader
	pool  *bufpool.Pool
	limit int // of a record, in bytes
	// reserve is called with the length of each fragment before it is read; it may block, or refuse.
	reserve func(n int) error
}

func newRecordReader(r io.Reader, pool *bufpool.Pool, limit int, reserve func(n int) error) *recordReader {
	return &recordReader{r: bufio.NewReaderSize(r, readAhead), pool: pool, limit: limit, reserve: reserve}
}

// buffered reports whether the next record has arrived whole.
func (r *recordReader) buffered() bool {
	if r.r.Buffered() < headerLen {
		return false
	}
	h, err := r.r.Peek(headerLen)
	if err != nil {
		return false
	}
	v := binary.BigEndian.Uint32(h)
	return v&lastFragment != 0 && int(v&^lastFragment) <= r.r.Buffered()-headerLen
}

// next reads a record. The error is io.EOF only if the stream ends between two records. The buffer is the caller's.
func (r *recordReader) next() (*bufpool.Buffer, error) {
	var record *bufpool.Buffer
	for i := range fragmentsMax {
		n, last, err := r.header()
		if err == nil {
			record, err = r.fragment(record, n)
		}
		if err != nil {
			r.pool.Put(record)
			if i > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if last {
			return record, nil
		}
	}
	r.pool.Put(record)
	return nil, errTooManyFragments
}

// header reads a fragment header.
func (r *recordReader) header() (n int, last bool, err error) {
	var h [headerLen]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return 0, false, err
	}
	v := binary.BigEndian.Uint32(h[:])
	return int(v &^ lastFragment), v&lastFragment != 0, nil
}

// fragment appends the n bytes of a fragment to the record so far, which may be nil.
func (r *recordReader) fragment(record *bufpool.Buffer, n int) (*bufpool.Buffer, error) {
	have := 0
	if record != nil {
		have = len(record.B)
	}
	if n > r.limit-have {
		return record, fmt.Errorf("%w: %d bytes announced, %d read, at most %d", errRecordTooLong, n, have, r.limit)
	}
	if err := r.reserve(n); err != nil {
		return record, err
	}
	for want := have + n; ; {
		step := max(onTrust, 2*have)
		if record != nil {
			step = max(step, cap(record.B))
		}
		step = min(step, want)
		record = r.grow(record, step)
		if _, err := io.ReadFull(r.r, record.B[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return record, err
		}
		if have = step; have == want {
			return record, nil
		}
	}
}

// grow makes the record n bytes long.
func (r *recordReader) grow(record *bufpool.Buffer, n int) *bufpool.Buffer {
	if record == nil {
		record = r.pool.Get(n)
	}
	if n > cap(record.B) {
		larger := r.pool.Get(n)
		larger.B = append(larger.B, record.B...)
		r.pool.Put(record)
		record = larger
	}
	record.B = record.B[:n]
	return record
}
