package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bfsd/replica/wire"
)

// meter is a file system that counts what is written.
type meter struct {
	vfs.FS
	written *atomic.Int64
}

func (m meter) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := m.FS.Create(name, c)
	return metered{f, m.written}, err
}

func (m meter) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := m.FS.ReuseForWrite(from, to, c)
	return metered{f, m.written}, err
}

type metered struct {
	vfs.File
	written *atomic.Int64
}

func (f metered) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	f.written.Add(int64(n))
	return n, err
}

// BenchmarkCheckpoint writes the log of an interval of batches, as many bytes as the pages have, and then a checkpoint of
// pages of 4 KiB anywhere in a state; and, wholly, a checkpoint alone, as after a state transfer: of 1 GiB with
// BFSD_LONG_TESTS=1. It reports how many bytes the disk is given for each byte of pages and log, and the most memory.
func BenchmarkCheckpoint(b *testing.B) {
	whole := 64
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		whole = 1024
	}
	for _, spill := range []struct {
		name string
		at   int
	}{{"batch", 1 << 31}, {"tables", checkpointMemory}} {
		for _, kib := range []int{64, 2 << 10, 8 << 10, 32 << 10} {
			b.Run(fmt.Sprintf("%dKiB/%s", kib, spill.name), func(b *testing.B) { benchmarkCheckpoint(b, spill.at, kib/4, false) })
		}
		b.Run(fmt.Sprintf("wholly-%dMiB/%s", whole, spill.name), func(b *testing.B) { benchmarkCheckpoint(b, spill.at, whole<<8, true) })
	}
}

func benchmarkCheckpoint(b *testing.B, spillAt, count int, wholly bool) {
	var written atomic.Int64
	s, err := Open(Options{Dir: b.TempDir(), Durability: Disk, FS: meter{vfs.Default, &written}})
	if err != nil {
		b.Fatal(err)
	}
	s.spillAt = spillAt
	rng, noise := rand.New(rand.NewPCG(1, 1)), rand.NewChaCha8([32]byte{1})
	page := make([]byte, 4096)
	given, most := 0, uint64(0)
	const batches = 64
	var seq wire.Seq
	for b.Loop() {
		for range batches {
			seq++
			if wholly {
				continue
			}
			record := make([]byte, count*len(page)/batches)
			_, _ = noise.Read(record)
			if err := errors.Join(s.Append(seq, record), flush(s)); err != nil {
				b.Fatal(err)
			}
			given += len(record)
		}
		err := s.Checkpoint(Meta{Seq: seq}, wholly, func(emit func(k, v []byte) error) error {
			for i := range count {
				if i%1024 == 0 {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapInuse)
				}
				place := i
				if !wholly { // every 16th page or so of a state that is larger
					place = 16*i + rng.IntN(16)
				}
				_, _ = noise.Read(page)
				given += len(page)
				if err := emit(fmt.Appendf(nil, "%012d", place), page); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(given / b.N))
	b.ReportMetric(float64(written.Load())/float64(given), "written/given")
	b.ReportMetric(float64(most>>20), "MiB-heap")
}
