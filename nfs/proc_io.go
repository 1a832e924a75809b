package nfs

import (
	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
)

// read is READ (RFC 1813 §3.3.6). More than rtmax is answered with rtmax bytes, which the RFC allows.
func read(c *call, a *nfs3.ReadArgs, r *nfs3.ReadRes) {
	h, ok := c.s.handle(a.File)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	op := &fsstate.Read{Object: h, Offset: a.Offset, Count: min(a.Count, fsstate.IOMax)}
	res, status := invoke[*fsstate.ReadResult](c, op)
	*r = nfs3.ReadRes{
		Status: status,
		Attr:   c.s.fattr(res.Attr),
		Count:  uint32(len(res.Data)),
		EOF:    res.EOF,
		Data:   res.Data,
	}
}

// write is WRITE (RFC 1813 §3.3.7). It returns when the data is as safe as it will ever be, so it always answers
// FILE_SYNC. Of more than wtmax bytes it writes, and says it wrote, the first wtmax.
func write(c *call, a *nfs3.WriteArgs, r *nfs3.WriteRes) {
	h, ok := c.s.handle(a.File)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	op := &fsstate.Write{Object: h, Offset: a.Offset, Data: a.Data[:min(len(a.Data), fsstate.IOMax)]}
	res, status := invoke[*fsstate.WriteResult](c, op)
	*r = nfs3.WriteRes{
		Status:    status,
		Wcc:       c.s.wcc(res.Wcc),
		Count:     res.Count,
		Committed: nfs3.FileSync,
		Verf:      c.s.cfg.Verifier,
	}
}

// commit is COMMIT (RFC 1813 §3.3.21). There is never uncommitted data, so it changes nothing, and the attributes
// before are those after.
func commit(c *call, a *nfs3.CommitArgs, r *nfs3.CommitRes) {
	attr, status := c.attrOf(a.File)
	if status == nfs3.OK && attr.Type != nfs3.TypeReg {
		status = nfs3.ErrInval
	}
	*r = nfs3.CommitRes{Status: status, Wcc: nfs3.Wcc{After: attr}, Verf: c.s.cfg.Verifier}
	if attr != nil {
		r.Wcc.Before = &nfs3.WccAttr{Size: attr.Size, Mtime: attr.Mtime, Ctime: attr.Ctime}
	}
}
