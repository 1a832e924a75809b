package conformance

import (
	"bytes"
	"embed"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
)

// Each script runs in an empty directory, $dir, with another on a local file system, $scratch, and a number, $size, that says
// how much it is to do. What it prints must not depend on where it runs.
//
//go:embed testdata/programs
var programScripts embed.FS

// programs are the scripts, and how much they do in the short form, where nothing keeps one out, and in the long one. A fork
// takes long in a user-mode Linux.
var programs = []struct {
	name        string
	short, long int
}{
	{"git", 0, 300},
	{"make", 2, 120},
	{"sqlite", 2, 150},
	{"tar", 1, 60},
	{"rsync", 0, 100},
	{"find", 0, 100},
	{"files", 0, 200_000},
	{"stress", 0, 50},
	{"rm", 100, 100_000},
}

// TestPrograms runs programs on a kernel mount of four replicas and on the client's own file system, and compares.
func TestPrograms(t *testing.T) {
	n := kerneltest.Network(t)
	durability, compiler := "memory", "tcc"
	if long() {
		durability, compiler = "disk", "cc"
	}
	startServer(t, n, "up", "--dir", t.TempDir(), "--nfs", net.JoinHostPort(kernelclient.Address, strconv.Itoa(serverPort)), "--durability", durability)
	c := startClient(t, n)
	for _, program := range programs {
		t.Run(program.name, func(t *testing.T) {
			script, err := programScripts.ReadFile("testdata/programs/" + program.name + ".sh")
			if err != nil {
				t.Fatal(err)
			}
			size := program.short
			if long() {
				size = program.long
			}
			if size == 0 {
				t.Skip("the long form runs it")
			}
			run := func(parent string) (string, time.Duration) {
				start := time.Now()
				var out bytes.Buffer
				exit, err := c.guest.Script(t.Context(), fmt.Sprintf("set -eu; export LC_ALL=C CC=%s; dir=%s/%s scratch=$(mktemp -d) size=%d\nmkdir $dir\n%s\nrm -rf $scratch $dir",
					compiler, parent, program.name, size, script), &out, &out)
				if err != nil {
					t.Fatal(err)
				}
				if exit != 0 {
					t.Fatalf("in %s it ended with %d:\n%s", parent, exit, &out)
				}
				return out.String(), time.Since(start)
			}
			local, localTime := run(c.reference)
			mounted, mountedTime := run(c.mount)
			if local != mounted {
				t.Errorf("on the mount it printed\n%s\nand on the local file system\n%s", mounted, local)
			}
			t.Logf("size %d: %v on the mount, %v on the local file system", size, mountedTime.Round(time.Millisecond), localTime.Round(time.Millisecond))
		})
	}
}
