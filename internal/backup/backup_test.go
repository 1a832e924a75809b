package backup

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bfsd/fsstate"
)

// build is a file system made by operations of the superuser.
type build struct {
	t   testing.TB
	fs  *fsstate.FS
	now fsstate.Time
}

func newBuild(t testing.TB) *build {
	return &build{t: t, fs: fsstate.New(fsstate.Config{Seed: fsstate.Seed{5}, Duplicates: 4}), now: 1_700_000_000_000_000_000}
}

func (b *build) do(a fsstate.Args) fsstate.Result {
	b.t.Helper()
	b.now += 1_000_000_007
	r := b.fs.Apply(&fsstate.Op{Args: a}, b.now)
	if r.Code() != fsstate.OK {
		b.t.Fatalf("%T: status %v", a, r.Code())
	}
	return r
}

func (b *build) root() fsstate.Handle { return b.at("/") }

func (b *build) at(path string) fsstate.Handle {
	b.t.Helper()
	return b.do(&fsstate.Resolve{Path: path}).(*fsstate.LookupResult).Object
}

func ptr[T any](v T) *T { return &v }

func (b *build) mkdir(dir fsstate.Handle, name string, mode uint32) fsstate.Handle {
	b.t.Helper()
	return b.do(&fsstate.Mkdir{Dir: dir, Name: name, Set: fsstate.SetAttrs{Mode: &mode}}).(*fsstate.CreateResult).Object
}

func (b *build) file(dir fsstate.Handle, name string, mode uint32, data []byte) fsstate.Handle {
	b.t.Helper()
	h := b.do(&fsstate.Create{Dir: dir, Name: name, Set: fsstate.SetAttrs{Mode: &mode}}).(*fsstate.CreateResult).Object
	for at := 0; at < len(data); at += fsstate.IOMax {
		b.write(h, uint64(at), data[at:min(at+fsstate.IOMax, len(data))])
	}
	return h
}

func (b *build) write(h fsstate.Handle, offset uint64, data []byte) {
	b.t.Helper()
	b.do(&fsstate.Write{Object: h, Offset: offset, Data: data})
}

func (b *build) set(h fsstate.Handle, s fsstate.SetAttrs) {
	b.t.Helper()
	b.do(&fsstate.SetAttr{Object: h, Set: s})
}

func at(t fsstate.Time) fsstate.SetTime { return fsstate.SetTime{How: fsstate.TimeClient, Time: t} }

// everything holds one of whatever a tar may stumble over.
func everything(t testing.TB) *build {
	b := newBuild(t)
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		return data
	}
	root := b.root()
	b.set(root, fsstate.SetAttrs{Mode: ptr(uint32(0o1777)), UID: ptr(uint32(7)), Mtime: at(1_000_000_000_123_456_789)})
	d := b.mkdir(root, "directory", 0o2750)
	b.file(d, "empty", 0o600, nil)
	b.file(d, "small", 0o4755, []byte("hello\n"))
	b.file(d, "page", 0o644, random(fsstate.PageSize))
	large := b.file(d, "large", 0o640, random(3*fsstate.PageSize+123))
	b.set(large, fsstate.SetAttrs{UID: ptr(uint32(1000)), GID: ptr(uint32(4_000_000_000)), Mtime: at(1_234_567_890_000_000_001)})
	other := b.mkdir(root, "another directory", 0o700)
	b.do(&fsstate.Link{Object: large, Dir: other, Name: "hard link"})
	b.do(&fsstate.Link{Object: large, Dir: d, Name: "a hard link that comes first"})
	b.do(&fsstate.Symlink{Dir: root, Name: "link", Target: "directory/small"})
	b.do(&fsstate.Symlink{Dir: root, Name: "long link", Target: strings.Repeat("x/", 2000)})
	b.do(&fsstate.Mknod{Dir: d, Name: "fifo", Type: fsstate.TypeFIFO})
	b.do(&fsstate.Mknod{Dir: d, Name: "null", Type: fsstate.TypeChar, Major: 1, Minor: 3, Set: fsstate.SetAttrs{Mode: ptr(uint32(0o666))}})
	b.do(&fsstate.Mknod{Dir: d, Name: "disk", Type: fsstate.TypeBlock, Major: 259, Minor: 70_000})
	b.do(&fsstate.Mknod{Dir: d, Name: "socket", Type: fsstate.TypeSocket})
	names := b.mkdir(root, "names", 0o755)
	for _, name := range []string{
		strings.Repeat("n", 255), strings.Repeat("ä", 127), "\xff\xfe no UTF-8", "new\nline", "-rf", "..x", " ", "tab\there", "star*", "back\\slash", `quote"'`,
		strings.Repeat("e", 100), strings.Repeat("f", 101),
	} {
		b.file(names, name, 0o644, []byte(name))
	}
	holes := b.mkdir(root, "holes", 0o755)
	b.set(b.file(holes, "nothing but a hole", 0o644, nil), fsstate.SetAttrs{Size: ptr(uint64(100_000))})
	b.write(b.file(holes, "hole first", 0o644, nil), 1<<20+5, random(10_000))
	middle := b.file(holes, "hole in the middle", 0o644, random(5000))
	b.write(middle, 9*fsstate.PageSize, random(2*fsstate.PageSize))
	b.write(middle, 12*fsstate.PageSize, random(100))
	b.write(middle, 13*fsstate.PageSize, random(100))
	last := b.file(holes, "hole last", 0o644, random(fsstate.PageSize))
	b.set(last, fsstate.SetAttrs{Size: ptr(uint64(1 << 40))})
	b.file(holes, "zeros, not a hole", 0o644, make([]byte, 3*fsstate.PageSize))
	b.write(b.file(holes, "at the very end", 0o644, nil), 1<<43-10, random(10))
	times := b.mkdir(root, "times", 0o755)
	for i, when := range []fsstate.Time{0, 1, -1, 999_999_999, -1_000_000_000, -1_500_000_000, 1 << 62, -1 << 62, 1_700_000_000_100_000_000} {
		b.set(b.file(times, fmt.Sprint(i), 0o644, nil), fsstate.SetAttrs{Mtime: at(when), Atime: at(when)})
	}
	b.do(&fsstate.Create{Dir: root, Name: "exclusive", How: fsstate.Exclusive, Verf: 77})
	deep := b.mkdir(root, "deep", 0o755)
	for i := range 60 {
		deep = b.mkdir(deep, fmt.Sprintf("%02d%s", i, strings.Repeat("d", 200)), 0o755)
		if i%10 == 9 {
			b.file(deep, strings.Repeat("leaf", 63), 0o644, fmt.Append(nil, i))
		}
	}
	b.do(&fsstate.Link{Object: large, Dir: deep, Name: "hard link from the depths"})
	b.fs.SetSession(100, 3, 12, random(9000))
	b.fs.SetSession(101, 0, 1, nil)
	return b
}

var testCluster = []byte("version = 1\n")

func manifestOf(s *fsstate.Snapshot) Manifest {
	return Manifest{Sequence: 128, Root: s.Root(), Certificate: [][]byte{{1, 2}, {3}}, Taken: time.Unix(1_795_000_000, 0)}
}

func archive(t testing.TB, fs *fsstate.FS) []byte {
	t.Helper()
	var buf bytes.Buffer
	s := fs.Snapshot()
	defer s.Release()
	if err := Write(&buf, manifestOf(s), testCluster, s, nil); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestABackupComesBackAsTheVerySameState(t *testing.T) {
	for name, fs := range map[string]*fsstate.FS{"everything": everything(t).fs, "nothing": newBuild(t).fs} {
		data := archive(t, fs)
		got, err := Read(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := fs.Snapshot()
		if got.State.Root() != s.Root() || !bytes.Equal(got.ClusterFile, testCluster) {
			t.Errorf("%s: another state, or cluster file, came back", name)
		}
		want := manifestOf(s)
		want.Taken = want.Taken.UTC()
		if diff := cmp.Diff(want, got.Manifest); diff != "" {
			t.Errorf("%s: the manifest changed:\n%s", name, diff)
		}
		if again := archive(t, got.State); !bytes.Equal(again, data) {
			t.Errorf("%s: the archive of what came back is another", name)
		}
	}
}

func TestProgressEndsAtTheTotal(t *testing.T) {
	b := newBuild(t)
	for i := range 5 {
		b.file(b.root(), fmt.Sprint(i), 0o644, bytes.Repeat([]byte("x"), 1<<20))
	}
	s := b.fs.Snapshot()
	calls, last := 0, uint64(0)
	if err := Write(io.Discard, manifestOf(s), testCluster, s, func(done, total uint64) {
		calls++
		if done < last || total != s.Size() {
			t.Errorf("after %d comes %d of %d", last, done, total)
		}
		last = done
	}); err != nil || last != s.Size() || calls < 4 {
		t.Errorf("%d calls, the last with %d of %d: %v", calls, last, s.Size(), err)
	}
}

// Go's own reader of archives agrees with the file system about every entry.
func TestGoReadsTheArchive(t *testing.T) {
	b := everything(t)
	r := tar.NewReader(bytes.NewReader(archive(t, b.fs)))
	entries := map[string]*tar.Header{}
	contents := map[string][]byte{}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		entries[h.Name] = h
		if h.Size < 1<<22 {
			if contents[h.Name], err = io.ReadAll(r); err != nil {
				t.Fatalf("%s: %v", h.Name, err)
			}
		}
	}
	s := b.fs.Snapshot()
	count := 0
	if err := eachEntry(s, func(o *fsstate.Object, e *entry) error {
		count++
		h := entries[e.path]
		if h == nil {
			t.Errorf("%q is not in the archive", e.path)
			return nil
		}
		if h.Typeflag != e.typ || h.Mode != int64(o.Mode) || h.Uid != int(o.UID) || h.Gid != int(o.GID) || h.Linkname != e.link ||
			h.ModTime.UnixNano() != int64(o.Mtime) || h.Devmajor != int64(e.major) || h.Devminor != int64(e.minor) {
			t.Errorf("%q is %+v, in the file system %+v", e.path, h, o)
		}
		if e.typ != typeFile {
			return nil
		}
		if h.Size != int64(o.Size) {
			t.Errorf("%q has %d bytes, in the file system %d", e.path, h.Size, o.Size)
		}
		if data, read := contents[e.path]; read && !bytes.Equal(data, content(t, s, o)) {
			t.Errorf("%q has other contents than in the file system", e.path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(entries) != count+3 {
		t.Errorf("%d entries, want %d and three", len(entries), count)
	}
}

func content(t testing.TB, s *fsstate.Snapshot, o *fsstate.Object) []byte {
	t.Helper()
	data := make([]byte, o.Size)
	if err := s.Pages(o.Ino, func(offset uint64, page []byte) error { copy(data[offset:], page); return nil }); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestADamagedBackupIsRefused(t *testing.T) {
	b := newBuild(t)
	d := b.mkdir(b.root(), "d", 0o755)
	b.file(d, "f", 0o644, []byte("contents"))
	b.write(b.file(d, "holes", 0o644, nil), 20_000, []byte("contents"))
	b.file(d, strings.Repeat("long", 50), 0o644, []byte("contents"))
	data := archive(t, b.fs)
	if _, err := Read(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(data); n += 100 {
		if _, err := Read(bytes.NewReader(data[:n])); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut off after %d of %d bytes: %v", n, len(data), err)
		}
	}
	if _, err := Read(bytes.NewReader(append(bytes.Clone(data), 0))); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a byte more: %v", err)
	}
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 0x10
		got, err := Read(bytes.NewReader(changed))
		if err == nil && !unproven(got, data) {
			t.Fatalf("with byte %d changed (%q) it was accepted", i, data[max(0, i-20):min(len(data), i+20)])
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("with byte %d changed: %v", i, err)
		}
	}
}

// unproven says whether what was read differs from the archive only where the root says nothing: in the cluster file, the
// certificate, the number and the time, which the signatures prove or nothing does.
func unproven(got *Backup, data []byte) bool {
	again := bytes.Buffer{}
	s := got.State.Snapshot()
	original, err := Read(bytes.NewReader(data))
	if err != nil || original.State.Root() != s.Root() {
		return false
	}
	return Write(&again, original.Manifest, original.ClusterFile, s, nil) == nil && bytes.Equal(again.Bytes(), data)
}

// A reader whose source fails says so, and does not call the archive damaged.
func TestAFailingSourceIsNotADamagedBackup(t *testing.T) {
	data := archive(t, everything(t).fs)
	broken := errors.New("the disk fails")
	for n := 0; n < len(data); n += 5000 {
		_, err := Read(io.MultiReader(bytes.NewReader(data[:n]), failing{broken}))
		if !errors.Is(err, broken) || errors.Is(err, ErrDamaged) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// FuzzRead spoils sound archives: what it is given are edits, as random bytes of the size of an archive get nowhere.
func FuzzRead(f *testing.F) {
	b := newBuild(f)
	d := b.mkdir(b.root(), "d", 0o755)
	h := b.file(d, "f", 0o644, []byte("contents"))
	b.do(&fsstate.Link{Object: h, Dir: b.root(), Name: "g"})
	b.write(b.file(d, "holes", 0o644, nil), 20_000, []byte("contents"))
	b.do(&fsstate.Symlink{Dir: d, Name: strings.Repeat("l", 150), Target: "t"})
	sound := archive(f, b.fs)
	f.Add([]byte{})
	for at := 0; at < len(sound); at += blockSize / 2 {
		f.Add([]byte{editSet, byte(at >> 8), byte(at), '7'})
		f.Add([]byte{editCut, byte(at >> 8), byte(at), 3, editInsert, byte(at >> 8), byte(at), '9'})
	}
	f.Fuzz(func(t *testing.T, edits []byte) {
		data := edited(sound, edits)
		got, err := Read(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v", err)
			}
			return
		}
		var again bytes.Buffer
		s := got.State.Snapshot()
		if err := Write(&again, got.Manifest, got.ClusterFile, s, nil); err != nil || !bytes.Equal(again.Bytes(), data) {
			t.Errorf("an archive was accepted that is not the one of its state (%v)", err)
		}
	})
}

// The edits that edited applies; their place is in the two bytes after, what they do in the one behind that.
const (
	editSet = iota
	editInsert
	editCut
	editEnd
	editBlock // repeat a block
	editCount
)

func edited(sound, edits []byte) []byte {
	data := bytes.Clone(sound)
	for ; len(edits) >= 4 && len(data) > 0; edits = edits[4:] {
		at, value := (int(edits[1])<<8|int(edits[2]))%len(data), edits[3]
		switch edits[0] % editCount {
		case editSet:
			data[at] = value
		case editInsert:
			data = slices.Insert(data, at, value)
		case editCut:
			data = slices.Delete(data, at, min(len(data), at+1+int(value)))
		case editEnd:
			data = data[:at]
		case editBlock:
			at -= at % blockSize
			data = slices.Insert(data, at, bytes.Clone(data[at:min(len(data), at+blockSize)])...)
		}
	}
	return data
}

// FuzzDecodeManifest accepts only what encode writes.
func FuzzDecodeManifest(f *testing.F) {
	m := manifestOf(newBuild(f).fs.Snapshot())
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("format = 'bfsd backup'\nversion = 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q was accepted, and is written as %q (%v)", b, again, err)
		}
	})
}
