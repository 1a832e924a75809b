package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// startUp brings a cluster up on loopback, in dir, and returns where it serves NFS.
func startUp(s *site, dir string, more ...string) (up *server, addr string) {
	s.t.Helper()
	addr = net.JoinHostPort(s.host(), strconv.Itoa(freePort(s.t)))
	return s.start(append([]string{"up", "--dir", dir, "--nfs", addr}, more...)...), addr
}

// importCluster makes a cluster of a backup and returns its directory.
func importCluster(t *testing.T, archive string, more ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	args := append([]string{"import", archive, "--dir", dir, "--hosts", hostsHere()}, more...)
	if code, out, errs := cliRun(t, args...); code != exitOK {
		t.Fatalf("bfsd import exits with %d:\n%s%s", code, out, errs)
	}
	return dir
}

func exportTo(t *testing.T, dir, archive string, more ...string) (out string) {
	t.Helper()
	code, out, errs := cliRun(t, append([]string{"export", "--config", filepath.Join(dir, "cluster.toml"), "--output", archive}, more...)...)
	if code != exitOK {
		t.Fatalf("bfsd export exits with %d:\n%s%s", code, out, errs)
	}
	return out
}

// found is what a client sees of one name.
type found struct {
	Attr   nfs3.Fattr
	Target string
	Data   string
}

// tree reads everything below a directory, by path.
func tree(t *testing.T, c *nfsclient.Client, dir nfs3.FH, path string, all map[string]found) map[string]found {
	t.Helper()
	if all == nil {
		all = map[string]found{}
	}
	entries, err := c.ReadDirAll(t.Context(), dir)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, e := range entries {
		if e.Name == "." || e.Name == ".." {
			continue
		}
		at := path + "/" + e.Name
		node, err := c.Lookup(t.Context(), dir, e.Name)
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		f := found{Attr: *node.Attr}
		f.Attr.FSID = 0 // of the cluster
		switch f.Attr.Type {
		case nfs3.TypeDir:
			tree(t, c, node.Object, at, all)
		case nfs3.TypeSymlink:
			link, err := c.ReadLink(t.Context(), node.Object)
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			f.Target = link.Target
		case nfs3.TypeReg:
			if f.Attr.Size < 1<<24 {
				data, err := c.ReadFile(t.Context(), node.Object)
				if err != nil {
					t.Fatalf("%s: %v", at, err)
				}
				f.Data = string(data)
			}
		case nfs3.TypeBlock, nfs3.TypeChar, nfs3.TypeSocket, nfs3.TypeFIFO: // the attributes say it all
		}
		all[at] = f
	}
	return all
}

// plant makes a small tree of every kind of file.
func plant(t *testing.T, c *nfsclient.Client, root nfs3.FH) {
	t.Helper()
	ctx := t.Context()
	must := func(res *nfs3.CreateRes, err error) nfs3.FH {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return res.Object
	}
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d := must(c.Mkdir(ctx, root, "planted", nfs3.Sattr{Mode: ptr(uint32(0o2751)), UID: ptr(uint32(12)), GID: ptr(uint32(34))}))
	file, err := c.WriteFile(ctx, d, "file", bytes.Repeat([]byte("0123456789abcdef"), 10_000), 0o4711)
	check(nil, err)
	check(c.SetAttr(ctx, file, nfs3.Sattr{
		UID: ptr(uint32(70_000)), GID: ptr(uint32(3_000_000_000)), Mtime: nfs3.SetTime{How: nfs3.SetToClientTime, Time: nfs3.Time{Sec: 1_234_567_890, Nsec: 987_654_321}},
	}, nil))
	check(c.Link(ctx, file, root, "hard link"))
	check(c.Link(ctx, file, d, "another name"))
	check(c.Symlink(ctx, d, "symbolic link", "../somewhere/else", nfs3.Sattr{}))
	check(c.Mknod(ctx, d, "null", nfs3.TypeChar, nfs3.SpecData{Major: 1, Minor: 3}, nfs3.Sattr{Mode: ptr(uint32(0o666))}))
	check(c.Mknod(ctx, d, "disk", nfs3.TypeBlock, nfs3.SpecData{Major: 8, Minor: 17}, nfs3.Sattr{Mode: ptr(uint32(0o660))}))
	check(c.Mknod(ctx, d, "pipe", nfs3.TypeFIFO, nfs3.SpecData{}, nfs3.Sattr{}))
	check(c.Mknod(ctx, d, "socket", nfs3.TypeSocket, nfs3.SpecData{}, nfs3.Sattr{}))
	check(c.WriteFile(ctx, d, strings.Repeat("ü", 127), nil, 0o600))
	check(c.WriteFile(ctx, d, "not UTF-8 \xff\nnor one line", []byte("x"), 0o600))
	holes, err := c.WriteFile(ctx, d, "holes", []byte("begin"), 0o600)
	check(nil, err)
	check(nil, c.WriteAt(ctx, holes, 5_000_000, []byte("end")))
	check(c.SetAttr(ctx, holes, nfs3.Sattr{Size: ptr(uint64(6_000_000))}, nil))
	huge, err := c.WriteFile(ctx, d, "huge", nil, 0o600)
	check(nil, err)
	check(nil, c.WriteAt(ctx, huge, 1<<40, []byte("far away")))
}

// writeUntil writes files, one after the other, until stop is closed; it returns how many.
func writeUntil(ctx context.Context, c *nfsclient.Client, dir nfs3.FH, stop <-chan struct{}) (written int, err error) {
	for ; ; written++ {
		select {
		case <-stop:
			return written, nil
		default:
		}
		if _, err := c.WriteFile(ctx, dir, fmt.Sprint(written), []byte("load"), 0o644); err != nil {
			return written, err
		}
	}
}

// A backup that is taken while others write comes back as a new cluster with the same files, down to the nanosecond.
func TestABackupUnderLoadComesBackAsACluster(t *testing.T) {
	s := local(t)
	dir, archive := t.TempDir(), filepath.Join(t.TempDir(), "backup.tar")
	_, addr := startUp(s, dir, "--durability", "os")
	root, c := mountLibrary(t, addr)
	plant(t, c, root)
	load, err := c.Mkdir(t.Context(), root, "load", nfs3.Sattr{Mode: ptr(uint32(0o755))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mkdir(t.Context(), root, "closed", nfs3.Sattr{}); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	written := 0
	go func() {
		var err error
		written, err = writeUntil(t.Context(), c, load.Object, stop)
		ended <- err
	}()
	awaitCondition(t, "the load to begin", func() bool {
		_, err := c.Lookup(t.Context(), load.Object, "20")
		return err == nil
	}, func() string { return "no file 20" })
	if _, err := c.WriteFile(t.Context(), root, "last before the export", []byte("acknowledged"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.setExports(dir, "version = 0\n[[export]]\npath = \"/\"\nfront_ends = [\"gateway\"]\n[[export]]\npath = \"/closed\"\nread_only = true\n")
	_, policy, _ := s.exportPolicy(dir, "show")
	out := exportTo(t, dir, archive)
	s.setExports(dir, "version = 1\n[[export]]\npath = \"/\"\n")
	close(stop)
	if err := <-ended; err != nil {
		t.Fatalf("after %d files: %v", written, err)
	}
	if !strings.Contains(out, "signed by replicas") {
		t.Errorf("bfsd export says: %s", out)
	}
	want := tree(t, c, root, "", nil)

	if code, out, errs := cliRun(t, "import", archive, "--check", "--trust", dir+"/cluster.toml"); code != exitOK || !strings.Contains(out, "sound") {
		t.Errorf("bfsd import --check exits with %d: %s%s", code, out, errs)
	}
	fresh := importCluster(t, archive)
	up, newAddr := startUp(s, fresh)
	newRoot, n := mountLibrary(t, newAddr)
	if _, kept, _ := s.exportPolicy(fresh, "show"); kept != policy || policy == "" {
		t.Errorf("the export policy was\n%s\nand is\n%s", policy, kept)
	}
	got := tree(t, n, newRoot, "", nil)
	loaded := 0
	for path := range want {
		switch {
		case path == "/load":
			delete(want, path)
			delete(got, path)
		case strings.HasPrefix(path, "/load/"):
			if _, there := got[path]; there {
				loaded++
			}
			delete(want, path)
			delete(got, path)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the files changed (-before +after):\n%s", diff)
	}
	if loaded < 20 || loaded > written {
		t.Errorf("%d of the files written meanwhile are there, of %d", loaded, written)
	}
	if _, err := n.WriteFile(t.Context(), newRoot, "new", []byte("life"), 0o644); err != nil {
		t.Error(err)
	}
	for i := range 2 * loaded { // beyond a checkpoint, of which fsck will look at the last
		if _, err := n.WriteFile(t.Context(), newRoot, fmt.Sprint("more ", i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitEqualRoots(fresh)
	up.stop()
	for _, id := range []string{"0", "3"} {
		if code, out, errs := cliRun(t, "fsck", "--config", fresh+"/cluster.toml", "--id", id); code != exitOK {
			t.Errorf("fsck of replica %s exits with %d: %s%s", id, code, out, errs)
		}
	}
	// And it can be backed up again.
	startUp(s, fresh)
	exportTo(t, fresh, filepath.Join(t.TempDir(), "again.tar"))
}

func TestABackupThatIsNotWhatWasSignedIsRefused(t *testing.T) {
	s := local(t)
	dir, archive := t.TempDir(), filepath.Join(t.TempDir(), "backup.tar")
	_, addr := startUp(s, dir, "--durability", "memory")
	root, c := mountLibrary(t, addr)
	if _, err := c.WriteFile(t.Context(), root, "file", []byte("transfer 100 to Alice"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteFile(t.Context(), root, "large", bytes.Repeat([]byte("x"), 1<<21), 0o644); err != nil {
		t.Fatal(err)
	}
	exportTo(t, dir, archive)
	whole, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	other := initCluster(t)
	changed := func(from, to string) []byte { return bytes.Replace(whole, []byte(from), []byte(to), 1) }
	for _, tc := range []struct {
		name  string
		data  []byte
		trust string
		says  string
	}{
		{"cut off", whole[:len(whole)/2], "", "cut off"},
		{"nothing", nil, "", "cut off"},
		{"no archive", []byte(strings.Repeat("This is no archive. ", 1000)), "", "no backup"},
		{"other contents", changed("to Alice", "to Mallet"[:8]), "", "something in it was changed"},
		{"another name", changed("bfsd-backup/files/file", "bfsd-backup/files/fork"), "", "header"},
		{"outside", changed("bfsd-backup/files/file", "bfsd-backup/files/../e"), "", "header"},
		{"another sequence", changed("sequence = 1", "sequence = 2"), "", "certificate"},
		{"another cluster's keys", whole, other + "/cluster.toml", "is of cluster"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad.tar")
			if err := os.WriteFile(bad, tc.data, 0o600); err != nil {
				t.Fatal(err)
			}
			made := filepath.Join(t.TempDir(), "made")
			args := []string{"import", bad, "--dir", made, "--hosts", "a,b,c,d"}
			if tc.trust != "" {
				args = append(args, "--trust", tc.trust)
			}
			code, out, errs := cliRun(t, args...)
			if code != exitDamaged || !strings.Contains(errs, tc.says) {
				t.Errorf("exit code %d, want %d, and this to say %q: %s%s", code, exitDamaged, tc.says, out, errs)
			}
			if _, err := os.Stat(made); err == nil {
				t.Error("a cluster was made of it")
			}
		})
	}
	if code, _, errs := cliRun(t, "import", archive, "--dir", t.TempDir(), "--hosts", "a,b,c,d", "--max-bytes", "1048576"); code != exitFailure || !strings.Contains(errs, "make room") {
		t.Errorf("too many bytes: exit code %d: %s", code, errs)
	}
	if code, _, errs := cliRun(t, "export", "--config", dir+"/cluster.toml", "-o", archive); code != exitUsage || !strings.Contains(errs, "--force") {
		t.Errorf("an archive would be replaced: exit code %d: %s", code, errs)
	}
	if code, _, errs := cliRun(t, "export", "--config", dir+"/cluster.toml", "-o", archive+"2", "--key", dir+"/gateway-100/key", "--newest", "--timeout", "1s"); code != exitNoQuorum {
		t.Errorf("a gateway's key copied the state: exit code %d: %s", code, errs)
	}
	if leftover, err := filepath.Glob(archive + "*"); err != nil || len(leftover) != 1 {
		t.Errorf("%v lies about (%v)", leftover, err)
	}
}

// When too few replicas are left to order anything, what they have can still be saved.
func TestABackupIsTakenOfWhatIsLeft(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	up, addr := startUp(s, dir, "--durability", "os")
	root, c := mountLibrary(t, addr)
	for i := range 300 {
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint(i), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitEqualRoots(dir)
	for id := range uint32(2) {
		if err := syscall.Kill(readPid(t, dir, id), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir()
	code, _, errs := cliRun(t, "export", "--config", dir+"/cluster.toml", "-o", out+"/none", "--timeout", "2s")
	if code != exitNoQuorum || !strings.Contains(errs, "--newest") {
		t.Errorf("without a quorum export exits with %d: %s", code, errs)
	}
	exportTo(t, dir, out+"/newest", "--newest")
	exportTo(t, dir, out+"/stopped", "--stopped", "0")
	if code, _, errs := cliRun(t, "export", "--config", dir+"/cluster.toml", "-o", out+"/none", "--stopped", "2"); code != exitFailure || !strings.Contains(errs, "another bfsd process") {
		t.Errorf("export from the disk of a running replica exits with %d: %s", code, errs)
	}
	up.stop()
	for _, archive := range []string{"newest", "stopped"} {
		fresh := importCluster(t, filepath.Join(out, archive), "--trust", dir+"/cluster.toml")
		up, addr := startUp(s, fresh)
		root, c := mountLibrary(t, addr)
		if _, err := c.Lookup(t.Context(), root, "100"); err != nil {
			t.Errorf("%s: %v", archive, err)
		}
		up.stop()
	}
}

func TestOneKeyMakesOneBackupAtATime(t *testing.T) {
	dir := initCluster(t)
	release, err := lockKey(filepath.Join(dir, "backup-101", "key"), "backup", "bfsd export")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	began := time.Now()
	code, _, errs := cliRun(t, "export", "--config", dir+"/cluster.toml", "-o", filepath.Join(dir, "b"))
	if code != exitFailure || !strings.Contains(errs, "another bfsd export") || time.Since(began) > 10*time.Second {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
