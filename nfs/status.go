package nfs

import (
	"bfsd/fsstate"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
)

// mountProc stands for MOUNT's one operation where an NFS procedure is asked for.
const mountProc nfs3.Proc = nfs3.ProcEnd

// statuses maps the file system's statuses to RFC 1813 §2.6.
var statuses = map[fsstate.Status]nfs3.Status{
	fsstate.OK:           nfs3.OK,
	fsstate.EPERM:        nfs3.ErrPerm,
	fsstate.ENOENT:       nfs3.ErrNoEnt,
	fsstate.EIO:          nfs3.ErrIO,
	fsstate.EACCES:       nfs3.ErrAcces,
	fsstate.EEXIST:       nfs3.ErrExist,
	fsstate.EXDEV:        nfs3.ErrXDev,
	fsstate.ENODEV:       nfs3.ErrNoDev,
	fsstate.ENOTDIR:      nfs3.ErrNotDir,
	fsstate.EISDIR:       nfs3.ErrIsDir,
	fsstate.EINVAL:       nfs3.ErrInval,
	fsstate.EFBIG:        nfs3.ErrFBig,
	fsstate.ENOSPC:       nfs3.ErrNoSpc,
	fsstate.EROFS:        nfs3.ErrROFS,
	fsstate.EMLINK:       nfs3.ErrMLink,
	fsstate.ENAMETOOLONG: nfs3.ErrNameTooLong,
	fsstate.ENOTEMPTY:    nfs3.ErrNotEmpty,
	fsstate.EDQUOT:       nfs3.ErrDQuot,
	fsstate.ESTALE:       nfs3.ErrStale,
	fsstate.ENOTSYNC:     nfs3.ErrNotSync,
	fsstate.EBADCOOKIE:   nfs3.ErrBadCookie,
	fsstate.ENOTSUPP:     nfs3.ErrNotSupp,
	fsstate.EBADOP:       nfs3.ErrServerFault, // the server encoded it
	fsstate.EBADTYPE:     nfs3.ErrBadType,
	fsstate.EAGAIN:       nfs3.ErrServerFault, // these three are outcomes of locks, which RFC 1813 does not have
	fsstate.EDEADLK:      nfs3.ErrServerFault,
	fsstate.ENOLCK:       nfs3.ErrServerFault,
}

// statusFor maps the outcome of the operation behind a procedure.
func statusFor(p nfs3.Proc, s fsstate.Status) nfs3.Status {
	status, ok := statuses[s]
	if !ok {
		return nfs3.ErrServerFault
	}
	switch p {
	case nfs3.ProcReadDir, nfs3.ProcReadDirPlus:
		if status == nfs3.ErrInval { // fsstate.ReadDir: not even one entry fits
			return nfs3.ErrTooSmall
		}
	case nfs3.ProcRead, nfs3.ProcWrite, nfs3.ProcSetAttr:
		if status == nfs3.ErrIsDir { // §3.3.6: "If the file is not a regular file, NFS3ERR_INVAL"
			return nfs3.ErrInval
		}
	default:
	}
	return status
}

// mountStatus maps the outcome of MNT (RFC 1813 §5.1.5).
func mountStatus(s nfs3.Status) mount.Status {
	switch s {
	case nfs3.OK:
		return mount.OK
	case nfs3.ErrPerm:
		return mount.ErrPerm
	case nfs3.ErrNoEnt:
		return mount.ErrNoEnt
	case nfs3.ErrIO:
		return mount.ErrIO
	case nfs3.ErrAcces:
		return mount.ErrAcces
	case nfs3.ErrNotDir:
		return mount.ErrNotDir
	case nfs3.ErrInval:
		return mount.ErrInval
	case nfs3.ErrNameTooLong:
		return mount.ErrNameTooLong
	default:
		return mount.ErrServerFault
	}
}
