package fsstate

import "bfsd/fsstate/tree"

// victim is an entry to be removed or moved, and its inode.
type victim struct {
	slot uint64
	name string
	n    inode
}

// openVictim looks up an entry of a directory that may be written; dir has been read.
func (fs *FS) openVictim(c *Cred, dir *inode, name string, v *victim) Status {
	if !dir.permits(c, mayExec|mayWrite) {
		return EACCES
	}
	var ino uint64
	var found bool
	v.name = name
	if v.slot, ino, found = fs.view().find(dir.ino, name); !found {
		return ENOENT
	}
	if !fs.view().inode(ino, &v.n) {
		return EIO
	}
	return OK
}

func (fs *FS) remove(c *Cred, a *Remove, now Time) *RemoveResult {
	var dir inode
	wcc, s := fs.openDir(a.Dir, &dir)
	if s == OK && isDot(a.Name) {
		s = EACCES // as Linux nfsd_unlink
	}
	var v victim
	if s == OK {
		s = fs.openVictim(c, &dir, a.Name, &v)
	}
	switch {
	case s != OK:
	case !v.n.mayRemove(c, &dir):
		s = EPERM
	case v.n.typ == TypeDirectory:
		s = EISDIR
	}
	if s != OK {
		return &RemoveResult{Head: Head{s}, Dir: wcc}
	}
	fs.strike(&dir, v.slot, v.name)
	fs.unlink(&v.n, dir.ino, now)
	fs.touchDir(&dir, now)
	wcc.After = dir.attr()
	return &RemoveResult{Dir: wcc}
}

func (fs *FS) rmdir(c *Cred, a *Rmdir, now Time) *RemoveResult {
	var dir inode
	wcc, s := fs.openDir(a.Dir, &dir)
	if s == OK && isDot(a.Name) { // RFC 1813 §3.3.13
		if s = EINVAL; a.Name == ".." {
			s = EEXIST
		}
	}
	var v victim
	if s == OK {
		s = fs.openVictim(c, &dir, a.Name, &v)
	}
	switch {
	case s != OK:
	case !v.n.mayRemove(c, &dir):
		s = EPERM
	case v.n.typ != TypeDirectory:
		s = ENOTDIR
	case v.n.size != 0:
		s = ENOTEMPTY
	}
	if s != OK {
		return &RemoveResult{Head: Head{s}, Dir: wcc}
	}
	fs.strike(&dir, v.slot, v.name)
	fs.erase(&v.n)
	dir.nlink--
	fs.touchDir(&dir, now)
	wcc.After = dir.attr()
	return &RemoveResult{Dir: wcc}
}

// unlink takes one of its names, which was in dir, from what is no directory; with the last one it goes.
func (fs *FS) unlink(n *inode, dir uint64, now Time) {
	if n.nlink == 1 {
		fs.erase(n)
		return
	}
	n.nlink--
	n.ctime = now
	fs.unname(n, dir)
	fs.put(n)
}

// erase removes an inode with all it holds. There is nothing to keep for who has it open: an NFSv3 client renames such a
// file instead of removing it.
func (fs *FS) erase(n *inode) {
	fs.dropLocks(n.ino)
	fs.tree.DeleteRange(inodeKey(n.ino), tree.Key{Hi: n.ino, Lo: ^uint64(0)})
	fs.super.bytes -= n.used
	fs.super.inodes--
}
