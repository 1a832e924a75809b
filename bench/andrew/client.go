package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bfsd/internal/kernelclient"
)

const (
	clientKernel  = "kernel"
	clientLibrary = "library"
)

// session is a client's view of one server, or of a mounted directory. Phases work in a directory made for the run.
type session interface {
	Run(ctx context.Context, w workload, done func(phase)) (*measurement, error)
	// Verify compares what is on the server with what was written, past the client's caches.
	Verify(ctx context.Context, w workload) (verification, error)
	Close(ctx context.Context) error
}

// runDir is the directory of a run below the root of an export.
const runDir = "andrew"

// pathSession works on a directory that somebody mounted on this machine.
type pathSession struct {
	dir  string
	keep bool
	fs   *osFS
}

func newPathSession(dir string, keep bool) (*pathSession, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", dir, err)
	}
	run, err := os.MkdirTemp(absolute, runDir+"-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the run: %w", err)
	}
	mountPoint, err := mountPointOf(run)
	if err != nil {
		return nil, err
	}
	return &pathSession{dir: run, keep: keep, fs: newOSFS(mountPoint)}, nil
}

func (s *pathSession) Run(ctx context.Context, w workload, done func(phase)) (*measurement, error) {
	return runPhases(ctx, s.fs, s.dir, w, done)
}

func (s *pathSession) Verify(ctx context.Context, w workload) (verification, error) {
	if err := dropCaches(); err != nil && !errors.Is(err, os.ErrPermission) {
		return verification{}, err // without root the caches stay, and the comparison is all there is
	}
	return verify(ctx, s.fs, s.dir, w)
}

func (s *pathSession) Close(context.Context) error {
	if s.keep {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// mountPointOf is the nearest ancestor of dir on whose mount it is.
func mountPointOf(dir string) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find the mount of %s: %w", dir, err)
	}
	points := map[string]bool{}
	for line := range bytes.Lines(mounts) {
		if fields := bytes.Fields(line); len(fields) > 4 {
			points[string(fields[4])] = true
		}
	}
	for !points[dir] && dir != "/" {
		dir = filepath.Dir(dir)
	}
	return dir, nil
}

// kernelClient is a machine with the Linux NFS client, in a private network where the servers run too.
type kernelClient struct {
	network *kernelclient.Network
	guest   *kernelclient.Guest
}

func newKernelClient(ctx context.Context, memoryMiB int) (*kernelClient, error) {
	network, err := kernelclient.NewNetwork(ctx)
	if err != nil {
		return nil, err
	}
	guest, err := network.StartGuest(ctx, kernelclient.GuestOptions{MemoryMiB: memoryMiB})
	if err != nil {
		return nil, errors.Join(err, network.Close())
	}
	return &kernelClient{network, guest}, nil
}

// nfsPort is free in the private network, of which nobody else uses ports.
const nfsPort = 2049

func (c *kernelClient) launcher() launcher {
	return launcher{
		host:    kernelclient.Address,
		port:    func(context.Context) (int, error) { return nfsPort, nil },
		command: c.network.Command,
		dial:    c.network.Dial,
	}
}

func (c *kernelClient) session(ctx context.Context, s *server) (session, error) {
	k := &kernelSession{guest: c.guest, options: kernelclient.MountOptions{Server: s.host, Port: s.port}}
	var err error
	k.dir, err = c.guest.Mount(ctx, k.options)
	return k, err
}

// kernelSession runs the phases inside the guest: this program is the guest's agent, and its handlers are called there.
type kernelSession struct {
	guest   *kernelclient.Guest
	options kernelclient.MountOptions
	dir     string
}

// Names of the functions that run in the guest.
const (
	handlerRun    = "andrew-run"
	handlerVerify = "andrew-verify"
)

// guestArgument is what the guest's functions are given.
type guestArgument struct {
	MountPoint string   `json:"mount_point"`
	Workload   workload `json:"workload"`
}

func guestHandlers() map[string]kernelclient.Handler {
	return map[string]kernelclient.Handler{
		handlerRun: func(ctx context.Context, in json.RawMessage, stdout io.Writer) (any, error) {
			var arg guestArgument
			if err := json.Unmarshal(in, &arg); err != nil {
				return nil, err
			}
			fs, root := newOSFS(arg.MountPoint), filepath.Join(arg.MountPoint, runDir)
			if err := fs.Mkdir(root); err != nil {
				return nil, fmt.Errorf("make %s: %w", root, err)
			}
			return runPhases(ctx, fs, root, arg.Workload, func(p phase) {
				_, _ = fmt.Fprintln(stdout, p) // progress only; a lost connection shows in the result
			})
		},
		handlerVerify: func(ctx context.Context, in json.RawMessage, _ io.Writer) (any, error) {
			var arg guestArgument
			if err := json.Unmarshal(in, &arg); err != nil {
				return nil, err
			}
			return verify(ctx, newOSFS(arg.MountPoint), filepath.Join(arg.MountPoint, runDir), arg.Workload)
		},
	}
}

func (s *kernelSession) Run(ctx context.Context, w workload, done func(phase)) (*measurement, error) {
	var m measurement
	err := s.guest.Call(ctx, handlerRun, s.argument(w), &m, lineWriter(func(line string) { done(phase(line)) }))
	return &m, err
}

// Verify mounts anew, so that nothing comes from the client's caches.
func (s *kernelSession) Verify(ctx context.Context, w workload) (v verification, err error) {
	if err := s.guest.Unmount(ctx, s.dir); err != nil {
		return v, err
	}
	if s.dir, err = s.guest.Mount(ctx, s.options); err != nil {
		return v, err
	}
	err = s.guest.Call(ctx, handlerVerify, s.argument(w), &v, nil)
	return v, err
}

// argument leaves out the outputs' bytes, whose digests suffice where a compiler runs.
func (s *kernelSession) argument(w workload) guestArgument {
	outputs := make([]output, len(w.Outputs))
	for i, o := range w.Outputs {
		outputs[i] = output{Path: o.Path, SHA256: o.SHA256}
	}
	w.Outputs = outputs
	return guestArgument{MountPoint: s.dir, Workload: w}
}

func (s *kernelSession) Close(ctx context.Context) error { return s.guest.Unmount(ctx, s.dir) }

// lineWriter calls f for each whole line written to it.
func lineWriter(f func(string)) io.Writer {
	var partial []byte
	return writerFunc(func(p []byte) (int, error) {
		partial = append(partial, p...)
		for {
			line, rest, ok := bytes.Cut(partial, []byte("\n"))
			if !ok {
				return len(p), nil
			}
			f(string(line))
			partial = rest
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
