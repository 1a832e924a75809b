package fsstate

func (v view) getAttr(a *GetAttr) *GetAttrResult {
	var n inode
	if s := v.load(a.Object, &n); s != OK {
		return &GetAttrResult{Head: Head{s}}
	}
	return &GetAttrResult{Attr: *n.attr()}
}

func (v view) statFS(a *StatFS) *StatFSResult {
	var n inode
	if s := v.load(a.Object, &n); s != OK {
		return &StatFSResult{Head: Head{s}}
	}
	return &StatFSResult{
		Attr:       n.attr(),
		TotalBytes: v.super.bytesMax, FreeBytes: v.super.bytesMax - min(v.super.bytes, v.super.bytesMax),
		TotalFiles: v.super.inodesMax, FreeFiles: v.super.inodesMax - min(v.super.inodes, v.super.inodesMax),
	}
}

// setAttr checks everything before it changes anything, so that a refused call leaves no half of itself.
func (fs *FS) setAttr(c *Cred, a *SetAttr, now Time) *SetAttrResult {
	var n inode
	if s := fs.view().load(a.Object, &n); s != OK {
		return &SetAttrResult{Head: Head{s}}
	}
	wcc := n.wccBefore()
	if s := n.maySet(c, a); s != OK {
		return &SetAttrResult{Head: Head{s}, Wcc: wcc}
	}
	if a.Set == (SetAttrs{}) {
		return &SetAttrResult{Wcc: wcc}
	}
	fs.set(c, &n, &a.Set, now)
	fs.put(&n)
	wcc.After = n.attr()
	return &SetAttrResult{Wcc: wcc}
}

// maySet verifies a SetAttr: first what the mode bits say, then the guard, then what only an owner may do (the order of
// Linux nfsd_setattr).
func (n *inode) maySet(c *Cred, a *SetAttr) Status {
	set := &a.Set
	if set.Size != nil {
		switch {
		case n.typ == TypeDirectory:
			return EISDIR
		case n.typ != TypeRegular:
			return EINVAL
		case !n.permitsWrite(c):
			return EACCES
		case *set.Size > sizeMax:
			return EFBIG
		}
	}
	if s := n.mayTouch(c, set); s != OK {
		return s
	}
	if a.Guard != nil && *a.Guard != n.ctime {
		return ENOTSYNC
	}
	if (set.Atime.How == TimeClient || set.Mtime.How == TimeClient) && !c.owns(n) {
		return EPERM
	}
	if set.Mode != nil && !c.owns(n) {
		return EPERM
	}
	return n.mayGive(c, set)
}

// mayTouch verifies times to be set to the server's. Who may write may do so to both times; to one alone only the owner
// (POSIX utimensat). But the Linux client asks for a new mtime alone when a file that is empty already is opened to be
// truncated, so there permission to write suffices.
func (n *inode) mayTouch(c *Cred, set *SetAttrs) Status {
	atime, mtime := set.Atime.How == TimeServer, set.Mtime.How == TimeServer
	switch {
	case !atime && !mtime || n.permitsWrite(c) && mtime:
		return OK
	case atime && mtime:
		return EACCES
	case !c.owns(n):
		return EPERM
	}
	return OK
}

// mayGive verifies a change of owner and group: the superuser may do any; an owner may choose among his groups (POSIX
// chown with _POSIX_CHOWN_RESTRICTED).
func (n *inode) mayGive(c *Cred, set *SetAttrs) Status {
	if set.UID != nil && !c.root() && (c.UID != n.uid || *set.UID != n.uid) {
		return EPERM
	}
	if set.GID != nil && !c.root() && (c.UID != n.uid || *set.GID != n.gid && !c.inGroup(*set.GID)) {
		return EPERM
	}
	return OK
}

// set applies changes that were found permitted.
func (fs *FS) set(c *Cred, n *inode, set *SetAttrs, now Time) {
	if set.Size != nil {
		fs.resize(n, *set.Size)
		n.mtime = now
		if !c.root() {
			n.dropSetID(c, n.gid)
		}
	}
	gid := n.gid
	if set.UID != nil {
		n.uid = *set.UID
	}
	if set.GID != nil {
		n.gid = *set.GID
	}
	if set.Mode != nil {
		n.setMode(c, *set.Mode)
	}
	if n.typ != TypeDirectory && (set.UID != nil || set.GID != nil) {
		n.dropSetID(c, gid)
	}
	setTime(&n.atime, set.Atime, now)
	setTime(&n.mtime, set.Mtime, now)
	n.ctime = now
}

// setMode sets the permission bits. Set-group-id is not for who is not in the group (POSIX chmod).
func (n *inode) setMode(c *Cred, mode uint32) {
	n.mode = mode & modeMask
	if !c.root() && !c.inGroup(n.gid) {
		n.mode &^= modeSetGID
	}
}

func setTime(t *Time, set SetTime, now Time) {
	switch set.How {
	case TimeServer:
		*t = now
	case TimeClient:
		*t = set.Time
	case TimeKeep:
	}
}
