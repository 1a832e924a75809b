package nfs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"bfsd/fsstate"
	"bfsd/internal/nfsclient"
	"bfsd/nfs"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"

	"github.com/google/go-cmp/cmp"
)

func wantMount(t *testing.T, err error, status mount.Status) {
	t.Helper()
	var e *nfsclient.MountError
	if !errors.As(err, &e) || e.Status != status {
		t.Errorf("%v, want %v", err, status)
	}
}

func TestMNT(t *testing.T) {
	e := start(t)
	d := e.dir("d")
	inner := ok[*nfs3.CreateRes](t)(e.user.Mkdir(e.ctx, d, "e", mode(0o755))).Object
	e.file("f", "x")
	ok[*nfs3.CreateRes](t)(e.user.Symlink(e.ctx, e.root, "l", "d", nfs3.Sattr{}))
	for path, fh := range map[string]nfs3.FH{
		"/": e.root, "": e.root, "//": e.root, "/d": d, "/d/": d, "/d/e": inner, "/d/../d/./e": inner, "d": d,
	} {
		t.Run("OK/"+path, func(t *testing.T) {
			res := ok[*mount.MntRes](t)(e.c.MountRes(e.ctx, path))
			if string(res.Object) != string(fh) {
				t.Errorf("handle %x, want %x", res.Object, fh)
			}
			if !slices.Contains(res.Flavors, uint32(rpc.AuthSys)) {
				t.Errorf("flavors %v lack AUTH_SYS", res.Flavors)
			}
		})
	}
	for _, tc := range []struct {
		name string
		path string
		want mount.Status
	}{
		{"NOENT", "/none", mount.ErrNoEnt},
		{"NOTDIR/file", "/f", mount.ErrNotDir},
		{"NOTDIR/below a file", "/f/x", mount.ErrNotDir},
		{"NOTDIR/symbolic link", "/l", mount.ErrNotDir},
		{"NAMETOOLONG", "/" + strings.Repeat("n", 256), mount.ErrNameTooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := e.c.Mount(e.ctx, tc.path)
			wantMount(t, err, tc.want)
		})
	}
	t.Run("garbage/path over MNTPATHLEN", func(t *testing.T) {
		_, err := e.c.Mount(e.ctx, "/"+strings.Repeat("d/", 512))
		var accept *rpc.AcceptError
		if !errors.As(err, &accept) || accept.Outcome != rpc.GarbageArgs {
			t.Errorf("%v, want GARBAGE_ARGS", err)
		}
	})
}

// group is a file system behind several front ends, each of which has a number.
type group struct {
	mu sync.Mutex
	fs *fsstate.FS
	n  int64
}

// frontEnd is the backend of one of them.
type frontEnd struct {
	*group
	via fsstate.FrontEnd
}

func (f frontEnd) Invoke(_ context.Context, op []byte, readOnly bool) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if readOnly {
		if result, ok := f.fs.QueryFrom(f.via, op); ok {
			return result, nil
		}
	}
	f.n++
	return f.fs.ExecuteFrom(f.via, op, fsstate.Time(f.n)), nil
}

// What a client may mount, is shown, and may do goes by the policy of the file system, which knows the front end and the
// machine that it comes from.
func TestExports(t *testing.T) {
	g := &group{fs: fsstate.New(fsstate.Config{Seed: fsstate.Seed{1}, Exports: []fsstate.Export{
		{Path: "/a", FrontEnds: []fsstate.FrontEnd{1}},
		{Path: "/a", Squash: fsstate.SquashAll, AnonUID: 70, AnonGID: 80, Machines: []string{"10.0.0.0/8", "127.0.0.0/8"}},
		{Path: "/ab/c", ReadOnly: true},
		{Path: "/elsewhere", Machines: []string{"10.0.0.0/8"}},
		{Path: "/other", FrontEnds: []fsstate.FrontEnd{3}},
	}})}
	client := func(via fsstate.FrontEnd) *nfsclient.Client {
		return serve(t, nfs.NewServer(frontEnd{g, via}, nfs.Config{ClusterID: clusterID})).As(0, 0)
	}
	ctx := t.Context()
	full, squashed := client(1), client(2)
	a := ok[nfs3.FH](t)(full.Mount(ctx, "/a"))
	t.Run("OK", func(t *testing.T) {
		for _, path := range []string{"/a", "/a/", "/ab/../a"} {
			if fh := ok[nfs3.FH](t)(squashed.Mount(ctx, path)); string(fh) != string(a) {
				t.Error("two servers of a cluster give different handles")
			}
		}
	})
	t.Run("ACCES", func(t *testing.T) {
		for _, path := range []string{"/", "/ab", "/b", "/a/..", "/elsewhere", "/other", "/other/none"} {
			_, err := squashed.Mount(ctx, path)
			wantMount(t, err, mount.ErrAcces)
		}
	})
	t.Run("EXPORT", func(t *testing.T) {
		for c, wanted := range map[*nfsclient.Client][]mount.Export{
			full: {{Path: "/a"}, {Path: "/ab/c"}, {Path: "/elsewhere", Groups: []string{"10.0.0.0/8"}}},
			squashed: {
				{Path: "/a", Groups: []string{"10.0.0.0/8", "127.0.0.0/8"}}, {Path: "/ab/c"}, {Path: "/elsewhere", Groups: []string{"10.0.0.0/8"}},
			},
		} {
			if diff := cmp.Diff(wanted, ok[[]mount.Export](t)(c.Exports(ctx))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	})
	t.Run("squash", func(t *testing.T) {
		if made := ok[*nfs3.CreateRes](t)(full.Mkdir(ctx, a, "roots", mode(0o777))); made.Attr.UID != 0 {
			t.Errorf("made by uid %d", made.Attr.UID)
		}
		_, err := squashed.Mkdir(ctx, a, "d", mode(0o755))
		want(t, err, nfs3.ErrAcces) // root's directory of mode 0755
		roots := ok[*nfs3.LookupRes](t)(full.Lookup(ctx, a, "roots")).Object
		if made := ok[*nfs3.CreateRes](t)(squashed.Mkdir(ctx, roots, "d", mode(0o755))); made.Attr.UID != 70 || made.Attr.GID != 80 {
			t.Errorf("made by %d, %d", made.Attr.UID, made.Attr.GID)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		c := ok[nfs3.FH](t)(full.Mount(ctx, "/ab/c"))
		_, err := full.Mkdir(ctx, c, "d", mode(0o755))
		want(t, err, nfs3.ErrROFS)
		if r := ok[*nfs3.AccessRes](t)(full.Access(ctx, c, 0x3f)); r.Access != nfs3.AccessRead|nfs3.AccessLookup {
			t.Errorf("access %#x", r.Access)
		}
		_, err = full.Rename(ctx, a, "roots", c, "roots")
		want(t, err, nfs3.ErrXDev)
	})
	t.Run("READDIRPLUS", func(t *testing.T) {
		for _, e := range ok[[]nfs3.Entry](t)(full.ReadDirAll(ctx, a)) {
			if e.Name == ".." && (e.Attr == nil || string(e.Object) != string(a)) {
				t.Errorf("above an exported directory is %+v", e)
			}
		}
	})
}

func TestDUMP_UMNT_UMNTALL(t *testing.T) {
	e := start(t)
	e.dir("a")
	e.dir("b")
	list := func() []mount.Mount { return ok[[]mount.Mount](t)(e.c.Mounts(e.ctx)) }
	check := func(paths ...string) {
		t.Helper()
		var wanted []mount.Mount
		for _, p := range paths {
			wanted = append(wanted, mount.Mount{Host: "127.0.0.1", Path: p})
		}
		if diff := cmp.Diff(wanted, list()); diff != "" {
			t.Errorf("mounts (-want +got):\n%s", diff)
		}
	}
	check("/") // as every test's
	for _, p := range []string{"/a", "/b", "/a/"} {
		ok[nfs3.FH](t)(e.c.Mount(e.ctx, p))
	}
	_, err := e.c.Mount(e.ctx, "/none")
	wantMount(t, err, mount.ErrNoEnt)
	check("/", "/a", "/b")
	for _, p := range []string{"/a", "/never mounted"} {
		if err := e.c.Unmount(e.ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	check("/", "/b")
	if err := e.c.UnmountAll(e.ctx); err != nil {
		t.Fatal(err)
	}
	check()
	if err := e.c.MountNull(e.ctx); err != nil {
		t.Error(err)
	}
}

func TestDUMP_isBounded(t *testing.T) {
	e := start(t)
	for i := range 1100 {
		name := fmt.Sprint(i)
		e.dir(name)
		ok[nfs3.FH](t)(e.c.Mount(e.ctx, name))
	}
	list := ok[[]mount.Mount](t)(e.c.Mounts(e.ctx))
	if len(list) != 1024 || list[1023].Path != "/1099" {
		t.Errorf("%d entries, the last %v; want the last 1024", len(list), list[len(list)-1])
	}
}
