package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
	"bfsd/replica/config"
)

// cliRun runs a command line in this process.
func cliRun(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, command := range []string{"", "up", "init", "replica", "gateway", "plain", "status", "doctor", "wait", "export", "import", "export-policy", "export-policy show", "export-policy set", "fsck", "version"} {
		args := append(strings.Fields(command), "--help")
		code, out, _ := cliRun(t, args...)
		if code != exitOK || !strings.Contains(out, "Usage: bfsd") {
			t.Errorf("bfsd %s exits with %d and prints:\n%s", strings.Join(args, " "), code, out)
		}
	}
}

func TestBadCommandLinesAreRefusedWithAdvice(t *testing.T) {
	dir := t.TempDir()
	busy := listenOn(t)
	broken := filepath.Join(dir, "broken.toml")
	if err := os.WriteFile(broken, []byte("version = 1\nreplicas = 4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	made := initCluster(t)
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"unknown command", []string{"serve"}, exitUsage, "bfsd --help"},
		{"no flags", []string{"replica"}, exitUsage, "--config"},
		{"three replicas", []string{"up", "--dir", dir + "/a", "--nfs", "127.0.0.1:0", "--replicas", "3"}, exitUsage, "3f+1"},
		{"no port", []string{"up", "--dir", dir + "/b", "--nfs", "127.0.0.1"}, exitUsage, "HOST:PORT"},
		{"port taken by up", []string{"up", "--dir", dir + "/c", "--nfs", busy}, exitPortBusy, "choose another HOST:PORT"},
		{"port taken by plain", []string{"plain", "--nfs", busy}, exitPortBusy, "choose another HOST:PORT"},
		{"unknown durability", []string{"up", "--dir", dir + "/d", "--nfs", "127.0.0.1:0", "--durability", "tape"}, exitUsage, "durability"},
		{"every address", []string{"up", "--dir", dir + "/f", "--nfs", ":23999"}, exitUsage, "name one address"},
		{"unknown front end", []string{"plain", "--frontend", "samba"}, exitUsage, "go-nfs"},
		{"locks with go-nfs", []string{"plain", "--nfs", "127.0.0.1:0", "--frontend", "go-nfs", "--rpcbind", "serve"}, exitUsage, "--frontend bfsd"},
		{"gateway in no namespace", []string{"gateway", "--config", made + "/cluster.toml", "--key", made + "/gateway-100/key", "--nfs", "127.0.0.1:0", "--netns", "no-such"}, exitFailure, "ip netns list"},
		{"unknown rpcbind", []string{"plain", "--nfs", "127.0.0.1:0", "--rpcbind", "maybe"}, exitUsage, "register"},
		{"no such cluster", []string{"status", "--config", dir + "/none.toml"}, exitFailure, "none.toml"},
		{"broken cluster file", []string{"status", "--config", broken}, exitFailure, "line 2"},
		{"two hosts", []string{"init", "--dir", dir + "/e", "--hosts", "a,b"}, exitUsage, "3f+1"},
		{"cluster is there", []string{"init", "--dir", made, "--hosts", "a,b,c,d"}, exitFailure, "choose another --dir"},
		{"other size", []string{"up", "--dir", made, "--nfs", "127.0.0.1:0", "--replicas", "7"}, exitUsage, "cluster of 4"},
		{"no such replica", []string{"replica", "--config", made + "/cluster.toml", "--id", "4"}, exitUsage, "0 to 3"},
		{"other replica's key", []string{"replica", "--config", made + "/cluster.toml", "--id", "1", "--key", made + "/replica-2/key"}, exitFailure, "is the key of replica 2"},
		{"gateway with a replica's key", []string{"gateway", "--config", made + "/cluster.toml", "--key", made + "/replica-2/key"}, exitFailure, "needs a gateway's"},
		{"gateway without a key", []string{"gateway", "--config", made + "/cluster.toml"}, exitUsage, "--key"},
		{"nobody answers", []string{"status", "--config", made + "/cluster.toml"}, exitNoQuorum, "0 of 4 replicas answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, out, errs := cliRun(t, test.args...)
			if code != test.code || !strings.Contains(errs, test.says) {
				t.Errorf("exit code %d, want %d, and this to say %q:\n%s%s", code, test.code, test.says, out, errs)
			}
		})
	}
}

// initCluster makes a cluster of four replicas on loopback addresses where nobody listens.
func initCluster(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "cluster")
	code, out, errs := cliRun(t, "init", "--dir", dir, "--hosts", "127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1", "--port", "3")
	if code != exitOK {
		t.Fatalf("bfsd init exits with %d:\n%s%s", code, out, errs)
	}
	return dir
}

func TestInitWritesKeysThatOnlyTheirOwnerCanRead(t *testing.T) {
	dir := initCluster(t)
	for _, member := range []string{"replica-0", "replica-1", "replica-2", "replica-3", "gateway-100"} {
		info, err := os.Stat(filepath.Join(dir, member, "key"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("the key of %s has mode %v, want 0600", member, info.Mode().Perm())
		}
	}
	cluster, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := cluster.Replicas[1]; got.Peer != "127.0.0.1:6" || got.NFS != "127.0.0.1:7" || got.Status != "127.0.0.1:8" {
		t.Errorf("the second replica on a host has addresses %+v, want the three ports after the first's", got)
	}
}

func TestASealedKeyNeedsItsPassphrase(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "passphrase")
	if err := os.WriteFile(secret, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := filepath.Join(dir, "cluster")
	if code, _, errs := cliRun(t, "init", "--dir", cluster, "--hosts", "a,b,c,d", "--passphrase-file", secret); code != exitOK {
		t.Fatal(errs)
	}
	key := filepath.Join(cluster, "gateway-100", "key")
	if _, err := (keyFlags{}).read(key); err == nil {
		t.Error("a sealed key was read without its passphrase")
	}
	if _, err := (keyFlags{PassphraseFile: secret}).read(key); err != nil {
		t.Errorf("a sealed key was not read with its passphrase: %v", err)
	}
}

func listenOn(t *testing.T) (addr string) {
	t.Helper()
	l, err := listen(t.Context(), "a test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// local is a site on loopback.
func local(t testing.TB) *site { return &site{t: t} }

func TestUpComesBackWithItsData(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	addr := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	up := s.start("up", "--dir", dir, "--nfs", addr)
	root, c := mountLibrary(t, addr)
	if _, err := c.WriteFile(t.Context(), root, "kept", []byte("across a restart"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := s.awaitEqualRoots(dir)
	if before.Replicas[0].Durability != "disk" {
		t.Errorf("the durability of a new cluster is %q, want disk", before.Replicas[0].Durability)
	}
	up.stop()
	if _, err := os.Stat(filepath.Join(dir, "replica-0", "pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("replica 0's pid file outlives it: %v", err)
	}

	s.start("up", "--dir", dir, "--nfs", addr)
	again, c := mountLibrary(t, addr)
	if !bytes.Equal(again, root) {
		t.Error("the root's handle changed with the restart")
	}
	file, err := c.Lookup(t.Context(), again, "kept")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := c.ReadFile(t.Context(), file.Object); err != nil || string(data) != "across a restart" {
		t.Errorf("after the restart the file holds %q (%v)", data, err)
	}
}

// The processes of a cluster take the switches from cluster.toml: with all off it serves the same files.
func TestAClusterServesItsFilesWithAllOptimisationsOff(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	addr := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	up := s.start("up", "--dir", dir, "--nfs", addr, "--durability", "os")
	root, c := mountLibrary(t, addr)
	large := bytes.Repeat([]byte("large"), 20_000) // beyond large_request_bytes, if that were on
	if _, err := c.WriteFile(t.Context(), root, "before", large, 0o644); err != nil {
		t.Fatal(err)
	}
	up.stop()

	path := filepath.Join(dir, "cluster.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	off := text
	for _, name := range []string{"macs", "batching", "digest_replies", "tentative", "read_only", "large_requests", "piggyback"} {
		on := []byte(name + " = true")
		if !bytes.Contains(off, on) {
			t.Fatalf("cluster.toml does not say %q", on)
		}
		off = bytes.Replace(off, on, []byte(name+" = false"), 1)
	}
	if err := os.WriteFile(path, off, 0o644); err != nil {
		t.Fatal(err)
	}
	s.start("up", "--dir", dir, "--nfs", addr)
	root, c = mountLibrary(t, addr)
	if _, err := c.WriteFile(t.Context(), root, "after", large, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"before", "after"} {
		file, err := c.Lookup(t.Context(), root, name)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := c.ReadFile(t.Context(), file.Object); err != nil || !bytes.Equal(data, large) {
			t.Errorf("%s holds %d bytes (%v), want the %d written", name, len(data), err, len(large))
		}
	}
	s.awaitEqualRoots(dir)
}

func TestAClusterWhoseFileWasLostKeepsItsKeys(t *testing.T) {
	dir := initCluster(t)
	path := filepath.Join(dir, "cluster.toml")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "replica-0", "key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"up", "--dir", dir, "--nfs", "127.0.0.1:0"}, {"init", "--dir", dir, "--hosts", "a,b,c,d"}} {
		if code, _, errs := cliRun(t, args...); code != exitFailure || !strings.Contains(errs, "put that file back") {
			t.Errorf("%v exits with %d: %s", args, code, errs)
		}
	}
	after, err := os.ReadFile(filepath.Join(dir, "replica-0", "key"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the key of replica 0 changed (%v)", err)
	}
	// An attempt that was cut off leaves keys too, and may be repeated.
	if err := os.WriteFile(filepath.Join(dir, "making"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := cliRun(t, "init", "--dir", dir, "--hosts", "a,b,c,d"); code != exitOK {
		t.Errorf("an attempt that was cut off cannot be repeated: %s", errs)
	}
}

func TestAStartInMemoryMakesOtherHandles(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	addr := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	up := s.start("up", "--dir", dir, "--nfs", addr, "--durability", "memory")
	before, _ := mountLibrary(t, addr)
	up.stop()
	s.start("up", "--dir", dir, "--nfs", addr)
	after, c := mountLibrary(t, addr)
	if bytes.Equal(before, after) {
		t.Error("another file system has the same handles")
	}
	if _, err := c.GetAttr(t.Context(), before); err == nil {
		t.Error("a handle of the file system before is taken")
	}
}

func TestDurabilityDoesNotHideFiles(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	up := s.start("up", "--dir", dir, "--nfs", net.JoinHostPort(s.host(), strconv.Itoa(freePort(t))), "--durability", "os")
	up.stop()
	code, _, errs := cliRun(t, "up", "--dir", dir, "--nfs", "127.0.0.1:0", "--durability", "memory")
	if code != exitUsage || !strings.Contains(errs, "kept on disk") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestUpStartsWithoutAReplicaThatCannot(t *testing.T) {
	s := local(t)
	dir := filepath.Join(t.TempDir(), "a dir with 'odd' name")
	addr := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	s.start("up", "--dir", dir, "--nfs", addr).stop()
	if err := os.Remove(filepath.Join(dir, "replica-2", "key")); err != nil {
		t.Fatal(err)
	}
	up := s.start("up", "--dir", dir, "--nfs", addr)
	awaitCondition(t, "up to say so", func() bool { return strings.Contains(up.output.String(), "replica 2 ended") }, up.output.String)
	if report := s.status(dir); report.up() != 3 {
		t.Errorf("%d replicas are up, want 3: %+v", report.up(), report)
	}
}

func TestTheProcessesOfAClusterEndWithUp(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	up := s.start("up", "--dir", dir, "--nfs", net.JoinHostPort(s.host(), strconv.Itoa(freePort(t))), "--durability", "memory")
	pids := make([]int, 4)
	for i := range pids {
		pids[i] = readPid(t, dir, uint32(i))
	}
	if err := up.cmd.Process.Kill(); err != nil { // kill -9: nothing of its own runs any more
		t.Fatal(err)
	}
	<-up.ended
	for i, pid := range pids {
		awaitCondition(t, fmt.Sprintf("replica %d to end", i), func() bool {
			return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
		}, func() string { return fmt.Sprintf("process %d still runs", pid) })
	}
}

func TestTwoUpsOnOneDirectoryAreRefused(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	s.start("up", "--dir", dir, "--nfs", net.JoinHostPort(s.host(), strconv.Itoa(freePort(t))), "--durability", "memory")
	code, _, errs := cliRun(t, "up", "--dir", dir, "--nfs", "127.0.0.1:0")
	if code != exitFailure || !strings.Contains(errs, "another bfsd process is using it") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestAReplicaThatWasKilledCanBeStartedAgain(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	addr := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	up := s.start("up", "--dir", dir, "--nfs", addr)
	root, c := mountLibrary(t, addr)
	write := func(name string) {
		t.Helper()
		if _, err := c.WriteFile(t.Context(), root, name, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("before")
	if err := syscall.Kill(readPid(t, dir, 2), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	write("meanwhile")
	awaitCondition(t, "up to say so", func() bool { return strings.Contains(up.output.String(), "replica 2 ended") },
		up.output.String)
	restarted := s.command(context.WithoutCancel(t.Context()), "replica", "--config", filepath.Join(dir, "cluster.toml"), "--id", "2")
	if err := restarted.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = restarted.Process.Signal(syscall.SIGTERM)
		_ = restarted.Wait()
	})
	write("after")
	s.awaitEqualRoots(dir)
}

func TestFsckFindsACheckpointSound(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	addr := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	up := s.start("up", "--dir", dir, "--nfs", addr, "--durability", "os")
	root, c := mountLibrary(t, addr)
	for i := range 150 { // beyond a checkpoint
		if _, err := c.WriteFile(t.Context(), root, fmt.Sprint(i), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	awaitCondition(t, "a stable checkpoint", func() bool { return s.status(dir).Replicas[1].Stable > 0 }, func() string { return fmt.Sprint(s.status(dir)) })
	if code, _, errs := cliRun(t, "fsck", "--config", dir+"/cluster.toml", "--id", "1"); code != exitFailure || !strings.Contains(errs, "another bfsd process") {
		t.Errorf("fsck of a running replica exits with %d: %s", code, errs)
	}
	up.stop()
	code, out, errs := cliRun(t, "fsck", "--config", dir+"/cluster.toml", "--id", "1")
	if code != exitOK || !strings.Contains(out, "is sound") {
		t.Errorf("fsck exits with %d: %s%s", code, out, errs)
	}
}

// mountLibrary mounts the server at addr with the library client, as root.
func mountLibrary(t testing.TB, addr string) (nfs3.FH, *nfsclient.Client) {
	t.Helper()
	var c *nfsclient.Client
	var err error
	awaitCondition(t, "NFS to be served at "+addr, func() bool { // its process may just have been started
		c, err = nfsclient.Dial(t.Context(), addr)
		return err == nil
	}, func() string { return fmt.Sprint(err) })
	t.Cleanup(func() { c.Close() })
	c = c.As(0, 0)
	root, err := c.Mount(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	return root, c
}
