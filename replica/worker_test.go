package replica

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

// A state's pages are written while they come. Until all of it was found to be right, neither a failure nor a crash may leave
// any of them in the store; then all are there, with the certificate.
func TestAStateThatIsWrittenWhileItComesAppearsAtOnce(t *testing.T) {
	disk := vfs.NewCrashableMem()
	open := func(fs vfs.FS) *store.Store {
		t.Helper()
		s, err := store.Open(store.Options{Dir: "store", Durability: store.Disk, FS: fs, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	service := newToyService()
	n := &Node{service: service, store: open(disk), metrics: newMetrics(), snaps: newSnapshots(nil), log: slog.New(slog.DiscardHandler)}
	w := newWorker(n)
	defer func() {
		w.close()
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	}()
	holdsNothing := func(when string, s *store.Store) {
		t.Helper()
		if meta, ok, err := s.Meta(); ok || err != nil {
			t.Errorf("%s the store has checkpoint %d (%v)", when, meta.Seq, err)
		}
		if err := s.Pages(func(key, _ []byte) error { return errors.New("page " + string(key)) }); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}

	const size = 20 << 20 // more than is held in memory
	pages := func(each func(key, value []byte) error) error {
		for i := range byte(size >> 20) {
			if err := each([]byte{i}, make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return nil
	}
	gone := errors.New("no source is left")
	e := pbft.FetchState{Seq: 128, Root: wire.Digest{7}}
	if _, _, err := w.restore(e, func(each func(key, value []byte) error) error {
		return errors.Join(pages(each), gone)
	}); !errors.Is(err, gone) {
		t.Errorf("a transfer that failed: %v", err)
	}
	holdsNothing("after a transfer that failed", n.store)

	var cut vfs.FS
	_, written, err := w.restore(e, func(each func(key, value []byte) error) error {
		if err := pages(each); err != nil {
			return err
		}
		cut = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))})
		return nil
	})
	if err != nil || !written {
		t.Fatalf("written %t, %v", written, err)
	}
	crashed := open(cut)
	holdsNothing("after a crash with all pages on the disk", crashed)
	if err := crashed.Close(); err != nil {
		t.Error(err)
	}
	after := open(disk.CrashClone(vfs.CrashCloneCfg{}))
	meta, ok, err := after.Meta()
	if err != nil || !ok || meta.Seq != e.Seq || meta.Root != e.Root || meta.Size < size {
		t.Errorf("after it the store has %+v, %t, %v", meta, ok, err)
	}
	count := 0
	if err := after.Pages(func(_, _ []byte) error { count++; return nil }); err != nil || count != size>>20 {
		t.Errorf("it has %d pages (%v)", count, err)
	}
	if err := after.Close(); err != nil {
		t.Error(err)
	}

	// What was queued before, of an older checkpoint, comes too late.
	w.adopt(wire.CheckpointRef{Seq: 64, Root: wire.Digest{6}}, nil, newToyService().Snapshot(), false)
	if meta, _, err := n.store.Meta(); err != nil || meta.Seq != e.Seq {
		t.Errorf("then the store has checkpoint %d (%v)", meta.Seq, err)
	}
}
