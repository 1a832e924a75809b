package pbft

import (
	"fmt"
	"testing"

	"bfsd/replica/wire"
)

// BenchmarkRequest is the CPU time of four cores, their encoding and their authentication, per request, with so many
// client slots at work at a time: one request in an idle system, and batches under load.
func BenchmarkRequest(b *testing.B) {
	for _, slots := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			c := newCluster(b, 1, func(cfg *Config) { cfg.Slots, cfg.CheckpointInterval = slots, 64 }, alice)
			c.bench = true
			op := make([]byte, 200)
			number := uint64(0)
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += slots {
				number++
				for s := range slots {
					c.request(c.keys.Request(alice, wire.Slot(s), number, 0, 0, op), 0)
				}
				c.settle()
				c.replies, c.agreed = nil, nil
				for _, n := range c.nodes {
					n.state.ops = nil
					n.log = nil
				}
			}
			b.StopTimer()
			if got := c.nodes[0].core.exec.last; got == 0 {
				b.Fatal("nothing executed")
			}
		})
	}
}
