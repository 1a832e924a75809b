package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"bfsd/replica/wire"
)

// However much is written, log and checkpoints take a bounded part of the disk: Pebble's logs and tables that wait for a flush
// and a compaction, and some copies of the state.
func TestDiskUsageLevelsOff(t *testing.T) {
	rounds := 150 // of 4 MiB
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		rounds = 2000
	}
	const (
		state = 8 << 20
		limit = 4*(64<<20) + 4*state // a memtable has 64 MiB
	)
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir, Durability: OS})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	noise, rng := rand.NewChaCha8([32]byte{1}), rand.New(rand.NewPCG(1, 1))
	page := make([]byte, 4096)
	var seq wire.Seq
	var given, most uint64
	for round := range rounds {
		s.spillAt = []int{1 << 10, checkpointMemory}[rng.IntN(2)]
		for range 32 {
			seq++
			record := make([]byte, 64<<10)
			_, _ = noise.Read(record)
			if err := errors.Join(s.Append(seq, record), flush(s)); err != nil {
				t.Fatal(err)
			}
			given += uint64(len(record))
		}
		err := s.Checkpoint(Meta{Seq: seq}, round%50 == 0, func(emit func(k, v []byte) error) error {
			for k := range state / len(page) {
				if round%50 != 0 && rng.IntN(4) > 0 {
					continue
				}
				_, _ = noise.Read(page)
				given += uint64(len(page))
				if err := emit(fmt.Appendf(nil, "%08d", k), page); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if u := s.Usage(); u.Bytes > most {
			most = u.Bytes
		}
	}
	if err := s.db.Flush(); err != nil { // Pebble counts tables that overlap its memtable when it takes them in, with the next flush
		t.Fatal(err)
	}
	u := s.Usage()
	t.Logf("%d MiB were given and %d written; at most %d MiB were in use, %d now; %d MiB are free", given>>20, u.Written>>20, most>>20, u.Bytes>>20, u.Free>>20)
	if most > limit {
		t.Errorf("%d MiB of the disk were in use for a state of %d, want at most %d", most>>20, state>>20, limit>>20)
	}
	if given < 2*limit {
		t.Errorf("only %d MiB were given: too little to show a limit of %d", given>>20, limit>>20)
	}
	if u.Given < given || u.Given > given+given/8 {
		t.Errorf("it says that it was given %d bytes, it was %d", u.Given, given)
	}
	if u.Written < u.Given {
		t.Errorf("it says that it wrote %d bytes, less than it was given (%d)", u.Written, u.Given)
	}
	// What it says is what is there.
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	there := uint64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it was removed meanwhile
			there += uint64(info.Size())
		}
	}
	if there > u.Bytes+u.Bytes/2+state || u.Free == 0 {
		t.Errorf("the directory holds %d bytes, the store says %d (%d free)", there, u.Bytes, u.Free)
	}
}
