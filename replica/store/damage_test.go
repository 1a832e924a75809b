package store

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"bfsd/replica/wire"
)

// content is everything that a store gives back at a restart.
type content struct {
	records []string
	pages   map[string]string
	meta    Meta
}

// fill makes a store that has lived for a while: several checkpoints, tables on disk, and a log behind the last checkpoint.
func fill(t *testing.T, s *Store, rng *rand.Rand) {
	t.Helper()
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	must(s.Serve(), s.Settle())
	s.spillAt = []int{1 << 10, checkpointMemory}[rng.IntN(2)]
	size := 100
	page := func() []byte {
		b := make([]byte, size+rng.IntN(4*size))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for round := range 6 {
		if round == 5 {
			size = 2000 // so that the log's last file has several of Pebble's blocks
		}
		for i := range 8 {
			seq := wire.Seq(8*round + i + 1)
			must(s.Append(seq, append(fmt.Appendf(nil, "record %d ", seq), page()...)))
			if i == 4 {
				must(s.AppendView(wire.View(round), fmt.Appendf(nil, "view %d", round)))
			}
			must(flush(s))
		}
		if round == 5 {
			break
		}
		must(s.Checkpoint(Meta{Seq: wire.Seq(8 * (round + 1)), Root: wire.Digest{byte(round)}, Certificate: page()}, round == 0, func(emit func(k, v []byte) error) error {
			for k := range 40 {
				if rng.IntN(2) == 0 {
					continue
				}
				if err := emit(fmt.Appendf(nil, "page %03d", k), page()); err != nil {
					return err
				}
			}
			return nil
		}))
		if round%2 == 1 {
			must(s.db.Flush())
		}
	}
}

func contentOf(s *Store) (c content, err error) {
	recs, err := s.Records()
	if err != nil {
		return c, err
	}
	for _, r := range recs {
		c.records = append(c.records, string(r))
	}
	c.pages = map[string]string{}
	if err := s.Pages(func(k, v []byte) error { c.pages[string(k)] = string(v); return nil }); err != nil {
		return c, err
	}
	c.meta, _, err = s.Meta()
	return c, err
}

// files reads all files of the store's directory, and of what a crash left of the one in which tables are written.
func files(t *testing.T, fs vfs.FS) map[string][]byte {
	t.Helper()
	names, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.Index(names, spillName); i >= 0 {
		names = slices.Delete(names, i, i+1)
		spilled, err := fs.List(fs.PathJoin("store", spillName))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range spilled {
			names = append(names, fs.PathJoin(spillName, name))
		}
	}
	out := map[string][]byte{}
	for _, name := range names {
		f, err := fs.Open(fs.PathJoin("store", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		out[name] = b
	}
	return out
}

// laid makes a file system with these files in the store's directory.
func laid(t *testing.T, files map[string][]byte) vfs.FS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll(fs.PathJoin("store", spillName), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		f, err := fs.Create(fs.PathJoin("store", name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(slices.Clone(b))
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// tolerate opens what may be damaged and says what came of it: "damage", "lost", or "whole" with everything as it was. Anything
// else fails the test: a store that has lost something must never pass for one that has not.
func tolerate(t *testing.T, what string, fs vfs.FS, want content) string {
	t.Helper()
	s, err := Open(Options{Dir: "store", Durability: Disk, FS: fs, Fatal: func(err error) {
		t.Errorf("%s: fatal in the background: %v", what, err)
		select {}
	}})
	var damage *DamageError
	if errors.As(err, &damage) {
		if _, err := SetAside(fs, "store"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return "damage"
	}
	if err != nil {
		t.Errorf("%s: neither opened nor damaged: %v", what, err)
		return ""
	}
	defer s.Close()
	c := s.Condition()
	if c.Doubtful() && !c.New {
		return "lost"
	}
	if c.New {
		t.Errorf("%s: an old store passes for a new one", what)
		return ""
	}
	got, err := contentOf(s)
	if err = errors.Join(err, s.Serve()); err != nil {
		return "damage" // as recovery takes it
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(content{})); diff != "" {
		t.Errorf("%s: the store passes for whole, but (-want +got):\n%.2000s", what, diff)
	}
	return "whole"
}

// A store that was in doubt, as every new one is, and is damaged then, does not know the view: its mark tells what its replica has
// said since, and the replica may have had another store before.
func TestTheViewOfADamagedStoreInDoubtIsNotKnown(t *testing.T) {
	for _, settled := range []bool{false, true} {
		for what, lost := range map[string]func(name string) bool{
			"all but the mark is gone": func(name string) bool { return name != markName },
			"the log is gone":          func(name string) bool { return strings.HasSuffix(name, ".log") },
		} {
			fs := vfs.NewMem()
			s, err := Open(Options{Dir: "store", Durability: Disk, FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Serve()
			if settled {
				err = errors.Join(err, s.Settle())
			}
			if err = errors.Join(err, s.AppendView(3, []byte("view 3")), flush(s), s.Close()); err != nil {
				t.Fatal(err)
			}
			left := files(t, fs)
			maps.DeleteFunc(left, func(name string, _ []byte) bool { return lost(name) })
			s, err = Open(Options{Dir: "store", Durability: Disk, FS: laid(t, left)})
			var damage *DamageError
			known, view := false, wire.View(0)
			switch {
			case errors.As(err, &damage):
				known, view = damage.ViewKnown, damage.View
			case err != nil:
				t.Fatal(err)
			default:
				c := s.Condition()
				known, view = c.ViewKnown, c.View
				if !c.Doubtful() || c.New {
					t.Errorf("settled %t, %s: it is taken for %+v", settled, what, c)
				}
				s.Close()
			}
			if known != settled || known && view != 3 {
				t.Errorf("settled %t, %s: the view is known %t: %d", settled, what, known, view)
			}
		}
	}
}

// Whatever happens to whichever file of a store that was closed, or whose process was killed, it is noticed, or nothing
// is lost. With BFSD_LONG_TESTS=1 every byte is tried.
func TestNoDamageGoesUnnoticed(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(map[bool]string{false: "closed", true: "killed"}[killed], func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			fs := vfs.NewCrashableMem()
			s := open(t, fs, Disk)
			fill(t, s, rng)
			want, err := contentOf(s)
			if err != nil {
				t.Fatal(err)
			}
			var left vfs.FS = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if !killed {
				left = fs
			}
			whole := files(t, left)
			if got := tolerate(t, "nothing", laid(t, whole), want); got != "whole" {
				t.Fatalf("the untouched store is %q", got)
			}
			damageEach(t, whole, want, rng)
		})
	}
}

func damageEach(t *testing.T, whole map[string][]byte, want content, rng *rand.Rand) {
	t.Helper()
	names := make([]string, 0, len(whole))
	for name := range whole {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		outcomes := map[string]int{}
		try := func(what string, change func(map[string][]byte)) {
			changed := map[string][]byte{}
			for n, b := range whole {
				changed[n] = slices.Clone(b)
			}
			change(changed)
			outcomes[tolerate(t, name+" "+what, laid(t, changed), want)]++
		}
		try("removed", func(f map[string][]byte) { delete(f, name) })
		size := len(whole[name])
		for _, at := range offsets(rng, size) {
			bit := byte(1) << rng.IntN(8)
			try(fmt.Sprintf("with bit %#x of byte %d of %d changed", bit, at, size), func(f map[string][]byte) { f[name][at] ^= bit })
		}
		for _, at := range offsets(rng, size)[:min(size, 12)] {
			try(fmt.Sprintf("cut to %d of %d bytes", at, size), func(f map[string][]byte) { f[name] = f[name][:at] })
			try(fmt.Sprintf("zeroed from byte %d of %d", at, size), func(f map[string][]byte) { clear(f[name][at:]) })
		}
		t.Logf("%-24s %7d bytes: %v", name, size, outcomes)
	}
}

// offsets are those at which a file of a size is damaged: a sample, or all.
func offsets(rng *rand.Rand, size int) []int {
	all := rng.Perm(size)
	if os.Getenv("BFSD_LONG_TESTS") == "" {
		all = all[:min(size, 40)]
	}
	return all
}
