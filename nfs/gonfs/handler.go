package gonfs

import (
	"context"
	"errors"
	"hash/fnv"
	"io/fs"
	"math"
	"net"
	"path"
	"sort"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5"
	gonfs "github.com/willscott/go-nfs"

	"bfsd/fsstate"
)

// handler is go-nfs's Handler and CachingHandler for one connection.
type handler struct {
	export   *export
	cluster  [8]byte
	exports  []string // absolute paths
	listings listings
}

// begin starts a new call.
func (h *handler) begin() {
	h.export.refs.begin()
	h.listings.serving = false
}

// Mount implements gonfs.Handler. The file system is never nil: go-nfs asks it for a handle even after a refusal.
func (h *handler) Mount(_ context.Context, _ net.Conn, req gonfs.MountRequest) (gonfs.MountStatus, billy.Filesystem, []gonfs.AuthFlavor) {
	n, err := h.resolveExport(string(req.Dirpath))
	if err == nil && n.attr.Type != fsstate.TypeDirectory {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return mountStatus(err), h.export, nil
	}
	h.export.refs.saw("", n.handle, &n.attr)
	return gonfs.MountStatusOk, h.export, []gonfs.AuthFlavor{gonfs.AuthFlavorUnix, gonfs.AuthFlavorNull}
}

// resolveExport finds a directory that may be mounted, or says that it may not.
func (h *handler) resolveExport(dir string) (node, error) {
	dir = path.Clean("/" + dir)
	for _, e := range h.exports {
		if below := strings.TrimSuffix(e, "/") + "/"; dir == e || strings.HasPrefix(dir, below) {
			return h.export.inv.resolve(dir)
		}
	}
	return node{}, syscall.EACCES
}

func mountStatus(err error) gonfs.MountStatus {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return gonfs.MountStatusErrNoEnt
	case errors.Is(err, syscall.ENOTDIR):
		return gonfs.MountStatusErrNotDir
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return gonfs.MountStatusErrAcces
	case errors.Is(err, syscall.ENAMETOOLONG):
		return gonfs.MountStatusErrNameTooLong
	case errors.Is(err, syscall.EINVAL):
		return gonfs.MountStatusErrInval
	}
	return gonfs.MountStatusErrIO
}

// Change implements gonfs.Handler.
func (h *handler) Change(billy.Filesystem) billy.Change { return h.export }

// FSStat implements gonfs.Handler.
func (h *handler) FSStat(_ context.Context, _ billy.Filesystem, s *gonfs.FSStat) error {
	root, err := h.export.refs.find("", false)
	if err != nil {
		return err
	}
	r, err := call[*fsstate.StatFSResult](h.export.inv, &fsstate.StatFS{Object: root.handle})
	if err != nil {
		return err
	}
	s.TotalSize, s.FreeSize, s.AvailableSize = r.TotalBytes, r.FreeBytes, r.FreeBytes
	s.TotalFiles, s.FreeFiles, s.AvailableFiles = r.TotalFiles, r.FreeFiles, r.FreeFiles
	return nil
}

// ToHandle implements gonfs.Handler. Only the handle of a directory's parent costs an operation.
func (h *handler) ToHandle(_ billy.Filesystem, elem []string) []byte {
	p := h.export.Join(elem...)
	if len(elem) == 1 {
		_, _ = h.export.refs.find(p, false) // if it fails, the handle is none and go-nfs's next look at it fails too
	}
	if _, ok := h.export.refs.seen[p]; !ok && len(elem) > 0 {
		dir, name := h.export.Join(elem[:len(elem)-1]...), elem[len(elem)-1]
		if i, ok := h.listings.served(dir, name); ok {
			return appendHandle(make([]byte, 0, handleLen), h.cluster, i.handle())
		}
	}
	return h.export.refs.handle(p)
}

// FromHandle implements gonfs.Handler. go-nfs calls it first in every call, and answers NFS3ERR_STALE to an error, so
// here is where a handle is found to be stale. What it reads serves the rest of the call.
func (h *handler) FromHandle(b []byte) (billy.Filesystem, []string, error) {
	fh, err := parseHandle(b, h.cluster)
	if err != nil {
		return nil, nil, err
	}
	elem := pathOf(fh)
	if _, err := h.export.refs.find(h.export.Join(elem...), false); err != nil {
		return nil, nil, err
	}
	return h.export, elem, nil
}

// InvalidateHandle implements gonfs.Handler. A handle names an object, not a path, so no removal or renaming of a name
// makes it invalid.
func (*handler) InvalidateHandle(billy.Filesystem, []byte) error { return nil }

// HandleLimit implements gonfs.Handler: handles are not stored. go-nfs lists half as many entries at most in one reply,
// which its estimate of the reply's size undercuts by far.
func (*handler) HandleLimit() int { return math.MaxInt32 }

// VerifierFor implements gonfs.CachingHandler.
func (h *handler) VerifierFor(dir string, contents []fs.FileInfo) uint64 {
	sum := fnv.New64a()
	for _, c := range contents {
		sum.Write([]byte(c.Name()))
		sum.Write([]byte{0})
	}
	v := max(sum.Sum64(), 1) // 0 asks for no particular listing
	h.listings.add(listing{path: dir, verifier: v, contents: contents})
	return v
}

// DataForVerifier implements gonfs.CachingHandler.
func (h *handler) DataForVerifier(dir string, verifier uint64) []fs.FileInfo {
	return h.listings.get(dir, verifier)
}

// listing is a directory as it was when a client began to list it. go-nfs makes cookies of the positions in it.
type listing struct {
	path     string
	verifier uint64
	contents []fs.FileInfo // sorted by name
}

// listings keeps the listings that a client may be in the middle of, the most recently used first: at most keep of them,
// with at most limit entries together, except that the newest is kept whatever its size, because go-nfs would read the
// whole directory again for every page of it.
type listings struct {
	recent  []listing
	limit   int
	serving bool // the call at hand lists recent[0]
}

const listingsKept = 16

func (l *listings) add(n listing) {
	l.serving = true
	l.recent = append([]listing{n}, l.recent...)
	entries := 0
	for i := range l.recent {
		entries += len(l.recent[i].contents)
		if i == listingsKept || i > 0 && entries > l.limit {
			clear(l.recent[i:])
			l.recent = l.recent[:i]
			return
		}
	}
}

func (l *listings) get(dir string, verifier uint64) []fs.FileInfo {
	for i, n := range l.recent {
		if n.path == dir && n.verifier == verifier {
			copy(l.recent[1:i+1], l.recent[:i])
			l.recent[0] = n
			l.serving = true
			return n.contents
		}
	}
	return nil
}

// served finds an entry of the listing that the call at hand serves, if that is of directory dir. A listing of an earlier
// call may name objects that are gone.
func (l *listings) served(dir, name string) (*info, bool) {
	if !l.serving || l.recent[0].path != dir {
		return nil, false
	}
	c := l.recent[0].contents
	i := sort.Search(len(c), func(i int) bool { return strings.Compare(c[i].Name(), name) >= 0 })
	if i == len(c) || c[i].Name() != name {
		return nil, false
	}
	e, ok := c[i].(*info)
	return e, ok
}
