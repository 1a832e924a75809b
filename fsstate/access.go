package fsstate

import "slices"

// The classes of access, as the bits of one digit of the mode.
const (
	mayRead  = 4
	mayWrite = 2
	mayExec  = 1
)

const (
	modeMask   = 0o7777
	modeSetUID = 0o4000
	modeSetGID = 0o2000
	modeSticky = 0o1000
)

func (c *Cred) root() bool { return c.UID == 0 }

func (c *Cred) inGroup(gid uint32) bool { return c.GID == gid || slices.Contains(c.GIDs, gid) }

// owns reports whether the credential may do to n what is the owner's to do.
func (c *Cred) owns(n *inode) bool { return c.root() || c.UID == n.uid }

// permits applies the mode bits alone: what access(2) would say. The superuser may do everything but execute what nobody
// may execute.
func (n *inode) permits(c *Cred, want uint32) bool {
	if c.root() {
		return want&mayExec == 0 || n.typ == TypeDirectory || n.mode&0o111 != 0
	}
	bits := n.mode
	switch {
	case c.UID == n.uid:
		bits >>= 6
	case c.inGroup(n.gid):
		bits >>= 3
	}
	return bits&want == want
}

// permitsRead is permits for READ. A client has checked the mode when it opened the file and may rightly go on after a
// chmod, so a server lets the owner read whatever the mode; and it cannot tell reading from paging in a program, so
// permission to execute suffices (RFC 1813 §4.4, "Permission issues").
func (n *inode) permitsRead(c *Cred) bool {
	return c.UID == n.uid || n.permits(c, mayRead) || n.permits(c, mayExec)
}

// permitsWrite is permits for WRITE and for changing the size: the owner may whatever the mode (RFC 1813 §4.4).
func (n *inode) permitsWrite(c *Cred) bool {
	return c.UID == n.uid || n.permits(c, mayWrite)
}

// mayRemove reports whether the sticky bit of dir lets n be removed or renamed (POSIX: "restricted deletion flag").
func (n *inode) mayRemove(c *Cred, dir *inode) bool {
	return dir.mode&modeSticky == 0 || c.owns(n) || c.owns(dir)
}

// dropSetID clears the set-id bits, as a write or a change of owner must. Without group execute set-group-id is not a
// privilege but a mark, and stays, unless who changes the file is not in the group it had (Linux setattr_should_drop_sgid).
func (n *inode) dropSetID(c *Cred, gid uint32) {
	n.mode &^= modeSetUID
	if n.mode&0o010 != 0 || !c.root() && !c.inGroup(gid) {
		n.mode &^= modeSetGID
	}
}

// access answers Access: mode bits without the exceptions, because this is what decides an open(2). That changing a
// directory's entries takes permission to search too is for the call that changes them to find: access(2) asks of each
// permission by itself.
func (v view) access(c *Cred, a *Access) *AccessResult {
	var n inode
	if s := v.load(a.Object, &n); s != OK {
		return &AccessResult{Head: Head{s}}
	}
	read, write, exec := n.permits(c, mayRead), n.permits(c, mayWrite), n.permits(c, mayExec)
	granted := uint32(0)
	grant := func(ok bool, bits uint32) {
		if ok {
			granted |= bits
		}
	}
	grant(read, AccessRead)
	if n.typ == TypeDirectory {
		grant(exec, AccessLookup)
		grant(write, AccessModify|AccessExtend|AccessDelete)
	} else {
		grant(write, AccessModify|AccessExtend)
		grant(exec, AccessExecute)
	}
	return &AccessResult{Attr: n.attr(), Granted: granted & a.Mask}
}
