package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// nfsFS is an NFS server through the client in this process, which caches nothing but the handles of directories that it
// was in, as any client must to have a working directory. It serves one run, under that run's context.
type nfsFS struct {
	ctx    context.Context
	client *nfsclient.Client
	dirs   map[string]nfs3.FH
}

// newNFSFS mounts the server's root.
func newNFSFS(ctx context.Context, address string) (*nfsFS, error) {
	client, err := nfsclient.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	root, err := client.Mount(ctx, "/")
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &nfsFS{ctx: ctx, client: client, dirs: map[string]nfs3.FH{"/": root}}, nil
}

// dir returns a directory's handle, looking up what it does not know.
func (fs *nfsFS) dir(name string) (nfs3.FH, error) {
	if fh, ok := fs.dirs[name]; ok {
		return fh, nil
	}
	parent, err := fs.dir(path.Dir(name))
	if err != nil {
		return nil, err
	}
	found, err := fs.client.Lookup(fs.ctx, parent, path.Base(name))
	if err != nil {
		return nil, err
	}
	fs.dirs[name] = found.Object
	return found.Object, nil
}

func (fs *nfsFS) Mkdir(name string) error {
	parent, err := fs.dir(path.Dir(name))
	if err != nil {
		return err
	}
	mode := uint32(0o755)
	made, err := fs.client.Mkdir(fs.ctx, parent, path.Base(name), nfs3.Sattr{Mode: &mode})
	if err == nil && made.Object != nil {
		fs.dirs[name] = made.Object
	}
	return err
}

func (fs *nfsFS) WriteFile(name string, data []byte) error {
	parent, err := fs.dir(path.Dir(name))
	if err != nil {
		return err
	}
	_, err = fs.client.WriteFile(fs.ctx, parent, path.Base(name), data, 0o644)
	return err
}

func (fs *nfsFS) ReadDir(name string) ([]string, error) {
	dir, err := fs.dir(name)
	if err != nil {
		return nil, err
	}
	entries, err := fs.client.ReadDirAll(fs.ctx, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if entry.Name != "." && entry.Name != ".." {
			names = append(names, entry.Name)
		}
	}
	return names, nil
}

func (fs *nfsFS) lookup(name string) (*nfs3.LookupRes, error) {
	parent, err := fs.dir(path.Dir(name))
	if err != nil {
		return nil, err
	}
	return fs.client.Lookup(fs.ctx, parent, path.Base(name))
}

func (fs *nfsFS) Stat(name string) (fileInfo, error) {
	found, err := fs.lookup(name)
	if err != nil {
		return fileInfo{}, err
	}
	attr := found.Attr
	if attr == nil { // which the RFC allows
		res, err := fs.client.GetAttr(fs.ctx, found.Object)
		if err != nil {
			return fileInfo{}, err
		}
		attr = &res.Attr
	}
	return fileInfo{Size: int64(attr.Size), Dir: attr.Type == nfs3.TypeDir}, nil
}

func (fs *nfsFS) ReadFile(name string) ([]byte, error) {
	found, err := fs.lookup(name)
	if err != nil {
		return nil, err
	}
	return fs.client.ReadFile(fs.ctx, found.Object)
}

// Build does a compiler's file-system work without compiling: it reads the sources, writes the objects made beforehand,
// reads them again and writes the program.
func (fs *nfsFS) Build(_ context.Context, dir string, w workload, tree *sourceTree) error {
	for _, f := range tree.Files {
		if ext := path.Ext(f.Path); ext != ".h" && ext != "."+string(tree.Language) {
			continue
		}
		if _, err := fs.ReadFile(path.Join(dir, f.Path)); err != nil {
			return fmt.Errorf("read %s: %w", f.Path, err)
		}
	}
	isProgram := func(o output) bool { return path.Base(o.Path) == program }
	write := func(o output) error {
		if err := fs.WriteFile(path.Join(dir, o.Path), o.Data); err != nil {
			return fmt.Errorf("write %s: %w", o.Path, err)
		}
		return nil
	}
	for _, o := range w.Outputs {
		if !isProgram(o) {
			if err := write(o); err != nil {
				return err
			}
		}
	}
	for _, o := range w.Outputs {
		if !isProgram(o) && strings.HasSuffix(o.Path, ".o") {
			if _, err := fs.ReadFile(path.Join(dir, o.Path)); err != nil {
				return fmt.Errorf("read %s: %w", o.Path, err)
			}
		}
	}
	for _, o := range w.Outputs {
		if isProgram(o) {
			return write(o)
		}
	}
	return nil
}

func (fs *nfsFS) RPCs() (uint64, bool) { return fs.client.Calls(), true }

// librarySession runs the phases over the client in this process.
type librarySession struct {
	address string
}

func newLibrarySession(s *server) *librarySession {
	return &librarySession{net.JoinHostPort(s.host, strconv.Itoa(s.port))}
}

func (s *librarySession) Run(ctx context.Context, w workload, done func(phase)) (m *measurement, err error) {
	fs, err := newNFSFS(ctx, s.address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fs.client.Close()) }()
	root := "/" + runDir
	if err := fs.Mkdir(root); err != nil {
		return nil, fmt.Errorf("make %s: %w", root, err)
	}
	return runPhases(ctx, fs, root, w, done)
}

// Verify uses a new connection, and handles looked up again.
func (s *librarySession) Verify(ctx context.Context, w workload) (v verification, err error) {
	fs, err := newNFSFS(ctx, s.address)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, fs.client.Close()) }()
	return verify(ctx, fs, "/"+runDir, w)
}

func (s *librarySession) Close(context.Context) error { return nil }
