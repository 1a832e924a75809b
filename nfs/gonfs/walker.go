package gonfs

import (
	"errors"
	"path"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5"

	"bfsd/fsstate"
)

// linksMax bounds the symbolic links that one path may pass through, as Linux does (path_resolution(7)).
const linksMax = 40

// names gives paths their meaning.
type names interface {
	// find returns what a path names. A symbolic link at its end is followed if follow is set.
	find(path string, follow bool) (node, error)
	// entry returns the directory that holds, or would hold, the path's last name, and that name.
	entry(path string) (dir fsstate.Handle, name string, err error)
	// target follows the symbolic links at the path's end to the entry they lead to, which need not exist.
	target(path string) (dir fsstate.Handle, name string, err error)
	// saw and sawDir tell what an operation showed of a path's object, and of the directory its name is in. a may be nil.
	saw(path string, h fsstate.Handle, a *fsstate.Attr)
	sawDir(path string, dir fsstate.Handle, a *fsstate.Attr)
}

// walker is names by paths from a root directory, with symbolic links followed as POSIX does, but never out of the root.
type walker struct {
	inv  *invoker
	base string // the root's own absolute path, clean
}

// clean makes a path relative to the root: no leading slash, "" for the root.
func clean(p string) (string, error) {
	p = path.Clean(strings.TrimLeft(p, "/"))
	switch {
	case p == ".":
		return "", nil
	case p == "..", strings.HasPrefix(p, "../"):
		return "", billy.ErrCrossedBoundary
	}
	return p, nil
}

// find implements names. One operation resolves a path without symbolic links; only the others are walked.
func (w *walker) find(p string, follow bool) (node, error) {
	p, err := clean(p)
	if err != nil {
		return node{}, err
	}
	n, err := w.inv.resolve(path.Join(w.base, p))
	switch {
	case err == nil && (!follow || n.attr.Type != fsstate.TypeSymlink):
		return n, nil
	case err != nil && !errors.Is(err, syscall.ENOTDIR):
		return node{}, err
	}
	at, err := w.walk(p, follow)
	if err != nil {
		return node{}, err
	}
	if at.missing != "" {
		return node{}, syscall.ENOENT
	}
	return at.node, nil
}

// entry implements names.
func (w *walker) entry(p string) (fsstate.Handle, string, error) {
	p, err := clean(p)
	if err != nil {
		return fsstate.Handle{}, "", err
	}
	if p == "" {
		return fsstate.Handle{}, "", syscall.EBUSY // the root has no name
	}
	dir, name := path.Split(p)
	n, err := w.find(dir, true)
	if err != nil {
		return fsstate.Handle{}, "", err
	}
	if n.attr.Type != fsstate.TypeDirectory {
		return fsstate.Handle{}, "", syscall.ENOTDIR
	}
	return n.handle, name, nil
}

// target implements names.
func (w *walker) target(p string) (fsstate.Handle, string, error) {
	p, err := clean(p)
	if err != nil {
		return fsstate.Handle{}, "", err
	}
	at, err := w.walk(p, true)
	if err != nil {
		return fsstate.Handle{}, "", err
	}
	if at.missing == "" {
		return at.dir, at.name, nil
	}
	return at.handle, at.missing, nil
}

// saw implements names: a walker remembers nothing.
func (*walker) saw(string, fsstate.Handle, *fsstate.Attr) {}

// sawDir implements names.
func (*walker) sawDir(string, fsstate.Handle, *fsstate.Attr) {}

// place is where a walk ends: at a node (name in dir), or, when the last name is missing, at the directory without it.
type place struct {
	node
	dir     fsstate.Handle
	name    string
	missing string
}

// walk goes from the root along p, name by name.
func (w *walker) walk(p string, follow bool) (place, error) {
	links := 0
	top, err := w.inv.resolve("/")
	if err != nil {
		return place{}, err
	}
	at, err := w.walkFrom(top, w.base, true, &links)
	if err != nil {
		return place{}, err
	}
	if at.missing != "" {
		return place{}, syscall.ENOENT
	}
	return w.walkFrom(at.node, p, follow, &links)
}

func (w *walker) walkFrom(root node, p string, follow bool, links *int) (place, error) {
	stack := []place{{node: root, dir: root.handle}}
	rest := strings.Split(p, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		at := stack[len(stack)-1]
		switch {
		case name == "" || name == ".":
			continue
		case name == ".." && len(stack) == 1:
			return place{}, billy.ErrCrossedBoundary
		case name == "..":
			stack = stack[:len(stack)-1]
			continue
		case at.attr.Type != fsstate.TypeDirectory:
			return place{}, syscall.ENOTDIR
		}
		n, err := w.inv.lookup(at.handle, name)
		if errors.Is(err, syscall.ENOENT) && len(rest) == 0 {
			at.missing = name
			return at, nil
		}
		if err != nil {
			return place{}, err
		}
		if n.attr.Type != fsstate.TypeSymlink || len(rest) == 0 && !follow {
			stack = append(stack, place{node: n, dir: at.handle, name: name})
			continue
		}
		if *links++; *links > linksMax {
			return place{}, syscall.ELOOP
		}
		to, err := call[*fsstate.ReadLinkResult](w.inv, &fsstate.ReadLink{Object: n.handle})
		if err != nil {
			return place{}, err
		}
		if strings.HasPrefix(to.Target, "/") {
			stack = stack[:1]
		}
		rest = append(strings.Split(to.Target, "/"), rest...)
	}
	return stack[len(stack)-1], nil
}
