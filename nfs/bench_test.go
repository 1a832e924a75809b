package nfs_test

import (
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
)

func BenchmarkGETATTR(b *testing.B) {
	for _, tc := range []struct {
		name     string
		parallel int
	}{{"one at a time", 1}, {"64 in flight", 64}} {
		b.Run(tc.name, func(b *testing.B) {
			e := start(b)
			inFlight(b, tc.parallel, func() error {
				_, err := e.c.GetAttr(e.ctx, e.root)
				return err
			})
		})
	}
}

func BenchmarkREAD(b *testing.B) {
	for _, tc := range []struct {
		name     string
		parallel int
	}{{"1 MiB, one at a time", 1}, {"1 MiB, 8 in flight", 8}} {
		b.Run(tc.name, func(b *testing.B) {
			e := start(b)
			fh := e.file("f", string(random(1<<20)))
			b.SetBytes(1 << 20)
			buffers := sync.Pool{New: func() any { return new([1 << 20]byte) }}
			inFlight(b, tc.parallel, func() error {
				buf := buffers.Get().(*[1 << 20]byte)
				defer buffers.Put(buf)
				n, err := e.c.ReadAt(e.ctx, fh, buf[:], 0)
				if n != len(buf) && err == nil {
					return io.ErrUnexpectedEOF
				}
				return err
			})
		})
	}
}

func BenchmarkWRITE(b *testing.B) {
	for _, tc := range []struct {
		name     string
		parallel int
	}{{"1 MiB, one at a time", 1}, {"1 MiB, 8 in flight", 8}} {
		b.Run(tc.name, func(b *testing.B) {
			e := start(b)
			fh := e.file("f", "")
			data := random(1 << 20)
			b.SetBytes(1 << 20)
			var n atomic.Uint64
			inFlight(b, tc.parallel, func() error {
				_, err := e.c.Write(e.ctx, fh, n.Add(1)%64<<20, data, nfs3.FileSync)
				return err
			})
		})
	}
}

// BenchmarkREAD_null is BenchmarkREAD with a backend that does nothing, so that what remains is the front end.
func BenchmarkREAD_null(b *testing.B) {
	e := start(b)
	canned := fsstate.EncodeResult(&fsstate.ReadResult{Attr: &fsstate.Attr{Type: fsstate.TypeRegular}, Data: random(1 << 20)})
	e.spy.Backend = cannedBackend(canned)
	b.SetBytes(1 << 20)
	buf := make([]byte, 1<<20)
	inFlight(b, 1, func() error {
		_, err := e.c.ReadAt(e.ctx, e.root, buf, 0)
		return err
	})
}

// inFlight runs call b.N times, parallel at once.
func inFlight(b *testing.B, parallel int, call func() error) {
	b.Helper()
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
