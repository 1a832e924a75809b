package nfsclient

import (
	"context"
	"fmt"

	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
)

func (c *Client) mountCall(ctx context.Context, proc mount.Proc, args, res nfs3.Message) error {
	if err := c.call(ctx, mount.Program, mount.Version, uint32(proc), args, res); err != nil {
		return fmt.Errorf("MOUNT %v: %w", proc, err)
	}
	return nil
}

// MountNull is MOUNT's NULL (RFC 1813 §5.2.0).
func (c *Client) MountNull(ctx context.Context) error {
	return c.mountCall(ctx, mount.ProcNull, &nfs3.Void{}, &nfs3.Void{})
}

// Mount is MNT (RFC 1813 §5.2.1): it returns an exported directory's handle. The error is a *MountError if the server
// refused.
func (c *Client) Mount(ctx context.Context, path string) (nfs3.FH, error) {
	res, err := c.MountRes(ctx, path)
	return res.Object, err
}

// MountRes is Mount with all of the results.
func (c *Client) MountRes(ctx context.Context, path string) (*mount.MntRes, error) {
	res := &mount.MntRes{}
	if err := c.mountCall(ctx, mount.ProcMnt, &mount.PathArgs{Path: path}, res); err != nil {
		return res, err
	}
	if res.Status != mount.OK {
		return res, &MountError{Path: path, Status: res.Status}
	}
	return res, nil
}

// Mounts is DUMP (RFC 1813 §5.2.2).
func (c *Client) Mounts(ctx context.Context) ([]mount.Mount, error) {
	res := &mount.DumpRes{}
	err := c.mountCall(ctx, mount.ProcDump, &nfs3.Void{}, res)
	return res.Mounts, err
}

// Unmount is UMNT (RFC 1813 §5.2.3).
func (c *Client) Unmount(ctx context.Context, path string) error {
	return c.mountCall(ctx, mount.ProcUmnt, &mount.PathArgs{Path: path}, &nfs3.Void{})
}

// UnmountAll is UMNTALL (RFC 1813 §5.2.4).
func (c *Client) UnmountAll(ctx context.Context) error {
	return c.mountCall(ctx, mount.ProcUmntAll, &nfs3.Void{}, &nfs3.Void{})
}

// Exports is EXPORT (RFC 1813 §5.2.5).
func (c *Client) Exports(ctx context.Context) ([]mount.Export, error) {
	res := &mount.ExportRes{}
	err := c.mountCall(ctx, mount.ProcExport, &nfs3.Void{}, res)
	return res.Exports, err
}
