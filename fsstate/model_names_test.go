package fsstate

import "strings"

// dir reads the directory that an operation names, for a name that must be well-formed.
func (m *model) dir(h Handle) (*mnode, Wcc, Status) {
	d := m.get(h)
	if d == nil {
		return nil, Wcc{}, ESTALE
	}
	if d.attr.Type != TypeDirectory {
		return nil, Wcc{d.pre(), d.a()}, ENOTDIR
	}
	return d, Wcc{d.pre(), d.a()}, OK
}

func (m *model) step(c Cred, d *mnode, name string) (*mnode, Status) {
	if !may(c, d, 'x') {
		return nil, EACCES
	}
	if name == "." {
		return d, OK
	}
	if name == ".." {
		return m.nodes[d.parent], OK
	}
	ino, ok := d.entries[name]
	if !ok {
		return nil, ENOENT
	}
	return m.nodes[ino], OK
}

func handleOf(n *mnode) Handle { return Handle{n.attr.Ino, n.attr.Gen} }

func (m *model) lookup(c Cred, a *Lookup) Result {
	if s := badName(a.Name); s != OK {
		return &LookupResult{Head: Head{s}}
	}
	d, wcc, s := m.dir(a.Dir)
	if s != OK {
		return &LookupResult{Head: Head{s}, Dir: wcc.After}
	}
	n, s := m.step(c, d, a.Name)
	if s != OK {
		return &LookupResult{Head: Head{s}, Dir: d.a()}
	}
	return &LookupResult{Object: handleOf(n), Attr: n.a(), Dir: d.a()}
}

func (m *model) resolve(c Cred, a *Resolve) Result {
	n := m.nodes[1]
	for name := range strings.SplitSeq(a.Path, "/") {
		if name == "" {
			continue
		}
		if n.attr.Type != TypeDirectory {
			return &LookupResult{Head: Head{ENOTDIR}}
		}
		if s := badName(name); s != OK {
			return &LookupResult{Head: Head{s}}
		}
		var s Status
		if n, s = m.step(c, n, name); s != OK {
			return &LookupResult{Head: Head{s}}
		}
	}
	return &LookupResult{Object: handleOf(n), Attr: n.a()}
}

func (m *model) create(c Cred, a *Create) Result {
	if s := badName(a.Name); s != OK {
		return &CreateResult{Head: Head{s}}
	}
	d, wcc, s := m.dir(a.Dir)
	if s == OK && a.Name != "." && a.Name != ".." && may(c, d, 'x') {
		if ino, ok := d.entries[a.Name]; ok {
			return m.createExisting(c, a, m.nodes[ino], wcc)
		}
	}
	n, set := &mnode{attr: Attr{Type: TypeRegular, Nlink: 1}}, a.Set
	if a.How == Exclusive {
		n.verf, set = &a.Verf, SetAttrs{}
	}
	return m.makeNew(c, a.Dir, a.Name, set, n)
}

func (m *model) createExisting(c Cred, a *Create, n *mnode, wcc Wcc) Result {
	fail := func(s Status) Result { return &CreateResult{Head: Head{s}, Dir: wcc} }
	switch {
	case n.attr.Type != TypeRegular || a.How == Guarded:
		return fail(EEXIST)
	case a.How == Exclusive && (n.verf == nil || *n.verf != a.Verf):
		return fail(EEXIST)
	case a.How == Unchecked && a.Set.Size != nil:
		if c.UID != n.attr.UID && !may(c, n, 'w') {
			return fail(EACCES)
		}
		if *a.Set.Size > 1<<63-1 {
			return fail(EFBIG)
		}
		m.change(c, n, SetAttrs{Size: a.Set.Size})
	}
	return &CreateResult{Object: handleOf(n), Attr: n.a(), Dir: wcc}
}

// makeNew gives n a name and its attributes.
func (m *model) makeNew(c Cred, dir Handle, name string, set SetAttrs, n *mnode) Result {
	if s := badName(name); s != OK {
		return &CreateResult{Head: Head{s}}
	}
	d, wcc, s := m.dir(dir)
	fail := func(s Status) Result { return &CreateResult{Head: Head{s}, Dir: wcc} }
	if s != OK {
		return fail(s)
	}
	if name == "." || name == ".." {
		return fail(EEXIST)
	}
	if !may(c, d, 'x') {
		return fail(EACCES)
	}
	if _, ok := d.entries[name]; ok {
		return fail(EEXIST)
	}
	if !may(c, d, 'w') {
		return fail(EACCES)
	}
	t := n.attr.Type
	if (t == TypeBlock || t == TypeChar) && c.UID != 0 {
		return fail(EPERM)
	}
	if t == TypeDirectory && d.attr.Nlink >= LinkMax {
		return fail(EMLINK)
	}
	n.attr.UID, n.attr.GID = c.UID, c.GID
	if d.attr.Mode&0o2000 != 0 {
		n.attr.GID = d.attr.GID
	}
	if !mayChown(c, n, set) {
		return fail(EPERM)
	}
	if set.Size != nil && t != TypeRegular && *set.Size != 0 {
		return fail(EINVAL)
	}
	if set.Size != nil && *set.Size > 1<<63-1 {
		return fail(EFBIG)
	}
	if uint64(len(m.nodes)) >= m.inodesMax || !m.fits(32+uint64(len(name))+uint64(len(n.target))) {
		return fail(ENOSPC)
	}
	if set.Size != nil && t == TypeRegular {
		n.attr.Size = *set.Size
	}
	if set.UID != nil {
		n.attr.UID = *set.UID
	}
	if set.GID != nil {
		n.attr.GID = *set.GID
	}
	if set.Mode != nil {
		n.attr.Mode = *set.Mode & 0o7777
		if n.attr.Mode&0o010 != 0 && !isMember(c, n.attr.GID) {
			n.attr.Mode &^= 0o2000
		}
	}
	if t == TypeDirectory && d.attr.Mode&0o2000 != 0 {
		n.attr.Mode |= 0o2000
	}
	n.attr.Atime, n.attr.Mtime, n.attr.Ctime = m.last, m.last, m.last
	m.setTimes(n, set)
	seed := testSeed
	n.attr.Ino = m.next
	n.attr.Gen = generation(&seed, m.next)
	m.next++
	n.parent = d.attr.Ino
	m.nodes[n.attr.Ino] = n
	d.entries[name] = n.attr.Ino
	if t == TypeDirectory {
		d.attr.Nlink++
	}
	d.attr.Mtime, d.attr.Ctime = m.last, m.last
	wcc.After = d.a()
	return &CreateResult{Object: handleOf(n), Attr: n.a(), Dir: wcc}
}

func (m *model) remove(c Cred, dir Handle, name string, rmdir bool) (Status, Wcc) {
	if s := badName(name); s != OK {
		return s, Wcc{}
	}
	d, wcc, s := m.dir(dir)
	switch {
	case s != OK:
		return s, wcc
	case !rmdir && (name == "." || name == ".."):
		return EACCES, wcc
	case name == ".":
		return EINVAL, wcc
	case name == "..":
		return EEXIST, wcc
	case !may(c, d, 'x') || !may(c, d, 'w'):
		return EACCES, wcc
	}
	ino, ok := d.entries[name]
	n := m.nodes[ino]
	switch {
	case !ok:
		return ENOENT, wcc
	case stuck(c, d, n):
		return EPERM, wcc
	case !rmdir && n.attr.Type == TypeDirectory:
		return EISDIR, wcc
	case rmdir && n.attr.Type != TypeDirectory:
		return ENOTDIR, wcc
	case rmdir && len(n.entries) > 0:
		return ENOTEMPTY, wcc
	}
	delete(d.entries, name)
	m.drop(d, n)
	d.attr.Mtime, d.attr.Ctime = m.last, m.last
	wcc.After = d.a()
	return OK, wcc
}

// drop takes one name from n, which was in d.
func (m *model) drop(d, n *mnode) {
	if n.attr.Type == TypeDirectory {
		d.attr.Nlink--
		delete(m.nodes, n.attr.Ino)
		return
	}
	n.attr.Nlink--
	n.attr.Ctime = m.last
	if n.attr.Nlink == 0 {
		delete(m.nodes, n.attr.Ino)
		delete(m.locks.files, n.attr.Ino)
		m.sweep()
	}
}

func (m *model) rename(c Cred, a *Rename) Result {
	for _, name := range []string{a.FromName, a.ToName} {
		if s := badName(name); s != OK {
			return &RenameResult{Head: Head{s}}
		}
	}
	from, fromWcc, s := m.dir(a.FromDir)
	to, toWcc, s2 := m.dir(a.ToDir)
	if s == OK {
		s = s2
	}
	if s == OK {
		s = m.tryRename(c, a, from, to)
	}
	if s == OK {
		fromWcc.After, toWcc.After = from.a(), to.a()
	}
	return &RenameResult{Head{s}, fromWcc, toWcc}
}

func (m *model) tryRename(c Cred, a *Rename, from, to *mnode) Status {
	for _, name := range []string{a.FromName, a.ToName} {
		if name == "." || name == ".." {
			return EINVAL
		}
	}
	for _, d := range []*mnode{to, from} {
		if !may(c, d, 'w') || !may(c, d, 'x') {
			return EACCES
		}
	}
	src, dst := m.nodes[from.entries[a.FromName]], m.nodes[to.entries[a.ToName]]
	if src == nil {
		return ENOENT
	}
	isDir := src.attr.Type == TypeDirectory
	if isDir {
		for d := to; d.attr.Ino != 1; d = m.nodes[d.parent] {
			if d == src {
				return EINVAL
			}
		}
	}
	if src == dst {
		return OK
	}
	if stuck(c, from, src) {
		return EPERM
	}
	if dst != nil {
		dstIsDir := dst.attr.Type == TypeDirectory
		switch {
		case stuck(c, to, dst):
			return EPERM
		case isDir && !dstIsDir:
			return ENOTDIR
		case !isDir && dstIsDir:
			return EISDIR
		case isDir && len(dst.entries) > 0:
			return ENOTEMPTY
		}
	}
	if isDir && from != to {
		if !may(c, src, 'w') {
			return EACCES
		}
		if dst == nil && to.attr.Nlink >= LinkMax {
			return EMLINK
		}
	}
	if grow := len(a.ToName) - len(a.FromName); dst == nil && grow > 0 && !m.fits(uint64(grow)) {
		return ENOSPC
	}
	if dst != nil {
		m.drop(to, dst)
	}
	delete(from.entries, a.FromName)
	to.entries[a.ToName] = src.attr.Ino
	if isDir {
		from.attr.Nlink--
		to.attr.Nlink++
		src.parent = to.attr.Ino
	}
	src.attr.Ctime = m.last
	for _, d := range []*mnode{from, to} {
		d.attr.Mtime, d.attr.Ctime = m.last, m.last
	}
	return OK
}

func (m *model) link(c Cred, a *Link) Result {
	if s := badName(a.Name); s != OK {
		return &LinkResult{Head: Head{s}}
	}
	n := m.get(a.Object)
	d, wcc, s := m.dir(a.Dir)
	if n == nil {
		return &LinkResult{Head: Head{ESTALE}, Dir: wcc}
	}
	fail := func(s Status) Result { return &LinkResult{Head{s}, n.a(), wcc} }
	if s != OK {
		return fail(s)
	}
	isDir := n.attr.Type == TypeDirectory
	if a.Name == "." || a.Name == ".." {
		if isDir {
			return fail(EISDIR)
		}
		return fail(EEXIST)
	}
	if !may(c, d, 'x') {
		return fail(EACCES)
	}
	_, exists := d.entries[a.Name]
	switch {
	case !exists && !may(c, d, 'w'):
		return fail(EACCES)
	case isDir:
		return fail(EISDIR)
	case exists:
		return fail(EEXIST)
	case n.attr.Nlink >= LinkMax:
		return fail(EMLINK)
	case !m.fits(32 + uint64(len(a.Name))):
		return fail(ENOSPC)
	}
	n.attr.Nlink++
	n.attr.Ctime = m.last
	d.entries[a.Name] = n.attr.Ino
	d.attr.Mtime, d.attr.Ctime = m.last, m.last
	wcc.After = d.a()
	return &LinkResult{Attr: n.a(), Dir: wcc}
}
