package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"bfsd/replica/wire"
)

// Checkpoints of all sizes, in memory and by tables, follow each other: what is read back is the last one's.
func TestSmallAndLargeCheckpointsFollowEachOther(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	fs := vfs.NewCrashableMem()
	s := open(t, fs, Disk)
	want := map[string]string{}
	for round := range 60 {
		s.spillAt = []int{1, 300, checkpointMemory}[rng.IntN(3)]
		seq := wire.Seq(round + 1)
		if err := errors.Join(s.Append(seq, []byte("goes")), s.Append(seq+1, []byte("stays")), flush(s)); err != nil {
			t.Fatal(err)
		}
		wholly := round == 0 || rng.IntN(10) == 0
		if wholly {
			want = map[string]string{}
		}
		var pairs []string
		for k := range 30 {
			key, value := fmt.Sprintf("page %02d", k), fmt.Sprintf("of round %d", round)
			switch n := rng.IntN(6); {
			case n < 3:
				want[key] = value
				pairs = append(pairs, key, value)
			case n == 3 && !wholly:
				delete(want, key)
				pairs = append(pairs, key, "")
			}
		}
		meta := Meta{Seq: seq, Root: wire.Digest{byte(round)}, Certificate: []byte("proof")}
		if err := s.Checkpoint(meta, wholly, emitAll(pairs...)); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(4) == 0 {
			after := fs.CrashClone(vfs.CrashCloneCfg{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			fs = after
			s = open(t, fs, Disk)
		}
		if diff := cmp.Diff(want, pages(t, s)); diff != "" {
			t.Fatalf("round %d, wholly %t: pages (-want +got):\n%s", round, wholly, diff)
		}
		if got, ok, err := s.Meta(); err != nil || !ok || got.Seq != seq || !bytes.Equal(got.Certificate, meta.Certificate) {
			t.Fatalf("round %d: meta %+v, %v", round, got, err)
		}
		if diff := cmp.Diff([]string{"stays"}, records(t, s)); diff != "" {
			t.Fatalf("round %d: records (-want +got):\n%s", round, diff)
		}
	}
	s.Close()
}

func TestALargeCheckpointThatFailsLeavesNothing(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs, Disk)
	defer s.Close()
	s.spillAt = 1
	if err := s.Checkpoint(Meta{Seq: 1}, true, emitAll("a", "1")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the state ended early")
	err := s.Checkpoint(Meta{Seq: 2}, true, func(emit func(k, v []byte) error) error {
		return errors.Join(emit([]byte("a"), []byte("2")), emit([]byte("b"), []byte("2")), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error = %v, want the emitter's", err)
	}
	if meta, _, _ := s.Meta(); meta.Seq != 1 || pages(t, s)["a"] != "1" {
		t.Errorf("after a failed checkpoint: meta %+v, pages %v", meta, pages(t, s))
	}
	if _, err := fs.Stat(s.spillDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its tables are still there: %v", err)
	}
}

// Keys out of order would make a table that cannot be searched.
func TestPagesOutOfOrderAreRefused(t *testing.T) {
	s := open(t, vfs.NewMem(), Disk)
	defer s.Close()
	for _, s.spillAt = range []int{1, checkpointMemory} {
		for _, pairs := range [][]string{{"b", "1", "a", "1"}, {"a", "1", "a", "2"}} {
			if err := s.Checkpoint(Meta{Seq: 3}, true, emitAll(pairs...)); err == nil {
				t.Errorf("a checkpoint with the pages %q was taken", pairs)
			}
		}
	}
	if _, ok, err := s.Meta(); ok || err != nil {
		t.Errorf("there is a checkpoint (%v)", err)
	}
}

// What a crash leaves of a large checkpoint is removed by the next start, but not by who only looks.
func TestWhatIsLeftOfACheckpointIsRemoved(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs, Disk)
	s.spillAt = 1
	if err := s.Checkpoint(Meta{Seq: 1}, true, emitAll("a", "1")); err != nil {
		t.Fatal(err)
	}
	var left *vfs.MemFS
	err := s.Checkpoint(Meta{Seq: 2}, true, func(emit func(k, v []byte) error) error {
		err := errors.Join(emit([]byte("a"), []byte("2")), emit([]byte("b"), []byte("2")))
		left = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
		return err
	})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	there := func() bool {
		names, err := left.List(s.spillDir())
		return err == nil && len(names) > 0
	}
	if !there() {
		t.Fatal("the crash left nothing")
	}
	looking, err := Open(Options{Dir: s.dir, Durability: Disk, FS: left, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := pages(t, looking); got["a"] != "1" || len(got) != 1 {
		t.Errorf("who looks sees %v", got)
	}
	if err := looking.Close(); err != nil {
		t.Fatal(err)
	}
	if !there() {
		t.Error("looking has removed something")
	}
	again := open(t, left, Disk)
	defer again.Close()
	if there() {
		t.Error("it is still there")
	}
	if got := pages(t, again); got["a"] != "1" || len(got) != 1 {
		t.Errorf("the pages are %v", got)
	}
}

// The memory that a checkpoint takes does not grow with it.
func TestALargeCheckpointTakesLittleMemory(t *testing.T) {
	megabytes := 96
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		megabytes = 1024
	}
	s, err := Open(Options{Dir: t.TempDir(), Durability: OS})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before, most := used(), uint64(0)
	value := make([]byte, 4096)
	rng := rand.New(rand.NewPCG(1, 1))
	err = s.Checkpoint(Meta{Seq: 1}, true, func(emit func(k, v []byte) error) error {
		for i := range megabytes << 8 {
			for b := range 16 {
				value[256*b] = byte(rng.Uint32())
			}
			if err := emit(fmt.Appendf(nil, "%08d", i), value); err != nil {
				return err
			}
			if i%4096 == 0 {
				most = max(most, used())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	most = max(most, used())
	if grown := int64(most) - int64(before); grown > 32<<20 {
		t.Errorf("a checkpoint of %d MiB took %d MiB of memory", megabytes, grown>>20)
	}
	count := 0
	if err := s.Pages(func(_, _ []byte) error { count++; return nil }); err != nil || count != megabytes<<8 {
		t.Errorf("%d pages are there, want %d (%v)", count, megabytes<<8, err)
	}
}
