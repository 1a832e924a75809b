package gonfs

import (
	"errors"
	"os"
	"syscall"

	"github.com/go-git/go-billy/v5"

	"bfsd/fsstate"
)

// errnoOf is the POSIX error a status stands for; nil for OK. The errno compares with os.ErrNotExist, os.ErrExist and
// os.ErrPermission as errors from package os do, which is what go-nfs and callers of go-billy look at.
func errnoOf(s fsstate.Status) error {
	switch s {
	case fsstate.OK:
		return nil
	case fsstate.EPERM:
		return syscall.EPERM
	case fsstate.ENOENT:
		return syscall.ENOENT
	case fsstate.EACCES:
		return syscall.EACCES
	case fsstate.EEXIST:
		return syscall.EEXIST
	case fsstate.EXDEV:
		return syscall.EXDEV
	case fsstate.ENODEV:
		return syscall.ENODEV
	case fsstate.ENOTDIR:
		return syscall.ENOTDIR
	case fsstate.EISDIR:
		return syscall.EISDIR
	case fsstate.EINVAL, fsstate.EBADOP, fsstate.EBADTYPE, fsstate.EBADCOOKIE:
		return syscall.EINVAL
	case fsstate.EFBIG:
		return syscall.EFBIG
	case fsstate.ENOSPC:
		return syscall.ENOSPC
	case fsstate.EROFS:
		return syscall.EROFS
	case fsstate.EMLINK:
		return syscall.EMLINK
	case fsstate.ENAMETOOLONG:
		return syscall.ENAMETOOLONG
	case fsstate.ENOTEMPTY:
		return syscall.ENOTEMPTY
	case fsstate.EDQUOT:
		return syscall.EDQUOT
	case fsstate.ESTALE:
		return syscall.ESTALE
	case fsstate.ENOTSYNC, fsstate.EAGAIN:
		return syscall.EAGAIN
	case fsstate.EDEADLK:
		return syscall.EDEADLK
	case fsstate.ENOLCK:
		return syscall.ENOLCK
	case fsstate.ENOTSUPP:
		return syscall.ENOTSUP
	case fsstate.EIO:
		return syscall.EIO
	}
	return syscall.EIO // a status younger than this table
}

// pathError says which call failed on which path, as package os does. go-billy's callers compare ErrCrossedBoundary
// with ==, so that one stays bare.
func pathError(op, path string, err error) error {
	if err == nil || errors.Is(err, billy.ErrCrossedBoundary) {
		return err
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}

// linkError is pathError for the calls that take two paths.
func linkError(op, from, to string, err error) error {
	if err == nil || errors.Is(err, billy.ErrCrossedBoundary) {
		return err
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}
