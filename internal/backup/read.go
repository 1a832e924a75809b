package backup

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"bfsd/fsstate"
	"bfsd/fsstate/tree"
)

// Backup is an archive that was read: its state has the root that the manifest names, and the file system in it is sound.
// Whether that root is to be believed, the certificate tells.
type Backup struct {
	Manifest    Manifest
	ClusterFile []byte
	State       *fsstate.FS
}

// ErrDamaged is wrapped by the errors of Read that say something about the archive.
var ErrDamaged = errors.New("the backup is damaged, or no backup")

const (
	clusterMax  = 1 << 20  // bytes of cluster.toml
	extendedMax = 64 << 10 // bytes of an extended header: two paths and some numbers
)

// Read reads an archive to its end and checks all of it.
func Read(r io.Reader) (*Backup, error) {
	a := reader{in: bufio.NewReaderSize(r, 64<<10)}
	b, err := a.all()
	if err != nil {
		return nil, fmt.Errorf("reading a backup, at byte %d: %w", a.read, err)
	}
	return b, nil
}

type reader struct {
	in     *bufio.Reader
	read   uint64
	failed error // of the source

	fs   *fsstate.FS
	page [fsstate.PageSize]byte
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

func (a *reader) all() (*Backup, error) {
	head, text, err := a.meta(manifestMax)
	if err != nil {
		return nil, err
	}
	manifest, err := decodeManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	taken := manifest.Taken.Unix() * 1e9
	if err := head.is(metaEntry(manifestPath, taken, head.size)); err != nil {
		return nil, err
	}
	b := &Backup{Manifest: *manifest}
	if head, b.ClusterFile, err = a.meta(clusterMax); err != nil {
		return nil, err
	}
	if err := head.is(metaEntry(clusterPath, taken, head.size)); err != nil {
		return nil, err
	}
	if err := a.skeleton(taken); err != nil {
		return nil, err
	}
	b.State = a.fs
	skeleton := a.fs.Snapshot()
	defer skeleton.Release()
	if err := eachEntry(skeleton, a.object); err != nil {
		if a.failed == nil && !errors.Is(err, ErrDamaged) { // the state's own tree is broken
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil, err
	}
	if err := a.end(); err != nil {
		return nil, err
	}
	return b, a.check(manifest)
}

// check compares the state with the root in the manifest, and looks whether it is sound.
func (a *reader) check(m *Manifest) error {
	whole := a.fs.Snapshot()
	defer whole.Release()
	if root := whole.Root(); root != m.Root {
		return damaged("its files have the root %x, its manifest says %x: something in it was changed", root, m.Root)
	}
	if problems := fsstate.Check(whole); len(problems) > 0 {
		return damaged("the file system in it is not sound, in %d ways; the first: %v", len(problems), problems[0])
	}
	return nil
}

// rawHeader is a header as it was read, and the size of what follows it, which is all that is used of it.
type rawHeader struct {
	bytes []byte
	size  uint64
}

// is compares a header with the one that must be there.
func (h rawHeader) is(want *entry) error {
	if !bytes.Equal(h.bytes, want.header()) {
		return damaged("the header of %q is not the one it must have", want.path)
	}
	return nil
}

// header reads the next header, extended or not.
func (a *reader) header() (rawHeader, error) {
	b, err := a.bytes(blockSize)
	if err != nil {
		return rawHeader{}, err
	}
	h := rawHeader{bytes: b}
	if h.size, err = blockNumber(b); err != nil || b[156] != typeExtended {
		return h, err
	}
	if h.size == 0 || h.size > extendedMax {
		return h, damaged("an extended header of %d bytes", h.size)
	}
	records, err := a.bytes(h.size + padding(h.size))
	if err != nil {
		return h, err
	}
	if b, err = a.bytes(blockSize); err != nil {
		return h, err
	}
	size, given := recordNumber(string(records[:h.size]))
	if !given {
		if size, err = blockNumber(b); err != nil {
			return h, err
		}
	}
	h.bytes = append(append(h.bytes, records...), b...)
	h.size = size
	return h, nil
}

// blockNumber reads the size in a plain header.
func blockNumber(b []byte) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimRight(string(b[124:136]), "\x00"), 8, 64)
	if err != nil {
		return 0, damaged("a header with the size %q", b[124:136])
	}
	return n, nil
}

// recordNumber finds the size among an extended header's records.
func recordNumber(records string) (uint64, bool) {
	for records != "" {
		length, _, ok := strings.Cut(records, " ")
		n, err := strconv.Atoi(length)
		if !ok || err != nil || n <= len(length) || n > len(records) {
			return 0, false // which the comparison with the right header finds out
		}
		if value, ok := strings.CutPrefix(records[len(length):n], " size="); ok {
			size, err := strconv.ParseUint(strings.TrimSuffix(value, "\n"), 10, 64)
			return size, err == nil
		}
		records = records[n:]
	}
	return 0, false
}

// meta reads an entry that is not of the tree, of a bounded size.
func (a *reader) meta(limit uint64) (rawHeader, []byte, error) {
	h, err := a.header()
	if err != nil {
		return h, nil, err
	}
	if h.size > limit {
		return h, nil, damaged("an entry of %d bytes where at most %d belong", h.size, limit)
	}
	data, err := a.bytes(h.size)
	if err != nil {
		return h, nil, err
	}
	return h, data, a.padding()
}

// skeleton reads the pairs.
func (a *reader) skeleton(taken int64) error {
	h, err := a.header()
	if err != nil {
		return err
	}
	if err := h.is(metaEntry(statePath, taken, h.size)); err != nil {
		return err
	}
	a.fs = fsstate.New(fsstate.Config{})
	var readErr error
	count := 0
	loadErr := a.fs.Load(func(yield func(key, value []byte) bool) {
		count, readErr = a.pairs(h.size, yield)
	})
	switch {
	case readErr != nil:
		return readErr
	case loadErr != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, loadErr)
	}
	s := a.fs.Snapshot()
	defer s.Release()
	if err := s.Skeleton(func([]byte, []byte) error { count--; return nil }); err != nil || count != 0 {
		return damaged("its state holds %d pairs that do not belong there (%v)", count, err)
	}
	return a.padding()
}

// pairs reads pairs that take so many bytes, in ascending order.
func (a *reader) pairs(size uint64, yield func(key, value []byte) bool) (count int, err error) {
	const head = tree.KeyLen + 2
	var buf [head + tree.ValueMax]byte
	var last [tree.KeyLen]byte
	for ; size > 0; count++ {
		if size < head {
			return count, damaged("its state ends within a pair")
		}
		if err := a.full(buf[:head]); err != nil {
			return count, err
		}
		length := uint64(binary.BigEndian.Uint16(buf[tree.KeyLen:]))
		if length > tree.ValueMax || length > size-head {
			return count, damaged("its state holds a value of %d bytes", length)
		}
		if err := a.full(buf[head : head+length]); err != nil {
			return count, err
		}
		if count > 0 && bytes.Compare(last[:], buf[:tree.KeyLen]) >= 0 {
			return count, damaged("its state is out of order")
		}
		copy(last[:], buf[:])
		size -= head + length
		if !yield(buf[:tree.KeyLen], buf[head:head+length]) {
			return count, nil // Load says why
		}
	}
	return count, nil
}

// object reads an entry of the tree, which must be the given one.
func (a *reader) object(o *fsstate.Object, want *entry) error {
	h, err := a.header()
	if err != nil {
		return err
	}
	if want.typ != typeFile {
		return h.is(want)
	}
	want.size = h.size
	if h.size == o.Size {
		if h.is(want) == nil {
			if err := a.file(o.Ino, run{0, o.Size}); err != nil {
				return err
			}
			return a.padding()
		}
	}
	want.sparse = true
	if err := h.is(want); err != nil {
		return err
	}
	return a.sparse(o, h.size)
}

// sparse reads a file with holes that takes so many bytes.
func (a *reader) sparse(o *fsstate.Object, size uint64) error {
	runs, mapSize, err := a.sparseMap(o, size)
	if err != nil {
		return err
	}
	stored := uint64(0)
	for _, r := range runs {
		stored += r.size
	}
	if mapSize+stored != size {
		return damaged("the map of file %d is about %d bytes, there are %d", o.Ino, stored, size-min(size, mapSize))
	}
	for _, r := range runs {
		if err := a.file(o.Ino, r); err != nil {
			return err
		}
	}
	return a.padding()
}

// sparseMap reads a map from an entry of the given size. Only the one that encodeMap gives is accepted.
func (a *reader) sparseMap(o *fsstate.Object, size uint64) (runs []run, taken uint64, err error) {
	bad := func(what string) ([]run, uint64, error) { return nil, 0, damaged("the map of file %d %s", o.Ino, what) }
	start := a.read
	count, err := a.number()
	if err != nil {
		return nil, 0, err
	}
	const shortest = len("0\n0\n")
	if count == 0 || count > size/uint64(shortest) {
		return bad("claims more pieces than there can be")
	}
	end := uint64(0) // of the piece before
	for i := range count {
		var r run
		if r.offset, err = a.number(); err == nil {
			r.size, err = a.number()
		}
		switch {
		case err != nil:
			return nil, 0, err
		case r.offset > o.Size || r.size > o.Size-r.offset || i > 0 && r.offset <= end || r.size == 0 && i < count-1:
			return bad("is out of order")
		case r.size > 0 && (r.offset%fsstate.PageSize != 0 || r.size%fsstate.PageSize != 0 && r.offset+r.size != o.Size):
			return bad("has a piece that is not made of pages")
		}
		end = r.offset + r.size
		runs = append(runs, r)
	}
	if end != o.Size || whole(runs, o.Size) {
		return bad("is none of a file with holes")
	}
	if err := a.padding(); err != nil {
		return nil, 0, err
	}
	if runs[count-1].size == 0 {
		runs = runs[:count-1]
	}
	return runs, a.read - start, nil
}

// number reads a line with a decimal number.
func (a *reader) number() (uint64, error) {
	const longest = len("18446744073709551615")
	var line []byte
	for {
		c, err := a.in.ReadByte()
		if err != nil {
			return 0, a.short(err)
		}
		a.read++
		if c == '\n' {
			break
		}
		if line = append(line, c); len(line) > longest {
			return 0, damaged("a number of more than %d digits in the map of a file with holes", longest)
		}
	}
	n, err := strconv.ParseUint(string(line), 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != string(line) {
		return 0, damaged("%q in the place of a number in the map of a file with holes", line)
	}
	return n, nil
}

// file reads a piece of a file.
func (a *reader) file(ino uint64, r run) error {
	for r.size > 0 {
		page := a.page[:min(r.size, fsstate.PageSize)]
		if err := a.full(page); err != nil {
			return err
		}
		if err := a.fs.PutPage(ino, r.offset, page); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		r.offset += uint64(len(page))
		r.size -= uint64(len(page))
	}
	return nil
}

// end reads the zeros at the end, and verifies that nothing comes after them.
func (a *reader) end() error {
	missing := recordSize - a.read%recordSize
	if missing < 2*blockSize {
		missing += recordSize
	}
	rest, err := a.bytes(missing)
	if err != nil {
		return err
	}
	if !zero(rest) {
		return damaged("it goes on where it should end")
	}
	switch _, err := a.in.ReadByte(); {
	case err == nil:
		return damaged("it goes on after its end")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// padding reads to the end of a block.
func (a *reader) padding() error {
	rest, err := a.bytes(padding(a.read))
	if err != nil {
		return err
	}
	if !zero(rest) {
		return damaged("there is something in the gap behind an entry")
	}
	return nil
}

// bytes reads so many bytes. They are read before they are allocated for: a size in a header is a claim.
func (a *reader) bytes(n uint64) ([]byte, error) {
	var buf bytes.Buffer
	got, err := io.CopyN(&buf, a.in, int64(n))
	a.read += uint64(got)
	if err != nil {
		return nil, a.short(err)
	}
	return buf.Bytes(), nil
}

func (a *reader) full(b []byte) error {
	n, err := io.ReadFull(a.in, b)
	a.read += uint64(n)
	if err != nil {
		return a.short(err)
	}
	return nil
}

// short tells an archive that ends too early from one that cannot be read.
func (a *reader) short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it ends too early: it was cut off")
	}
	a.failed = err
	return err
}
