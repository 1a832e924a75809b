package fsstate

import (
	"encoding/binary"

	"bfsd/fsstate/tree"
)

// move is a Rename under way. to points at from when both are the same directory, so that there is one copy to change.
type move struct {
	from, other inode
	to          *inode
	src, dst    victim
	replaces    bool
}

func (fs *FS) rename(c *Cred, a *Rename, now Time) *RenameResult {
	var m move
	r := new(RenameResult)
	m.to = &m.from
	if r.From, r.Status = fs.openDir(a.FromDir, &m.from); a.ToDir != a.FromDir {
		m.to = &m.other
		var s Status
		if r.To, s = fs.openDir(a.ToDir, &m.other); r.Status == OK {
			r.Status = s
		}
	} else {
		r.To = r.From
	}
	if r.Status != OK {
		return r
	}
	if r.Status = fs.mayRename(c, a, &m); r.Status != OK {
		return r
	}
	if m.replaces && m.src.n.ino == m.dst.n.ino {
		return r // POSIX rename: two names of one file; "shall return successfully and perform no other action"
	}
	fs.move(&m, now)
	r.From.After, r.To.After = m.from.attr(), m.to.attr()
	return r
}

// mayRename looks both names up and applies the rules in the order of Linux nfsd_rename and vfs_rename.
func (fs *FS) mayRename(c *Cred, a *Rename, m *move) Status {
	if isDot(a.FromName) || isDot(a.ToName) {
		return EINVAL // RFC 1813 §3.3.14
	}
	if !m.to.permits(c, mayExec|mayWrite) {
		return EACCES
	}
	if s := fs.openVictim(c, &m.from, a.FromName, &m.src); s != OK {
		return s
	}
	switch s := fs.openVictim(c, m.to, a.ToName, &m.dst); s {
	case OK:
		m.replaces = true
	case ENOENT:
	default:
		return s
	}
	isDir := m.src.n.typ == TypeDirectory
	if isDir && m.to != &m.from && fs.above(m.src.n.ino, m.to) {
		return EINVAL
	}
	if m.replaces && m.src.n.ino == m.dst.n.ino {
		return OK
	}
	if !m.src.n.mayRemove(c, &m.from) {
		return EPERM
	}
	if m.replaces {
		if s := m.mayReplace(c, isDir); s != OK {
			return s
		}
	}
	if isDir && m.to != &m.from {
		if !m.src.n.permits(c, mayWrite) { // its ".." changes
			return EACCES
		}
		if !m.replaces && m.to.nlink >= LinkMax {
			return EMLINK
		}
	}
	if m.replaces {
		return OK
	}
	less, more := entryCharge(a.FromName), entryCharge(a.ToName)
	if m.dst.slot == 0 || more > less && !fs.super.room(more-less) {
		return ENOSPC
	}
	return OK
}

func (m *move) mayReplace(c *Cred, isDir bool) Status {
	dst := &m.dst.n
	switch {
	case !dst.mayRemove(c, m.to):
		return EPERM
	case isDir && dst.typ != TypeDirectory:
		return ENOTDIR
	case !isDir && dst.typ == TypeDirectory:
		return EISDIR
	case isDir && dst.size != 0:
		return ENOTEMPTY
	}
	return OK
}

// above reports whether directory ino is dir or one of those above it.
func (fs *FS) above(ino uint64, dir *inode) bool {
	at := *dir
	for range fs.tree.Reader().Len() { // more inodes are not above each other
		if at.ino == ino {
			return true
		}
		if at.ino == rootIno || !fs.view().inode(at.parent, &at) {
			return false
		}
	}
	return false
}

// move does what mayRename permitted.
func (fs *FS) move(m *move, now Time) {
	src := &m.src.n
	isDir := src.typ == TypeDirectory
	if m.replaces {
		var buf [entryHead + NameMax]byte
		value := append(binary.BigEndian.AppendUint64(buf[:0], src.ino), m.dst.name...)
		fs.tree.Put(entryKey(m.to.ino, m.dst.slot), value)
		if isDir {
			fs.erase(&m.dst.n)
			m.to.nlink--
		} else {
			fs.unlink(&m.dst.n, m.to.ino, now)
		}
	} else {
		fs.enter(m.to, m.dst.slot, m.dst.name, src.ino)
	}
	fs.strike(&m.from, m.src.slot, m.src.name)
	if isDir {
		m.from.nlink--
		m.to.nlink++
	}
	fs.unname(src, m.from.ino)
	fs.name(src, m.to.ino)
	src.ctime = now
	fs.put(src)
	fs.touchDir(&m.from, now)
	if m.to != &m.from {
		fs.touchDir(m.to, now)
	}
}

// link adds a name to what is no directory.
func (fs *FS) link(c *Cred, a *Link, now Time) *LinkResult {
	var n inode
	var p place
	s := fs.view().load(a.Object, &n)
	if s != OK {
		p.wcc, _ = fs.openDir(a.Dir, &p.dir)
		return &LinkResult{Head: Head{s}, Dir: p.wcc}
	}
	if s = fs.openNew(c, a.Dir, a.Name, &p); s == OK || s == EEXIST {
		switch {
		case n.typ == TypeDirectory:
			s = EISDIR
		case s != OK:
		case n.nlink >= LinkMax:
			s = EMLINK
		case p.slot == 0 || !fs.super.room(entryCharge(a.Name)):
			s = ENOSPC
		}
	}
	if s != OK {
		return &LinkResult{Head: Head{s}, Attr: n.attr(), Dir: p.wcc}
	}
	n.nlink++
	n.ctime = now
	fs.name(&n, p.dir.ino)
	fs.put(&n)
	fs.enter(&p.dir, p.slot, p.name, n.ino)
	fs.touchDir(&p.dir, now)
	p.wcc.After = p.dir.attr()
	return &LinkResult{Attr: n.attr(), Dir: p.wcc}
}

// entryRange returns the keys between which a directory's entries lie, from the slot after cookie.
func entryRange(dir, cookie uint64) (lo, hi tree.Key) {
	return entryKey(dir, max(slotEntry, cookie+1)), entryKey(dir, slotEntryMax)
}
