package fsstate

import (
	"net/netip"
	"slices"
)

// Before an operation is executed, it is determined which export its objects belong to, and what that export makes of it.
// This goes by where the objects are in the tree at that time, and so neither a handle that was got elsewhere nor one that
// was guessed gives access to more. (It is what exports(5) calls subtree checking, without its flaws: an inode knows where
// its names are, so renaming a file does not make its handle stale.)

// regionDepthMax bounds the way up from an object to the directory of its export, and so what an operation may cost. A path
// has PATH_MAX bytes, so what lies deeper can only be made by going down step by step.
const regionDepthMax = 2048

// caller is where an operation comes from, as far as the policy is concerned.
type caller struct {
	via     FrontEnd
	machine netip.Addr
}

// callerOf says where an operation comes from. The machine is only looked at where there is a policy.
func (v view) callerOf(via FrontEnd, o *Op) caller {
	who := caller{via: via}
	if v.super.policy != nil {
		a, _ := netip.ParseAddr(o.Machine) // what is none is in no network
		who.machine = a.Unmap().WithZone("")
	}
	return who
}

// region returns the directory of the export that an inode belongs to; false if it is in none.
func (v view) region(n *inode) (dir uint64, ok bool) {
	p := v.super.policy
	if p.wholeTree() {
		return rootIno, true
	}
	at := *n
	if at.typ != TypeDirectory && !v.inode(v.firstParent(n), &at) {
		return 0, false
	}
	for range regionDepthMax {
		if p.regions[at.ino] != nil {
			return at.ino, true
		}
		if at.ino == rootIno || !v.inode(at.parent, &at) {
			return 0, false
		}
	}
	return 0, false
}

// mayEnter reports whether the caller has an export that dir, a directory, belongs to.
func (v view) mayEnter(who caller, dir *inode) bool {
	region, ok := v.region(dir)
	if ok {
		_, ok = v.super.policy.find(region, who.via, who.machine)
	}
	return ok
}

// admit applies the policy to an operation: it replaces the credential, or says why the operation is refused.
func (v view) admit(who caller, o *Op) Status {
	if v.super.policy == nil {
		return OK
	}
	export, s := v.exportOf(who, o.Args)
	if s != OK || export == nil {
		return s
	}
	if export.ReadOnly && o.Args.Kind().changesFiles() {
		return EROFS
	}
	o.Cred = export.squash(o.Cred)
	return v.admitNames(&o.Cred, o.Args)
}

// exportOf returns the export that an operation's objects belong to: nil if it has none, or if they do not exist, which the
// operation itself will find.
func (v view) exportOf(who caller, args Args) (*Export, Status) {
	var dir uint64
	for i, h := range objectsOf(args) {
		var n inode
		if h == nil {
			continue
		}
		if v.load(*h, &n) != OK {
			return nil, OK
		}
		region, ok := v.region(&n)
		if !ok {
			return nil, EACCES
		}
		if i > 0 && region != dir {
			return nil, EXDEV // as Linux nfsd_rename and nfsd_link between exports
		}
		dir = region
	}
	if dir == 0 {
		return nil, OK
	}
	export, ok := v.super.policy.find(dir, who.via, who.machine)
	if !ok {
		return nil, EACCES
	}
	return export, OK
}

// wholeTree reports whether there is one region only, so that nothing can be of another.
func (p *policy) wholeTree() bool { return len(p.regions) == 1 && p.regions[rootIno] != nil }

// admitNames applies the policy to what an operation names in its directories, which may be of another export than they
// are: an exported directory, whose way the policy names, or a file that had names in several exports before the policy was
// set. Who may not see the names learns nothing of them here.
func (v view) admitNames(c *Cred, args Args) Status {
	if v.super.policy.wholeTree() {
		return OK
	}
	switch a := args.(type) {
	case *Create:
		if a.How == Unchecked {
			return v.admitName(c, a.Dir, a.Name, nameUse{foreign: EACCES}) // whose size and handle it would give
		}
	case *Rmdir:
		return v.admitName(c, a.Dir, a.Name, nameUse{way: EACCES})
	case *Rename:
		if s := v.admitName(c, a.FromDir, a.FromName, nameUse{foreign: EXDEV, way: EACCES}); s != OK {
			return s
		}
		return v.admitName(c, a.ToDir, a.ToName, nameUse{way: EACCES})
	}
	return OK
}

// nameUse says what an operation that does something to a name is told of what it may not be done to.
type nameUse struct {
	way     Status // a directory on the way to an export
	foreign Status // a file that belongs to another export than the directory with the name
}

// admitName refuses a directory on the way to an export, which is in use as a mount point is (Linux nfsd makes EACCES of
// EBUSY for version 3); and a file of another export, since that goes by where its names are: moving one of them could make
// the file one of this export.
func (v view) admitName(c *Cred, h Handle, name string, use nameUse) Status {
	var dir, n inode
	if isDot(name) || v.loadDir(h, &dir) != OK || v.search(c, &dir, name, &n) != OK {
		return OK // which the operation itself will find
	}
	if n.typ == TypeDirectory {
		if v.super.policy.ways[n.ino] {
			return use.way
		}
		return OK
	}
	if n.nlink == 1 || use.foreign == OK {
		return OK
	}
	here, _ := v.region(&dir)
	if there, ok := v.region(&n); !ok || there != here {
		return use.foreign
	}
	return OK
}

// servedBy reports whether a front end may use the export that an inode belongs to, for some machine.
func (v view) servedBy(via FrontEnd, n *inode) bool {
	p := v.super.policy
	if p == nil {
		return true
	}
	dir, ok := v.region(n)
	return ok && slices.ContainsFunc(p.regions[dir], func(i int) bool { return p.Exports[i].isFor(via) })
}

// waysTo returns the exported directories and those above them. They can be neither renamed nor removed while the policy is
// in use, so this is the same whenever it is made.
func (v view) waysTo(exports []Export) map[uint64]bool {
	ways := make(map[uint64]bool)
	for i := range exports {
		var at inode
		for ino := exports[i].Dir; !ways[ino]; ino = at.parent {
			ways[ino] = true
			if !v.inode(ino, &at) {
				break
			}
		}
	}
	return ways
}

// objectsOf returns the handles in an operation's arguments.
func objectsOf(args Args) [2]*Handle {
	switch a := args.(type) {
	case *GetAttr:
		return [2]*Handle{&a.Object}
	case *SetAttr:
		return [2]*Handle{&a.Object}
	case *Lookup:
		return [2]*Handle{&a.Dir}
	case *Access:
		return [2]*Handle{&a.Object}
	case *ReadLink:
		return [2]*Handle{&a.Object}
	case *Read:
		return [2]*Handle{&a.Object}
	case *Write:
		return [2]*Handle{&a.Object}
	case *Create:
		return [2]*Handle{&a.Dir}
	case *Mkdir:
		return [2]*Handle{&a.Dir}
	case *Symlink:
		return [2]*Handle{&a.Dir}
	case *Mknod:
		return [2]*Handle{&a.Dir}
	case *Remove:
		return [2]*Handle{&a.Dir}
	case *Rmdir:
		return [2]*Handle{&a.Dir}
	case *Rename:
		return [2]*Handle{&a.FromDir, &a.ToDir}
	case *Link:
		return [2]*Handle{&a.Object, &a.Dir}
	case *ReadDir:
		return [2]*Handle{&a.Dir}
	case *StatFS:
		return [2]*Handle{&a.Object}
	case *Lock:
		return [2]*Handle{&a.Object}
	case *LockTest:
		return [2]*Handle{&a.Object}
	case *LockCancel:
		return [2]*Handle{&a.Object}
	case *Unlock:
		return [2]*Handle{&a.Object}
	case *Share:
		return [2]*Handle{&a.Object}
	case *Unshare:
		return [2]*Handle{&a.Object}
	}
	return [2]*Handle{}
}

// changesFiles reports whether operations of a kind change files or directories, which a read-only export does not let
// happen. Locks may be taken there.
func (k Kind) changesFiles() bool {
	switch k {
	case KindSetAttr, KindWrite, KindCreate, KindMkdir, KindSymlink, KindMknod, KindRemove, KindRmdir, KindRename, KindLink:
		return true
	default:
		return false
	}
}

// withdraw takes from a result what the caller may not have: ways out of the export that the operation was for.
func (v view) withdraw(who caller, args Args, r Result) Result {
	if v.super.policy == nil || r.Code() != OK {
		return r
	}
	switch a := args.(type) {
	case *Lookup:
		return v.withdrawLookup(who, a, r.(*LookupResult))
	case *ReadDir:
		v.withdrawEntries(who, a, r.(*ReadDirResult))
	case *Access:
		return v.withdrawAccess(who, a, r.(*AccessResult))
	}
	return r
}

// withdrawLookup hides a directory of another export that is not for the caller. What ".." of an export's own directory
// leads to is then that directory, as in a root directory.
func (v view) withdrawLookup(who caller, a *Lookup, r *LookupResult) *LookupResult {
	if a.Name != ".." && v.super.policy.regions[r.Object.Ino] == nil {
		return r
	}
	var found inode
	if v.load(r.Object, &found) != OK || v.mayEnter(who, &found) {
		return r
	}
	if a.Name == ".." {
		return &LookupResult{Object: a.Dir, Attr: r.Dir, Dir: r.Dir}
	}
	return &LookupResult{Head: Head{EACCES}, Dir: r.Dir}
}

// withdrawEntries is withdrawLookup for a listing, which shows the names all the same.
func (v view) withdrawEntries(who caller, a *ReadDir, r *ReadDirResult) {
	for i := range r.Entries {
		e := &r.Entries[i]
		if e.Name == "." || e.Name != ".." && v.super.policy.regions[e.Ino] == nil {
			continue
		}
		var n inode
		if !v.inode(e.Ino, &n) || v.mayEnter(who, &n) {
			continue
		}
		e.Gen, e.Attr = 0, nil
		if e.Name == ".." {
			if e.Ino = a.Dir.Ino; a.Plus {
				e.Gen, e.Attr = a.Dir.Gen, r.Dir
			}
		}
	}
}

// withdrawAccess takes the right to change what is in a read-only export.
func (v view) withdrawAccess(who caller, a *Access, r *AccessResult) *AccessResult {
	if export, s := v.exportOf(who, a); s == OK && export != nil && export.ReadOnly {
		r.Granted &^= AccessModify | AccessExtend | AccessDelete
	}
	return r
}

// resolveExported is resolve under a policy: what lies outside of the exports that are for the caller is not there, and
// the way down to one of them needs no permission, as with every server that exports a directory below one that is closed.
func (v view) resolveExported(who caller, c *Cred, a *Resolve) *LookupResult {
	var at, next inode
	if !v.inode(rootIno, &at) {
		return &LookupResult{Head: Head{EIO}}
	}
	cred, entered := &Cred{}, false
	failed := func(s Status) *LookupResult {
		if !entered {
			s = EACCES
		}
		return &LookupResult{Head: Head{s}}
	}
	for path := a.Path; ; {
		if v.super.policy.regions[at.ino] != nil {
			var export *Export
			if export, entered = v.super.policy.find(at.ino, who.via, who.machine); entered {
				squashed := export.squash(*c)
				cred = &squashed
			} else {
				cred = &Cred{}
			}
		}
		var name string
		if name, path = cutPath(path); name == "" {
			break
		}
		if at.typ != TypeDirectory {
			return failed(ENOTDIR)
		}
		if err := checkName(name); err != nil {
			return failed(err.Status)
		}
		if isDot(name) {
			return failed(EINVAL) // what the way back would be for is to be removed before
		}
		if s := v.search(cred, &at, name, &next); s != OK {
			return failed(s)
		}
		at = next
	}
	if !entered {
		return failed(EACCES)
	}
	return &LookupResult{Object: at.handle(), Attr: at.attr()}
}
