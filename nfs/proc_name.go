package nfs

import (
	"encoding/binary"

	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
)

// clip shortens a name that is longer than the file system takes to one that still is, so that the file system answers
// ENAMETOOLONG without being sent kilobytes.
func clip(name string, limit int) string { return name[:min(len(name), limit+1)] }

// lookup is LOOKUP (RFC 1813 §3.3.3).
func lookup(c *call, a *nfs3.DirOpArgs, r *nfs3.LookupRes) {
	dir, ok := c.s.handle(a.Dir)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.LookupResult](c, &fsstate.Lookup{Dir: dir, Name: clip(a.Name, fsstate.NameMax)})
	*r = nfs3.LookupRes{Status: status, Object: c.s.fh(res.Object), Attr: c.s.fattr(res.Attr), Dir: c.s.fattr(res.Dir)}
}

// readLink is READLINK (RFC 1813 §3.3.5).
func readLink(c *call, a *nfs3.HandleArgs, r *nfs3.ReadLinkRes) {
	h, ok := c.s.handle(a.Object)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.ReadLinkResult](c, &fsstate.ReadLink{Object: h})
	*r = nfs3.ReadLinkRes{Status: status, Attr: c.s.fattr(res.Attr), Target: res.Target}
}

// create is CREATE (RFC 1813 §3.3.8).
func create(c *call, a *nfs3.CreateArgs, r *nfs3.CreateRes) {
	c.make(a.Where.Dir, r, func(dir fsstate.Handle) fsstate.Args {
		op := &fsstate.Create{Dir: dir, Name: clip(a.Where.Name, fsstate.NameMax)}
		switch a.Mode {
		case nfs3.Unchecked:
			op.How, op.Set = fsstate.Unchecked, setAttrs(&a.Attr)
		case nfs3.Guarded:
			op.How, op.Set = fsstate.Guarded, setAttrs(&a.Attr)
		case nfs3.Exclusive:
			op.How, op.Verf = fsstate.Exclusive, binary.BigEndian.Uint64(a.Verf[:])
		}
		return op
	})
}

// mkdir is MKDIR (RFC 1813 §3.3.9).
func mkdir(c *call, a *nfs3.MkdirArgs, r *nfs3.CreateRes) {
	c.make(a.Where.Dir, r, func(dir fsstate.Handle) fsstate.Args {
		return &fsstate.Mkdir{Dir: dir, Name: clip(a.Where.Name, fsstate.NameMax), Set: setAttrs(&a.Attr)}
	})
}

// symlink is SYMLINK (RFC 1813 §3.3.10).
func symlink(c *call, a *nfs3.SymlinkArgs, r *nfs3.CreateRes) {
	c.make(a.Where.Dir, r, func(dir fsstate.Handle) fsstate.Args {
		return &fsstate.Symlink{
			Dir:    dir,
			Name:   clip(a.Where.Name, fsstate.NameMax),
			Set:    setAttrs(&a.Attr),
			Target: clip(a.Target, fsstate.PathMax),
		}
	})
}

// mknod is MKNOD (RFC 1813 §3.3.11). Types that MKNOD does not make, or that do not exist, the file system refuses.
func mknod(c *call, a *nfs3.MknodArgs, r *nfs3.CreateRes) {
	c.make(a.Where.Dir, r, func(dir fsstate.Handle) fsstate.Args {
		op := &fsstate.Mknod{
			Dir:   dir,
			Name:  clip(a.Where.Name, fsstate.NameMax),
			Set:   setAttrs(&a.Attr),
			Major: a.Spec.Major,
			Minor: a.Spec.Minor,
		}
		if a.Type <= nfs3.TypeFIFO {
			op.Type = fsstate.FileType(a.Type) // in the same order
		}
		return op
	})
}

// make runs an operation that makes an object in a directory.
func (c *call) make(where nfs3.FH, r *nfs3.CreateRes, op func(dir fsstate.Handle) fsstate.Args) {
	dir, ok := c.s.handle(where)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.CreateResult](c, op(dir))
	*r = nfs3.CreateRes{Status: status, Object: c.s.fh(res.Object), Attr: c.s.fattr(res.Attr), Dir: c.s.wcc(res.Dir)}
}

// remove is REMOVE (RFC 1813 §3.3.12).
func remove(c *call, a *nfs3.DirOpArgs, r *nfs3.WccRes) {
	c.unmake(a.Dir, r, func(dir fsstate.Handle) fsstate.Args {
		return &fsstate.Remove{Dir: dir, Name: clip(a.Name, fsstate.NameMax)}
	})
}

// rmdir is RMDIR (RFC 1813 §3.3.13).
func rmdir(c *call, a *nfs3.DirOpArgs, r *nfs3.WccRes) {
	c.unmake(a.Dir, r, func(dir fsstate.Handle) fsstate.Args {
		return &fsstate.Rmdir{Dir: dir, Name: clip(a.Name, fsstate.NameMax)}
	})
}

// unmake runs an operation that removes a name from a directory.
func (c *call) unmake(where nfs3.FH, r *nfs3.WccRes, op func(dir fsstate.Handle) fsstate.Args) {
	dir, ok := c.s.handle(where)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.RemoveResult](c, op(dir))
	r.Status, r.Wcc = status, c.s.wcc(res.Dir)
}

// rename is RENAME (RFC 1813 §3.3.14).
func rename(c *call, a *nfs3.RenameArgs, r *nfs3.RenameRes) {
	from, ok1 := c.s.handle(a.From.Dir)
	to, ok2 := c.s.handle(a.To.Dir)
	if !ok1 || !ok2 {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.RenameResult](c, &fsstate.Rename{
		FromDir: from, FromName: clip(a.From.Name, fsstate.NameMax),
		ToDir: to, ToName: clip(a.To.Name, fsstate.NameMax),
	})
	*r = nfs3.RenameRes{Status: status, From: c.s.wcc(res.From), To: c.s.wcc(res.To)}
}

// link is LINK (RFC 1813 §3.3.15).
func link(c *call, a *nfs3.LinkArgs, r *nfs3.LinkRes) {
	h, ok1 := c.s.handle(a.File)
	dir, ok2 := c.s.handle(a.Link.Dir)
	if !ok1 || !ok2 {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.LinkResult](c, &fsstate.Link{Object: h, Dir: dir, Name: clip(a.Link.Name, fsstate.NameMax)})
	*r = nfs3.LinkRes{Status: status, Attr: c.s.fattr(res.Attr), Dir: c.s.wcc(res.Dir)}
}
