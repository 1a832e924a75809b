package conformance

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bfsd/internal/kernelclient"

	"golang.org/x/sys/unix"
)

// checkExecution runs programs that are on the mount. Reading one takes permission to execute it, not to read it (RFC 1813 §4.4).
func (c *client) checkExecution(t *testing.T) {
	dir := c.mount + "/execution"
	c.script(fmt.Sprintf("mkdir %[1]s; cp /bin/true /usr/bin/id /bin/sleep %[1]s; printf '#!/bin/sh\\necho \"script $1\"\\n' > %[1]s/script; chmod 755 %[1]s/script", dir))
	dave := Users["dave"]
	expect := func(as User, wantOut string, wantExit int, args ...string) {
		t.Helper()
		if out, exit := c.runs(t, as, args...); exit != wantExit || !strings.Contains(out, wantOut) {
			t.Errorf("%v by %d: exit %d, %q; want %d, %q", args, as.UID, exit, out, wantExit, wantOut)
		}
	}
	c.script("chmod 0711 " + dir + "/true")
	expect(dave, "", 0, dir+"/true")
	expect(dave, "Permission denied", 1, "cat", dir+"/true")
	c.script("chmod 0700 " + dir + "/true")
	expect(dave, "Permission denied", 126, "sh", "-c", dir+"/true")
	c.script("chmod 0644 " + dir + "/true")
	expect(Users["root"], "Permission denied", 126, "sh", "-c", dir+"/true")
	expect(dave, "script here", 0, dir+"/script", "here")

	c.script(fmt.Sprintf("chown 1001:2001 %[1]s/id; chmod 6755 %[1]s/id", dir))
	expect(dave, "1001 2001", 0, "sh", "-c", fmt.Sprintf("echo $(%[1]s/id -u) $(%[1]s/id -g)", dir))
	expect(Users["root"], "Text file busy", 0, "sh", "-c", fmt.Sprintf("%[1]s/sleep 60 & while ! ls -l /proc/$!/exe | grep -q %[1]s; do :; done; (echo x > %[1]s/sleep) 2>&1; kill $!", dir))

	// AUTH_SYS carries sixteen groups (RFC 5531, appendix A), and each counts.
	many := User{UID: 1010, GID: 3000}
	for i := range uint32(16) {
		many.Groups = append(many.Groups, 3001+i)
	}
	c.script(fmt.Sprintf("echo secret > %[1]s/groups; chgrp 3016 %[1]s/groups; chmod 0640 %[1]s/groups", dir))
	expect(many, "secret", 0, "cat", dir+"/groups")
	many.Groups = many.Groups[:15]
	expect(many, "Permission denied", 1, "cat", dir+"/groups")
}

// checkReadOnly tries to change everything through a mount that is for reading.
func (c *client) checkReadOnly(t *testing.T) {
	c.script(fmt.Sprintf("mkdir %[1]s/ro; echo data > %[1]s/ro/f; mkdir %[1]s/ro/d; ln -s f %[1]s/ro/l", c.mount))
	ro := c.mountWith(kernelclient.MountOptions{Port: serverPort, ReadOnly: true, Extra: []string{"nosharecache"}})
	in := specialRequest{Name: "read-only", Dir: ro + "/ro", Elsewhere: c.reference}
	if err := c.guest.Call(t.Context(), "special", in, nil, nil); err != nil {
		t.Error(err)
	}
}

// readOnly is the guest's part of checkReadOnly.
var readOnly = special{"read-only", func(p *probe) {
	p.get(p.path("f"), "data\n")
	p.get(p.path("l"), "data\n")
	p.check(len(p.names(p.dir)) == 3, "names: %v", p.names(p.dir))
	for what, err := range map[string]error{
		"mkdir":    unix.Mkdir(p.path("n"), 0o755),
		"rmdir":    unix.Rmdir(p.path("d")),
		"unlink":   unix.Unlink(p.path("f")),
		"rename":   unix.Rename(p.path("f"), p.path("g")),
		"link":     unix.Link(p.path("f"), p.path("g")),
		"symlink":  unix.Symlink("f", p.path("g")),
		"mkfifo":   unix.Mkfifo(p.path("g"), 0o644),
		"chmod":    unix.Chmod(p.path("f"), 0o600),
		"chown":    unix.Chown(p.path("f"), 1, 1),
		"truncate": unix.Truncate(p.path("f"), 1),
		"utimens":  unix.UtimesNanoAt(unix.AT_FDCWD, p.path("f"), make([]unix.Timespec, 2), 0),
		"access":   unix.Access(p.path("f"), unix.W_OK),
	} {
		p.want(unix.EROFS, err, "%s", what)
	}
	for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_TRUNC} {
		_, err := unix.Open(p.path("f"), flags, 0)
		p.want(unix.EROFS, err, "open with %#x", flags)
	}
	_, err := unix.Open(p.path("n"), unix.O_CREAT|unix.O_WRONLY, 0o644)
	p.want(unix.EROFS, err, "create")
}}

// checkFull fills a small file system with bytes and with files, and empties it again.
func (c *client) checkFull(t *testing.T) {
	const port, bytesMax, filesMax = serverPort + 1, 8 << 20, 60
	startServer(t, c.network, "plain", "--nfs", net.JoinHostPort(kernelclient.Address, strconv.Itoa(port)),
		"--max-bytes", strconv.Itoa(bytesMax), "--max-files", strconv.Itoa(filesMax))
	small := c.mountWith(kernelclient.MountOptions{Port: port})
	in := specialRequest{Name: "full", Dir: small, Elsewhere: c.reference}
	if err := c.guest.Call(t.Context(), "special", in, nil, nil); err != nil {
		t.Error(err)
	}
	if err := c.guest.Unmount(t.Context(), small); err != nil {
		t.Error(err)
	}
}

// full is the guest's part of checkFull.
var full = special{"full", func(p *probe) {
	before := p.statfs()
	p.put(p.path("kept"), "kept")
	for round := range 2 {
		fd := p.open(p.path("big"), unix.O_CREAT|unix.O_WRONLY)
		var failed error
		written := 0
		for failed == nil && written < 16<<20 {
			n, err := unix.Write(fd, make([]byte, 100_000)) // zeros take as much as anything else
			written += max(n, 0)
			failed = err
			if failed == nil {
				failed = unix.Fsync(fd)
			}
		}
		p.want(unix.ENOSPC, failed, "filling it, round %d, after %d bytes", round, written)
		p.check(written > 7<<20 && written < 9<<20, "it was full after %d bytes", written)
		_ = unix.Close(fd)                                                                // it may tell of the failed write once more
		p.check(p.statfs().Bfree <= 1, "when full there are %d blocks", p.statfs().Bfree) // of 1 MiB, rounded
		p.get(p.path("kept"), "kept")
		p.must(unix.Unlink(p.path("big")), "unlink in a full file system")
		p.check(p.statfs().Bfree >= before.Bfree-2, "free are %d of %d blocks", p.statfs().Bfree, before.Bfree)
		p.put(p.path("again"), "there is room again")
		p.get(p.path("again"), "there is room again")
		p.must(unix.Unlink(p.path("again")), "unlink")
	}
	made := 0
	for made < 100 && unix.Mkdir(p.path("d", made), 0o755) == nil {
		made++
	}
	p.check(made > 50 && made < 60, "%d directories could be made", made)
	_, err := unix.Open(p.path("n"), unix.O_CREAT|unix.O_WRONLY, 0o644)
	p.want(unix.ENOSPC, err, "creating one file more")
	p.want(unix.ENOSPC, unix.Symlink("x", p.path("n")), "making one link more")
	p.must(unix.Rmdir(p.path("d0")), "rmdir")
	p.put(p.path("n"), "")
	p.check(!slices.Contains(p.names(p.dir), "d0"), "a removed name is listed")
}}
