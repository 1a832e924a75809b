package fsstate

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"bfsd/fsstate/tree"
)

// A backup holds a state as two parts: the contents of regular files, page by page, and its skeleton, which is all the rest.
// From both the very same state is made again, root and all.
//
// A page may be stored short: its value ends where the last byte ever written does. In the contents a page reaches up to
// its end, or the file's; so the short ones are in the skeleton too.

// lastKey is the greatest key; clientKeys is the first of those that belong to the clients of one cluster rather than to
// the files: replies, the duplicate-request cache.
var (
	lastKey    = tree.Key{Hi: ^uint64(0), Lo: ^uint64(0)}
	clientKeys = tree.Key{Hi: sessionTag}
)

// Usage returns how many bytes of the quota and how many inodes are in use.
func (s *Snapshot) Usage() (bytes, inodes uint64) { return s.super.bytes, s.super.inodes }

// Seed returns the secret that the state was made with.
func (s *Snapshot) Seed() Seed { return s.super.seed }

// Skeleton calls emit for every pair except the pages of regular files that Pages gives as they are, in key order. FS.Load
// takes them.
func (s *Snapshot) Skeleton(emit func(key, value []byte) error) error {
	var err error
	var file inode // whose pages come, if it is a regular one
	var buf [tree.KeyLen]byte
	s.sealed().Reader().Scan(tree.Key{}, lastKey, func(k tree.Key, value []byte) bool {
		switch {
		case k.Hi == 0 || k.Hi > inoMax:
		case k.Lo == 0:
			if !file.decode(k.Hi, value) {
				file = inode{}
			}
		case k.Hi == file.ino && file.typ == TypeRegular && k.Lo < slotEntry && uint64(len(value)) == file.pageLen((k.Lo-slotPage)*pageSize):
			return true
		}
		err = emit(k.Append(buf[:0]), value)
		return err == nil
	})
	return err
}

// pageLen returns how many bytes of a file lie in the page at an offset.
func (n *inode) pageLen(offset uint64) uint64 {
	if offset >= n.size {
		return 0
	}
	return min(pageSize, n.size-offset)
}

// Object is a name in the tree, as Walk visits it.
type Object struct {
	Attr
	Name   string // "" for the directory that the walk began with
	Depth  int    // of that 0, of what is in it 1, and so on
	Target string // of a symbolic link
}

// ErrSkip leaves out what is in a directory: what Walk calls for the directory returns it.
var ErrSkip = errors.New("skip this directory")

// Walk visits every name from a directory downwards, which is the root if its inode number is 0: each directory before what
// is in it, its entries by name. It does not trust the state: an entry that leads nowhere, and a directory with more than
// one name, end it with an error, so that it ends whatever the pairs say; and so do the walks from all directories that
// walks before skipped.
func (s *Snapshot) Walk(dir uint64, visit func(*Object) error) error {
	w := walker{view: s.view(), visit: visit, seen: make(map[uint64]bool)}
	var top inode
	if dir == 0 {
		dir = rootIno
	}
	if !w.inode(dir, &top) || top.typ != TypeDirectory {
		return fmt.Errorf("fsstate: walk: %w: inode %d is no directory", errWalk, dir)
	}
	if err := w.enter(top.parent, dir, ""); err != nil {
		return err
	}
	for len(w.levels) > 0 {
		l := &w.levels[len(w.levels)-1]
		if len(l.entries) == 0 {
			w.levels = w.levels[:len(w.levels)-1]
			continue
		}
		e := l.entries[0]
		l.entries = l.entries[1:]
		if err := w.enter(l.dir, e.ino, e.name); err != nil {
			return err
		}
	}
	return nil
}

// walker is a Walk under way. What is to do is a stack of its own: a tree may be deeper than a goroutine's stack likes.
type walker struct {
	view

	visit  func(*Object) error
	levels []walkLevel     // the directories from the root to where the walk is
	seen   map[uint64]bool // directories
}

type walkLevel struct {
	dir     uint64
	entries []walkEntry // still to be visited
}

type walkEntry struct {
	name string
	ino  uint64
}

var errWalk = errors.New("the tree is broken")

// enter visits one name and, if it is a directory's, goes down into it.
func (w *walker) enter(dir, ino uint64, name string) error {
	var n inode
	if !w.inode(ino, &n) || ino == rootIno && len(w.levels) > 0 {
		return fmt.Errorf("fsstate: walk: %w: the entry %q of directory %d leads to inode %d", errWalk, name, dir, ino)
	}
	o := Object{Attr: *n.attr(), Name: name, Depth: len(w.levels)}
	if n.typ == TypeSymlink {
		target, _ := w.Get(pageKey(ino, 0))
		o.Target = string(target)
	}
	if n.typ != TypeDirectory {
		return w.visit(&o)
	}
	if n.parent != dir || w.seen[ino] {
		return fmt.Errorf("fsstate: walk: %w: directory %d has another name than %q in directory %d", errWalk, ino, name, dir)
	}
	w.seen[ino] = true
	switch err := w.visit(&o); {
	case errors.Is(err, ErrSkip):
		return nil
	case err != nil:
		return err
	}
	return w.descend(ino)
}

// descend makes a directory's entries the next to be visited.
func (w *walker) descend(dir uint64) error {
	l := walkLevel{dir: dir}
	var err error
	lo, hi := entryRange(dir, 0)
	w.Scan(lo, hi, func(_ tree.Key, b []byte) bool {
		ino, name, ok := parseEntry(b)
		if !ok || isDot(string(name)) || checkName(string(name)) != nil {
			err = fmt.Errorf("fsstate: walk: %w: directory %d has the malformed entry %q", errWalk, dir, b)
			return false
		}
		l.entries = append(l.entries, walkEntry{string(name), ino})
		return true
	})
	slices.SortFunc(l.entries, func(a, b walkEntry) int { return cmp.Compare(a.name, b.name) })
	w.levels = append(w.levels, l)
	return err
}

// PageSize is the unit of file storage: a page begins at a multiple of it and is not longer.
const PageSize = pageSize

// Pages calls yield for every stored page of a regular file, by offset, up to its end or the file's: what lies between them
// is holes. The bytes are valid during the call.
func (s *Snapshot) Pages(ino uint64, yield func(offset uint64, data []byte) error) error {
	var n inode
	if !s.view().inode(ino, &n) || n.typ != TypeRegular {
		return fmt.Errorf("fsstate: read pages: inode %d is no regular file", ino)
	}
	var err error
	var buf [pageSize]byte
	s.view().Scan(pageKey(ino, 0), pageKey(ino, pageMax), func(k tree.Key, data []byte) bool {
		offset := (k.Lo - slotPage) * pageSize
		if want := int(n.pageLen(offset)); len(data) < want {
			clear(buf[copy(buf[:], data):])
			data = buf[:want]
		} else if len(data) > want || want == 0 {
			err = fmt.Errorf("fsstate: read pages: file %d of %d bytes has a page of %d at %d", ino, n.size, len(data), offset)
			return false
		}
		err = yield(offset, data)
		return err == nil
	})
	return err
}

// PutPage stores a page that Pages gave in a state that was loaded from the skeleton. Nothing is charged: the file's record
// and the superblock count it already, and Check tells if they do not.
func (fs *FS) PutPage(ino, offset uint64, data []byte) error {
	var n inode
	if !fs.view().inode(ino, &n) || n.typ != TypeRegular {
		return fmt.Errorf("fsstate: put page: inode %d is no regular file", ino)
	}
	if size := uint64(len(data)); n.size > sizeMax || size == 0 || offset%pageSize != 0 || size != n.pageLen(offset) {
		return fmt.Errorf("fsstate: put page: %d bytes at %d of file %d, which has %d", size, offset, ino, n.size)
	}
	key := pageKey(ino, offset/pageSize)
	stored, ok := fs.tree.Get(key)
	if !ok {
		fs.tree.Put(key, data)
		return nil
	}
	if !bytes.HasPrefix(data, stored) || len(bytes.TrimRight(data[len(stored):], "\x00")) != 0 {
		return fmt.Errorf("fsstate: put page: the skeleton has another page at %d of file %d", offset, ino)
	}
	return nil
}

// Refound makes a state the first one of another cluster: the files stay, inode numbers, seed and all, and so does the
// export policy, so that what was closed does not stand open; what the clients of the cluster before left goes; the limits
// are the given ones. The policy names front ends by the keys of the cluster before: called says which number each has in
// the new one, NoFrontEnd if none.
func (fs *FS) Refound(cfg Config, called func(FrontEnd) FrontEnd) error {
	cfg.setDefaults()
	if fs.super.bytes > cfg.MaxBytes || fs.super.inodes > cfg.MaxInodes {
		return fmt.Errorf("fsstate: the files take %d bytes and %d inodes; there is room for %d and %d only",
			fs.super.bytes, fs.super.inodes, cfg.MaxBytes, cfg.MaxInodes)
	}
	fs.tree.DeleteRange(clientKeys, lastKey)
	before := fs.super
	fs.super = New(cfg).super
	fs.super.policy, fs.super.keys = nil, nil
	fs.super.seed, fs.super.last, fs.super.nextIno = before.seed, before.last, before.nextIno
	fs.super.bytes, fs.super.inodes = before.bytes, before.inodes
	if before.policy != nil {
		p := Policy{Version: before.policy.Version, Exports: slices.Clone(before.policy.Exports)}
		for i := range p.Exports {
			e := &p.Exports[i]
			e.FrontEnds = slices.Clone(e.FrontEnds)
			for j, id := range e.FrontEnds {
				e.FrontEnds[j] = called(id)
			}
		}
		if s := fs.storePolicy(p); s != OK {
			return fmt.Errorf("fsstate: the export policy cannot be kept: status %d", s)
		}
	}
	fs.flush()
	return nil
}
