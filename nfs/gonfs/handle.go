package gonfs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"syscall"

	"bfsd/fsstate"
)

// go-nfs knows objects by path, and leaves it to its handler what a path is. Here a path starts from a handle, never
// from the root, so that a file keeps its handle when it is renamed, on every front end and across restarts:
//
//	""              the directory that was mounted
//	"^D"            the parent of the directory with handle D
//	"^D/D"          the object with handle D itself: what FromHandle returns
//	"^D/D/name"     the object called name in D
//
// The first element is there because go-nfs finds the parent of a path by cutting off its end.

// handleLen is the length of a file handle on the wire: the cluster's id, the inode and its generation. It must be a
// multiple of four, because go-nfs does not skip the padding of handles.
const handleLen = 24

var (
	errBadHandle = errors.New("not a file handle of this cluster")
	errBadPath   = errors.New("not a path that starts from a handle")
)

func appendHandle(b []byte, id [8]byte, h fsstate.Handle) []byte {
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Ino)
	return binary.BigEndian.AppendUint64(b, h.Gen)
}

func parseHandle(b []byte, id [8]byte) (fsstate.Handle, error) {
	if len(b) != handleLen || [8]byte(b) != id {
		return fsstate.Handle{}, errBadHandle
	}
	return fsstate.Handle{Ino: binary.BigEndian.Uint64(b[8:]), Gen: binary.BigEndian.Uint64(b[16:])}, nil
}

const parentMark = "^"

// refOf writes a handle as a path element.
func refOf(h fsstate.Handle) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], h.Ino)
	binary.BigEndian.PutUint64(b[8:], h.Gen)
	return hex.EncodeToString(b[:])
}

func parseRef(s string) (fsstate.Handle, error) {
	var b [16]byte
	if len(s) != 2*len(b) {
		return fsstate.Handle{}, errBadPath
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return fsstate.Handle{}, errBadPath
	}
	return fsstate.Handle{Ino: binary.BigEndian.Uint64(b[:]), Gen: binary.BigEndian.Uint64(b[8:])}, nil
}

// pathOf is the path, in elements, of the object with a handle.
func pathOf(h fsstate.Handle) []string {
	ref := refOf(h)
	return []string{parentMark + ref, ref}
}

// refs is names by such paths. It remembers what the operations of one RPC showed, so that the five or more looks that
// go-nfs takes at the same few objects while it serves one call are one operation: begin forgets it all when the next
// call comes, and so does every operation that changes something. It belongs to one connection, whose calls go-nfs
// serves one after another on one goroutine; its methods are for that goroutine alone.
type refs struct {
	inv     *invoker
	id      [8]byte
	seen    map[string]node
	pending map[string][]byte // handles given out for paths whose object is not known yet
}

func newRefs(inv *invoker, id [8]byte) *refs {
	return &refs{inv: inv, id: id, seen: make(map[string]node), pending: make(map[string][]byte)}
}

// begin starts a new call.
func (r *refs) begin() {
	clear(r.seen)
	clear(r.pending)
}

// changed forgets the attributes that an operation is about to change.
func (r *refs) changed(args fsstate.Args) {
	var object fsstate.Handle
	switch a := args.(type) {
	case *fsstate.SetAttr:
		object = a.Object
	case *fsstate.Write:
		object = a.Object
	default:
		clear(r.seen)
		return
	}
	maps.DeleteFunc(r.seen, func(_ string, n node) bool { return n.handle == object })
}

// saw implements names. It also completes a handle that was given out before its object was known.
func (r *refs) saw(path string, h fsstate.Handle, a *fsstate.Attr) {
	if b, ok := r.pending[path]; ok {
		appendHandle(b[:0], r.id, h)
		delete(r.pending, path)
	}
	if a != nil {
		r.seen[path] = node{handle: h, attr: *a}
	}
}

// handle returns the wire handle of a path's object. go-nfs asks for some before it makes or looks up the object: such a
// handle is all zeros, and none of ours, until saw completes it in place.
func (r *refs) handle(path string) []byte {
	if n, ok := r.seen[path]; ok {
		return appendHandle(make([]byte, 0, handleLen), r.id, n.handle)
	}
	if b, ok := r.pending[path]; ok {
		return b
	}
	b := make([]byte, handleLen)
	r.pending[path] = b
	return b
}

// find implements names. Symbolic links are never followed: an NFS client does that itself (RFC 1813 §3.3.5), and what
// it asks for by handle is the link.
func (r *refs) find(path string, _ bool) (node, error) {
	if n, ok := r.seen[path]; ok {
		return n, nil
	}
	n, err := r.load(path)
	if err != nil {
		return node{}, err
	}
	r.saw(path, n.handle, &n.attr)
	return n, nil
}

func (r *refs) load(path string) (node, error) {
	if path == "" {
		return r.inv.resolve("/")
	}
	parent, rest, _ := strings.Cut(path, "/")
	base, ok := strings.CutPrefix(parent, parentMark)
	if !ok {
		return node{}, errBadPath
	}
	h, err := parseRef(base)
	if err != nil {
		return node{}, err
	}
	if rest == "" {
		return r.inv.lookup(h, "..")
	}
	if rest == base {
		g, err := call[*fsstate.GetAttrResult](r.inv, &fsstate.GetAttr{Object: h})
		if err != nil {
			return node{}, err
		}
		return node{handle: h, attr: g.Attr}, nil
	}
	dir, name, err := r.entry(path)
	if err != nil {
		return node{}, err
	}
	res, err := call[*fsstate.LookupResult](r.inv, &fsstate.Lookup{Dir: dir, Name: name})
	if res != nil {
		r.sawDir(path, dir, res.Dir)
	}
	if err != nil {
		return node{}, err
	}
	return r.inv.nodeOf(res.Object, res.Attr)
}

// sawDir tells what an operation showed of the directory that a path's last name is in.
func (r *refs) sawDir(path string, dir fsstate.Handle, a *fsstate.Attr) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 && a != nil {
		r.saw(path[:i], dir, a)
	}
}

// entry implements names.
func (r *refs) entry(path string) (fsstate.Handle, string, error) {
	parent, rest, ok := strings.Cut(path, "/")
	if !ok {
		return fsstate.Handle{}, "", errBadPath
	}
	ref, name, ok := strings.Cut(rest, "/")
	if !ok || parent != parentMark+ref {
		return fsstate.Handle{}, "", errBadPath
	}
	h, err := parseRef(ref)
	if err != nil {
		return fsstate.Handle{}, "", err
	}
	return h, name, checkEntry(name)
}

// checkEntry refuses the names that no entry is made, moved or removed by, whatever the backend would say.
func checkEntry(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return syscall.EINVAL
	}
	return nil
}

// target implements names: there is nothing to follow.
func (r *refs) target(path string) (fsstate.Handle, string, error) { return r.entry(path) }
