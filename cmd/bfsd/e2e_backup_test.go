package main

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"
)

// run runs a bfsd process at the site to its end, which must be a good one.
func (s *site) run(args ...string) {
	s.t.Helper()
	var out bytes.Buffer
	cmd := s.command(s.t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("bfsd %v: %v\n%s", args, err, &out)
	}
}

// A tree is copied through a kernel mount, backed up while another is being copied, and made into a new cluster: mounted
// beside the first, it shows the same files, modes, owners, links and times.
func TestAKernelMountOfABackupShowsTheSameTree(t *testing.T) {
	s := newSite(t)
	dir, fresh, archive := t.TempDir(), filepath.Join(t.TempDir(), "new"), filepath.Join(t.TempDir(), "backup.tar")
	s.start(upArgs(dir, s.host(), "--durability", "memory")...)
	g := s.guest()
	mnt := s.mount(g, testPort)
	src := goSource(t)
	runScript(t, g, fmt.Sprintf(`cp -a %s/crypto %s/
		cd %s/crypto
		chown -R 1234:5678 aes; chmod 4711 aes/aes.go; ln aes/aes.go hard; ln -s aes/none soft; mkfifo fifo; mknod null c 1 3
		touch -d '1999-12-31 23:59:59.123456789' aes/cipher.go; truncate -s 3G sparse; sync`, src, mnt, mnt))
	copying := copyInBackground(t, g, mnt, "net")
	began := s.status(dir)
	awaitCondition(t, "the copy to be under way", func() bool {
		return s.status(dir).Replicas[began.Primary].Executed > began.Replicas[began.Primary].Executed+100
	}, func() string { return fmt.Sprintf("%+v", s.status(dir)) })
	s.run("export", "--config", filepath.Join(dir, "cluster.toml"), "--output", archive)
	select {
	case err := <-copying:
		t.Fatalf("the copy had ended (%v) before the backup was taken; the test shows nothing", err)
	default:
	}
	if err := <-copying; err != nil {
		t.Fatal(err)
	}
	hosts := s.host() + "," + s.host() + "," + s.host() + "," + s.host()
	s.run("import", archive, "--dir", fresh, "--hosts", hosts, "--trust", filepath.Join(dir, "cluster.toml"), "--durability", "memory")
	const port = testPort + 1000
	s.start("up", "--dir", fresh, "--nfs", net.JoinHostPort(s.host(), strconv.Itoa(port)))
	other := s.mount(g, port)
	runScript(t, g, fmt.Sprintf(`before=%s; after=%s
		list() { (cd $1/crypto && find . -printf '%%p %%y %%m %%U %%G %%n %%s %%b %%T@ %%l\n' | sort) > $1/list; }
		list $before; list $after; test $(wc -l < $before/list) -gt 300; diff $before/list $after/list
		diff -r --no-dereference -x sparse -x fifo -x null $before/crypto $after/crypto
		test $after/crypto/hard -ef $after/crypto/aes/aes.go
		echo life > $after/crypto/new`, mnt, other))
	s.awaitEqualRoots(fresh)
}
