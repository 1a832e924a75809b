package nfs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

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
	e := start(t, func(cfg *nfs.Config, _ *spy) { cfg.Exports = []string{"/", "/not there"} })
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
		{"NOENT/an export that does not exist yet", "/not there", mount.ErrNoEnt},
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

func TestMNT_onlyWhatIsExported(t *testing.T) {
	open := func(cfg *nfs.Config, _ *spy) { cfg.Exports = []string{"/", "/a/"} }
	e := start(t, open)
	for _, name := range []string{"a", "ab", "b"} {
		e.dir(name)
	}
	// a second server of the same file system that exports less
	second := nfs.NewServer(e.spy, nfs.Config{ClusterID: clusterID, Exports: []string{"/a/"}})
	c := serve(t, second)
	t.Run("OK", func(t *testing.T) {
		fh := ok[nfs3.FH](t)(c.Mount(e.ctx, "/a"))
		if found := ok[*nfs3.LookupRes](t)(e.c.Lookup(e.ctx, e.root, "a")); string(found.Object) != string(fh) {
			t.Error("two servers of a cluster give different handles")
		}
	})
	t.Run("ACCES", func(t *testing.T) {
		for _, path := range []string{"/", "/b", "/ab", "/a/../b", "/a/.."} {
			_, err := c.Mount(e.ctx, path)
			wantMount(t, err, mount.ErrAcces)
		}
	})
	t.Run("EXPORT", func(t *testing.T) {
		got := ok[[]mount.Export](t)(c.Exports(e.ctx))
		if diff := cmp.Diff([]mount.Export{{Path: "/a"}}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
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
