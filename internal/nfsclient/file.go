package nfsclient

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"

	"golang.org/x/sync/errgroup"
)

const (
	// IOSize is the size of the reads and writes that ReadFile and WriteFile make, in bytes: the largest a bfsd server
	// serves.
	IOSize = 1 << 20
	// ioParallel is how many of them are in flight, as a kernel's read-ahead and write-behind would have.
	ioParallel = 8
	// listSize is the size of listings asked for, in bytes.
	listSize = 64 << 10
)

// errShort says that a server answered with data of another length than it should have.
var errShort = errors.New("nfsclient: data of unexpected length")

// Walk looks up a slash-separated path from dir, one LOOKUP per component, and returns the last one's results. An empty
// path is dir itself.
func (c *Client) Walk(ctx context.Context, dir nfs3.FH, path string) (*nfs3.LookupRes, error) {
	res := &nfs3.LookupRes{Object: dir}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		var err error
		if res, err = c.Lookup(ctx, res.Object, name); err != nil {
			return res, fmt.Errorf("walk %q: %w", path, err)
		}
	}
	return res, nil
}

// ReadFile reads a whole file: GETATTR, then as many READs as it takes, several in flight.
func (c *Client) ReadFile(ctx context.Context, fh nfs3.FH) ([]byte, error) {
	attr, err := c.GetAttr(ctx, fh)
	if err != nil {
		return nil, err
	}
	data := make([]byte, attr.Attr.Size)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(ioParallel)
	for from := 0; from < len(data); from += IOSize {
		part := data[from:min(from+IOSize, len(data))]
		g.Go(func() error { return c.readFull(ctx, fh, uint64(from), part) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	return data, nil
}

// readFull reads len(part) bytes at offset, with more READs if the server returns fewer bytes than it was asked for.
func (c *Client) readFull(ctx context.Context, fh nfs3.FH, offset uint64, part []byte) error {
	for len(part) > 0 {
		n, err := c.ReadAt(ctx, fh, part, offset)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("read %d bytes at %d: none came: %w", len(part), offset, errShort)
		}
		part, offset = part[n:], offset+uint64(n)
	}
	return nil
}

// ReadAt is READ into memory of the caller's, up to its length. It returns how many bytes came.
func (c *Client) ReadAt(ctx context.Context, fh nfs3.FH, part []byte, offset uint64) (n int, err error) {
	args := nfs3.ReadArgs{File: fh, Offset: offset, Count: uint32(len(part))}
	call := rpc.Call{Prog: nfs3.Program, Vers: nfs3.Version, Proc: uint32(nfs3.ProcRead), Cred: c.cred}
	err = c.rpc.Do(ctx, call, args.Encode, func(results []byte) error {
		var res nfs3.ReadRes
		d := xdr.NewDecoder(results)
		res.Decode(d)
		if err := d.Finish(); err != nil {
			return fmt.Errorf("decode results: %w", err)
		}
		if res.Status != nfs3.OK {
			return &StatusError{Proc: nfs3.ProcRead, Status: res.Status}
		}
		n = len(res.Data)
		if n > len(part) || uint64(n) != uint64(res.Count) {
			return fmt.Errorf("%d bytes at %d asked for: %d came, count %d: %w", len(part), offset, n, res.Count, errShort)
		}
		copy(part, res.Data)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("READ: %w", err)
	}
	return n, nil
}

// WriteFile makes or empties the file dir/name with the mode given, and writes data: CREATE, then as many WRITEs as it
// takes, several in flight. It returns the file's handle.
func (c *Client) WriteFile(ctx context.Context, dir nfs3.FH, name string, data []byte, mode uint32) (nfs3.FH, error) {
	var size uint64
	res, err := c.Create(ctx, dir, name, nfs3.Unchecked, nfs3.Sattr{Mode: &mode, Size: &size})
	if err != nil {
		return nil, fmt.Errorf("write file %q: %w", name, err)
	}
	fh := res.Object
	if fh == nil { // which the RFC allows
		found, err := c.Lookup(ctx, dir, name)
		if err != nil {
			return nil, fmt.Errorf("write file %q: %w", name, err)
		}
		fh = found.Object
	}
	if err := c.WriteAt(ctx, fh, 0, data); err != nil {
		return fh, fmt.Errorf("write file %q: %w", name, err)
	}
	return fh, nil
}

// WriteAt writes data at offset, several WRITEs in flight.
func (c *Client) WriteAt(ctx context.Context, fh nfs3.FH, offset uint64, data []byte) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(ioParallel)
	for from := 0; from < len(data); from += IOSize {
		part := data[from:min(from+IOSize, len(data))]
		g.Go(func() error { return c.writeFull(ctx, fh, offset+uint64(from), part) })
	}
	return g.Wait()
}

// writeFull writes part at offset, with more WRITEs if the server takes fewer bytes than it was given.
func (c *Client) writeFull(ctx context.Context, fh nfs3.FH, offset uint64, part []byte) error {
	for len(part) > 0 {
		res, err := c.Write(ctx, fh, offset, part, nfs3.FileSync)
		if err != nil {
			return err
		}
		n := int(res.Count)
		if n == 0 || n > len(part) || res.Committed != nfs3.FileSync {
			return fmt.Errorf("write %d bytes at %d: %d taken, stability %d: %w", len(part), offset, n, res.Committed, errShort)
		}
		part, offset = part[n:], offset+uint64(n)
	}
	return nil
}

// ReadDirAll lists a directory with READDIRPLUS, "." and ".." included.
func (c *Client) ReadDirAll(ctx context.Context, dir nfs3.FH) ([]nfs3.Entry, error) {
	var all []nfs3.Entry
	var cookie uint64
	var verf [nfs3.CookieVerfSize]byte
	for {
		res, err := c.ReadDirPlus(ctx, dir, cookie, verf, listSize, listSize)
		if err != nil {
			return nil, fmt.Errorf("list directory: %w", err)
		}
		all = append(all, res.Entries...)
		if res.EOF {
			return all, nil
		}
		if len(res.Entries) == 0 {
			return nil, fmt.Errorf("list directory: no entries, and not at its end: %w", errShort)
		}
		cookie, verf = res.Entries[len(res.Entries)-1].Cookie, res.CookieVerf
	}
}
