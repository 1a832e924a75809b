package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"bfsd/replica/wire"
)

// clonable is a disk in memory that may be cloned whatever goes on: MemFS.Link takes a read lock twice, and waits for itself for
// ever if CrashClone asks for the lock in between.
type clonable struct {
	*vfs.MemFS

	links sync.RWMutex
}

func (c *clonable) Link(old, name string) error {
	c.links.RLock()
	defer c.links.RUnlock()
	return c.MemFS.Link(old, name)
}

func (c *clonable) CrashClone(cfg vfs.CrashCloneCfg) *vfs.MemFS {
	c.links.Lock()
	defer c.links.Unlock()
	return c.MemFS.CrashClone(cfg)
}

// crasher is a disk whose power can be cut before any operation on it. What was synced survives, and part of the rest.
type crasher struct {
	fs *clonable

	mu       sync.Mutex
	rng      *rand.Rand
	left     int // operations until the next crash
	every    int
	promised promised // as of now
	crashes  []crash
}

// promised is what a store has promised to keep.
type promised struct {
	settled  bool
	records  []string // durable, and not below the checkpoint
	stable   wire.Seq
	pages    map[string]string // of the checkpoint
	maybe    []string          // records that are being written
	maybeCkp wire.Seq          // a checkpoint that is being written
	maybePgs map[string]string
}

type crash struct {
	left     *vfs.MemFS
	promised promised
	at       errorfs.Op
}

// MaybeError is errorfs's hook: it is called before every operation.
func (c *crasher) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left > 0 || op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	c.left = 1 + c.rng.IntN(c.every)
	percent := []int{0, 0, 20, 50, 90, 100}[c.rng.IntN(6)]
	c.crashes = append(c.crashes, crash{
		left:     c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng}),
		promised: c.promised, at: op,
	})
	return nil
}

func (c *crasher) String() string { return "crasher" }

func (c *crasher) promise(change func(*promised)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.promised
	p.records, p.maybe = slices.Clone(p.records), slices.Clone(p.maybe)
	change(&p)
	c.promised = p
}

// Whenever the power is cut: what was promised is there, the pages are those of one checkpoint, and nothing is taken for
// damaged.
func TestAPowerCutAtAnyMomentLosesNothingThatWasPromised(t *testing.T) {
	rounds := 6
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		rounds = 200
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 7))
		c := &crasher{fs: &clonable{MemFS: vfs.NewCrashableMem()}, rng: rng, every: 1 + rng.IntN(40), left: 1}
		c.promised.pages = map[string]string{}
		s, err := Open(Options{Dir: "store", Durability: Disk, FS: errorfs.Wrap(c.fs, c)})
		if err != nil {
			t.Fatal(err)
		}
		live(t, s, c, rand.New(rand.NewPCG(uint64(round), 8)))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(c.crashes) == 0 {
			t.Fatal("no power cut")
		}
		for i, crash := range c.crashes {
			crash.check(t, fmt.Sprintf("round %d, power cut %d, before %+v", round, i, crash.at))
		}
	}
}

// markerCrasher is a disk whose power is cut right after a marker was made, several times over.
type markerCrasher struct {
	fs *clonable

	mu    sync.Mutex
	rng   *rand.Rand
	armed bool
	left  []*vfs.MemFS
}

// MaybeError is errorfs's hook: it is called before every operation.
func (c *markerCrasher) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed {
		for range 20 {
			c.left = append(c.left, c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: c.rng}))
		}
	}
	c.armed = op.Kind == errorfs.OpCreate && strings.HasPrefix(c.fs.PathBase(op.Path), "marker.")
	return nil
}

func (c *markerCrasher) String() string { return "marker crasher" }

// A store is opened with a new manifest, and a marker that names it. Names that are not synced survive a power cut in any
// combination; the marker must not without the manifest.
func TestAPowerCutAfterAMarkerLeavesWhatItNames(t *testing.T) {
	c := &markerCrasher{fs: &clonable{MemFS: vfs.NewCrashableMem()}, rng: rand.New(rand.NewPCG(1, 9))}
	for life := range 5 {
		s, err := Open(Options{Dir: "store", Durability: Disk, FS: errorfs.Wrap(c.fs, c)})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Serve(), s.Settle(), s.Close()); err != nil {
			t.Fatal(err)
		}
		for i, left := range c.left {
			s, err := Open(Options{Dir: "store", Durability: Disk, FS: left})
			if err != nil {
				t.Fatalf("life %d, power cut %d: %v", life, i, err)
			}
			if cond := s.Condition(); cond.Lost != "" || life > 0 && cond.Doubtful() {
				t.Errorf("life %d, power cut %d: the store is in doubt: %+v", life, i, cond)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if len(c.left) == 0 {
			t.Fatal("no marker was made")
		}
		c.left = nil
	}
}

// live writes records and checkpoints, and tells the crasher what is promised.
func live(t *testing.T, s *Store, c *crasher, rng *rand.Rand) {
	t.Helper()
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	must(s.Serve(), s.Settle())
	c.promise(func(p *promised) { p.settled = true })
	s.spillAt = []int{1, 20, 40, checkpointMemory}[rng.IntN(4)] // a page has some 18 bytes
	var seq, stable wire.Seq
	for step := range 60 {
		if rng.IntN(12) == 0 {
			must(s.db.Flush())
		}
		if rng.IntN(8) > 0 || seq == stable {
			record := fmt.Sprintf("record %d", seq+1)
			seq++
			must(s.Append(seq, append([]byte(record), make([]byte, rng.IntN(3000))...)))
			c.promise(func(p *promised) { p.maybe = append(p.maybe, record) })
			if rng.IntN(3) == 0 {
				continue
			}
			must(flush(s))
			c.promise(func(p *promised) { p.records, p.maybe = append(p.records, p.maybe...), nil })
			continue
		}
		must(flushIfAny(s))
		stable = seq
		pages := map[string]string{}
		for k := range 5 {
			pages[fmt.Sprint("page ", k)] = fmt.Sprintf("of step %d", step)
		}
		c.promise(func(p *promised) {
			p.records, p.maybe = append(p.records, p.maybe...), nil
			p.maybeCkp, p.maybePgs = seq, pages
		})
		wholly := rng.IntN(2) == 0
		must(s.Checkpoint(Meta{Seq: seq, Root: wire.Digest{byte(step)}}, wholly, func(emit func(k, v []byte) error) error {
			for _, k := range []int{0, 1, 2, 3, 4} {
				key := fmt.Sprint("page ", k)
				if err := emit([]byte(key), []byte(pages[key])); err != nil {
					return err
				}
			}
			return nil
		}))
		c.promise(func(p *promised) { p.stable, p.pages, p.records, p.maybeCkp = seq, pages, nil, 0 })
	}
}

func flushIfAny(s *Store) error {
	g, err := s.Cut()
	if g == nil || err != nil {
		return err
	}
	return s.Commit(g)
}

func (c crash) check(t *testing.T, when string) {
	t.Helper()
	s, err := Open(Options{Dir: "store", Durability: Disk, FS: c.left})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer s.Close()
	if cond := s.Condition(); cond.Lost != "" || c.promised.settled && cond.Doubtful() {
		t.Fatalf("%s: the store is in doubt: %+v", when, cond)
	}
	got, err := contentOf(s)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	var have []string
	for _, r := range got.records {
		have = append(have, string([]byte(r)[:max(0, indexZero(r))]))
	}
	p := c.promised
	switch {
	case p.maybeCkp > 0 && got.meta.Seq == p.maybeCkp:
		p.stable, p.pages, p.records = p.maybeCkp, p.maybePgs, nil
	case got.meta.Seq != p.stable:
		t.Fatalf("%s: checkpoint %d, promised was %d", when, got.meta.Seq, p.stable)
	}
	for k, v := range p.pages {
		if got.pages[k] != v {
			t.Errorf("%s: %s is %q, want %q", when, k, got.pages[k], v)
		}
	}
	for _, r := range p.records {
		if !slices.Contains(have, r) {
			t.Errorf("%s: %s is gone; there are %q", when, r, have)
		}
	}
	for _, r := range have {
		if !slices.Contains(p.records, r) && !slices.Contains(p.maybe, r) {
			t.Errorf("%s: %s is back", when, r)
		}
	}
}

func indexZero(s string) int {
	for i := range len(s) {
		if s[i] == 0 {
			return i
		}
	}
	return len(s)
}
