package gonfs

import (
	"time"

	"bfsd/fsstate"
	"bfsd/nfs"
)

// newBackend returns an empty file system.
func newBackend() nfs.Backend { return nfs.NewLocal(fsstate.New(fsstate.Config{}), time.Now) }
