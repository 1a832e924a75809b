package rpc

import (
	"net"
	"sync/atomic"
	"time"
)

// progress is when a peer last sent something, and when it was last seen to have accepted something.
type progress struct {
	read    atomic.Int64 // Unix time in nanoseconds
	wrote   atomic.Int64 // when a write last began or ended
	acked   uint64       // bytes that the peer had accepted when that was looked at; guarded by conn.mu
	ackedAt time.Time    // when they were seen to have become more
}

func (p *progress) sent() { p.wrote.Store(time.Now().UnixNano()) }

// silent returns for how long nothing has come.
func (p *progress) silent(now time.Time) time.Duration { return now.Sub(time.Unix(0, p.read.Load())) }

// stuck returns for how long the peer is known to have accepted nothing of what is being written. A write may take long
// and yet go on: the kernel knows. It is asked only when memory is short, so that it shows at the second time at the
// earliest.
func (p *progress) stuck(nc net.Conn, now time.Time) time.Duration {
	last := time.Unix(0, p.wrote.Load())
	if acked, ok := ackedBytes(nc); ok {
		if acked != p.acked || p.ackedAt.IsZero() {
			p.acked, p.ackedAt = acked, now
		}
		if p.ackedAt.After(last) {
			last = p.ackedAt
		}
	}
	return now.Sub(last)
}

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
