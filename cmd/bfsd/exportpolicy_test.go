package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bfsd/fsstate"
	"bfsd/internal/kernelclient"
	"bfsd/internal/nfsclient"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/replica/config"

	"github.com/google/go-cmp/cmp"
)

// exportPolicy runs bfsd export-policy at the site.
func (s *site) exportPolicy(dir, verb string, more ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := s.command(s.t.Context(), append([]string{"export-policy", verb, "--config", filepath.Join(dir, "cluster.toml")}, more...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// setExports sets a policy that must be taken.
func (s *site) setExports(dir, policy string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "policy.toml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if code, out, errs := s.exportPolicy(dir, "set", file); code != exitOK {
		s.t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
}

func TestTheExportPolicyIsChangedAtRunTime(t *testing.T) {
	s := &site{t: t}
	dir := t.TempDir()
	gateway := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	s.start("up", "--dir", dir, "--nfs", gateway, "--durability", "memory")
	ctx := t.Context()
	dial := func(addr string) *nfsclient.Client {
		c, err := nfsclient.Dial(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.As(0, 0)
	}
	through := dial(gateway)
	replica := dial(net.JoinHostPort(s.host(), strconv.Itoa(clusterReplicaNFS(t, dir, 1))))
	root, err := through.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home", "pub"} {
		if _, err := through.Mkdir(ctx, root, name, nfs3.Sattr{Mode: ptr(uint32(0o755))}); err != nil {
			t.Fatal(err)
		}
	}
	code, shown, errs := s.exportPolicy(dir, "show")
	if want := "version = 0\n\n[[export]]\npath = '/'\n"; code != exitOK || shown != want {
		t.Fatalf("exit code %d, %s\n%s\nwant\n%s", code, errs, shown, want)
	}
	write := func(policy string) string {
		file := filepath.Join(t.TempDir(), "policy.toml")
		if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	first := write("version = 0\n" +
		"[[export]]\npath = \"/pub\"\nread_only = true\nmachines = [\"127.0.0.1\", \"10.0.0.0/8\"]\n" +
		"[[export]]\npath = \"/home\"\nsquash = \"root\"\nfront_ends = [\"gateway\", \"replica-2\"]\n")
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a key that may not", []string{first, "--key", filepath.Join(dir, "gateway-100", "key")}, exitFailure, "operator = true"},
		{"a replica's key", []string{first, "--key", filepath.Join(dir, "replica-0", "key")}, exitFailure, "an operator's is needed"},
		{"no such key", []string{first, "--key", filepath.Join(dir, "none")}, exitFailure, "--key FILE"},
		{"no such file", []string{filepath.Join(dir, "none")}, exitFailure, "opening the export policy"},
		{"a misspelled field", []string{write("version = 0\n[[export]]\npath = \"/\"\nreadonly = true\n")}, exitFailure, "line 4"},
		{"an unknown front end", []string{write("version = 0\n[[export]]\npath = \"/\"\nfront_ends = [\"replica-4\"]\n")}, exitFailure, "replica-0 to replica-3"},
		{"no directory", []string{write("version = 0\n[[export]]\npath = \"/none\"\n")}, exitFailure, "make it first"},
		{"good", []string{first}, exitOK, ""},
		{"the same again", []string{first}, exitFailure, "version 1 is in use"},
	} {
		code, out, errs := s.exportPolicy(dir, "set", tc.args...)
		if code != tc.code || !strings.Contains(errs, tc.says) {
			t.Errorf("%s: exit code %d, want %d, and this to say %q:\n%s%s", tc.name, code, tc.code, tc.says, out, errs)
		}
	}

	// It holds at once, at every front end, for handles that were got before too.
	if _, err := through.GetAttr(ctx, root); !isStatus(err, nfs3.ErrAcces) {
		t.Errorf("the root, which is not exported any more: %v", err)
	}
	pub, err := replica.Mount(ctx, "/pub")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replica.Mkdir(ctx, pub, "d", nfs3.Sattr{}); !isStatus(err, nfs3.ErrROFS) {
		t.Errorf("making a directory in a read-only export: %v", err)
	}
	if _, err := replica.Mount(ctx, "/home"); err == nil {
		t.Error("replica 1's front end mounted what is for the gateway and replica 2's")
	}
	home, err := through.Mount(ctx, "/home")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replica.GetAttr(ctx, home); !isStatus(err, nfs3.ErrAcces) {
		t.Errorf("replica 1's front end with a handle from the gateway: %v", err)
	}
	if _, err := through.Mkdir(ctx, home, "d", nfs3.Sattr{}); !isStatus(err, nfs3.ErrAcces) {
		t.Errorf("root is squashed, and made a directory all the same: %v", err)
	}
	for c, want := range map[*nfsclient.Client][]mount.Export{
		through: {{Path: "/pub", Groups: []string{"127.0.0.1/32", "10.0.0.0/8"}}, {Path: "/home"}},
		replica: {{Path: "/pub", Groups: []string{"127.0.0.1/32", "10.0.0.0/8"}}},
	} {
		got, err := c.Exports(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("EXPORT (-want +got):\n%s", d)
		}
	}

	// What show prints, set takes.
	_, shown, _ = s.exportPolicy(dir, "show")
	again := write(shown)
	if code, _, errs := s.exportPolicy(dir, "set", again); code != exitOK {
		t.Errorf("what was shown is not taken: %s\n%s", errs, shown)
	}
	_, second, _ := s.exportPolicy(dir, "show")
	if strings.Replace(shown, "version = 1", "version = 2", 1) != second {
		t.Errorf("set from\n%s\nit is shown as\n%s", shown, second)
	}
	s.awaitEqualRoots(dir)
}

func isStatus(err error, status nfs3.Status) bool {
	got, ok := nfsclient.Status(err)
	return ok && got == status
}

// The exports of cluster.toml are those of the new file system, and their directories are made.
func TestANewClusterHasTheExportsOfItsFile(t *testing.T) {
	dir := initCluster(t)
	cluster, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	uid := uint32(7)
	cluster.Exports = []config.Export{
		{Path: "/srv/data", Squash: config.SquashAll, AnonUID: &uid, FrontEnds: []string{"gateway", "replica-3"}, Machines: []string{"10.0.0.7", "fe80::/10"}},
	}
	data, err := cluster.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if cluster, err = config.Parse(data); err != nil {
		t.Fatal(err)
	}
	fs := fsstate.New(clusterFileSystem(cluster))
	if bad := fsstate.Check(fs.Snapshot()); bad != nil {
		t.Error(bad)
	}
	r, err := fsstate.DecodeResult(fsstate.KindGetPolicy, fs.Execute(fsstate.EncodeOp(&fsstate.Op{Args: &fsstate.GetPolicy{}}), 1))
	if err != nil {
		t.Fatal(err)
	}
	got := r.(*fsstate.GetPolicyResult).Policy.Exports
	want := []fsstate.Export{{
		Path: "/srv/data", Dir: got[0].Dir, Squash: fsstate.SquashAll, AnonUID: 7, AnonGID: config.Nobody, FrontEnds: []fsstate.FrontEnd{100, 3},
		Machines: []string{"10.0.0.7/32", "fe80::/10"},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, e := range []config.Export{
		{Path: "srv"},
		{Path: "/srv/"},
		{Path: "/a/../b"},
		{Path: "/" + strings.Repeat("x", 256)},
		{Path: "/", Squash: "some"},
		{Path: "/", FrontEnds: []string{"nobody"}},
		{Path: "/", FrontEnds: []string{}},
		{Path: "/", Machines: []string{"10.0.0.1/8"}},
		{Path: "/", Machines: []string{"host.example"}},
		{Path: "/", Machines: []string{"::ffff:10.0.0.0/104"}},
		{Path: strings.Repeat("/a", 2047)},
	} {
		cluster.Exports, cluster.Limits.MaxInodes = []config.Export{e}, 1000
		if err := cluster.Validate(); err == nil {
			t.Errorf("%+v was taken", e)
		}
	}
}

// The policy as the users of a kernel mount meet it.
func TestAKernelMountOfExports(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	s.start(upArgs(dir, s.host(), "--durability", "memory")...)
	c := s.library(net.JoinHostPort(s.host(), strconv.Itoa(testPort)))
	ctx := t.Context()
	root, err := c.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]uint32{"home": 0o1777, "pub": 0o777, "other": 0o777} {
		made, err := c.Mkdir(ctx, root, name, nfs3.Sattr{Mode: &mode})
		if err == nil {
			_, err = c.WriteFile(ctx, made.Object, "file", []byte("data\n"), 0o600)
		}
		if err == nil {
			_, err = c.WriteFile(ctx, made.Object, "second", []byte("data\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	g := s.guest()
	s.setExports(dir, fmt.Sprintf("version = 0\n[[export]]\npath = \"/home\"\nsquash = \"root\"\n[[export]]\npath = \"/pub\"\nread_only = true\nmachines = [%q]\n", g.Address()))
	if _, err := g.Mount(ctx, kernelclient.MountOptions{Server: s.host(), Port: testPort}); err == nil {
		t.Error("the root was mounted, which is not exported")
	}
	at := func(export string) string {
		mnt, err := g.Mount(ctx, kernelclient.MountOptions{Server: s.host(), Port: testPort, Export: export})
		if err != nil {
			t.Fatal(err)
		}
		return mnt
	}
	home, pub := at("/home"), at("/pub")
	out := runScript(t, g, fmt.Sprintf(`
cat %[2]s/file
if touch %[2]s/new; then echo made a file in a read-only export; fi
if rm -f %[2]s/file; then echo removed a file from a read-only export; fi
if cat %[1]s/file; then echo read what is mode 0600 and belongs to root, though root is squashed; fi
echo made > %[1]s/made
stat -c '%%u %%g' %[1]s/made
ls -ld %[1]s/.. >/dev/null
mkdir %[1]s/d; mv %[1]s/made %[1]s/d/; cat %[1]s/d/made
`, home, pub))
	for _, want := range []string{
		"data\n", "touch: cannot touch '" + pub + "/new': Read-only file system", "rm: cannot remove '" + pub + "/file': Read-only file system",
		"cat: " + home + "/file: Permission denied", "\n65534 65534\nmade\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it printed\n%s\nand not\n%s", out, want)
		}
	}
	// Changed while it is mounted. (What the client was told of the first file, it remembers for a while.)
	s.setExports(dir, "version = 1\n[[export]]\npath = \"/home\"\n[[export]]\npath = \"/pub\"\n")
	runScript(t, g, fmt.Sprintf("echo now > %[2]s/new; cat %[1]s/second >/dev/null", home, pub))
	s.awaitEqualRoots(dir)
}
