package nfs

import (
	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
)

// getAttr is GETATTR (RFC 1813 §3.3.1).
func getAttr(c *call, a *nfs3.HandleArgs, r *nfs3.GetAttrRes) {
	h, ok := c.s.handle(a.Object)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.GetAttrResult](c, &fsstate.GetAttr{Object: h})
	r.Status = status
	if status == nfs3.OK {
		r.Attr = *c.s.fattr(&res.Attr)
	}
}

// setAttr is SETATTR (RFC 1813 §3.3.2).
func setAttr(c *call, a *nfs3.SetAttrArgs, r *nfs3.WccRes) {
	h, ok := c.s.handle(a.Object)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	op := &fsstate.SetAttr{Object: h, Set: setAttrs(&a.Attr)}
	if a.Guard != nil {
		ctime := stateTime(*a.Guard)
		op.Guard = &ctime
	}
	res, status := invoke[*fsstate.SetAttrResult](c, op)
	r.Status, r.Wcc = status, c.s.wcc(res.Wcc)
}

// access is ACCESS (RFC 1813 §3.3.4).
func access(c *call, a *nfs3.AccessArgs, r *nfs3.AccessRes) {
	h, ok := c.s.handle(a.Object)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.AccessResult](c, &fsstate.Access{Object: h, Mask: a.Access})
	r.Status, r.Attr, r.Access = status, c.s.fattr(res.Attr), res.Granted
}

// fsStat is FSSTAT (RFC 1813 §3.3.18). All free space is available to every caller.
func fsStat(c *call, a *nfs3.HandleArgs, r *nfs3.FSStatRes) {
	h, ok := c.s.handle(a.Object)
	if !ok {
		r.Status = nfs3.ErrBadHandle
		return
	}
	res, status := invoke[*fsstate.StatFSResult](c, &fsstate.StatFS{Object: h})
	*r = nfs3.FSStatRes{
		Status: status,
		Attr:   c.s.fattr(res.Attr),
		TBytes: res.TotalBytes, FBytes: res.FreeBytes, ABytes: res.FreeBytes,
		TFiles: res.TotalFiles, FFiles: res.FreeFiles, AFiles: res.FreeFiles,
	}
}

// ioMult is the suggested multiple of transfer sizes, in bytes: a page of every client's cache.
const ioMult = 4096

// fsInfo is FSINFO (RFC 1813 §3.3.19).
func fsInfo(c *call, a *nfs3.HandleArgs, r *nfs3.FSInfoRes) {
	attr, status := c.attrOf(a.Object)
	*r = nfs3.FSInfoRes{
		Status: status,
		Attr:   attr,
		RTMax:  fsstate.IOMax, RTPref: fsstate.IOMax, RTMult: ioMult,
		WTMax: fsstate.IOMax, WTPref: fsstate.IOMax, WTMult: ioMult,
		DTPref:      fsstate.IOMax,
		MaxFileSize: c.s.cfg.MaxFileSize,
		TimeDelta:   nfs3.Time{Nsec: 1},
		Properties:  nfs3.FSLink | nfs3.FSSymlink | nfs3.FSHomogeneous | nfs3.FSCanSetTime,
	}
}

// pathConf is PATHCONF (RFC 1813 §3.3.20): names are bytes, kept as they are, refused when too long, and only root gives
// files away.
func pathConf(c *call, a *nfs3.HandleArgs, r *nfs3.PathConfRes) {
	attr, status := c.attrOf(a.Object)
	*r = nfs3.PathConfRes{
		Status:          status,
		Attr:            attr,
		LinkMax:         fsstate.LinkMax,
		NameMax:         fsstate.NameMax,
		NoTrunc:         true,
		ChownRestricted: true,
		CasePreserving:  true,
	}
}

// attrOf gets the attributes of the object whose static properties are asked for.
func (c *call) attrOf(fh nfs3.FH) (*nfs3.Fattr, nfs3.Status) {
	h, ok := c.s.handle(fh)
	if !ok {
		return nil, nfs3.ErrBadHandle
	}
	res, status := invoke[*fsstate.GetAttrResult](c, &fsstate.GetAttr{Object: h})
	if status != nfs3.OK {
		return nil, status
	}
	return c.s.fattr(&res.Attr), nfs3.OK
}
