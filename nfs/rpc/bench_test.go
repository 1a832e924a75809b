package rpc

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"bfsd/nfs/xdr"
)

func BenchmarkNull(b *testing.B) {
	for _, tc := range []struct {
		name     string
		parallel int
	}{{"one at a time", 1}, {"64 in flight", 64}} {
		b.Run(tc.name, func(b *testing.B) {
			s := NewServer(Limits{}, nil, Program{Number: testProg, Low: 3, High: 3, Serve: func(context.Context, *Call, *xdr.Encoder) Outcome { return Success }})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			go s.Serve(l) //nolint:errcheck // ends with Close
			defer s.Close()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			c := NewClient(nc)
			defer c.Close()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range tc.parallel {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := c.Call(context.Background(), Call{Prog: testProg, Vers: 3}, nil); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
