package conformance

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
)

func TestMain(m *testing.M) {
	handlers := Handlers()
	handlers["special"], handlers["exclusive"] = runSpecial, exclusive
	kernelclient.Agent(handlers)
	flag.Parse()
	if !long() && !explicit("rapid.checks") {
		if err := flag.Set("rapid.checks", "30"); err != nil {
			panic(err) // rapid has no such flag any more
		}
	}
	code := m.Run()
	if builtDir != "" {
		os.RemoveAll(builtDir)
	}
	os.Exit(code)
}

// explicit reports whether a flag was given.
func explicit(name string) (given bool) {
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

// builtDir is where bfsdBinary has put its binary, if it was called.
var builtDir string

// bfsdBinary builds bfsd, as users do, once, and returns its path.
var bfsdBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bfsd-conformance-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	path := filepath.Join(dir, "bfsd")
	if out, err := exec.Command("go", "build", "-o", path, "bfsd/cmd/bfsd").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bfsd: %w: %s", err, out)
	}
	return path, nil
})

// serverPort is where the servers of the tests listen.
const serverPort = 2049

// long tells whether the long forms of the tests are to run.
func long() bool { return os.Getenv("BFSD_LONG_TESTS") != "" }

// startServer runs bfsd with these arguments in the network until the test ends, and returns once it is ready.
func startServer(t *testing.T, n *kernelclient.Network, args ...string) {
	t.Helper()
	binary, err := bfsdBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := n.Command(context.WithoutCancel(t.Context()), binary, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start bfsd %v: %v", args, err)
	}
	ready := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for told := false; lines.Scan(); {
			if lines.Text() == "ready" && !told {
				told = true
				close(ready)
			}
		}
		ended <- cmd.Wait()
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("bfsd %v ended before it was ready (%v):\n%s", args, err, &errs)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // if it has ended, that shows below
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("bfsd ended with %v:\n%s", err, &errs)
			}
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("bfsd did not end 30 s after SIGTERM: %v\n%s", <-ended, &errs)
		}
	})
}

// client is a guest with a mount under test and a directory of its own to compare with.
type client struct {
	t         *testing.T
	guest     *kernelclient.Guest
	mount     string   // of the server
	more      []string // mounts of the same files, through other front ends
	reference string   // tmpfs
	network   *kernelclient.Network
	batches   int
	known     []difference // of this way to mount from a local file system
}

func startClient(t *testing.T, n *kernelclient.Network, extra ...string) *client {
	t.Helper()
	guest, err := n.StartGuest(t.Context(), kernelclient.GuestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, network: n, guest: guest, reference: "/mnt/reference", known: differences}
	c.mount = c.mountServer(extra...)
	c.script("mkdir " + c.reference)
	return c
}

// mountServer mounts the server once more.
func (c *client) mountServer(extra ...string) string {
	c.t.Helper()
	return c.mountWith(kernelclient.MountOptions{Port: serverPort, Extra: extra})
}

func (c *client) mountWith(options kernelclient.MountOptions) string {
	c.t.Helper()
	options.Server = kernelclient.Address
	dir, err := c.guest.Mount(c.t.Context(), options)
	if err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// uncached makes a mount ask the server about everything.
var uncached = []string{"noac", "lookupcache=none", "nosharecache"}

// withoutCaches is the client with another mount of the server, which caches nothing that it need not.
func (c *client) withoutCaches() *client {
	cold := *c
	cold.mount, cold.reference = c.mountServer(uncached...), c.reference+"/cold"
	cold.script("mkdir -p " + cold.reference + " " + cold.mount + "/cold")
	cold.mount += "/cold"
	cold.known = slices.Concat(differences, coldDifferences)
	return &cold
}

// runs tells what a program says, and its exit code, when a user runs it in the guest.
func (c *client) runs(t *testing.T, as User, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	exit, err := c.guest.Exec(t.Context(), kernelclient.Job{Args: args, UID: as.UID, GID: as.GID, Groups: as.Groups}, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String()), exit
}

// script runs a shell script in the guest, as root, which must succeed.
func (c *client) script(script string) string {
	c.t.Helper()
	var out bytes.Buffer
	exit, err := c.guest.Script(c.t.Context(), "set -eu\n"+script, &out, &out)
	if err != nil {
		c.t.Fatal(err)
	}
	if exit != 0 {
		c.t.Fatalf("the script ended with %d:\n%s\n%s", exit, script, &out)
	}
	return out.String()
}

// plainSite is a kernel client of an unreplicated server.
func plainSite(t *testing.T) *client {
	t.Helper()
	n := kerneltest.Network(t)
	startServer(t, n, "plain", "--nfs", net.JoinHostPort(kernelclient.Address, strconv.Itoa(serverPort)))
	return startClient(t, n)
}

// run runs cases on the mount and on the reference.
func (c *client) run(t *testing.T, cases []Case) []pair {
	t.Helper()
	c.batches++
	at := func(roots ...string) (dirs []string) {
		for _, root := range roots {
			dirs = append(dirs, fmt.Sprintf("%s/run%d", root, c.batches))
		}
		return dirs
	}
	dirs := [][]string{at(append([]string{c.mount}, c.more...)...), at(c.reference)}
	var result RunResult
	in := RunRequest{Dirs: dirs, Cases: cases}
	if err := c.guest.Call(t.Context(), "conformance.run", in, &result, nil); err != nil {
		t.Fatal(err)
	}
	pairs := make([]pair, len(cases))
	for i, both := range result.Transcripts {
		pairs[i] = pair{&cases[i], &both[0], &both[1]}
	}
	return pairs
}

// name makes a case's name of parts.
func name(parts ...any) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprint(&b, p)
	}
	return b.String()
}
