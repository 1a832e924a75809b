package fsstate

// openDir reads the directory an operation is to change, and its attributes before.
func (fs *FS) openDir(h Handle, dir *inode) (Wcc, Status) {
	s := fs.view().loadDir(h, dir)
	if s == ESTALE {
		return Wcc{}, s
	}
	return dir.wccBefore(), s
}

// place is where a new entry will go.
type place struct {
	dir  inode
	wcc  Wcc
	name string
	slot uint64
}

// open reads the directory and looks the name up, whose inode's number is 0 if there is none.
func (fs *FS) open(c *Cred, h Handle, name string, p *place) (ino uint64, s Status) {
	p.name = name
	if p.wcc, s = fs.openDir(h, &p.dir); s != OK {
		return 0, s
	}
	if isDot(name) {
		return 0, EEXIST
	}
	if !p.dir.permits(c, mayExec) {
		return 0, EACCES
	}
	p.slot, ino, _ = fs.view().find(p.dir.ino, name)
	return ino, OK
}

// openNew is open for a name that must not exist yet, in a directory that may be written.
func (fs *FS) openNew(c *Cred, h Handle, name string, p *place) Status {
	ino, s := fs.open(c, h, name, p)
	switch {
	case s != OK:
		return s
	case ino != 0:
		return EEXIST
	case !p.dir.permits(c, mayWrite):
		return EACCES
	}
	return OK
}

func (fs *FS) create(c *Cred, a *Create, now Time) *CreateResult {
	var p place
	ino, s := fs.open(c, a.Dir, a.Name, &p)
	switch {
	case s != OK:
		return p.failed(s)
	case ino != 0:
		return fs.createExisting(c, a, ino, &p, now)
	case !p.dir.permits(c, mayWrite):
		return p.failed(EACCES)
	}
	n := inode{typ: TypeRegular, nlink: 1}
	set := a.Set
	if a.How == Exclusive {
		n.exclusive, n.extra, set = true, a.Verf, SetAttrs{}
	}
	return fs.make(c, &p, &n, &set, nil, now)
}

// createExisting answers a Create whose name exists (RFC 1813 §3.3.8). Of a file that is there already UNCHECKED changes
// nothing but the size, if it is given.
func (fs *FS) createExisting(c *Cred, a *Create, ino uint64, p *place, now Time) *CreateResult {
	var n inode
	if !fs.view().inode(ino, &n) {
		return p.failed(EIO)
	}
	if n.typ != TypeRegular || a.How == Guarded {
		return p.failed(EEXIST)
	}
	if a.How == Exclusive {
		if !n.exclusive || n.extra != a.Verf {
			return p.failed(EEXIST)
		}
		return &CreateResult{Object: n.handle(), Attr: n.attr(), Dir: p.wcc}
	}
	if a.Set.Size != nil {
		set := &SetAttr{Set: SetAttrs{Size: a.Set.Size}}
		if s := n.maySet(c, set); s != OK {
			return p.failed(s)
		}
		fs.set(c, &n, &set.Set, now)
		fs.put(&n)
	}
	return &CreateResult{Object: n.handle(), Attr: n.attr(), Dir: p.wcc}
}

func (fs *FS) mkdir(c *Cred, a *Mkdir, now Time) *CreateResult {
	var p place
	if s := fs.openNew(c, a.Dir, a.Name, &p); s != OK {
		return p.failed(s)
	}
	if p.dir.nlink >= LinkMax {
		return p.failed(EMLINK)
	}
	n := inode{typ: TypeDirectory, nlink: 2}
	return fs.make(c, &p, &n, &a.Set, nil, now)
}

func (fs *FS) symlink(c *Cred, a *Symlink, now Time) *CreateResult {
	var p place
	if s := fs.openNew(c, a.Dir, a.Name, &p); s != OK {
		return p.failed(s)
	}
	n := inode{typ: TypeSymlink, nlink: 1, size: uint64(len(a.Target))}
	return fs.make(c, &p, &n, &a.Set, []byte(a.Target), now)
}

// mknod makes special files. Device nodes are the superuser's to make, as on any POSIX system.
func (fs *FS) mknod(c *Cred, a *Mknod, now Time) *CreateResult {
	var p place
	s := fs.openNew(c, a.Dir, a.Name, &p)
	n := inode{typ: a.Type, nlink: 1}
	switch a.Type {
	case TypeBlock, TypeChar:
		if s == OK && !c.root() {
			s = EPERM
		}
		n.extra = uint64(a.Major)<<32 | uint64(a.Minor)
	case TypeSocket, TypeFIFO:
	default:
		s = EBADTYPE
	}
	if s != OK {
		return p.failed(s)
	}
	return fs.make(c, &p, &n, &a.Set, nil, now)
}

func (p *place) failed(s Status) *CreateResult { return &CreateResult{Head: Head{s}, Dir: p.wcc} }

// make gives a new inode its attributes and its name. target is a symbolic link's.
func (fs *FS) make(c *Cred, p *place, n *inode, set *SetAttrs, target []byte, now Time) *CreateResult {
	if s := n.initialize(c, &p.dir, set, now); s != OK {
		return p.failed(s)
	}
	if p.slot == 0 || fs.super.inodes >= fs.super.inodesMax || !fs.super.room(entryCharge(p.name)+uint64(len(target))) {
		return p.failed(ENOSPC)
	}
	n.ino = fs.super.nextIno
	n.gen = generation(&fs.super.seed, n.ino)
	n.parent = p.dir.ino
	fs.super.nextIno++
	fs.super.inodes++
	if target != nil {
		fs.tree.Put(pageKey(n.ino, 0), target)
		fs.charge(n, uint64(len(target)))
	}
	fs.put(n)
	fs.enter(&p.dir, p.slot, p.name, n.ino)
	if n.typ == TypeDirectory {
		p.dir.nlink++
	}
	fs.touchDir(&p.dir, now)
	p.wcc.After = p.dir.attr()
	return &CreateResult{Object: n.handle(), Attr: n.attr(), Dir: p.wcc}
}

// initialize sets a new inode's attributes: owner from the credential, group too unless the directory hands its own down,
// then what the caller asked for, as far as the new owner might set it. Nothing that was asked for is silently dropped.
func (n *inode) initialize(c *Cred, dir *inode, set *SetAttrs, now Time) Status {
	n.uid, n.gid = c.UID, c.GID
	inherit := dir.mode&modeSetGID != 0
	if inherit {
		n.gid = dir.gid
	}
	if s := n.mayGive(c, set); s != OK {
		return s
	}
	if set.Size != nil {
		if n.typ != TypeRegular && *set.Size != 0 {
			return EINVAL
		}
		if *set.Size > sizeMax {
			return EFBIG
		}
		if n.typ == TypeRegular {
			n.size = *set.Size
		}
	}
	if set.UID != nil {
		n.uid = *set.UID
	}
	if set.GID != nil {
		n.gid = *set.GID
	}
	switch {
	case set.Mode != nil:
		// Of what is new in a group of others, set-group-id is taken only where it is a privilege (Linux mode_strip_sgid).
		n.mode = *set.Mode & modeMask
		if n.mode&0o010 != 0 && !c.root() && !c.inGroup(n.gid) {
			n.mode &^= modeSetGID
		}
	case n.typ == TypeSymlink:
		n.mode = 0o777
	}
	if inherit && n.typ == TypeDirectory {
		n.mode |= modeSetGID
	}
	n.atime, n.mtime, n.ctime = now, now, now
	setTime(&n.atime, set.Atime, now)
	setTime(&n.mtime, set.Mtime, now)
	return OK
}

func (v view) readLink(a *ReadLink) *ReadLinkResult {
	var n inode
	if s := v.load(a.Object, &n); s != OK {
		return &ReadLinkResult{Head: Head{s}}
	}
	if n.typ != TypeSymlink {
		return &ReadLinkResult{Head: Head{EINVAL}, Attr: n.attr()}
	}
	target, _ := v.Get(pageKey(n.ino, 0))
	return &ReadLinkResult{Attr: n.attr(), Target: string(target)}
}
