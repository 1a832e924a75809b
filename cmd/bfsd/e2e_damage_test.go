package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
)

// Processes: whatever was done to the store of a replica that was stopped, what the mount shows is right, and the replica
// started again has the others' state, votes, and tells what it found.
func TestAReplicaProcessWithADamagedStoreComesBack(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	_, addr := startUp(s, dir, "--durability", "os")
	root, c := mountLibrary(t, addr)
	var files [][]byte
	write := func(count int) {
		t.Helper()
		for range count {
			data := crashContent(uint64(len(files)), 3000+500*(len(files)%150))
			if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("file", len(files)), data, 0o644); err != nil {
				t.Fatal(err)
			}
			files = append(files, data)
		}
	}
	write(150)
	store := filepath.Join(dir, "replica-2", "store")
	largest := func(pattern string) string {
		t.Helper()
		paths, err := filepath.Glob(filepath.Join(store, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s in %s: %v", pattern, store, err)
		}
		best, size := "", int64(-1)
		for _, p := range paths {
			if info, err := os.Stat(p); err == nil && info.Size() > size {
				best, size = p, info.Size()
			}
		}
		return best
	}
	flip := func(pattern string, from float64) error {
		path := largest(pattern)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[int(from*float64(len(b)))] ^= 0x10
		return os.WriteFile(path, b, 0o600)
	}
	type damageCase struct {
		name   string
		damage func() error
		says   string // in its status; "": nothing, for it cannot know
	}
	cases := []damageCase{
		{"a bit in its log", func() error { return flip("*.log", 0.5) }, "log"},
		{"a bit in a table", func() error { return flip("*.sst", 0.3) }, ".sst"},
		{"its high-water mark gone", func() error { return os.Remove(filepath.Join(store, "high-water")) }, "high-water"},
		{"its manifest cut", func() error { return os.Truncate(largest("MANIFEST-*"), 40) }, ""},
		{"nothing left", func() error { return os.RemoveAll(store) }, ""},
	}
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		rng := rand.New(rand.NewPCG(6, 7))
		for i := range 60 {
			cases = append(cases, damageCase{fmt.Sprint("any byte of any file ", i), func() error { return changeAByte(t, rng, store) }, ""})
		}
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			pid := readPid(t, dir, 2)
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			awaitCondition(t, "replica 2 to end", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }, func() string { return fmt.Sprint("process ", pid) })
			if err := tc.damage(); err != nil {
				t.Fatal(err)
			}
			write(3)
			launch := func() *server {
				return s.launch(s.command(context.WithoutCancel(t.Context()), "replica", "--config", filepath.Join(dir, "cluster.toml"), "--id", strconv.Itoa(2)))
			}
			again, stopped := launch(), false
			var r replicaReport
			awaitCondition(t, "replica 2 to rejoin", func() bool {
				select {
				case <-again.ended:
					// What no start reads is found when it is: then it stops, once, and says what to do.
					if !stopped && strings.Contains(again.output.String(), "start the replica again") {
						again, stopped = launch(), true
						return false
					}
					t.Fatalf("replica 2 ended: %v\n%s", again.err, again.output)
				default:
				}
				write(25) // it votes again two checkpoints further on
				r = s.status(dir).Replicas[2]
				return r.Up && !r.InDoubt && r.Stable > 0
			}, func() string { return fmt.Sprintf("%+v\n%s", r, again.output) })
			if said := strings.Join(r.Damage, "\n"); tc.says != "" && !strings.Contains(said, tc.says) {
				t.Errorf("its status tells of %q, which does not name %q", said, tc.says)
			}
			s.awaitEqualRoots(dir)
			aside, err := filepath.Glob(store + ".damaged-*") // a disk that is damaged too often is not trusted any more
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range aside {
				if err := os.RemoveAll(d); err != nil {
					t.Fatal(err)
				}
			}
			for _, from := range []int{0, 2} { // another replica's front end, and its own
				mustHold(t, net.JoinHostPort(s.host(), strconv.Itoa(clusterReplicaNFS(t, dir, from))), files)
			}
		})
	}
}

// changeAByte changes one byte of one file of a store.
func changeAByte(t *testing.T, rng *rand.Rand, store string) error {
	t.Helper()
	entries, err := os.ReadDir(store)
	if err != nil {
		return err
	}
	for {
		path := filepath.Join(store, entries[rng.IntN(len(entries))].Name())
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(content) == 0 {
			continue
		}
		at := rng.IntN(len(content))
		content[at] ^= 1 << rng.IntN(8)
		t.Logf("byte %d of %d of %s", at, len(content), filepath.Base(path))
		return os.WriteFile(path, content, 0o600)
	}
}

// mustHold compares the files with what a replica's own front end serves.
func mustHold(t *testing.T, addr string, files [][]byte) {
	t.Helper()
	var root nfs3.FH
	var c *nfsclient.Client
	root, c = mountLibrary(t, addr)
	for i, want := range files {
		found, err := c.Lookup(t.Context(), root, fmt.Sprint("file", i))
		if err != nil {
			t.Errorf("file%d: %v", i, err)
			continue
		}
		if got, err := c.ReadFile(t.Context(), found.Object); err != nil || !bytes.Equal(got, want) {
			t.Errorf("file%d holds %d bytes (%v), not the %d written", i, len(got), err, len(want))
		}
	}
}
