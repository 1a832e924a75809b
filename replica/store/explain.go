package store

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// SlowSync is how long a sync may take before it is reported.
const SlowSync = time.Second

// Explain names the fault behind an error, for metrics, and says what a person can do about it.
func Explain(err error) (fault, advice string) {
	switch {
	case isOneOf(err, syscall.ENOSPC, syscall.EDQUOT):
		return "full disk", "the disk is full: make room on the file system of the replica's data directory, then start the replica again"
	case isOneOf(err, syscall.EROFS):
		return "read-only file system", "the file system is read-only, as the kernel makes it when a disk fails: see the kernel's log, repair it, " +
			"mount it writable, then start the replica again"
	case isOneOf(err, syscall.EACCES, syscall.EPERM):
		return "no permission", "the replica may not write its data directory: give it to the user that the replica runs as, then start the replica again"
	case isOneOf(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM):
		return "no resources", "the machine gives the replica no more memory or open files: raise the limits, then start the replica again"
	case isOneOf(err, syscall.EIO):
		return "input/output error", "the disk failed: see the kernel's log, and replace it if it does so again; the replica looks for damage when it is started again"
	case isOneOf(err, syscall.EAGAIN):
		return "in use", "another process has the store open: stop it"
	}
	return "write error", "see what the machine's log says about the disk, then start the replica again: it looks for damage"
}

// environmental says that an error is not the store's: once its cause is gone, the store is as good as it was.
func environmental(err error) bool {
	return isOneOf(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.EMFILE, syscall.ENFILE,
		syscall.ENOMEM, syscall.EAGAIN, syscall.ENOTDIR)
}

func isOneOf(err error, list ...syscall.Errno) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// withAdvice adds what a person can do.
func withAdvice(err error) error {
	if !environmental(err) {
		return err
	}
	_, advice := Explain(err)
	return fmt.Errorf("%w; %s", err, advice)
}
