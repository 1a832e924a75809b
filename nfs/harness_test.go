package nfs_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/kernelclient"
	"bfsd/internal/nfsclient"
	"bfsd/nfs"
	"bfsd/nfs/nfs3"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	kernelclient.Agent(nil) // does not return in the guest of TestLinuxKernelClient
	goleak.VerifyTestMain(m)
}

var (
	clusterID = [8]byte{0xb, 0xf, 0x5, 0xd, 1, 2, 3, 4}
	verifier  = [8]byte{9, 8, 7, 6, 5, 4, 3, 2}
)

// spy is a backend that lets a test see and disturb what goes to the one behind it.
type spy struct {
	nfs.Backend
	ops    atomic.Int64
	before func(ctx context.Context, op *fsstate.Op, readOnly bool) error // may be nil
}

func (s *spy) Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error) {
	s.ops.Add(1)
	if s.before != nil {
		decoded, err := fsstate.DecodeOp(op)
		if err != nil {
			return nil, err
		}
		if err := s.before(ctx, decoded, readOnly); err != nil {
			return nil, err
		}
	}
	return s.Backend.Invoke(ctx, op, readOnly)
}

// env is a server of an empty file system whose root everyone may write to, and clients of it.
type env struct {
	t      testing.TB
	ctx    context.Context
	server *nfs.Server
	spy    *spy
	addr   string
	c      *nfsclient.Client // the superuser
	user   *nfsclient.Client // uid 1000, gid 100, groups 4 and 24
	other  *nfsclient.Client // uid 1001, gid 101
	root   nfs3.FH
}

// ticker is a clock that never shows the same time twice: 2023-11-14 and a second more each time.
func ticker() func() time.Time {
	var n atomic.Int64
	return func() time.Time { return time.Unix(1_700_000_000+n.Add(1), 123456789) }
}

func start(t testing.TB, change ...func(*nfs.Config, *spy)) *env {
	t.Helper()
	return startWith(t, fsstate.Config{MaxBytes: 1 << 30, MaxInodes: 1 << 20}, change...)
}

func startWith(t testing.TB, fsConfig fsstate.Config, change ...func(*nfs.Config, *spy)) *env {
	t.Helper()
	fsConfig.Seed, fsConfig.Mode = fsstate.Seed{1}, 0o777
	e := &env{t: t, spy: &spy{Backend: nfs.NewLocal(fsstate.New(fsConfig), ticker())}}
	cfg := nfs.Config{ClusterID: clusterID, Verifier: verifier, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&cfg, e.spy)
	}
	e.server = nfs.NewServer(e.spy, cfg)
	e.addr = listenAndServe(t, e.server)
	var cancel context.CancelFunc
	e.ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	e.c = e.dial().As(0, 0)
	e.user = e.c.As(1000, 100, 4, 24)
	e.other = e.c.As(1001, 101)
	var err error
	if e.root, err = e.c.Mount(e.ctx, "/"); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *env) dial() *nfsclient.Client {
	e.t.Helper()
	c, err := nfsclient.Dial(e.ctx, e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

// want fails the test unless err is the given status, and the status one that its procedure may return.
func want(t testing.TB, err error, status nfs3.Status) {
	t.Helper()
	got, ok := nfsclient.Status(err)
	if !ok {
		t.Fatalf("no status came: %v", err)
	}
	if got != status {
		t.Fatalf("%v, want %v", err, status)
	}
	var e *nfsclient.StatusError
	if errors.As(err, &e) && !mayReturn(e.Proc, e.Status) {
		t.Errorf("%v must not return %v", e.Proc, e.Status)
	}
}

// ok returns a call's results, and fails the test if it failed.
func ok[R any](t testing.TB) func(R, error) R {
	return func(res R, err error) R {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
}

func ptr[T any](v T) *T { return &v }

func mode(m uint32) nfs3.Sattr { return nfs3.Sattr{Mode: &m} }

// file makes a file of mode 0644 that belongs to user.
func (e *env) file(name, data string) nfs3.FH {
	e.t.Helper()
	return ok[nfs3.FH](e.t)(e.user.WriteFile(e.ctx, e.root, name, []byte(data), 0o644))
}

// dir makes a directory of mode 0755 that belongs to user.
func (e *env) dir(name string) nfs3.FH {
	e.t.Helper()
	return ok[*nfs3.CreateRes](e.t)(e.user.Mkdir(e.ctx, e.root, name, mode(0o755))).Object
}

func (e *env) attr(fh nfs3.FH) *nfs3.Fattr {
	e.t.Helper()
	return &ok[*nfs3.GetAttrRes](e.t)(e.c.GetAttr(e.ctx, fh)).Attr
}

// stale makes the handle of a file that is gone.
func (e *env) stale() nfs3.FH {
	e.t.Helper()
	fh := e.file("soon gone", "x")
	ok[*nfs3.WccRes](e.t)(e.user.Remove(e.ctx, e.root, "soon gone"))
	return fh
}

// badHandles are handles that this cluster never gave out, by what is wrong with them.
func (e *env) badHandles() map[string]nfs3.FH {
	foreign := append(nfs3.FH{}, e.root...)
	foreign[0] ^= 1
	return map[string]nfs3.FH{
		"empty": {}, "short": e.root[:23], "long": append(append(nfs3.FH{}, e.root...), 0), "foreign": foreign,
	}
}

// wantWcc fails the test unless data says that before, then after, were the object's attributes (§2.6).
func wantWcc(t testing.TB, what string, w nfs3.Wcc, before, after *nfs3.Fattr) {
	t.Helper()
	if w.Before == nil || *w.Before != (nfs3.WccAttr{Size: before.Size, Mtime: before.Mtime, Ctime: before.Ctime}) {
		t.Errorf("%s: before is %+v, was %+v", what, w.Before, before)
	}
	if w.After == nil || *w.After != *after {
		t.Errorf("%s: after is %+v, is %+v", what, w.After, after)
	}
}

// wantChanged is wantWcc for a change that must show in ctime and mtime.
func wantChanged(t testing.TB, what string, w nfs3.Wcc, before, after *nfs3.Fattr) {
	t.Helper()
	wantWcc(t, what, w, before, after)
	if before.Ctime == after.Ctime || before.Mtime == after.Mtime {
		t.Errorf("%s: times did not change: ctime %v to %v, mtime %v to %v", what, before.Ctime, after.Ctime, before.Mtime, after.Mtime)
	}
}

// mayReturn says which errors a procedure may return: those RFC 1813 §3.3 lists for it, those it allows everywhere, and
// the POSIX errors that its lists forgot but every server returns.
func mayReturn(p nfs3.Proc, s nfs3.Status) bool {
	switch s {
	case nfs3.OK, nfs3.ErrIO, nfs3.ErrStale, nfs3.ErrBadHandle, nfs3.ErrServerFault, nfs3.ErrJukebox:
		return true
	default:
	}
	dirOp := []nfs3.Status{nfs3.ErrAcces, nfs3.ErrNotDir, nfs3.ErrNameTooLong, nfs3.ErrInval /* NUL in a name */, nfs3.ErrPerm}
	change := []nfs3.Status{nfs3.ErrROFS, nfs3.ErrNoSpc, nfs3.ErrDQuot, nfs3.ErrNotSupp}
	lists := map[nfs3.Proc][][]nfs3.Status{
		nfs3.ProcSetAttr:     {change, {nfs3.ErrPerm, nfs3.ErrAcces, nfs3.ErrInval, nfs3.ErrNotSync, nfs3.ErrFBig}},
		nfs3.ProcLookup:      {dirOp, {nfs3.ErrNoEnt}},
		nfs3.ProcReadLink:    {{nfs3.ErrInval, nfs3.ErrAcces, nfs3.ErrNotSupp}},
		nfs3.ProcRead:        {{nfs3.ErrNXIO, nfs3.ErrAcces, nfs3.ErrInval}},
		nfs3.ProcWrite:       {change, {nfs3.ErrAcces, nfs3.ErrFBig, nfs3.ErrInval}},
		nfs3.ProcCreate:      {dirOp, change, {nfs3.ErrExist, nfs3.ErrFBig}},
		nfs3.ProcMkdir:       {dirOp, change, {nfs3.ErrExist, nfs3.ErrMLink}},
		nfs3.ProcSymlink:     {dirOp, change, {nfs3.ErrExist, nfs3.ErrNoEnt /* empty target */}},
		nfs3.ProcMknod:       {dirOp, change, {nfs3.ErrExist, nfs3.ErrBadType}},
		nfs3.ProcRemove:      {dirOp, change, {nfs3.ErrNoEnt, nfs3.ErrIsDir}},
		nfs3.ProcRmdir:       {dirOp, change, {nfs3.ErrNoEnt, nfs3.ErrExist, nfs3.ErrNotEmpty}},
		nfs3.ProcRename:      {dirOp, change, {nfs3.ErrNoEnt, nfs3.ErrExist, nfs3.ErrXDev, nfs3.ErrIsDir, nfs3.ErrMLink, nfs3.ErrNotEmpty}},
		nfs3.ProcLink:        {dirOp, change, {nfs3.ErrExist, nfs3.ErrXDev, nfs3.ErrMLink, nfs3.ErrIsDir}},
		nfs3.ProcReadDir:     {{nfs3.ErrAcces, nfs3.ErrNotDir, nfs3.ErrBadCookie, nfs3.ErrTooSmall}},
		nfs3.ProcReadDirPlus: {{nfs3.ErrAcces, nfs3.ErrNotDir, nfs3.ErrBadCookie, nfs3.ErrTooSmall, nfs3.ErrNotSupp}},
		nfs3.ProcCommit:      {{nfs3.ErrInval /* not a regular file */}},
	}
	for _, list := range lists[p] {
		for _, may := range list {
			if s == may {
				return true
			}
		}
	}
	return false
}
