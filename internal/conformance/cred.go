package conformance

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The Go runtime changes the credentials of all threads at once; these change the calling thread's alone, as file servers do.

func setGroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return errno
	}
	return nil
}

func setResGID(gid uint32) error {
	return raw(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid))
}

func setResUID(uid, saved uint32) error {
	return raw(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(saved))
}

func raw(number, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(number, a, b, c); errno != 0 {
		return errno
	}
	return nil
}
