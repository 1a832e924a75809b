package fsstate

import (
	"maps"
	"math"
	"slices"
	"strings"
)

// model is the file system once more, as plainly as it can be said: maps and bytes, no tree, no records, no caches. It
// shares with the real one only the types, the generation of handles and the order of a directory's cookies.
type model struct {
	nodes     map[uint64]*mnode
	next      uint64
	last      Time
	bytesMax  uint64
	inodesMax uint64

	keys    map[FrontEnd]MemberKey
	locks   mlocks
	machine string // of the operation that is being run
	woke    bool   // it granted what somebody waited for
}

type mnode struct {
	attr    Attr
	verf    *uint64
	pages   map[uint64][]byte // each of 4096
	target  string
	entries map[string]uint64
	parent  uint64
}

func newModel(cfg Config) *model {
	m := &model{nodes: map[uint64]*mnode{}, keys: map[FrontEnd]MemberKey{}, next: 2, bytesMax: cfg.MaxBytes, inodesMax: cfg.MaxInodes}
	m.locks.files = map[uint64]*mlockFile{}
	m.nodes[1] = &mnode{
		attr:    Attr{Type: TypeDirectory, Mode: cfg.Mode, Nlink: 2, Ino: 1, Gen: generation(&cfg.Seed, 1)},
		entries: map[string]uint64{}, parent: 1,
	}
	return m
}

func (m *model) clone() *model {
	c := *m
	c.locks = m.locks.clone()
	c.keys = maps.Clone(m.keys)
	c.nodes = map[uint64]*mnode{}
	for ino, n := range m.nodes {
		d := *n
		d.entries = maps.Clone(n.entries)
		d.pages = map[uint64][]byte{}
		for i, p := range n.pages {
			d.pages[i] = slices.Clone(p)
		}
		c.nodes[ino] = &d
	}
	return &c
}

// a is a node's attributes as results carry them.
func (n *mnode) a() *Attr {
	a := n.attr
	switch a.Type {
	case TypeRegular:
		a.Used = uint64(len(n.pages)) * 4096
	case TypeDirectory:
		for name := range n.entries {
			a.Used += 32 + uint64(len(name))
		}
		a.Size = a.Used
	case TypeSymlink:
		a.Size = uint64(len(n.target))
		a.Used = a.Size
	default:
	}
	return &a
}

func (n *mnode) pre() *PreAttr {
	a := n.a()
	return &PreAttr{a.Size, a.Mtime, a.Ctime}
}

func (m *model) used() uint64 {
	var sum uint64
	for _, n := range m.nodes {
		sum += n.a().Used
	}
	return sum
}

func (m *model) fits(more uint64) bool { return m.used()+more <= m.bytesMax }

func (m *model) get(h Handle) *mnode {
	n := m.nodes[h.Ino]
	if n == nil || n.attr.Gen != h.Gen {
		return nil
	}
	return n
}

// may is what POSIX says of mode bits; class is 'r', 'w' or 'x'.
func may(c Cred, n *mnode, class byte) bool {
	bit := map[byte]uint32{'r': 4, 'w': 2, 'x': 1}[class]
	mode := n.attr.Mode
	if c.UID == 0 {
		return class != 'x' || n.attr.Type == TypeDirectory || mode&(0o100|0o010|0o001) != 0
	}
	if c.UID == n.attr.UID {
		return mode&(bit<<6) != 0
	}
	if c.GID == n.attr.GID || slices.Contains(c.GIDs, n.attr.GID) {
		return mode&(bit<<3) != 0
	}
	return mode&bit != 0
}

func isMember(c Cred, gid uint32) bool {
	return c.UID == 0 || c.GID == gid || slices.Contains(c.GIDs, gid)
}

// stuck reports whether the sticky bit keeps c from taking n out of dir.
func stuck(c Cred, dir, n *mnode) bool {
	return dir.attr.Mode&0o1000 != 0 && c.UID != 0 && c.UID != n.attr.UID && c.UID != dir.attr.UID
}

func losePrivileges(c Cred, n *mnode, gid uint32) {
	if n.attr.Mode&0o010 != 0 || !isMember(c, gid) {
		n.attr.Mode &^= 0o2000
	}
	n.attr.Mode &^= 0o4000
}

func badName(name string) Status {
	switch {
	case name == "" || strings.ContainsAny(name, "/\x00"):
		return EINVAL
	case len(name) > 255:
		return ENAMETOOLONG
	}
	return OK
}

// do answers an operation as the file system should.
func (m *model) do(c Cred, args Args, now Time) Result {
	if !args.ReadOnly() {
		m.last = max(now, m.last+1)
	}
	switch a := args.(type) {
	case *GetAttr:
		n := m.get(a.Object)
		if n == nil {
			return &GetAttrResult{Head: Head{ESTALE}}
		}
		return &GetAttrResult{Attr: *n.a()}
	case *SetAttr:
		return m.setAttr(c, a)
	case *Lookup:
		return m.lookup(c, a)
	case *Access:
		return m.access(c, a)
	case *ReadLink:
		n := m.get(a.Object)
		switch {
		case n == nil:
			return &ReadLinkResult{Head: Head{ESTALE}}
		case n.attr.Type != TypeSymlink:
			return &ReadLinkResult{Head: Head{EINVAL}, Attr: n.a()}
		}
		return &ReadLinkResult{Attr: n.a(), Target: n.target}
	case *Read:
		return m.read(c, a)
	case *Write:
		return m.write(c, a)
	case *Create:
		return m.create(c, a)
	case *Mkdir:
		return m.makeNew(c, a.Dir, a.Name, a.Set, &mnode{attr: Attr{Type: TypeDirectory, Nlink: 2}, entries: map[string]uint64{}})
	case *Symlink:
		return m.makeNew(c, a.Dir, a.Name, a.Set, &mnode{attr: Attr{Type: TypeSymlink, Nlink: 1, Mode: 0o777}, target: a.Target})
	case *Mknod:
		n := &mnode{attr: Attr{Type: a.Type, Nlink: 1}}
		if a.Type <= TypeDirectory || a.Type == TypeSymlink || a.Type > TypeFIFO {
			_, wcc, _ := m.dir(a.Dir)
			if s := badName(a.Name); s != OK {
				return &CreateResult{Head: Head{s}}
			}
			return &CreateResult{Head: Head{EBADTYPE}, Dir: wcc}
		}
		if a.Type == TypeBlock || a.Type == TypeChar {
			n.attr.Major, n.attr.Minor = a.Major, a.Minor
		}
		return m.makeNew(c, a.Dir, a.Name, a.Set, n)
	case *Remove:
		s, wcc := m.remove(c, a.Dir, a.Name, false)
		return &RemoveResult{Head{s}, wcc}
	case *Rmdir:
		s, wcc := m.remove(c, a.Dir, a.Name, true)
		return &RemoveResult{Head{s}, wcc}
	case *Rename:
		return m.rename(c, a)
	case *Link:
		return m.link(c, a)
	case *SetKey:
		return m.setKey(a)
	case *GetKeys:
		return m.getKeys()
	case *StatFS:
		n := m.get(a.Object)
		if n == nil {
			return &StatFSResult{Head: Head{ESTALE}}
		}
		return &StatFSResult{
			Attr: n.a(), TotalBytes: m.bytesMax, FreeBytes: m.bytesMax - m.used(),
			TotalFiles: m.inodesMax, FreeFiles: m.inodesMax - uint64(len(m.nodes)),
		}
	case *Resolve:
		return m.resolve(c, a)
	}
	return m.lockOp(c, args)
}

func (m *model) setAttr(c Cred, a *SetAttr) Result {
	n := m.get(a.Object)
	if n == nil {
		return &SetAttrResult{Head: Head{ESTALE}}
	}
	wcc := Wcc{n.pre(), n.a()}
	fail := func(s Status) Result { return &SetAttrResult{Head{s}, wcc} }
	owner := c.UID == 0 || c.UID == n.attr.UID
	set := a.Set
	if set.Size != nil {
		if n.attr.Type == TypeDirectory {
			return fail(EISDIR)
		}
		if n.attr.Type != TypeRegular {
			return fail(EINVAL)
		}
		if c.UID != n.attr.UID && !may(c, n, 'w') {
			return fail(EACCES)
		}
		if *set.Size > math.MaxInt64 {
			return fail(EFBIG)
		}
	}
	mayWrite := c.UID == n.attr.UID || may(c, n, 'w')
	switch [2]bool{set.Atime.How == TimeServer, set.Mtime.How == TimeServer} {
	case [2]bool{true, true}:
		if !mayWrite {
			return fail(EACCES)
		}
	case [2]bool{true, false}:
		if !owner {
			return fail(EPERM)
		}
	case [2]bool{false, true}:
		if !mayWrite {
			return fail(EPERM)
		}
	}
	if a.Guard != nil && *a.Guard != n.attr.Ctime {
		return fail(ENOTSYNC)
	}
	if (set.Atime.How == TimeClient || set.Mtime.How == TimeClient || set.Mode != nil) && !owner {
		return fail(EPERM)
	}
	if !mayChown(c, n, set) {
		return fail(EPERM)
	}
	if set == (SetAttrs{}) {
		return &SetAttrResult{Wcc: wcc}
	}
	m.change(c, n, set)
	wcc.After = n.a()
	return &SetAttrResult{Wcc: wcc}
}

func mayChown(c Cred, n *mnode, set SetAttrs) bool {
	if c.UID == 0 {
		return true
	}
	if set.UID != nil && (*set.UID != n.attr.UID || c.UID != n.attr.UID) {
		return false
	}
	if set.GID != nil {
		return c.UID == n.attr.UID && (*set.GID == n.attr.GID || isMember(c, *set.GID))
	}
	return true
}

func (m *model) change(c Cred, n *mnode, set SetAttrs) {
	if set.Size != nil {
		m.truncate(n, *set.Size)
		n.attr.Mtime = m.last
		if c.UID != 0 {
			losePrivileges(c, n, n.attr.GID)
		}
	}
	gid := n.attr.GID
	if set.UID != nil {
		n.attr.UID = *set.UID
	}
	if set.GID != nil {
		n.attr.GID = *set.GID
	}
	if set.Mode != nil {
		n.attr.Mode = *set.Mode & 0o7777
		if !isMember(c, n.attr.GID) {
			n.attr.Mode &^= 0o2000
		}
	}
	if (set.UID != nil || set.GID != nil) && n.attr.Type != TypeDirectory {
		losePrivileges(c, n, gid)
	}
	m.setTimes(n, set)
	n.attr.Ctime = m.last
}

func (m *model) setTimes(n *mnode, set SetAttrs) {
	for _, x := range []struct {
		t   *Time
		set SetTime
	}{{&n.attr.Atime, set.Atime}, {&n.attr.Mtime, set.Mtime}} {
		if x.set.How == TimeServer {
			*x.t = m.last
		}
		if x.set.How == TimeClient {
			*x.t = x.set.Time
		}
	}
}

func (m *model) truncate(n *mnode, size uint64) {
	for i, p := range n.pages {
		for j := range p {
			if i*4096+uint64(j) >= size {
				p[j] = 0
			}
		}
		if i*4096 >= size {
			delete(n.pages, i)
		}
	}
	n.attr.Size = size
}

func (m *model) read(c Cred, a *Read) Result {
	n := m.get(a.Object)
	if n == nil {
		return &ReadResult{Head: Head{ESTALE}}
	}
	s := OK
	switch {
	case n.attr.Type == TypeDirectory:
		s = EISDIR
	case n.attr.Type != TypeRegular:
		s = EINVAL
	case c.UID != n.attr.UID && !may(c, n, 'r') && !may(c, n, 'x'):
		s = EACCES
	}
	if s != OK {
		return &ReadResult{Head: Head{s}, Attr: n.a()}
	}
	var data []byte
	for at := a.Offset; at < n.attr.Size && len(data) < int(a.Count); at++ {
		b := byte(0)
		if p := n.pages[at/4096]; p != nil {
			b = p[at%4096]
		}
		data = append(data, b)
	}
	return &ReadResult{Attr: n.a(), EOF: a.Offset >= n.attr.Size || a.Offset+uint64(len(data)) == n.attr.Size, Data: data}
}

func (m *model) write(c Cred, a *Write) Result {
	n := m.get(a.Object)
	if n == nil {
		return &WriteResult{Head: Head{ESTALE}}
	}
	wcc := Wcc{n.pre(), n.a()}
	fail := func(s Status) Result { return &WriteResult{Head: Head{s}, Wcc: wcc} }
	switch {
	case n.attr.Type == TypeDirectory:
		return fail(EISDIR)
	case n.attr.Type != TypeRegular:
		return fail(EINVAL)
	case c.UID != n.attr.UID && !may(c, n, 'w'):
		return fail(EACCES)
	case a.Offset > math.MaxInt64 || a.Offset+uint64(len(a.Data)) > math.MaxInt64:
		return fail(EFBIG)
	case len(a.Data) == 0:
		return &WriteResult{Wcc: wcc}
	}
	missing := map[uint64]bool{}
	for i := range a.Data {
		if at := (a.Offset + uint64(i)) / 4096; n.pages[at] == nil {
			missing[at] = true
		}
	}
	if len(missing) > 0 && !m.fits(uint64(len(missing))*4096) {
		return fail(ENOSPC)
	}
	if n.pages == nil {
		n.pages = map[uint64][]byte{}
	}
	for i, b := range a.Data {
		at := a.Offset + uint64(i)
		if n.pages[at/4096] == nil {
			n.pages[at/4096] = make([]byte, 4096)
		}
		n.pages[at/4096][at%4096] = b
		n.attr.Size = max(n.attr.Size, at+1)
	}
	if c.UID != 0 {
		losePrivileges(c, n, n.attr.GID)
	}
	n.attr.Mtime, n.attr.Ctime = m.last, m.last
	wcc.After = n.a()
	return &WriteResult{Wcc: wcc, Count: uint32(len(a.Data))}
}

func (m *model) access(c Cred, a *Access) Result {
	n := m.get(a.Object)
	if n == nil {
		return &AccessResult{Head: Head{ESTALE}}
	}
	var g uint32
	if may(c, n, 'r') {
		g |= AccessRead
	}
	if n.attr.Type == TypeDirectory {
		if may(c, n, 'x') {
			g |= AccessLookup
		}
		if may(c, n, 'w') {
			g |= AccessModify | AccessExtend | AccessDelete
		}
	} else {
		if may(c, n, 'w') {
			g |= AccessModify | AccessExtend
		}
		if may(c, n, 'x') {
			g |= AccessExecute
		}
	}
	return &AccessResult{Attr: n.a(), Granted: g & a.Mask}
}
