package fsstate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// The benchmarks of the figures in the README. Run them one at a time:
//
//	go test -run '^$' -bench . -benchtime 2s ./fsstate
//
// Those with a size of state in their name build it first; -short leaves the large ones out.

// benchFS returns a file system with n empty files in directories of 1000, and their handles.
func benchFS(b *testing.B, n int) (*world, []Handle, []Handle) {
	w := newWorld(b, Config{MaxInodes: 1 << 40, MaxBytes: 1 << 40})
	root := w.root()
	var dirs, files []Handle
	for i := range n {
		if i%1000 == 0 {
			dirs = append(dirs, w.apply(&Mkdir{Dir: root, Name: fmt.Sprint("d", i/1000), Set: SetAttrs{Mode: ptr(uint32(0o755))}}))
		}
		files = append(files, w.apply(&Create{Dir: dirs[i/1000], Name: benchName(i)}))
	}
	return w, dirs, files
}

func benchName(i int) string { return fmt.Sprintf("file-%07d.txt", i) }

// apply makes something without going through the encoding.
func (w *world) apply(a Args) Handle {
	w.Helper()
	w.now++
	r, ok := w.fs.Apply(&Op{Args: a}, w.now).(*CreateResult)
	if !ok || r.Status != OK {
		w.Fatalf("%T: %+v", a, r)
	}
	return r.Object
}

// both runs a benchmark on typed operations and on encoded ones, as a replica gets them.
func both(b *testing.B, w *world, ops []*Op) {
	b.Run("typed", func(b *testing.B) {
		defer reportCPU(b)()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if r := w.fs.Apply(ops[i%len(ops)], w.now); r.Code() != OK {
				b.Fatalf("status %d", r.Code())
			}
		}
	})
	enc := make([][]byte, len(ops))
	for i, op := range ops {
		enc[i] = EncodeOp(op)
	}
	b.Run("encoded", func(b *testing.B) {
		defer reportCPU(b)()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if r := w.fs.Execute(enc[i%len(enc)], w.now); len(r) < 4 {
				b.Fatalf("result %x", r)
			}
		}
	})
}

// reportCPU reports the processor time that an operation takes, which on a shared machine says more than the clock. It
// includes the garbage collector's.
func reportCPU(b *testing.B) func() {
	start := cpuTime(b)
	return func() { b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op") }
}

// cpuTime returns the processor time that the process has used, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func shuffled[T any](s []T) []T {
	s = slices.Clone(s)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	return s
}

func BenchmarkGetAttr(b *testing.B) {
	w, _, files := benchFS(b, 100_000)
	var ops []*Op
	for _, f := range shuffled(files)[:10_000] {
		ops = append(ops, &Op{Cred: alice, Args: &GetAttr{Object: f}})
	}
	both(b, w, ops)
}

// BenchmarkExports is a GETATTR of a file four directories down, by how much an export policy has to find out about it.
func BenchmarkExports(b *testing.B) {
	for _, policy := range []struct {
		name    string
		exports []Export
	}{
		{"none", nil},
		{"whole tree", []Export{{Path: "/", Squash: SquashRoot}}},
		{"below", []Export{{Path: "/d"}, {Path: "/"}}},
	} {
		b.Run(policy.name, func(b *testing.B) {
			w := newWorld(b, Config{})
			at := w.root()
			for range 4 {
				at = w.mkdir(superuser, at, "d", 0o755)
			}
			f := w.create(superuser, at, "f", 0o644)
			if policy.exports != nil {
				w.exports(policy.exports...)
			}
			op := EncodeOp(&Op{Cred: alice, Machine: "192.0.2.1", Args: &GetAttr{Object: f}})
			defer reportCPU(b)()
			b.ReportAllocs()
			for b.Loop() {
				if r := w.fs.Execute(op, w.now); len(r) < 20 {
					b.Fatalf("result %x", r)
				}
			}
		})
	}
}

// BenchmarkLookup looks names up in a few directories, as a build does, and anywhere among 100,000 files, where every step
// waits for memory.
func BenchmarkLookup(b *testing.B) {
	w, dirs, files := benchFS(b, 100_000)
	var ops []*Op
	for i := range files {
		ops = append(ops, &Op{Cred: alice, Args: &Lookup{Dir: dirs[i/1000], Name: benchName(i)}})
	}
	b.Run("near", func(b *testing.B) { both(b, w, shuffled(ops[:1000])) })
	b.Run("anywhere", func(b *testing.B) { both(b, w, shuffled(ops)[:10_000]) })
}

func BenchmarkCreate(b *testing.B) {
	for _, kind := range []string{"typed", "encoded"} {
		b.Run(kind, func(b *testing.B) {
			w, _, _ := benchFS(b, 100_000)
			var dir Handle
			root, i := w.root(), 0
			defer reportCPU(b)()
			b.ReportAllocs()
			for b.Loop() {
				if i%1000 == 0 {
					dir = w.apply(&Mkdir{Dir: root, Name: fmt.Sprint("bench", i/1000)})
				}
				op := &Op{Args: &Create{Dir: dir, Name: benchName(i)}}
				if kind == "typed" {
					w.fs.Apply(op, w.now)
				} else {
					w.fs.Execute(EncodeOp(op), w.now)
				}
				i++
				if i%1000 == 0 {
					w.fs.Snapshot() // batches end: copy-on-write is part of the price
				}
			}
		})
	}
}

// benchFile fills a file with size bytes.
func benchFile(w *world, size int) Handle {
	f := w.apply(&Create{Dir: w.root(), Name: "big"})
	data := make([]byte, IOMax)
	for at := 0; at < size; at += len(data) {
		for i := 0; i < len(data); i += 512 {
			binary.BigEndian.PutUint64(data[i:], uint64(at+i))
		}
		if r := w.fs.Apply(&Op{Args: &Write{Object: f, Offset: uint64(at), Data: data}}, w.now); r.Code() != OK {
			w.Fatalf("status %d", r.Code())
		}
	}
	return f
}

func BenchmarkWrite4K(b *testing.B) {
	w, _, _ := benchFS(b, 1000)
	const size = 256 << 20
	f := benchFile(w, size)
	data := make([]byte, 4096)
	var ops []*Op
	for i := range 10_000 {
		ops = append(ops, &Op{Args: &Write{Object: f, Offset: uint64(i*7919%(size/4096)) * 4096, Data: data}})
	}
	for _, every := range []int{0, 100} {
		b.Run(fmt.Sprintf("snapshotEvery%d", every), func(b *testing.B) {
			b.SetBytes(4096)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if r := w.fs.Apply(ops[i%len(ops)], w.now); r.Code() != OK {
					b.Fatalf("status %d", r.Code())
				}
				if every > 0 && i%every == 0 {
					w.fs.Snapshot()
				}
			}
		})
	}
	both(b, w, ops)
}

func BenchmarkRead1M(b *testing.B) {
	w, _, _ := benchFS(b, 1000)
	const size = 256 << 20
	f := benchFile(w, size)
	var ops []*Op
	for at := 0; at < size; at += IOMax {
		ops = append(ops, &Op{Args: &Read{Object: f, Offset: uint64(at), Count: IOMax}})
	}
	b.Run("bytes", func(b *testing.B) {
		b.SetBytes(IOMax)
		for i := 0; b.Loop(); i++ {
			w.fs.Apply(ops[i%len(ops)], w.now)
		}
	})
	both(b, w, ops)
}

func BenchmarkReadDirPlus(b *testing.B) {
	w, dirs, _ := benchFS(b, 100_000)
	ops := []*Op{}
	for _, d := range dirs {
		ops = append(ops, &Op{Args: &ReadDir{Dir: d, Plus: true}})
	}
	both(b, w, ops)
}

// BenchmarkSnapshot takes a snapshot after each change, and reports what the snapshot alone takes: the superblock has to
// be stored, and there is a root to hand out.
func BenchmarkSnapshot(b *testing.B) {
	for _, files := range []int{1000, 300_000} {
		b.Run(fmt.Sprintf("files%d", files), func(b *testing.B) {
			w, _, handles := benchFS(b, files)
			op := &Op{Args: &SetAttr{Set: SetAttrs{Mode: ptr(uint32(0o600))}}}
			var took time.Duration
			for i := 0; b.Loop(); i++ {
				op.Args.(*SetAttr).Object = handles[i*7919%len(handles)]
				w.fs.Apply(op, w.now)
				start := time.Now()
				w.fs.Snapshot()
				took += time.Since(start)
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "snapshot-ns")
		})
	}
}

// BenchmarkDigest hashes a state in which 1000 pages spread over a large file have changed since the last root.
func BenchmarkDigest(b *testing.B) {
	for _, gib := range []int{1, 4} {
		b.Run(fmt.Sprintf("%dGiB1000dirty", gib), func(b *testing.B) {
			if gib > 1 && testing.Short() {
				b.Skip("needs memory")
			}
			w := newWorld(b, Config{MaxBytes: 1 << 40})
			size := gib << 30
			f := benchFile(w, size)
			w.fs.Root()
			data := make([]byte, 4096)
			var used int64
			for round := 0; b.Loop(); round++ {
				b.StopTimer()
				for i := range 1000 {
					page := (i*104729 + round*31) % (size / 4096)
					binary.BigEndian.PutUint64(data, uint64(round))
					w.fs.Apply(&Op{Args: &Write{Object: f, Offset: uint64(page) * 4096, Data: data}}, w.now)
				}
				s := w.fs.Snapshot()
				b.StartTimer()
				before := cpuTime(b)
				s.Root()
				used += cpuTime(b) - before
			}
			b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkMemory reports what an empty file with its directory entry takes, and what bulk data takes beyond itself.
func BenchmarkMemory(b *testing.B) {
	b.Run("emptyFiles", func(b *testing.B) {
		for b.Loop() {
			before := heap()
			w := newWorld(b, Config{MaxInodes: 1 << 40})
			dir := w.root()
			const n = 200_000
			for i := range n {
				if i%1000 == 0 {
					dir = w.apply(&Mkdir{Dir: w.root(), Name: fmt.Sprint("d", i)})
				}
				w.apply(&Create{Dir: dir, Name: benchName(i)})
			}
			w.fs.Root()
			b.ReportMetric(float64(heap()-before)/n, "B/file")
			runtime.KeepAlive(w)
		}
	})
	b.Run("oneDirectory", func(b *testing.B) {
		for b.Loop() {
			before := heap()
			w := newWorld(b, Config{MaxInodes: 1 << 40})
			dir := w.root()
			const n = 200_000
			for i := range n {
				w.apply(&Create{Dir: dir, Name: benchName(i)})
			}
			w.fs.Root()
			b.ReportMetric(float64(heap()-before)/n, "B/file")
			runtime.KeepAlive(w)
		}
	})
	b.Run("bulk", func(b *testing.B) {
		for b.Loop() {
			before := heap()
			w := newWorld(b, Config{})
			const size = 256 << 20
			benchFile(w, size)
			w.fs.Root()
			b.ReportMetric(100*(float64(heap()-before)/size-1), "%overhead")
			runtime.KeepAlive(w)
		}
	})
}

// BenchmarkLatency runs a mix of operations on a state of the given size, with snapshots as a replica takes them, and
// reports the distribution, garbage collection included.
func BenchmarkLatency(b *testing.B) {
	for _, gib := range []int{1, 4} {
		b.Run(fmt.Sprintf("%dGiB", gib), func(b *testing.B) {
			if testing.Short() {
				b.Skip("needs memory")
			}
			w, dirs, files := benchFS(b, 200_000)
			size := gib << 30
			big := benchFile(w, size)
			w.fs.Root()
			rnd := rand.New(rand.NewPCG(1, 1))
			data := make([]byte, 4096)
			var took []time.Duration
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for i := 0; b.Loop(); i++ {
				var a Args
				switch i % 5 {
				case 0:
					a = &GetAttr{Object: files[rnd.IntN(len(files))]}
				case 1:
					n := rnd.IntN(len(files))
					a = &Lookup{Dir: dirs[n/1000], Name: benchName(n)}
				case 2:
					a = &Write{Object: big, Offset: uint64(rnd.IntN(size/4096)) * 4096, Data: data}
				case 3:
					a = &Read{Object: big, Offset: uint64(rnd.IntN(size/4096)) * 4096, Count: 4096}
				case 4:
					a = &Create{Dir: dirs[rnd.IntN(len(dirs))], Name: fmt.Sprint("new", i)}
				}
				enc := EncodeOp(&Op{Args: a})
				start := time.Now()
				w.fs.Execute(enc, w.now)
				took = append(took, time.Since(start))
				if i%64 == 63 {
					w.fs.Snapshot()
				}
			}
			runtime.ReadMemStats(&after)
			slices.Sort(took)
			at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1000 }
			b.ReportMetric(at(0.5), "p50-µs")
			b.ReportMetric(at(0.999), "p99.9-µs")
			b.ReportMetric(at(1), "max-µs")
			b.ReportMetric(float64(after.NumGC-before.NumGC), "collections")
		})
	}
}

// BenchmarkDuplicates is what remembering answers costs: operations of one machine as a replica gets them, in batches of
// 16, with a root every 128 batches; the cache is full when it begins.
func BenchmarkDuplicates(b *testing.B) {
	data := make([]byte, 4096)
	for _, kind := range []string{"Create", "Write4K"} {
		for _, duplicates := range []int{-1, DuplicatesDefault} {
			name := kind + "/without"
			if duplicates > 0 {
				name = kind + "/with"
			}
			b.Run(name, func(b *testing.B) {
				w := newWorld(b, Config{MaxInodes: 1 << 40, MaxBytes: 1 << 40, Duplicates: duplicates})
				root := w.root()
				file, dir := w.apply(&Create{Dir: root, Name: "file"}), Handle{}
				xid := uint32(0)
				execute := func(machine string, a Args) {
					xid++
					w.now += 1000
					w.fs.Execute(EncodeOp(&Op{Cred: superuser, Machine: machine, XID: xid, Args: a}), w.now)
				}
				for i := range DuplicatesDefault {
					execute(fmt.Sprint("10.0.0.", i%2*dupShare), &SetAttr{Object: file, Set: SetAttrs{Mode: ptr(uint32(0o600))}})
				}
				defer reportCPU(b)()
				b.ReportAllocs()
				snapshots := make([]*Snapshot, 0, 128)
				for i := 0; b.Loop(); i++ {
					if i%1000 == 0 {
						dir = w.apply(&Mkdir{Dir: root, Name: fmt.Sprint("bench", i/1000)})
					}
					if kind == "Create" {
						execute("10.0.0.0", &Create{Dir: dir, Name: benchName(i)})
					} else {
						execute("10.0.0.0", &Write{Object: file, Offset: uint64(i) % 1000 * 4096, Data: data})
					}
					if i%16 == 15 {
						snapshots = append(snapshots, w.fs.Snapshot())
					}
					if len(snapshots) == cap(snapshots) {
						w.fs.Root()
						for _, s := range snapshots {
							s.Release()
						}
						snapshots = snapshots[:0]
					}
				}
			})
		}
	}
}
