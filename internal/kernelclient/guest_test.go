package kernelclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/memfs"
	gonfs "github.com/willscott/go-nfs"
)

// sacrificeVariable makes the test binary a program that starts a guest, tells its process id, and waits to be killed.
const sacrificeVariable = "KERNELCLIENT_TEST_SACRIFICE"

func TestMain(m *testing.M) {
	Agent(map[string]Handler{
		"sum": func(_ context.Context, in json.RawMessage, stdout io.Writer) (any, error) {
			var terms []int
			if err := json.Unmarshal(in, &terms); err != nil {
				return nil, err
			}
			sum := 0
			for _, term := range terms {
				sum += term
			}
			_, err := fmt.Fprintf(stdout, "adding %d terms in process %d", len(terms), os.Getpid())
			return sum, err
		},
		"naps": func(ctx context.Context, in json.RawMessage, _ io.Writer) (any, error) {
			var naps int
			if err := json.Unmarshal(in, &naps); err != nil {
				return nil, err
			}
			for range naps {
				time.Sleep(time.Millisecond) // its end is the timer interrupt that the test is about
			}
			return naps, ctx.Err()
		},
		"panic": func(context.Context, json.RawMessage, io.Writer) (any, error) { panic("on purpose") },
		"wait": func(ctx context.Context, _ json.RawMessage, _ io.Writer) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	if pid := os.Getenv(loseVariable); pid != "" {
		if err := loseTimerInterrupts(pid, lostInterrupts); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(sacrificeVariable) != "" {
		sacrifice()
	}
	os.Exit(m.Run())
}

// newNetwork makes a network for a test, or skips it where none can be made; BFSD_REQUIRE_KERNEL_CLIENT forbids skipping.
func newNetwork(t *testing.T) *Network {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a guest")
	}
	if err := Available(); err != nil {
		if os.Getenv("BFSD_REQUIRE_KERNEL_CLIENT") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	n, err := NewNetwork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error("close the network:", err)
		}
	})
	return n
}

func startGuest(t *testing.T, n *Network, options GuestOptions) *Guest {
	t.Helper()
	g, err := n.StartGuest(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// memoryFS adds to billy's file system in memory the changes of attributes that an NFS server needs to be writable.
type memoryFS struct{ billy.Filesystem }

func (memoryFS) Lchown(string, int, int) error              { return nil }
func (memoryFS) Chown(string, int, int) error               { return nil }
func (memoryFS) Chtimes(string, time.Time, time.Time) error { return nil }
func (fs memoryFS) Chmod(name string, mode os.FileMode) error {
	return fs.Filesystem.(billy.Chmod).Chmod(name, mode)
}

// memoryServer is a small real NFS server: go-nfs on one file system in memory, whose handles are paths.
type memoryServer struct{ fs memoryFS }

func (s memoryServer) Mount(context.Context, net.Conn, gonfs.MountRequest) (gonfs.MountStatus, billy.Filesystem, []gonfs.AuthFlavor) {
	return gonfs.MountStatusOk, s.fs, []gonfs.AuthFlavor{gonfs.AuthFlavorUnix}
}
func (s memoryServer) Change(billy.Filesystem) billy.Change { return s.fs }

func (memoryServer) FSStat(context.Context, billy.Filesystem, *gonfs.FSStat) error { return nil }

// ToHandle pads to whole words, since go-nfs forgets to skip the padding of an opaque argument.
func (memoryServer) ToHandle(_ billy.Filesystem, path []string) []byte {
	handle := "/" + strings.Join(path, "/")
	return []byte(handle + strings.Repeat("/", (4-len(handle)%4)%4))
}

func (s memoryServer) FromHandle(handle []byte) (billy.Filesystem, []string, error) {
	path := strings.FieldsFunc(string(handle), func(r rune) bool { return r == '/' })
	return s.fs, path, nil
}
func (memoryServer) InvalidateHandle(billy.Filesystem, []byte) error { return nil }
func (memoryServer) HandleLimit() int                                { return 1 << 20 }

// serve runs an NFS server with an empty file system inside the network until the test ends.
func serve(t *testing.T, n *Network) MountOptions {
	t.Helper()
	listener, err := n.Listen(t.Context(), Address+":0")
	if err != nil {
		t.Fatal(err)
	}
	fs := memfs.New()
	if err := fs.MkdirAll("export", 0o755); err != nil { // memfs lets nobody write to its root directory
		t.Fatal(err)
	}
	gonfs.Log.SetLevel(gonfs.PanicLevel) // it calls every missing optional program an error
	export, err := fs.Chroot("export")
	if err != nil {
		t.Fatal(err)
	}
	handler := memoryServer{memoryFS{export}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = gonfs.Serve(listener, handler) // ends with the listener
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return MountOptions{Server: Address, Port: port(t, listener)}
}

func port(t *testing.T, listener net.Listener) int {
	t.Helper()
	address, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return int(address.Port())
}

// script runs a script that must succeed and returns its output.
func script(t *testing.T, g *Guest, text string) string {
	t.Helper()
	var out bytes.Buffer
	exit, err := g.Script(t.Context(), "set -eu\n"+text, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	if exit != 0 {
		t.Fatalf("script ended with %d:\n%s\n%s", exit, text, &out)
	}
	return out.String()
}

func TestGuestMountsAndWritesThroughNFS(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := startGuest(t, n, GuestOptions{})
	first, second := serve(t, n), serve(t, n)
	var dirs []string
	for _, server := range []MountOptions{first, second, first} {
		dir, err := g.Mount(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	const payload = "0123456789abcdef"
	script(t, g, fmt.Sprintf("yes %s | head -c 1000000 >%s/file", payload, dirs[0]))
	script(t, g, fmt.Sprintf("mkdir %[2]s/d; cp %[1]s/file %[2]s/d/copy; echo more >>%[2]s/d/copy", dirs[0], dirs[1]))
	for _, dir := range dirs {
		if err := g.Unmount(t.Context(), dir); err != nil {
			t.Error(err)
		}
	}
	if left := script(t, g, "cat /proc/self/mounts"); strings.Contains(left, " nfs ") {
		t.Errorf("an NFS mount is left:\n%s", left)
	}
	dir, err := g.Mount(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat(payload+"\n", 1000000/len(payload)+1)[:1000000] + "more\n"
	if got := script(t, g, "cat "+dir+"/d/copy"); got != want {
		t.Errorf("read %d bytes from the server again, wrote %d", len(got), len(want))
	}
	mounts := script(t, g, "cat /proc/self/mounts")
	for _, want := range []string{" nfs ", "vers=3", "rsize=1048576", "wsize=1048576", "proto=tcp"} {
		if !strings.Contains(mounts, want) {
			t.Errorf("/proc/self/mounts lacks %q:\n%s", want, mounts)
		}
	}
}

func TestTwoGuestsSeeOneServer(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	server := serve(t, n)
	a, b := startGuest(t, n, GuestOptions{MemoryMiB: 256}), startGuest(t, n, GuestOptions{MemoryMiB: 256})
	var dirs []string
	for _, g := range []*Guest{a, b} {
		dir, err := g.Mount(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	script(t, a, "echo hello >"+dirs[0]+"/note")
	if got := script(t, b, "cat "+dirs[1]+"/note"); got != "hello\n" {
		t.Errorf("the second client read %q", got)
	}
	if a.Kind() == UML && a.Address() == b.Address() {
		t.Errorf("both guests are %s", a.Address())
	}
}

func TestMountErrors(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := startGuest(t, n, GuestOptions{MemoryMiB: 256})
	if _, err := g.Mount(t.Context(), MountOptions{Server: Address, Port: 9}); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("mount from a port where nobody listens: %v", err)
	}
	if _, err := g.Mount(t.Context(), MountOptions{Server: "server.example", Port: 2049}); err == nil || !strings.Contains(err.Error(), "IP address") {
		t.Errorf("mount from a name: %v", err)
	}
	if err := g.Unmount(t.Context(), mountRoot+"/nowhere"); err == nil {
		t.Error("unmounting nothing succeeded")
	}
	if log, err := g.KernelLog(t.Context()); err != nil || !strings.Contains(log, "Linux version") {
		t.Errorf("kernel log: %v, %d bytes", err, len(log))
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := startGuest(t, n, GuestOptions{MemoryMiB: 256})
	for _, test := range []struct {
		name           string
		job            Job
		exit           int
		stdout, stderr string
	}{
		{name: "exit code", job: Job{Args: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}}, exit: 7, stdout: "out\n", stderr: "err\n"},
		{name: "signal", job: Job{Args: []string{"sh", "-c", "kill -TERM $$"}}, exit: 128 + 15},
		{name: "standard input", job: Job{Args: []string{"cat"}, Stdin: []byte("given")}, stdout: "given"},
		{name: "environment and directory", job: Job{Args: []string{"sh", "-c", `echo "$A $(pwd)"`}, Env: []string{"A=1"}, Dir: "/run"}, stdout: "1 /run\n"},
		{name: "credentials", job: Job{Args: []string{"id", "-u", "-n"}, UID: 1, GID: 1}, stdout: "daemon\n"},
		{name: "groups", job: Job{Args: []string{"id", "-G"}, UID: 1, GID: 2, Groups: []uint32{7, 9}}, stdout: "2 7 9\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			exit, err := g.Exec(t.Context(), test.job, &stdout, &stderr)
			if err != nil || exit != test.exit || stdout.String() != test.stdout || stderr.String() != test.stderr {
				t.Errorf("got exit %d, error %v, stdout %q, stderr %q", exit, err, &stdout, &stderr)
			}
		})
	}
	if _, err := g.Exec(t.Context(), Job{Args: []string{"no-such-program"}}, nil, nil); err == nil {
		t.Error("a program that is not there ran")
	}
	var out bytes.Buffer
	if _, err := g.Script(t.Context(), "head -c 3000000 /dev/zero", &out, nil); err != nil || out.Len() != 3000000 {
		t.Errorf("3000000 bytes of output: got %d, %v", out.Len(), err)
	}
	if _, err := g.Script(t.Context(), ": >/root/kernelclient-was-here", nil, nil); err != nil {
		t.Fatal(err)
	}
	if g.Kind() == UML {
		if _, err := os.Stat("/root/kernelclient-was-here"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a guest wrote to the host's files: %v", err)
		}
	}
}

func TestCancelledJobEndsAndGuestLives(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := startGuest(t, n, GuestOptions{MemoryMiB: 256})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := g.Script(ctx, "echo started; sleep 1000; echo not reached", writerFunc(func(p []byte) {
		if bytes.Contains(p, []byte("started")) {
			cancel()
		}
	}), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled script: %v", err)
	}
	if got := script(t, g, "echo alive"); got != "alive\n" {
		t.Errorf("after a cancelled script the guest said %q", got)
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestHungGuestIsKilledAndReported(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := startGuest(t, n, GuestOptions{MemoryMiB: 256, HangGrace: 500 * time.Millisecond})
	listener, err := n.Listen(t.Context(), Address+":0") // accepts connections, never answers a call
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = g.Mount(ctx, MountOptions{Server: Address, Port: port(t, listener)})
	if err == nil || !strings.Contains(err.Error(), "hung") || !strings.Contains(err.Error(), "killed") {
		t.Errorf("mount from a server that never answers: %v", err)
	}
	if _, err := g.Script(t.Context(), "true", nil, nil); err == nil {
		t.Error("a killed guest ran a script")
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := startGuest(t, n, GuestOptions{MemoryMiB: 256})
	var sum int
	var out bytes.Buffer
	if err := g.Call(t.Context(), "sum", []int{1, 2, 3}, &sum, &out); err != nil {
		t.Fatal(err)
	}
	if sum != 6 || out.String() != "adding 3 terms in process 1" {
		t.Errorf("got %d and %q", sum, &out)
	}
	if err := g.Call(t.Context(), "sum", "no list", nil, nil); err == nil || !strings.Contains(err.Error(), "cannot unmarshal") {
		t.Errorf("handler's error: %v", err)
	}
	if err := g.Call(t.Context(), "nothing", nil, nil, nil); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("unknown function: %v", err)
	}
	if err := g.Call(t.Context(), "panic", nil, nil, nil); err == nil || !strings.Contains(err.Error(), "on purpose") {
		t.Errorf("panicking function: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := g.Call(ctx, "wait", nil, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled function: %v", err)
	}
}

func TestNativeGuestHasItsOwnMountsAndProcesses(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	g := startGuest(t, n, GuestOptions{Kind: Native})
	script(t, g, "echo private >/mnt/file; test $(ls /sys/class/net >/dev/null; cat /proc/1/comm) = agent; ls /proc/self")
	if _, err := os.Stat(mountRoot + "/file"); err == nil {
		t.Error("a native guest's /mnt is the host's")
	}
	server := serve(t, n)
	dir, err := g.Mount(t.Context(), server)
	if !nativeNFS() {
		if err == nil || !strings.Contains(err.Error(), "no such device") {
			t.Errorf("mount with a kernel that has no NFS: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	script(t, g, "echo x >"+dir+"/x; test $(cat "+dir+"/x) = x")
	if err := g.Unmount(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

// What a guest writes to its disk is there for the next guest.
func TestGuestHasTheDiskAndModulesThatItWasGiven(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	if err := UserModeLinux(); err != nil {
		t.Skip(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 32<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", "-F", disk).CombinedOutput(); err != nil {
		t.Skipf("no ext4 to put on a disk: %v: %s", err, out)
	}
	const mount = "mkdir /mnt/disk; mount -t ext4 /dev/ubda /mnt/disk; "
	g := startGuest(t, n, GuestOptions{Kind: UML, Modules: []string{"nfsd"}, Disk: disk})
	script(t, g, mount+"echo kept >/mnt/disk/file; umount /mnt/disk; grep -q nfsd /proc/filesystems")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = startGuest(t, n, GuestOptions{Kind: UML, Disk: disk})
	script(t, g, mount+"test $(cat /mnt/disk/file) = kept; ! grep -q nfsd /proc/filesystems")

	if _, err := n.StartGuest(t.Context(), GuestOptions{Kind: UML, Disk: "a file"}); err == nil || !strings.Contains(err.Error(), "white space") {
		t.Errorf("a disk with white space in its path: %v", err)
	}
}

func TestCommandRunsInsideTheNamespace(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	out, err := n.Command(t.Context(), "ip", "-brief", "address").Output()
	if err != nil || !bytes.Contains(out, []byte(Address+"/24")) {
		t.Errorf("addresses in the namespace: %q, %v", out, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := n.Command(ctx, "sh", "-c", "trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.1; done")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(pipe, ready); err != nil {
		t.Fatal(err)
	}
	cancel()
	rest, err := io.ReadAll(pipe)
	if err != nil || string(rest) != "stopped\n" {
		t.Errorf("after the end of its context the command said %q, %v", rest, err)
	}
	_ = cmd.Wait() // reports the cancelled context
}

func TestNetworksDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	a, b := newNetwork(t), newNetwork(t)
	listener, err := a.Listen(t.Context(), Address+":4711")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if conn, err := b.Dial(t.Context(), Address+":4711"); err == nil {
		conn.Close()
		t.Error("a listener of one network was reached from another")
	}
	conn, err := a.Dial(t.Context(), Address+":4711")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := a.Listen(t.Context(), "localhost:0"); err == nil {
		t.Error("listened at a name")
	}
}

// sacrifice starts a guest with a busy process in it, prints the host process of the guest, and waits to be killed.
func sacrifice() {
	ctx := context.Background()
	n, err := NewNetwork(ctx)
	if err == nil {
		var g *Guest
		if g, err = n.StartGuest(ctx, GuestOptions{MemoryMiB: 256}); err == nil {
			fmt.Println(g.cmd.Process.Pid)
			_, err = g.Script(ctx, "while :; do :; done", nil, nil)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestGuestEndsWhenItsProgramIsKilled(t *testing.T) {
	t.Parallel()
	newNetwork(t) // skips where no guest can be made
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	temp := t.TempDir()
	cmd.Env = append(os.Environ(), sacrificeVariable+"=1", "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var guest int
	if _, err := fmt.Fscan(pipe, &guest); err != nil {
		t.Fatal(err)
	}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", guest))
	if err != nil || len(inNamespace(t, namespace)) == 0 {
		t.Fatalf("the guest's process namespace %q: %v", namespace, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for left := inNamespace(t, namespace); len(left) > 0; left = inNamespace(t, namespace) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("processes %v of the guest outlived the program that started it", left)
		}
	}
	scratch, err := filepath.Glob(filepath.Join(temp, fmt.Sprintf("%s%d-*", scratchPrefix, cmd.Process.Pid)))
	if err != nil || len(scratch) != 1 {
		t.Fatalf("scratch directories of the killed program: %v, %v", scratch, err)
	}
	removeStaleScratch(temp)
	if _, err := os.Stat(scratch[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s of the killed program is still there", scratch[0])
	}
}

// inNamespace lists the processes in a process namespace.
func inNamespace(t *testing.T, namespace string) (pids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == namespace {
			pids = append(pids, strings.Split(link, "/")[2])
		}
	}
	return pids
}
