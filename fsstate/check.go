package fsstate

import (
	"fmt"
	"strings"
)

// machineMax bounds Op.Machine: the longest textual IPv6 address with a zone.
const machineMax = 64

// OpError says why an operation cannot be executed whatever the state. Status is what a client is told.
type OpError struct {
	Status Status
	What   string
}

// Error implements error.
func (e *OpError) Error() string { return "fsstate: refuse operation: " + e.What }

func refuse(s Status, format string, args ...any) *OpError {
	return &OpError{Status: s, What: fmt.Sprintf(format, args...)}
}

// check verifies every limit that does not depend on the state; nil is fine. Decoded and directly given operations pass
// through it alike.
func (op *Op) check() *OpError {
	if len(op.Cred.GIDs) > GroupsMax {
		return refuse(EBADOP, "%d supplementary groups, %d at most", len(op.Cred.GIDs), GroupsMax)
	}
	if op.Cred.UID == noID || op.Cred.GID == noID {
		return refuse(EACCES, "a credential of nobody's number")
	}
	if len(op.Machine) > machineMax {
		return refuse(EBADOP, "machine name of %d bytes, %d at most", len(op.Machine), machineMax)
	}
	switch a := op.Args.(type) {
	case *GetAttr, *ReadLink, *StatFS, *ReadDir, *Access, *GetPolicy, *ListExports, *GetKeys:
		return nil
	case *SetAttr:
		return a.Set.check()
	case *Lookup:
		return checkName(a.Name)
	case *Read:
		if a.Count > IOMax {
			return refuse(EINVAL, "read of %d bytes, %d at most", a.Count, IOMax)
		}
		return nil
	case *Write:
		if len(a.Data) > IOMax {
			return refuse(EINVAL, "write of %d bytes, %d at most", len(a.Data), IOMax)
		}
		return nil
	case *Create:
		if a.How > Exclusive {
			return refuse(EBADOP, "create mode %d", a.How)
		}
		return firstError(checkName(a.Name), a.Set.check())
	case *Mkdir:
		return firstError(checkName(a.Name), a.Set.check())
	case *Symlink:
		return firstError(checkName(a.Name), a.Set.check(), checkTarget(a.Target))
	case *Mknod:
		return firstError(checkName(a.Name), a.Set.check())
	case *Remove:
		return checkName(a.Name)
	case *Rmdir:
		return checkName(a.Name)
	case *Rename:
		return firstError(checkName(a.FromName), checkName(a.ToName))
	case *Link:
		return checkName(a.Name)
	case *SetPolicy:
		return a.check()
	case *SetKey:
		return a.check()
	case *Resolve:
		if len(a.Path) > PathMax {
			return refuse(ENAMETOOLONG, "path of %d bytes, %d at most", len(a.Path), PathMax)
		}
		return nil
	}
	return checkLock(op.Args)
}

func firstError(errs ...*OpError) *OpError {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// noID is no user's and no group's number: chown(2) takes it for "as it is". A Linux client takes attributes that have it for
// garbage, and one such file in a directory keeps it from ever coming to the end of a listing.
const noID = 1<<32 - 1

func (s *SetAttrs) check() *OpError {
	if s.UID != nil && *s.UID == noID || s.GID != nil && *s.GID == noID {
		return refuse(EINVAL, "an owner or group of nobody's number")
	}
	if s.Atime.How > TimeClient || s.Mtime.How > TimeClient {
		return refuse(EBADOP, "time source %d, %d", s.Atime.How, s.Mtime.How)
	}
	return nil
}

// checkName verifies a directory entry name: bytes, without NUL and slash. "." and ".." pass; each operation says what it
// makes of them.
func checkName(name string) *OpError {
	if name == "" {
		return refuse(EINVAL, "empty name")
	}
	if len(name) > NameMax {
		return refuse(ENAMETOOLONG, "name of %d bytes, %d at most", len(name), NameMax)
	}
	if strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0 {
		return refuse(EINVAL, "name %q has a slash or NUL", name)
	}
	return nil
}

// checkTarget verifies a symbolic link's target. An empty one fails as symlink(2) on Linux does.
func checkTarget(target string) *OpError {
	if target == "" {
		return refuse(ENOENT, "empty link target")
	}
	if len(target) > PathMax {
		return refuse(ENAMETOOLONG, "link target of %d bytes, %d at most", len(target), PathMax)
	}
	if strings.IndexByte(target, 0) >= 0 {
		return refuse(EINVAL, "link target has a NUL")
	}
	return nil
}
