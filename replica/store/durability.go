package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Durability says what an acknowledged operation survives.
type Durability string

// The durability settings (ARCHITECTURE.md, decision 6).
const (
	// Memory keeps nothing: an operation is stable because 2f+1 replicas hold it in memory, as in the paper.
	Memory Durability = "memory"
	// OS writes before a message that depends on it leaves: survives kill -9 of every replica, not a power cut.
	OS Durability = "os"
	// Disk syncs before a message that depends on it leaves: survives a power cut of every replica.
	Disk Durability = "disk"
)

// ParseDurability reads a setting's name.
func ParseDurability(s string) (Durability, error) {
	switch d := Durability(s); d {
	case Memory, OS, Disk:
		return d, nil
	}
	return "", fmt.Errorf("durability %q is unknown; choose memory, os or disk", s)
}

// orderly is a file system on which a marker is not there before what it names. Pebble makes a manifest, then the marker that names
// it, and syncs the directory once for both names; of names that are not synced, POSIX promises no order, and after a power cut
// the marker alone may be left. That would be taken for damage.
type orderly struct{ vfs.FS }

func (o orderly) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(o.PathBase(name), "marker.") {
		if err := syncDir(o.FS, o.PathDir(name)); err != nil {
			return nil, fmt.Errorf("syncing the directory before %s: %w", o.PathBase(name), err)
		}
	}
	return o.FS.Create(name, c)
}

// Unwrap lets Pebble find the operating system's file system below.
func (o orderly) Unwrap() vfs.FS { return o.FS }

// syncDir makes the names in a directory durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// unsynced is a file system that takes writing for syncing. Pebble answers an unsynced commit before its log writer has
// handed the bytes to the operating system, which a kill -9 would lose; so the os setting asks Pebble to sync, which
// waits for the write, and lets the sync itself do nothing.
type unsynced struct{ vfs.FS }

func (u unsynced) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return unsyncedResult(u.FS.Create(name, c))
}

func (u unsynced) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return unsyncedResult(u.FS.OpenReadWrite(name, c, opts...))
}

func (u unsynced) OpenDir(name string) (vfs.File, error) { return unsyncedResult(u.FS.OpenDir(name)) }

func (u unsynced) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return unsyncedResult(u.FS.ReuseForWrite(old, name, c))
}

// Unwrap lets Pebble find the operating system's file system below.
func (u unsynced) Unwrap() vfs.FS { return u.FS }

func unsyncedResult(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error                { return nil }
func (unsyncedFile) SyncData() error            { return nil }
func (unsyncedFile) SyncTo(int64) (bool, error) { return true, nil }
