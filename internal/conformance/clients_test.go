package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
	"bfsd/replica/config"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// twoFrontEnds starts four replicas and tells the ports of two of their front ends: the gateway, and a replica's own.
func twoFrontEnds(t *testing.T, n *kernelclient.Network) (gateway, own int) {
	t.Helper()
	dir := t.TempDir()
	startServer(t, n, "up", "--dir", dir, "--nfs", net.JoinHostPort(kernelclient.Address, strconv.Itoa(serverPort)), "--durability", "memory")
	cluster, err := config.Load(filepath.Join(dir, "cluster.toml"))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(cluster.Replicas[2].NFS)
	if err != nil {
		t.Fatal(err)
	}
	return serverPort, int(addr.Port())
}

// TestTwoClients has two machines on two front ends, who see of each other's changes what close-to-open consistency promises
// (RFC 1813 §4.11 and the Linux client's nfs(5)): who opens a file after another has closed it finds what that one wrote.
func TestTwoClients(t *testing.T) {
	n := kerneltest.Network(t)
	gateway, own := twoFrontEnds(t, n)
	a, b := startClient(t, n), startClient(t, n)
	b.mount = b.mountWith(kernelclient.MountOptions{Port: own})
	a.script("mkdir -m 777 " + a.mount + "/shared")
	clients := []*client{a, b}
	dir := func(c *client) string { return c.mount + "/shared" }

	t.Run("what was closed is read by who opens", func(t *testing.T) {
		for round := range 12 {
			writer, reader := clients[round%2], clients[(round+1)%2]
			want := fmt.Sprintf("round %2d", round) // always as long, so that the size tells nothing
			writer.script(fmt.Sprintf("echo '%s' > %s/f", want, dir(writer)))
			if got := strings.TrimSpace(reader.script("cat " + dir(reader) + "/f")); got != want {
				t.Errorf("client %d wrote %q and closed; then client %d read %q", round%2, want, (round+1)%2, got)
			}
		}
	})
	t.Run("appending in turn", func(t *testing.T) {
		want := ""
		for round := range 10 {
			writer := clients[round%2]
			writer.script(fmt.Sprintf("echo line %d >> %s/log", round, dir(writer)))
			want += fmt.Sprintf("line %d\n", round)
		}
		for i, c := range clients {
			if got := c.script("cat " + dir(c) + "/log"); got != want {
				t.Errorf("client %d reads\n%s", i, got)
			}
		}
	})
	t.Run("a large file whole", func(t *testing.T) {
		sum := strings.Fields(a.script(fmt.Sprintf("head -c 9000001 /dev/urandom > %[1]s/big; sha256sum < %[1]s/big", dir(a))))[0]
		if got := strings.Fields(b.script("sha256sum < " + dir(b) + "/big"))[0]; got != sum {
			t.Errorf("client 0 wrote a file of SHA-256 %s, client 1 reads one of %s", sum, got)
		}
		b.script("printf changed | dd of=" + dir(b) + "/big bs=1 seek=4567890 conv=notrunc 2>/dev/null; truncate -s 5000000 " + dir(b) + "/big")
		if x, y := a.script("sha256sum < "+dir(a)+"/big"), b.script("sha256sum < "+dir(b)+"/big"); x != y || strings.HasPrefix(x, sum) {
			t.Errorf("after client 1 changed it: %s and %s, before %s", x, y, sum)
		}
	})
	t.Run("inode numbers, owners, modes and times are the same", func(t *testing.T) {
		a.script(fmt.Sprintf("mkdir -p %[1]s/tree/d; echo x > %[1]s/tree/d/f; ln %[1]s/tree/d/f %[1]s/tree/g; ln -s d/f %[1]s/tree/l; mkfifo %[1]s/tree/p; chown -h 1001:2001 %[1]s/tree/*; touch -d @1234567890.123456789 %[1]s/tree/g", dir(a)))
		list := "/tree && find . -printf '%P %i %y %m %U %G %n %s %T@ %l\\n' | sort"
		if x, y := a.script("cd "+dir(a)+list), b.script("cd "+dir(b)+list); x != y {
			t.Errorf("client 0 sees\n%sclient 1 sees\n%s", x, y)
		}
	})
	t.Run("of two exclusive creators one wins", func(t *testing.T) {
		won := make([][]int, 2)
		var both errgroup.Group
		for i, c := range clients {
			both.Go(func() error {
				return c.guest.Call(t.Context(), "exclusive", exclusiveRequest{dir(c), 200}, &won[i], nil)
			})
		}
		if err := both.Wait(); err != nil {
			t.Fatal(err)
		}
		all := slices.Sorted(slices.Values(slices.Concat(won...)))
		if len(all) != 200 || len(slices.Compact(all)) != 200 {
			t.Errorf("of 200 files, client 0 created %d and client 1 %d", len(won[0]), len(won[1]))
		}
		if len(won[0]) == 0 || len(won[1]) == 0 {
			t.Log("one client was always first")
		}
	})
	t.Run("without caches everything is seen at once", func(t *testing.T) {
		x := a.mountWith(kernelclient.MountOptions{Port: gateway, Extra: uncached}) + "/shared"
		y := b.mountWith(kernelclient.MountOptions{Port: own, Extra: uncached}) + "/shared"
		a.script("echo one > " + x + "/n")
		b.script(fmt.Sprintf("test -e %[1]s/n; mv %[1]s/n %[1]s/m; mkdir %[1]s/e; ! test -e %[1]s/n", y))
		a.script(fmt.Sprintf("! test -e %[1]s/n; grep -q one %[1]s/m; test -d %[1]s/e; mv %[1]s/m %[1]s/e/; chmod 600 %[1]s/e/m", x))
		b.script(fmt.Sprintf("test $(stat -c %%a %[1]s/e/m) = 600; ! rmdir %[1]s/e 2>/dev/null; rm -r %[1]s/e", y))
		a.script(fmt.Sprintf("! test -e %[1]s/e; ! ls %[1]s | grep -q '^[emn]$'", x))

		// A file that another machine removes is gone, also for who has it open: NFSv3 keeps nothing for them.
		var out bytes.Buffer
		held := make(chan error, 1)
		go func() {
			exit, err := a.guest.Script(t.Context(), fmt.Sprintf("cd %s; echo data > f; exec 3< f; echo > ready; while test -e f; do :; done; cat <&3", x), &out, &out)
			if err == nil && exit != 1 {
				err = fmt.Errorf("it ended with %d", exit)
			}
			held <- err
		}()
		b.script(fmt.Sprintf("cd %s; while ! test -e ready; do :; done; rm f ready", y))
		if err := <-held; err != nil || !strings.Contains(out.String(), "Stale file handle") {
			t.Errorf("reading a file that the other client removed: %v, %q", err, &out)
		}
	})
	t.Run("random scripts, each few steps through the other front end", func(t *testing.T) {
		c := a.withoutCaches()
		c.more = []string{a.mountWith(kernelclient.MountOptions{Port: own, Extra: uncached}) + "/cold"}
		if long() {
			c.checkRandom(t, 10)
		} else {
			c.checkRandom(t, 1)
		}
	})
}

// exclusiveRequest asks for so many files to be created in a directory, each by whoever is first.
type exclusiveRequest struct {
	Dir   string
	Count int
}

// exclusive returns the numbers of the files that were created here.
func exclusive(_ context.Context, in json.RawMessage, _ io.Writer) (any, error) {
	var req exclusiveRequest
	if err := json.Unmarshal(in, &req); err != nil {
		return nil, err
	}
	won := []int{}
	for i := range req.Count {
		fd, err := unix.Open(fmt.Sprintf("%s/exclusive%d", req.Dir, i), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		switch {
		case err == nil:
			won = append(won, i)
			if err := unix.Close(fd); err != nil {
				return nil, err
			}
		case !errors.Is(err, unix.EEXIST):
			return nil, fmt.Errorf("create file %d exclusively: %w", i, err)
		}
	}
	return won, nil
}
