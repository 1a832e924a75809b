package kernelclient

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount mounts an NFS export and returns the directory it is at, in the guest.
func (g *Guest) Mount(ctx context.Context, options MountOptions) (dir string, err error) {
	data, err := options.data()
	if err != nil {
		return "", err
	}
	g.mu.Lock()
	dir = mountRoot + "/nfs" + strconv.Itoa(g.mounts)
	g.mounts++
	g.mu.Unlock()
	mount := &mountRequest{Source: options.source(), Dir: dir, Data: data}
	if options.ReadOnly {
		mount.Flags = unix.MS_RDONLY
	}
	_, err = g.do(ctx, request{Op: opMount, Mount: mount}, nil, nil)
	if err != nil {
		return "", fmt.Errorf("mount %s with %s: %w", options.source(), data, err)
	}
	return dir, nil
}

// Unmount unmounts what Mount mounted; it fails while a process of the guest is in it. All written data is on the server
// when it returns.
func (g *Guest) Unmount(ctx context.Context, dir string) error {
	return g.unmount(ctx, dir, false)
}

// ForceUnmount detaches a mount whose server does not answer; unwritten data is lost.
func (g *Guest) ForceUnmount(ctx context.Context, dir string) error {
	return g.unmount(ctx, dir, true)
}

func (g *Guest) unmount(ctx context.Context, dir string, force bool) error {
	if _, err := g.do(ctx, request{Op: opUnmount, Unmount: &unmountRequest{Dir: dir, Force: force}}, nil, nil); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// Exec runs a program in the guest and returns its exit code: 128 plus the signal's number if a signal ended it, as a shell
// would say. The writers may be nil.
func (g *Guest) Exec(ctx context.Context, job Job, stdout, stderr io.Writer) (int, error) {
	last, err := g.do(ctx, request{Op: opExec, Exec: &job}, stdout, stderr)
	if err != nil {
		return -1, err
	}
	return last.Exit, nil
}

// Script runs a shell script in the guest, as root, and returns its exit code.
func (g *Guest) Script(ctx context.Context, script string, stdout, stderr io.Writer) (int, error) {
	return g.Exec(ctx, Job{Args: []string{"sh", "-c", script}}, stdout, stderr)
}

// Call calls one of the handlers that the program gave to Agent, inside the guest: in goes there and out comes back as
// JSON. out may be nil.
func (g *Guest) Call(ctx context.Context, name string, in, out any, stdout io.Writer) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode the argument of guest function %s: %w", name, err)
	}
	last, err := g.do(ctx, request{Op: opCall, Call: &callRequest{Name: name, In: body}}, stdout, nil)
	if err != nil {
		return fmt.Errorf("guest function %s: %w", name, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(last.Result, out); err != nil {
		return fmt.Errorf("decode the result of guest function %s: %w", name, err)
	}
	return nil
}

// KernelLog returns the messages of the guest's kernel.
func (g *Guest) KernelLog(ctx context.Context) (string, error) {
	var log strings.Builder
	_, err := g.do(ctx, request{Op: opKernelLog}, &log, nil)
	return log.String(), err
}
