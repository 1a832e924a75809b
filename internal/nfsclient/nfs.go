package nfsclient

import (
	"context"

	"bfsd/nfs/nfs3"
)

// Null is NULL (RFC 1813 §3.3.0).
func (c *Client) Null(ctx context.Context) error {
	return c.Call(ctx, nfs3.ProcNull, &nfs3.Void{}, &nfs3.Void{})
}

// GetAttr is GETATTR (RFC 1813 §3.3.1).
func (c *Client) GetAttr(ctx context.Context, fh nfs3.FH) (*nfs3.GetAttrRes, error) {
	return do[nfs3.GetAttrRes](ctx, c, nfs3.ProcGetAttr, &nfs3.HandleArgs{Object: fh})
}

// SetAttr is SETATTR (RFC 1813 §3.3.2); guard may be nil.
func (c *Client) SetAttr(ctx context.Context, fh nfs3.FH, attr nfs3.Sattr, guard *nfs3.Time) (*nfs3.WccRes, error) {
	return do[nfs3.WccRes](ctx, c, nfs3.ProcSetAttr, &nfs3.SetAttrArgs{Object: fh, Attr: attr, Guard: guard})
}

// Lookup is LOOKUP (RFC 1813 §3.3.3).
func (c *Client) Lookup(ctx context.Context, dir nfs3.FH, name string) (*nfs3.LookupRes, error) {
	return do[nfs3.LookupRes](ctx, c, nfs3.ProcLookup, &nfs3.DirOpArgs{Dir: dir, Name: name})
}

// Access is ACCESS (RFC 1813 §3.3.4).
func (c *Client) Access(ctx context.Context, fh nfs3.FH, mask uint32) (*nfs3.AccessRes, error) {
	return do[nfs3.AccessRes](ctx, c, nfs3.ProcAccess, &nfs3.AccessArgs{Object: fh, Access: mask})
}

// ReadLink is READLINK (RFC 1813 §3.3.5).
func (c *Client) ReadLink(ctx context.Context, fh nfs3.FH) (*nfs3.ReadLinkRes, error) {
	return do[nfs3.ReadLinkRes](ctx, c, nfs3.ProcReadLink, &nfs3.HandleArgs{Object: fh})
}

// Read is READ (RFC 1813 §3.3.6).
func (c *Client) Read(ctx context.Context, fh nfs3.FH, offset uint64, count uint32) (*nfs3.ReadRes, error) {
	return do[nfs3.ReadRes](ctx, c, nfs3.ProcRead, &nfs3.ReadArgs{File: fh, Offset: offset, Count: count})
}

// Write is WRITE (RFC 1813 §3.3.7).
func (c *Client) Write(ctx context.Context, fh nfs3.FH, offset uint64, data []byte, stable nfs3.StableHow) (*nfs3.WriteRes, error) {
	return do[nfs3.WriteRes](ctx, c, nfs3.ProcWrite, &nfs3.WriteArgs{
		File: fh, Offset: offset, Count: uint32(len(data)), Stable: stable, Data: data,
	})
}

// Create is CREATE with mode UNCHECKED or GUARDED (RFC 1813 §3.3.8).
func (c *Client) Create(ctx context.Context, dir nfs3.FH, name string, mode nfs3.CreateMode, attr nfs3.Sattr) (*nfs3.CreateRes, error) {
	return do[nfs3.CreateRes](ctx, c, nfs3.ProcCreate, &nfs3.CreateArgs{
		Where: nfs3.DirOpArgs{Dir: dir, Name: name}, Mode: mode, Attr: attr,
	})
}

// CreateExclusive is CREATE with mode EXCLUSIVE (RFC 1813 §3.3.8).
func (c *Client) CreateExclusive(ctx context.Context, dir nfs3.FH, name string, verf [nfs3.CreateVerfSize]byte) (*nfs3.CreateRes, error) {
	return do[nfs3.CreateRes](ctx, c, nfs3.ProcCreate, &nfs3.CreateArgs{
		Where: nfs3.DirOpArgs{Dir: dir, Name: name}, Mode: nfs3.Exclusive, Verf: verf,
	})
}

// Mkdir is MKDIR (RFC 1813 §3.3.9).
func (c *Client) Mkdir(ctx context.Context, dir nfs3.FH, name string, attr nfs3.Sattr) (*nfs3.CreateRes, error) {
	return do[nfs3.CreateRes](ctx, c, nfs3.ProcMkdir, &nfs3.MkdirArgs{Where: nfs3.DirOpArgs{Dir: dir, Name: name}, Attr: attr})
}

// Symlink is SYMLINK (RFC 1813 §3.3.10).
func (c *Client) Symlink(ctx context.Context, dir nfs3.FH, name, target string, attr nfs3.Sattr) (*nfs3.CreateRes, error) {
	return do[nfs3.CreateRes](ctx, c, nfs3.ProcSymlink, &nfs3.SymlinkArgs{
		Where: nfs3.DirOpArgs{Dir: dir, Name: name}, Attr: attr, Target: target,
	})
}

// Mknod is MKNOD (RFC 1813 §3.3.11); spec counts for devices only.
func (c *Client) Mknod(ctx context.Context, dir nfs3.FH, name string, typ nfs3.FileType, spec nfs3.SpecData, attr nfs3.Sattr) (*nfs3.CreateRes, error) {
	return do[nfs3.CreateRes](ctx, c, nfs3.ProcMknod, &nfs3.MknodArgs{
		Where: nfs3.DirOpArgs{Dir: dir, Name: name}, Type: typ, Attr: attr, Spec: spec,
	})
}

// Remove is REMOVE (RFC 1813 §3.3.12).
func (c *Client) Remove(ctx context.Context, dir nfs3.FH, name string) (*nfs3.WccRes, error) {
	return do[nfs3.WccRes](ctx, c, nfs3.ProcRemove, &nfs3.DirOpArgs{Dir: dir, Name: name})
}

// Rmdir is RMDIR (RFC 1813 §3.3.13).
func (c *Client) Rmdir(ctx context.Context, dir nfs3.FH, name string) (*nfs3.WccRes, error) {
	return do[nfs3.WccRes](ctx, c, nfs3.ProcRmdir, &nfs3.DirOpArgs{Dir: dir, Name: name})
}

// Rename is RENAME (RFC 1813 §3.3.14).
func (c *Client) Rename(ctx context.Context, fromDir nfs3.FH, fromName string, toDir nfs3.FH, toName string) (*nfs3.RenameRes, error) {
	return do[nfs3.RenameRes](ctx, c, nfs3.ProcRename, &nfs3.RenameArgs{
		From: nfs3.DirOpArgs{Dir: fromDir, Name: fromName}, To: nfs3.DirOpArgs{Dir: toDir, Name: toName},
	})
}

// Link is LINK (RFC 1813 §3.3.15): it gives the file another name.
func (c *Client) Link(ctx context.Context, fh, dir nfs3.FH, name string) (*nfs3.LinkRes, error) {
	return do[nfs3.LinkRes](ctx, c, nfs3.ProcLink, &nfs3.LinkArgs{File: fh, Link: nfs3.DirOpArgs{Dir: dir, Name: name}})
}

// ReadDir is READDIR (RFC 1813 §3.3.16).
func (c *Client) ReadDir(ctx context.Context, dir nfs3.FH, cookie uint64, verf [nfs3.CookieVerfSize]byte, count uint32) (*nfs3.ReadDirRes, error) {
	return do[nfs3.ReadDirRes](ctx, c, nfs3.ProcReadDir, &nfs3.ReadDirArgs{Dir: dir, Cookie: cookie, CookieVerf: verf, Count: count})
}

// ReadDirPlus is READDIRPLUS (RFC 1813 §3.3.17).
func (c *Client) ReadDirPlus(ctx context.Context, dir nfs3.FH, cookie uint64, verf [nfs3.CookieVerfSize]byte, dirCount, maxCount uint32) (*nfs3.ReadDirPlusRes, error) {
	return do[nfs3.ReadDirPlusRes](ctx, c, nfs3.ProcReadDirPlus, &nfs3.ReadDirPlusArgs{
		Dir: dir, Cookie: cookie, CookieVerf: verf, DirCount: dirCount, MaxCount: maxCount,
	})
}

// FSStat is FSSTAT (RFC 1813 §3.3.18).
func (c *Client) FSStat(ctx context.Context, root nfs3.FH) (*nfs3.FSStatRes, error) {
	return do[nfs3.FSStatRes](ctx, c, nfs3.ProcFSStat, &nfs3.HandleArgs{Object: root})
}

// FSInfo is FSINFO (RFC 1813 §3.3.19).
func (c *Client) FSInfo(ctx context.Context, root nfs3.FH) (*nfs3.FSInfoRes, error) {
	return do[nfs3.FSInfoRes](ctx, c, nfs3.ProcFSInfo, &nfs3.HandleArgs{Object: root})
}

// PathConf is PATHCONF (RFC 1813 §3.3.20).
func (c *Client) PathConf(ctx context.Context, fh nfs3.FH) (*nfs3.PathConfRes, error) {
	return do[nfs3.PathConfRes](ctx, c, nfs3.ProcPathConf, &nfs3.HandleArgs{Object: fh})
}

// Commit is COMMIT (RFC 1813 §3.3.21).
func (c *Client) Commit(ctx context.Context, fh nfs3.FH, offset uint64, count uint32) (*nfs3.CommitRes, error) {
	return do[nfs3.CommitRes](ctx, c, nfs3.ProcCommit, &nfs3.CommitArgs{File: fh, Offset: offset, Count: count})
}
