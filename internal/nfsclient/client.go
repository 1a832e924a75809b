package nfsclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// Client calls one server over one connection, under one credential. It is safe for concurrent use.
type Client struct {
	rpc  *rpc.Client
	cred rpc.Credential
}

// Dial connects to the server at addr, which serves NFS and MOUNT on that port. Calls carry AUTH_SYS credentials with
// the process's own user and group.
func Dial(ctx context.Context, addr string) (*Client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to nfs server: %w", err)
	}
	return New(nc), nil
}

// New is Dial for a connection that exists, which the client owns from then on.
func New(nc net.Conn) *Client {
	return &Client{
		rpc: rpc.NewClient(nc),
		cred: rpc.Credential{
			Flavor: rpc.AuthSys, Machine: "nfsclient",
			UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
		},
	}
}

// As returns a client of the same connection whose calls carry AUTH_SYS credentials of another user.
func (c *Client) As(uid, gid uint32, gids ...uint32) *Client {
	cred := rpc.Credential{Flavor: rpc.AuthSys, Machine: c.cred.Machine, UID: uid, GID: gid, GIDs: gids}
	return &Client{rpc: c.rpc, cred: cred}
}

// Anonymous returns a client of the same connection whose calls carry no credentials (AUTH_NONE).
func (c *Client) Anonymous() *Client { return &Client{rpc: c.rpc} }

// Close closes the connection, which ends calls in flight on it.
func (c *Client) Close() error { return c.rpc.Close() }

// Calls returns how many RPCs were made on the connection, by all its clients.
func (c *Client) Calls() uint64 { return c.rpc.Calls() }

// StatusError is a call that the server answered with a status other than NFS3_OK. The results come with it: failed
// calls return attributes too.
type StatusError struct {
	Proc   nfs3.Proc
	Status nfs3.Status
}

func (e *StatusError) Error() string { return fmt.Sprintf("%v: %v", e.Proc, e.Status) }

// Status returns the status an error stands for: NFS3_OK for nil, and false if it is none the server answered with.
func Status(err error) (nfs3.Status, bool) {
	if err == nil {
		return nfs3.OK, true
	}
	var e *StatusError
	if errors.As(err, &e) {
		return e.Status, true
	}
	return 0, false
}

// MountError is a MOUNT call that the server answered with a status other than MNT3_OK.
type MountError struct {
	Path   string
	Status mount.Status
}

func (e *MountError) Error() string { return fmt.Sprintf("mount %q: %v", e.Path, e.Status) }

// Call makes one NFS call. The error is a *StatusError if results were received whose status is not NFS3_OK.
func (c *Client) Call(ctx context.Context, proc nfs3.Proc, args, res nfs3.Message) error {
	if err := c.call(ctx, nfs3.Program, nfs3.Version, uint32(proc), args, res); err != nil {
		return fmt.Errorf("%v: %w", proc, err)
	}
	if r, ok := res.(nfs3.Result); ok && r.Code() != nfs3.OK {
		return &StatusError{Proc: proc, Status: r.Code()}
	}
	return nil
}

func (c *Client) call(ctx context.Context, prog, vers, proc uint32, args, res nfs3.Message) error {
	results, err := c.rpc.Call(ctx, rpc.Call{Prog: prog, Vers: vers, Proc: proc, Cred: c.cred}, args.Encode)
	if err != nil {
		return err
	}
	d := xdr.NewDecoder(results)
	res.Decode(d)
	if err := d.Finish(); err != nil {
		return fmt.Errorf("decode results: %w", err)
	}
	return nil
}

// do makes one NFS call with results of type R, which are returned even when their status is not NFS3_OK.
func do[R any, PR interface {
	*R
	nfs3.Message
}](ctx context.Context, c *Client, proc nfs3.Proc, args nfs3.Message) (*R, error) {
	res := new(R)
	err := c.Call(ctx, proc, args, PR(res))
	return res, err
}
