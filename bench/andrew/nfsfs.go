package main

import (
	"context"
	"fmt"
	"path"
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

// newNFSFS mounts the server's export.
func newNFSFS(ctx context.Context, s *server) (*nfsFS, error) {
	client, root, err := s.library(ctx)
	if err != nil {
		return nil, err
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

func (fs *nfsFS) Append(name string, data []byte) error {
	found, err := fs.lookup(name)
	if err != nil {
		return err
	}
	attr, err := fs.attr(found)
	if err != nil {
		return err
	}
	return fs.client.WriteAt(fs.ctx, found.Object, attr.Size, data)
}

func (fs *nfsFS) Remove(name string) error {
	parent, err := fs.dir(path.Dir(name))
	if err != nil {
		return err
	}
	_, err = fs.client.Remove(fs.ctx, parent, path.Base(name))
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

// attr is what was looked up, or else asked for: that LOOKUP leaves it out is allowed by the RFC.
func (fs *nfsFS) attr(found *nfs3.LookupRes) (*nfs3.Fattr, error) {
	if found.Attr != nil {
		return found.Attr, nil
	}
	res, err := fs.client.GetAttr(fs.ctx, found.Object)
	if err != nil {
		return nil, err
	}
	return &res.Attr, nil
}

func (fs *nfsFS) Stat(name string) (fileInfo, error) {
	found, err := fs.lookup(name)
	if err != nil {
		return fileInfo{}, err
	}
	attr, err := fs.attr(found)
	if err != nil {
		return fileInfo{}, err
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
