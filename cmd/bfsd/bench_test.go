package main

import (
	"fmt"
	"net"
	"strconv"
	"testing"

	"bfsd/internal/loopback"
	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// BenchmarkCalls measures single NFS calls, one after the other and 16 at a time, on a cluster of four replica processes
// and on the unreplicated server: the price of agreement without a kernel client's caches. Compare within one run only.
func BenchmarkCalls(b *testing.B) {
	for _, target := range []struct {
		name string
		args func(dir string, addr string) []string
	}{
		{"plain", func(_, addr string) []string { return []string{"plain", "--nfs", addr} }},
		{"memory", func(dir, addr string) []string {
			return []string{"up", "--dir", dir, "--nfs", addr, "--durability", "memory"}
		}},
		{"disk", func(dir, addr string) []string {
			return []string{"up", "--dir", dir, "--nfs", addr, "--durability", "disk"}
		}},
	} {
		b.Run(target.name, func(b *testing.B) {
			s := &site{t: b}
			addr := net.JoinHostPort(s.host(), strconv.Itoa(freePort(b)))
			s.start(target.args(b.TempDir(), addr)...)
			c, err := nfsclient.Dial(b.Context(), addr)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			c = c.As(0, 0)
			root, err := c.Mount(b.Context(), "/")
			if err != nil {
				b.Fatal(err)
			}
			file, err := c.WriteFile(b.Context(), root, "file", make([]byte, 4096), 0o644)
			if err != nil {
				b.Fatal(err)
			}
			page := make([]byte, 4096)
			names := 0
			for name, call := range map[string]func(i int) error{
				"GETATTR": func(int) error { _, err := c.GetAttr(b.Context(), file); return err },
				"WRITE4K": func(int) error {
					_, err := c.Write(b.Context(), file, 0, page, nfs3.Unstable)
					return err
				},
				"CREATE": func(i int) error {
					_, err := c.Create(b.Context(), root, fmt.Sprintf("new%d", i), nfs3.Guarded, nfs3.Sattr{})
					return err
				},
			} {
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						names++
						if err := call(names); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			b.Run("WRITE4Kx16", func(b *testing.B) {
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := c.Write(b.Context(), file, 0, page, nfs3.Unstable); err != nil {
							b.Error(err)
						}
					}
				})
			})
		})
	}
}

// freePort is a port that nobody else takes while the test runs, nor those after it: bfsd up finds its replicas' there.
func freePort(tb testing.TB) int {
	tb.Helper()
	const roomForReplicas = 50 // 13 of them, three ports each
	port, err := loopback.Ports(roomForReplicas)
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
