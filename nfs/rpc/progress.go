package rpc

import (
	"net"
	"sync/atomic"
	"time"
)

// writeStep is how many bytes are written at a time, so that it shows whether a slow peer accepts anything.
const writeStep = 256 << 10

// progress is when a peer last sent something, and when it last accepted something.
type progress struct {
	read, wrote atomic.Int64 // Unix time in nanoseconds
	step        [][]byte     // scratch of the writer
}

func (p *progress) heard() time.Time    { return time.Unix(0, p.read.Load()) }
func (p *progress) accepted() time.Time { return time.Unix(0, p.wrote.Load()) }

// watchedReader notes when something was read.
type watchedReader struct {
	nc net.Conn
	p  *progress
}

func (r watchedReader) Read(b []byte) (int, error) {
	n, err := r.nc.Read(b)
	if n > 0 {
		r.p.read.Store(time.Now().UnixNano())
	}
	return n, err
}

// writePieces writes pieces in steps, and notes each. One goroutine writes at a time.
func (p *progress) writePieces(nc net.Conn, pieces [][]byte) error {
	p.wrote.Store(time.Now().UnixNano())
	for len(pieces) > 0 {
		step, room := p.step[:0], writeStep
		for len(pieces) > 0 && room > 0 {
			n := min(room, len(pieces[0]))
			step = append(step, pieces[0][:n])
			if room -= n; n < len(pieces[0]) {
				pieces[0] = pieces[0][n:]
			} else {
				pieces = pieces[1:]
			}
		}
		p.step = step
		bufs := net.Buffers(step)
		_, err := bufs.WriteTo(nc)
		clear(step)
		if err != nil {
			return err
		}
		p.wrote.Store(time.Now().UnixNano())
	}
	return nil
}
