package nfs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"testing"

	"bfsd/fsstate"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
)

// stateStatuses reads the statuses that fsstate declares, in order, from its source: one that is added there must be
// mapped here.
func stateStatuses(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../fsstate/status.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
			for _, spec := range decl.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					names = append(names, name.Name)
				}
			}
		}
		return true
	})
	return names
}

func TestStatuses_everyOneIsMapped(t *testing.T) {
	names := stateStatuses(t)
	if len(names) != len(statuses) {
		t.Errorf("fsstate has %d statuses, %d are mapped", len(names), len(statuses))
	}
	for i, name := range names {
		s := fsstate.Status(i)
		mapped, ok := statuses[s]
		if !ok {
			t.Errorf("%s is not mapped", name)
			continue
		}
		posix := "NFS3ERR_" + name[1:] // EPERM → NFS3ERR_PERM
		switch s {
		case fsstate.OK:
			posix = "NFS3_OK"
		case fsstate.ENOTSYNC:
			posix = "NFS3ERR_NOT_SYNC"
		case fsstate.EBADCOOKIE:
			posix = "NFS3ERR_BAD_COOKIE"
		case fsstate.EACCES:
			posix = "NFS3ERR_ACCES"
		case fsstate.EBADOP, fsstate.EAGAIN, fsstate.EDEADLK, fsstate.ENOLCK:
			posix = "NFS3ERR_SERVERFAULT"
		default:
		}
		if mapped.String() != posix {
			t.Errorf("%s is mapped to %v, want %s", name, mapped, posix)
		}
	}
	if got := statusFor(nfs3.ProcGetAttr, 255); got != nfs3.ErrServerFault {
		t.Errorf("an unknown status is mapped to %v", got)
	}
}

func TestStatusFor_dependsOnTheProcedure(t *testing.T) {
	for _, tc := range []struct {
		proc nfs3.Proc
		s    fsstate.Status
		want nfs3.Status
	}{
		{nfs3.ProcReadDir, fsstate.EINVAL, nfs3.ErrTooSmall},
		{nfs3.ProcReadDirPlus, fsstate.EINVAL, nfs3.ErrTooSmall},
		{nfs3.ProcRename, fsstate.EINVAL, nfs3.ErrInval},
		{nfs3.ProcRead, fsstate.EISDIR, nfs3.ErrInval},
		{nfs3.ProcWrite, fsstate.EISDIR, nfs3.ErrInval},
		{nfs3.ProcSetAttr, fsstate.EISDIR, nfs3.ErrInval},
		{nfs3.ProcRename, fsstate.EISDIR, nfs3.ErrIsDir},
	} {
		if got := statusFor(tc.proc, tc.s); got != tc.want {
			t.Errorf("%v: status %d is mapped to %v, want %v", tc.proc, tc.s, got, tc.want)
		}
	}
}

func TestMountStatus_staysWithinMOUNTsOwn(t *testing.T) {
	for _, s := range statuses {
		got := mountStatus(s)
		switch got {
		case mount.ErrServerFault:
		default:
			if uint32(got) != uint32(s) {
				t.Errorf("%v is mapped to %v", s, got)
			}
		}
	}
}

func TestTimes(t *testing.T) {
	for _, tc := range []struct {
		state fsstate.Time
		wire  nfs3.Time
	}{
		{0, nfs3.Time{}},
		{1_700_000_000_123456789, nfs3.Time{Sec: 1_700_000_000, Nsec: 123456789}},
		{math.MaxUint32*second + 999_999_999, nfs3.Time{Sec: math.MaxUint32, Nsec: 999_999_999}},
	} {
		if got := time3(tc.state); got != tc.wire {
			t.Errorf("time3(%d) = %v, want %v", tc.state, got, tc.wire)
		}
		if got := stateTime(tc.wire); got != tc.state {
			t.Errorf("stateTime(%v) = %d, want %d", tc.wire, got, tc.state)
		}
	}
	if got := time3(-1); got != (nfs3.Time{}) {
		t.Errorf("a time before 1970 becomes %v", got)
	}
	if got := time3(math.MaxInt64); got.Sec != math.MaxUint32 {
		t.Errorf("a time after 2106 becomes %v", got)
	}
	if got := stateTime(nfs3.Time{Sec: math.MaxUint32, Nsec: math.MaxUint32}); got < 0 {
		t.Errorf("the largest time overflows to %d", got)
	}
}

func TestClip(t *testing.T) {
	if n := clip("abc", 2); n != "abc" {
		t.Errorf("clip shortened a name of limit + 1 to %q", n)
	}
	if n := clip("abcdef", 2); n != "abc" {
		t.Errorf("clip(abcdef, 2) = %q, want one byte more than the limit", n)
	}
}
