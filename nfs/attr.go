package nfs

import (
	"encoding/binary"
	"math"

	"bfsd/fsstate"
	"bfsd/nfs/nfs3"
)

const second = 1_000_000_000 // in nanoseconds, the unit of fsstate.Time

// time3 converts a time; what nfstime3 cannot hold (before 1970, after 2106) becomes its nearest end.
func time3(t fsstate.Time) nfs3.Time {
	switch {
	case t < 0:
		return nfs3.Time{}
	case t/second > math.MaxUint32:
		return nfs3.Time{Sec: math.MaxUint32, Nsec: second - 1}
	}
	return nfs3.Time{Sec: uint32(t / second), Nsec: uint32(t % second)}
}

// stateTime converts a time. Nanoseconds of a second or more carry over, as they do on other servers.
func stateTime(t nfs3.Time) fsstate.Time {
	return fsstate.Time(t.Sec)*second + fsstate.Time(t.Nsec)
}

// fattr converts attributes; nil stays nil.
func (s *Server) fattr(a *fsstate.Attr) *nfs3.Fattr {
	if a == nil {
		return nil
	}
	return &nfs3.Fattr{
		Type:   nfs3.FileType(a.Type), // in the same order
		Mode:   a.Mode,
		Nlink:  a.Nlink,
		UID:    a.UID,
		GID:    a.GID,
		Size:   a.Size,
		Used:   a.Used,
		Rdev:   nfs3.SpecData{Major: a.Major, Minor: a.Minor},
		FSID:   binary.BigEndian.Uint64(s.cfg.ClusterID[:]),
		FileID: a.Ino,
		Atime:  time3(a.Atime),
		Mtime:  time3(a.Mtime),
		Ctime:  time3(a.Ctime),
	}
}

func (s *Server) wcc(w fsstate.Wcc) nfs3.Wcc {
	out := nfs3.Wcc{After: s.fattr(w.After)}
	if b := w.Before; b != nil {
		out.Before = &nfs3.WccAttr{Size: b.Size, Mtime: time3(b.Mtime), Ctime: time3(b.Ctime)}
	}
	return out
}

func setAttrs(a *nfs3.Sattr) fsstate.SetAttrs {
	return fsstate.SetAttrs{
		Mode:  a.Mode, // with whatever bits above 07777 some clients send: the file system ignores them
		UID:   a.UID,
		GID:   a.GID,
		Size:  a.Size,
		Atime: setTime(a.Atime),
		Mtime: setTime(a.Mtime),
	}
}

func setTime(t nfs3.SetTime) fsstate.SetTime {
	switch t.How {
	case nfs3.SetToServerTime:
		return fsstate.SetTime{How: fsstate.TimeServer}
	case nfs3.SetToClientTime:
		return fsstate.SetTime{How: fsstate.TimeClient, Time: stateTime(t.Time)}
	case nfs3.DontChange:
	}
	return fsstate.SetTime{}
}
