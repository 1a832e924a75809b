package fsstate

import (
	"encoding/binary"
	"fmt"

	"bfsd/fsstate/tree"
)

// findingsMax bounds what Check reports of a state that is broken all over.
const findingsMax = 100

// Check verifies every invariant of the state that the tree itself does not guarantee: link counts, parents and
// reachability, orphan pages and entries, sizes, quotas and counters, the reply table, the lock table. It returns what it finds, in key
// order; nothing for a sound state. It takes time and memory in proportion to the number of inodes and names.
func Check(s *Snapshot) []error {
	c := checker{view: view{s.sealed().Reader(), &s.super}, at: map[uint64]int{}, several: map[checkedName]uint32{}}
	c.superblock()
	c.Scan(tree.Key{Lo: 1}, tree.Key{Hi: inoMax, Lo: ^uint64(0)}, c.pair)
	c.closeInode()
	c.links()
	c.parents()
	c.totals()
	c.replies()
	c.duplicates()
	c.locks()
	c.elsewhere()
	return c.findings
}

type checker struct {
	view
	findings []error

	inodes []checked
	at     map[uint64]int // inode number → its place in inodes
	names  []checkedName

	several map[checkedName]uint32 // what has several names → how many it says are in the directory

	pages    uint64 // of the inode being read
	charge   uint64 // of its entries
	previous uint64 // slot of its last entry
	run      []string
	bytes    uint64 // of all inodes
}

// checked is what has to be remembered of an inode.
type checked struct {
	ino, parent uint64
	typ         FileType
	nlink       uint32
	refs        uint32 // names that lead to it
	subdirs     uint32
	reachable   bool
}

type checkedName struct{ dir, ino uint64 }

func (c *checker) report(format string, args ...any) {
	if len(c.findings) < findingsMax {
		c.findings = append(c.findings, fmt.Errorf(format, args...))
	}
}

// superblock verifies that the record in the tree is the one in use.
func (c *checker) superblock() {
	b, _ := c.Get(tree.Key{})
	var s super
	if err := s.decode(b); err != nil {
		c.report("superblock: %v", err)
	} else if s.policy, s.keys = c.super.policy, c.super.keys; s != *c.super {
		c.report("superblock: the tree holds %+v, in use is %+v", s, *c.super)
	}
}

// pair takes the next pair below the inode numbers' keys.
func (c *checker) pair(k tree.Key, b []byte) bool {
	if k.Lo == 0 {
		c.closeInode()
		c.openInode(k.Hi, b)
		return true
	}
	n, ok := c.current()
	if !ok || n.ino != k.Hi {
		c.report("inode %d: none, but a pair at %#x", k.Hi, k.Lo)
		return true
	}
	switch {
	case n.typ == TypeDirectory:
		c.entry(n.ino, k.Lo, b)
	case k.Lo >= slotEntry:
		dir := k.Lo &^ slotEntry
		if len(b) != 4 || k.Lo > slotEntryMax || n.parent != 0 {
			c.report("inode %d: has one name in %d, and %x in directory %d", n.ino, n.parent, b, dir)
			break
		}
		c.several[checkedName{dir, n.ino}] = c.namesIn(n.ino, dir)
	case n.typ == TypeRegular, n.typ == TypeSymlink:
		c.page(n.ino, k.Lo-slotPage, b)
	default:
		c.report("inode %d: type %d, but a pair at %#x", k.Hi, n.typ, k.Lo)
	}
	return true
}

func (c *checker) current() (*checked, bool) {
	if len(c.inodes) == 0 {
		return nil, false
	}
	return &c.inodes[len(c.inodes)-1], true
}

func (c *checker) openInode(ino uint64, b []byte) {
	var n inode
	if !n.decode(ino, b) {
		c.report("inode %d: no valid record in %d bytes", ino, len(b))
		return
	}
	if n.typ < TypeRegular || n.typ > TypeFIFO || n.mode > modeMask || n.nlink == 0 || n.nlink > LinkMax {
		c.report("inode %d: type %d mode %o nlink %d", ino, n.typ, n.mode, n.nlink)
	}
	if n.gen != generation(&c.super.seed, ino) {
		c.report("inode %d: generation %x is not its own", ino, n.gen)
	}
	if ino >= c.super.nextIno {
		c.report("inode %d: not below the next to be given, %d", ino, c.super.nextIno)
	}
	if n.ctime > c.super.last {
		c.report("inode %d: ctime %d is after the last change, %d", ino, n.ctime, c.super.last)
	}
	c.at[ino] = len(c.inodes)
	c.inodes = append(c.inodes, checked{ino: ino, parent: n.parent, typ: n.typ, nlink: n.nlink})
	c.bytes += n.used
}

// closeInode compares an inode with the pairs that belong to it, all of which have been seen.
func (c *checker) closeInode() {
	pages, charge := c.pages, c.charge
	c.pages, c.charge, c.previous, c.run = 0, 0, 0, c.run[:0]
	last, ok := c.current()
	if !ok {
		return
	}
	var n inode
	if !c.inode(last.ino, &n) {
		return // reported
	}
	switch n.typ {
	case TypeRegular:
		if n.size > sizeMax || n.used != pages*pageSize {
			c.report("file %d: size %d, used %d with %d pages", n.ino, n.size, n.used, pages)
		}
	case TypeDirectory:
		if n.size != charge || n.used != charge {
			c.report("directory %d: size %d, used %d, its entries are charged %d", n.ino, n.size, n.used, charge)
		}
	case TypeSymlink:
		target, _ := c.Get(pageKey(n.ino, 0))
		if size := uint64(len(target)); size == 0 || size > PathMax || n.size != size || n.used != size {
			c.report("symbolic link %d: size %d, used %d, target of %d bytes", n.ino, n.size, n.used, size)
		}
	default:
		if n.size != 0 || n.used != 0 {
			c.report("special file %d: size %d, used %d", n.ino, n.size, n.used)
		}
	}
}

func (c *checker) page(ino, page uint64, b []byte) {
	c.pages++
	var n inode
	if !c.inode(ino, &n) {
		return
	}
	if page > pageMax || len(b) == 0 || page*pageSize+uint64(len(b)) > n.size {
		c.report("inode %d: page %d of %d bytes, but its size is %d", ino, page, len(b), n.size)
	}
}

func (c *checker) entry(dir, slot uint64, b []byte) {
	ino, name, ok := parseEntry(b)
	if !ok || isDot(string(name)) || checkName(string(name)) != nil {
		c.report("directory %d: entry %#x is malformed: %q", dir, slot, b)
		return
	}
	first := entrySlot(&c.super.seed, string(name))
	if slot < first || slot >= first+collisionsMax {
		c.report("directory %d: %q is at %#x instead of %#x", dir, name, slot, first)
	}
	if c.previous>>collisionBits != slot>>collisionBits {
		c.run = c.run[:0]
	}
	for _, other := range c.run {
		if other == string(name) {
			c.report("directory %d: %q is there twice", dir, name)
		}
	}
	c.run = append(c.run, string(name))
	c.previous = slot
	c.charge += entryCharge(string(name))
	c.names = append(c.names, checkedName{dir, ino})
}

// links verifies that names and inodes match.
func (c *checker) links() {
	for _, name := range c.names {
		i, ok := c.at[name.ino]
		if !ok {
			c.report("directory %d: an entry leads to inode %d, which is none", name.dir, name.ino)
			continue
		}
		n := &c.inodes[i]
		n.refs++
		if n.parent == 0 && n.typ != TypeDirectory {
			if c.several[name] == 0 {
				c.report("inode %d: has a name too many in directory %d", n.ino, name.dir)
				continue
			}
			c.several[name]--
			continue
		}
		if n.parent != name.dir {
			c.report("inode %d: is entered in %d, but its parent is %d", n.ino, name.dir, n.parent)
		}
		if n.typ != TypeDirectory {
			continue
		}
		c.inodes[c.at[name.dir]].subdirs++
	}
	for i := range c.inodes {
		n := &c.inodes[i]
		switch {
		case n.typ != TypeDirectory:
			if n.refs != n.nlink || (n.parent == 0) != (n.nlink > 1) {
				c.report("inode %d: nlink %d, but %d names, its parent is %d", n.ino, n.nlink, n.refs, n.parent)
			}
			continue
		case n.ino == rootIno:
			if n.refs != 0 || n.parent != rootIno {
				c.report("root directory: %d names, parent %d", n.refs, n.parent)
			}
		case n.refs != 1:
			c.report("directory %d: %d names", n.ino, n.refs)
		}
		if n.nlink != 2+n.subdirs {
			c.report("directory %d: nlink %d with %d directories in it", n.ino, n.nlink, n.subdirs)
		}
	}
	for _, n := range c.inodes {
		if n.parent != 0 || n.typ == TypeDirectory {
			continue
		}
		c.Scan(namesKey(n.ino, 0), tree.Key{Hi: n.ino, Lo: slotEntryMax}, func(k tree.Key, _ []byte) bool {
			dir := k.Lo &^ slotEntry
			if missing := c.several[checkedName{dir, n.ino}]; missing != 0 {
				c.report("inode %d: %d names that it should have in directory %d are missing", n.ino, missing, dir)
			}
			return true
		})
	}
}

// parents verifies that every directory is below the root.
func (c *checker) parents() {
	root, ok := c.at[rootIno]
	if !ok || c.inodes[root].typ != TypeDirectory {
		c.report("no root directory")
		return
	}
	c.inodes[root].reachable = true
	var path []int
	for i := range c.inodes {
		if c.inodes[i].typ != TypeDirectory {
			continue
		}
		path = path[:0]
		for j, ok := i, true; !c.inodes[j].reachable; j, ok = c.above(j) {
			if !ok || len(path) > len(c.inodes) {
				c.report("directory %d: cannot be reached from the root", c.inodes[i].ino)
				break
			}
			path = append(path, j)
		}
		for _, j := range path {
			c.inodes[j].reachable = true // or reported once for all of them
		}
	}
}

// above returns the place of a directory's parent.
func (c *checker) above(i int) (int, bool) {
	j, ok := c.at[c.inodes[i].parent]
	if !ok || c.inodes[j].typ != TypeDirectory {
		return i, false
	}
	return j, true
}

func (c *checker) totals() {
	if n := uint64(len(c.inodes)); c.super.inodes != n {
		c.report("superblock: counts %d inodes, there are %d", c.super.inodes, n)
	}
	if c.super.bytes != c.bytes {
		c.report("superblock: counts %d bytes, the inodes use %d", c.super.bytes, c.bytes)
	}
	if c.super.bytes > c.super.bytesMax || c.super.inodes > c.super.inodesMax {
		c.report("superblock: %d bytes and %d inodes exceed the quota of %d and %d",
			c.super.bytes, c.super.inodes, c.super.bytesMax, c.super.inodesMax)
	}
}

// replies verifies that every recorded reply is whole.
func (c *checker) replies() {
	parts, next := 0, uint32(0)
	var last tree.Key
	end := func() {
		if parts != int(next) {
			c.report("reply to client %d slot %d: %d parts of %d", uint32(last.Hi), last.Lo>>32, next, parts)
		}
	}
	c.Scan(tree.Key{Hi: sessionTag}, sessionKeyMax(), func(k tree.Key, b []byte) bool {
		part := uint32(k.Lo)
		if part == 0 {
			end()
			if len(b) < sessionHead {
				c.report("reply to client %d slot %d: no head", uint32(k.Hi), k.Lo>>32)
				parts, next = 0, 0
				return true
			}
			parts, next = sessionParts(int(binary.BigEndian.Uint32(b[8:]))), 0
		}
		if part != next {
			c.report("reply to client %d slot %d: part %d after %d", uint32(k.Hi), k.Lo>>32, part, next)
		}
		next, last = next+1, k
		return true
	})
	end()
}

// duplicates verifies that the duplicate-request cache holds what its counters say.
func (c *checker) duplicates() {
	have := map[uint64][2]uint64{} // machine → answers of each generation
	c.Scan(dupAnswerKey(0, 0, 0), dupAnswerKey(hashMask, 1, 1<<63-1), func(k tree.Key, b []byte) bool {
		if len(b) < dupHead || Time(binary.BigEndian.Uint64(b)) > c.super.last {
			c.report("duplicate-request cache: answer %x in %d bytes, or later than the last change", k.Append(nil), len(b))
		}
		n := have[k.Hi&hashMask]
		n[k.Lo>>63]++
		have[k.Hi&hashMask] = n
		return true
	})
	answers := uint64(0)
	c.Scan(dupMachineKey(0), tree.Key{Hi: dupTag | hashMask, Lo: ^uint64(0)}, func(k tree.Key, b []byte) bool {
		machine := k.Hi & hashMask
		m, ok := parseDupMachine(b)
		if n := have[machine]; !ok || k.Lo != 0 || n[m.generation] != m.count || n[1-m.generation] != m.older || m.count+m.older == 0 {
			c.report("duplicate-request cache: machine %x has %+v, its answers are %d", machine, m, n)
		}
		delete(have, machine)
		answers += m.count + m.older
		return true
	})
	if len(have) > 0 || answers != c.super.dupCount || answers > c.super.dupMax {
		c.report("duplicate-request cache: %d answers, %d are counted, %d allowed; %d machines have some and no record",
			answers, c.super.dupCount, c.super.dupMax, len(have))
	}
}

// elsewhere verifies that nothing lies where nothing belongs.
func (c *checker) elsewhere() {
	for _, gap := range [...][2]tree.Key{
		{{Hi: sessionTag | 1<<32}, {Hi: dupTag - 1, Lo: ^uint64(0)}},
		{{Hi: dupAnswerTag + 1<<61}, {Hi: lockTag - 1, Lo: ^uint64(0)}},
		{{Hi: lockTag, Lo: 1}, {Hi: lockClients - 1, Lo: ^uint64(0)}},
		{{Hi: lockClients | 1}, {Hi: lockNames - 1, Lo: ^uint64(0)}},
		{{Hi: lockEnd}, {Hi: memberTag - 1, Lo: ^uint64(0)}},
		{{Hi: memberTag, Lo: 1 << 32}, {Hi: memberTag, Lo: ^uint64(0)}},
		{{Hi: policyTag, Lo: policySizeMax / pageSize}, {Hi: ^uint64(0), Lo: ^uint64(0)}},
	} {
		c.Scan(gap[0], gap[1], func(k tree.Key, _ []byte) bool {
			c.report("a pair at %x, where none belongs", k.Append(nil))
			return true
		})
	}
}
