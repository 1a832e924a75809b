package nfs

import (
	"encoding/binary"

	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
)

// A file handle is 24 bytes, big-endian: cluster id (8), inode number (8), generation (8). It is the same on every
// server of a cluster, for ever.
const handleSize = 24

// fh makes the handle of an inode.
func (s *Server) fh(h fsstate.Handle) nfs3.FH {
	return s.appendFH(make([]byte, 0, handleSize), h)
}

func (s *Server) appendFH(b []byte, h fsstate.Handle) nfs3.FH {
	b = append(b, s.cfg.ClusterID[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Ino)
	return binary.BigEndian.AppendUint64(b, h.Gen)
}

// handle reads a file handle; false if it is none of this cluster's, which is NFS3ERR_BADHANDLE. Whether it names
// anything is for the file system to say (ESTALE).
func (s *Server) handle(fh nfs3.FH) (fsstate.Handle, bool) {
	if len(fh) != handleSize || [8]byte(fh[:8]) != s.cfg.ClusterID {
		return fsstate.Handle{}, false
	}
	return fsstate.Handle{Ino: binary.BigEndian.Uint64(fh[8:]), Gen: binary.BigEndian.Uint64(fh[16:])}, true
}
