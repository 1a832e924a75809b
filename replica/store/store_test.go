package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"bfsd/replica/wire"
)

func open(t *testing.T, fs vfs.FS, d Durability) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "store", Durability: d, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func appendRecords(t *testing.T, s *Store, from, to wire.Seq) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		if err := s.Append(seq, fmt.Appendf(nil, "record %d", seq)); err != nil {
			t.Fatal(err)
		}
	}
}

// flush commits what was appended, in a group of its own.
func flush(s *Store) error {
	g, err := s.Cut()
	return errors.Join(err, s.Commit(g))
}

func records(t *testing.T, s *Store) []string {
	t.Helper()
	recs, err := s.Records()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range recs {
		out = append(out, string(r))
	}
	return out
}

func pages(t *testing.T, s *Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := s.Pages(func(k, v []byte) error { out[string(k)] = string(v); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func emitAll(pairs ...string) func(func(k, v []byte) error) error {
	return func(emit func(k, v []byte) error) error {
		for i := 0; i < len(pairs); i += 2 {
			v := []byte(pairs[i+1])
			if pairs[i+1] == "" {
				v = nil
			}
			if err := emit([]byte(pairs[i]), v); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestWhatWasFlushedSurvivesAPowerCutAndWhatWasNotMayNot(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs, Disk)
	appendRecords(t, s, 1, 3)
	if err := flush(s); err != nil {
		t.Fatal(err)
	}
	appendRecords(t, s, 4, 4) // promised to nobody
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	s.Close()

	s = open(t, after, Disk)
	defer s.Close()
	if diff := cmp.Diff([]string{"record 1", "record 2", "record 3"}, records(t, s)); diff != "" {
		t.Errorf("records after the power cut (-want +got):\n%s", diff)
	}
}

func TestTheOSSettingDoesNotSync(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs, OS)
	appendRecords(t, s, 1, 3)
	if err := flush(s); err != nil {
		t.Fatal(err)
	}
	lost := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	kept := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
	s.Close()
	if _, err := lost.Stat("store/CURRENT"); err == nil {
		t.Error("a power cut lost nothing; the os setting synced after all")
	}
	// kill -9 keeps what was handed to the operating system: everything flushed.
	s = open(t, kept, OS)
	defer s.Close()
	if got := records(t, s); len(got) != 3 {
		t.Errorf("after a kill -9 the log holds %q, want three records", got)
	}
}

func TestRecordsComeBackInTheOrderOfWritingWhateverTheirBatch(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs, Disk)
	for i, seq := range []wire.Seq{7, 0, 3, 9, 3} {
		if err := s.Append(seq, fmt.Appendf(nil, "%d: batch %d", i, seq)); err != nil {
			t.Fatal(err)
		}
	}
	if err := flush(s); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, fs, Disk)
	defer s.Close()
	if err := s.Append(1, []byte("5: batch 1")); err != nil { // goes on where the log ended
		t.Fatal(err)
	}
	if err := flush(s); err != nil {
		t.Fatal(err)
	}
	want := []string{"0: batch 7", "1: batch 0", "2: batch 3", "3: batch 9", "4: batch 3", "5: batch 1"}
	if diff := cmp.Diff(want, records(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestACheckpointReplacesPagesAndDropsTheRecordsItCovers(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs, Disk)
	if err := s.Append(0, []byte("an older view")); err != nil {
		t.Fatal(err)
	}
	appendRecords(t, s, 0, 12)
	if err := flush(s); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Meta(); ok || err != nil {
		t.Fatalf("a new store has a checkpoint: %v, %v", ok, err)
	}
	first := Meta{Seq: 8, Root: wire.Digest{1}, Certificate: []byte("proof")}
	if err := s.Checkpoint(first, true, emitAll("a", "1", "b", "2")); err != nil {
		t.Fatal(err)
	}
	second := Meta{Seq: 10, Root: wire.Digest{2}}
	if err := s.Checkpoint(second, false, emitAll("a", "", "c", "3")); err != nil {
		t.Fatal(err)
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	s.Close()

	s = open(t, after, Disk)
	defer s.Close()
	meta, ok, err := s.Meta()
	if err != nil || !ok || meta.Seq != 10 || meta.Root != second.Root || len(meta.Certificate) != 0 {
		t.Errorf("meta = %+v, %v, %v", meta, ok, err)
	}
	if diff := cmp.Diff(map[string]string{"b": "2", "c": "3"}, pages(t, s)); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"record 0", "record 11", "record 12"}, records(t, s)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestACheckpointThatFailsHalfWayChangesNothing(t *testing.T) {
	s := open(t, vfs.NewMem(), Disk)
	defer s.Close()
	if err := s.Checkpoint(Meta{Seq: 1}, true, emitAll("a", "1")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the state ended early")
	err := s.Checkpoint(Meta{Seq: 2}, true, func(emit func(k, v []byte) error) error {
		if err := emit([]byte("a"), []byte("2")); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error = %v, want the emitter's", err)
	}
	if meta, _, _ := s.Meta(); meta.Seq != 1 || pages(t, s)["a"] != "1" {
		t.Errorf("after a failed checkpoint: meta %+v, pages %v", meta, pages(t, s))
	}
}

func TestAnothersStoreIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	openAs := func(owner string) error {
		s, err := Open(Options{Dir: "store", Durability: Disk, FS: fs, Owner: []byte(owner)})
		if err != nil {
			return err
		}
		return s.Close()
	}
	if err := errors.Join(openAs("replica 1"), openAs("replica 1")); err != nil {
		t.Errorf("the owner's own store: %v", err)
	}
	if err := openAs("replica 2"); err == nil {
		t.Error("a store was opened as another replica's")
	}
}

func TestAStoreInMemoryIsRefused(t *testing.T) {
	if _, err := Open(Options{Dir: "x", Durability: Memory, FS: vfs.NewMem()}); err == nil {
		t.Error("opened a store that keeps nothing")
	}
	if _, err := ParseDurability("tape"); err == nil {
		t.Error("durability \"tape\" was accepted")
	}
}

func FuzzMeta(f *testing.F) {
	f.Add(encodeMeta(Meta{Seq: 3, Root: wire.Digest{9}, Certificate: []byte("c")}))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err == nil && !bytes.Equal(encodeMeta(m), b) {
			t.Errorf("%x decodes to %+v, which encodes to %x", b, m, encodeMeta(m))
		}
	})
}

func BenchmarkAppendFlush(b *testing.B) {
	for _, d := range []Durability{OS, Disk} {
		for _, size := range []int{200, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%dB", d, size), func(b *testing.B) {
				s, err := Open(Options{Dir: b.TempDir(), Durability: d})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				record := make([]byte, size)
				b.SetBytes(int64(size))
				for i := 0; b.Loop(); i++ {
					if err := errors.Join(s.Append(wire.Seq(i+1), record), flush(s)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add((&mark{count: 7, store: [16]byte{1}, end: 3, stable: 128, view: 2, doubt: true}).encode())
	f.Add([]byte(markMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := decodeMark(b)
		if ok && !bytes.Equal(m.encode(), b) {
			t.Errorf("%x decodes to %+v, which encodes to %x", b, m, m.encode())
		}
	})
}

func FuzzCondition(f *testing.F) {
	f.Add(Condition{New: true, Nonce: 9}.encode())
	f.Add(Condition{Lost: "the log", Kind: KindLog, Nonce: 9, ViewKnown: true}.encode())
	f.Add([]byte{doubtLost})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCondition(b)
		if err == nil && !bytes.Equal(c.encode(), b) {
			t.Errorf("%x decodes to %+v, which encodes to %x", b, c, c.encode())
		}
	})
}
