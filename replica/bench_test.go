package replica

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"bfsd/replica/config"
)

// BenchmarkInvoke is the null operation of TOCS §8.1 on four nodes in one process, over real TLS links: one call at a time
// (latency) and 32 at a time (throughput), ordered and read-only, with small and 4 KiB arguments.
func BenchmarkInvoke(b *testing.B) {
	for _, d := range []config.Durability{config.Memory, config.OS, config.Disk} {
		b.Run(string(d), func(b *testing.B) {
			g := newGroup(b, d, 128)
			c := g.client()
			for _, op := range []struct {
				name     string
				arg      string
				readOnly bool
			}{{"ordered", "null", false}, {"ordered4K", strings.Repeat("x", 4096), false}, {"readonly", "?", true}} {
				b.Run(op.name, func(b *testing.B) {
					defer reportCPU(b)()
					for b.Loop() {
						if _, err := c.Invoke(b.Context(), []byte(op.arg), op.readOnly); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run(op.name+"x32", func(b *testing.B) {
					defer reportCPU(b)()
					b.SetParallelism(16)
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							if _, err := c.Invoke(b.Context(), []byte(op.arg), op.readOnly); err != nil {
								b.Error(err)
							}
						}
					})
				})
			}
		})
	}
}

// reportCPU reports the processor time of the whole process (four nodes, their links and the client) per operation, which
// depends less on what else the machine does than the time that passes.
func reportCPU(b *testing.B) func() {
	b.Helper()
	cpu := func() time.Duration {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before := cpu()
	return func() { b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op") }
}
