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
	"strings"

	"golang.org/x/sys/unix"

	"bfsd/internal/kernelclient"
)

// kernelClient is a machine with the Linux NFS client, in a private network where the servers run too.
type kernelClient struct {
	guest *kernelclient.Guest
}

func newKernelClient(ctx context.Context, network *kernelclient.Network, memoryMiB int, w workload) (*kernelClient, error) {
	guest, err := network.StartGuest(ctx, kernelclient.GuestOptions{MemoryMiB: memoryMiB})
	if err != nil {
		return nil, err
	}
	if err := guest.Call(ctx, handlerWarm, w.withoutData(), nil, nil); err != nil {
		return nil, errors.Join(err, guest.Close())
	}
	return &kernelClient{guest}, nil
}

func (c *kernelClient) session(ctx context.Context, s *server) (session, error) {
	k := &kernelSession{guest: c.guest, options: kernelclient.MountOptions{Server: s.host, Port: s.port, MountPort: s.mountPort, Export: s.export}}
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
	handlerWarm   = "andrew-warm"
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
			return runPhases(ctx, fs, root, arg.Workload, func(m mark) {
				_, _ = fmt.Fprintln(stdout, m.phase, m.point) // a lost connection shows in the result
			})
		},
		handlerWarm: func(ctx context.Context, in json.RawMessage, _ io.Writer) (any, error) {
			var w workload
			if err := json.Unmarshal(in, &w); err != nil {
				return nil, err
			}
			return nil, warmUp(ctx, w)
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

// warmUp runs the phases once on the guest's own memory, so that the first target measured is not the one that pays for
// bringing this program and the compiler into the guest, and touches the memory that the files will be cached in.
func warmUp(ctx context.Context, w workload) error {
	root, err := os.MkdirTemp("", "andrew-warm-")
	if err != nil {
		return fmt.Errorf("make a directory to warm up in: %w", err)
	}
	defer os.RemoveAll(root)
	_, size := w.script().size()
	if err := touchMemory(filepath.Join(root, "touched"), size*cachedPerByte); err != nil {
		return err
	}
	w.Scale = 1
	if _, err := runPhases(ctx, newOSFS(""), root, w, func(mark) {}); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	_, err = verify(ctx, newOSFS(""), root, w)
	return err
}

// cachedPerByte is how much is cached, a compiler's objects included, for each byte of a workload's files; generously.
const cachedPerByte = 4

// touchMemory makes the host give the guest as much memory as a file of so many bytes takes, at most half of what the guest
// has. It has it from then on.
func touchMemory(name string, size int64) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("find the memory to touch: %w", err)
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("touch memory: %w", err)
	}
	defer os.Remove(name)
	defer f.Close()
	zeros := make([]byte, blockBytes)
	for left := min(size, int64(info.Freeram*uint64(info.Unit)/2)); left > 0; left -= blockBytes {
		if _, err := f.Write(zeros); err != nil {
			return fmt.Errorf("touch memory: %w", err)
		}
	}
	return nil
}

func (s *kernelSession) Run(ctx context.Context, w workload, tell func(mark)) (*measurement, error) {
	var m measurement
	err := s.guest.Call(ctx, handlerRun, s.argument(w), &m, lineWriter(func(line string) {
		p, at, _ := strings.Cut(line, " ")
		tell(mark{phase(p), point(at)})
	}))
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

func (s *kernelSession) argument(w workload) guestArgument {
	return guestArgument{MountPoint: s.dir, Workload: w.withoutData()}
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
