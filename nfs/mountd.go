package nfs

import (
	"context"
	"path"
	"slices"
	"sync"
	"time"

	"bfsd/fsstate"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// serveMount answers a call of the MOUNT program (RFC 1813 §5.2).
func (s *Server) serveMount(ctx context.Context, rc *rpc.Call, reply *xdr.Encoder) rpc.Outcome {
	args := mount.NewArgs(mount.Proc(rc.Proc))
	if args == nil || rc.Datagram && mount.Proc(rc.Proc) == mount.ProcDump {
		return rpc.ProcUnavail // by UDP, a long answer to a short question goes wherever its sender claims to be
	}
	start := time.Now()
	outcome, status := s.mountCall(ctx, rc, args, reply)
	if s.cfg.Observe != nil {
		info := CallInfo{Procedure: "MOUNT/" + mount.Proc(rc.Proc).String(), Status: outcome.String(), Duration: time.Since(start)}
		if outcome == rpc.Success {
			info.Status = status.String()
		}
		s.cfg.Observe(info)
	}
	return outcome
}

func (s *Server) mountCall(ctx context.Context, rc *rpc.Call, args nfs3.Message, reply *xdr.Encoder) (rpc.Outcome, mount.Status) {
	d := xdr.NewDecoder(rc.Args)
	args.Decode(d)
	if d.Finish() != nil {
		return rpc.GarbageArgs, 0
	}
	c := &call{s: s, ctx: ctx, rpc: rc, proc: mountProc}
	status := mount.OK
	switch mount.Proc(rc.Proc) {
	case mount.ProcMnt:
		res := c.mnt(args.(*mount.PathArgs).Path)
		if c.drop {
			return rpc.Drop, 0
		}
		res.Encode(reply)
		status = res.Status
	case mount.ProcDump:
		(&mount.DumpRes{Mounts: s.mounts.all()}).Encode(reply)
	case mount.ProcUmnt:
		s.mounts.remove(mount.Mount{Host: c.machine(), Path: cleanPath(args.(*mount.PathArgs).Path)})
	case mount.ProcUmntAll:
		s.mounts.removeHost(c.machine())
	case mount.ProcExport:
		res := c.exports()
		if c.drop {
			return rpc.Drop, 0
		}
		res.Encode(reply)
	case mount.ProcNull:
	}
	return rpc.Success, status
}

// mnt is MNT (RFC 1813 §5.2.1): the handle of an exported directory, or of one below it.
func (c *call) mnt(dirpath string) *mount.MntRes {
	p := cleanPath(dirpath)
	res, status := invoke[*fsstate.LookupResult](c, &fsstate.Resolve{Path: p})
	switch {
	case status == nfs3.ErrJukebox: // which MOUNT has no word for: the client asks again when the connection is back
		c.drop = true
		return nil
	case status != nfs3.OK:
		return &mount.MntRes{Status: mountStatus(status)}
	case res.Attr == nil:
		return &mount.MntRes{Status: mount.ErrServerFault}
	case res.Attr.Type != fsstate.TypeDirectory:
		return &mount.MntRes{Status: mount.ErrNotDir}
	}
	c.s.mounts.add(mount.Mount{Host: c.machine(), Path: p})
	// AUTH_NONE is served too, as nobody. It is not listed: Linux reads a listed AUTH_NONE as "credentials are ignored".
	return &mount.MntRes{Object: c.s.fh(res.Object), Flavors: []uint32{uint32(rpc.AuthSys)}}
}

// exports is EXPORT (RFC 1813 §5.2.5): what is exported through this front end, and to which networks. Of a directory with
// several entries there is one, for all of them. It has no status: a server that cannot tell leaves the call unanswered.
func (c *call) exports() *mount.ExportRes {
	listed, status := invoke[*fsstate.ListExportsResult](c, &fsstate.ListExports{})
	if status != nfs3.OK {
		c.drop = true
		return nil
	}
	res := &mount.ExportRes{}
	for _, e := range listed.Exports {
		if len(e.Path) > mount.PathMax {
			continue // which MOUNT cannot say
		}
		i := slices.IndexFunc(res.Exports, func(x mount.Export) bool { return x.Path == e.Path })
		if i < 0 {
			res.Exports = append(res.Exports, mount.Export{Path: e.Path, Groups: e.Machines})
			continue
		}
		if x := &res.Exports[i]; len(x.Groups) == 0 || len(e.Machines) == 0 {
			x.Groups = nil // everybody
		} else {
			x.Groups = append(x.Groups, e.Machines...)
		}
	}
	return res
}

// cleanPath makes a path absolute and removes "." and "..". There are no symbolic links in it to mind: Resolve follows
// none.
func cleanPath(p string) string { return path.Clean("/" + p) }

// mountsMax bounds the list that DUMP shows. MOUNT is informative only: the oldest entries give way.
const mountsMax = 1024

// mountList is who mounted what, as far as MNT and UMNT told.
type mountList struct {
	mu   sync.Mutex
	list []mount.Mount
}

func (l *mountList) add(m mount.Mount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.list, m) {
		return
	}
	if len(l.list) == mountsMax {
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, m)
}

func (l *mountList) remove(m mount.Mount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(have mount.Mount) bool { return have == m })
}

func (l *mountList) removeHost(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(have mount.Mount) bool { return have.Host == host })
}

func (l *mountList) all() []mount.Mount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}
