package main

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// copied are the parts of it that the tests copy: about 2,100 files, 26 MB.
const copied = "crypto go net"

func TestAKernelMountOfFourReplicasHoldsWhatWasCopiedIntoIt(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	s.start(upArgs(dir, s.host())...)
	g := s.guest()
	mnt := s.mount(g, testPort)
	src := goSource(t)

	runScript(t, g, fmt.Sprintf("cd %s; cp -a %s %s/", src, copied, mnt))
	files, err := strconv.Atoi(strings.TrimSpace(runScript(t, g, fmt.Sprintf("find %s -type f | wc -l", mnt))))
	if err != nil || files < 2000 {
		t.Fatalf("copied %d files (%v), want some thousand", files, err)
	}
	if err := g.Unmount(t.Context(), mnt); err != nil {
		t.Fatal(err)
	}
	mnt = s.mount(g, testPort) // with nothing cached
	runScript(t, g, fmt.Sprintf("cd %s; for d in %s; do diff -r --no-dereference $d %s/$d; done", src, copied, mnt))

	report := s.awaitEqualRoots(dir)
	if len(report.Replicas) != 4 || report.Replicas[0].Stable == 0 {
		t.Errorf("after %d files: want four replicas with a stable checkpoint, got %+v", files, report)
	}
	pids := map[int]bool{}
	for _, r := range report.Replicas {
		pids[r.PID] = true
	}
	if len(pids) != 4 {
		t.Errorf("the replicas run in %d processes, want 4: %+v", len(pids), report)
	}

	// A replica's own front end serves the same files under the same handles.
	own := clusterReplicaNFS(t, dir, 2)
	mnt = s.mount(g, own)
	runScript(t, g, fmt.Sprintf("cd %s; diff -r --no-dereference go %s/go; echo through replica 2 > %s/own", src, mnt, mnt))
	s.awaitEqualRoots(dir)
}

func TestABackupKilledDuringACopyIsNotNoticed(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	s.start(upArgs(dir, s.host(), "--durability", "memory")...)
	g := s.guest()
	mnt := s.mount(g, testPort)
	src := goSource(t)

	before := s.status(dir)
	victim := (before.Primary + 1) % 4
	done := make(chan error, 1)
	go func() {
		var out bytes.Buffer
		exit, err := g.Script(t.Context(), fmt.Sprintf("set -eu; cd %s; cp -a %s %s/", src, copied, mnt), &out, &out)
		if err == nil && exit != 0 {
			err = fmt.Errorf("cp ended with %d: %s", exit, &out)
		}
		done <- err
	}()
	awaitCondition(t, "the copy to be under way", func() bool {
		return s.status(dir).Replicas[before.Primary].Executed > before.Replicas[before.Primary].Executed+200
	}, func() string { return fmt.Sprintf("%+v", s.status(dir)) })
	killed := readPid(t, dir, victim)
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatalf("killing replica %d: %v", victim, err)
	}
	select {
	case err := <-done:
		t.Fatalf("the copy had ended (%v) before the backup was killed; the test shows nothing", err)
	default:
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := g.Unmount(t.Context(), mnt); err != nil {
		t.Fatal(err)
	}
	mnt = s.mount(g, testPort)
	runScript(t, g, fmt.Sprintf("cd %s; for d in %s; do diff -r --no-dereference $d %s/$d; done", src, copied, mnt))
	report := s.awaitEqualRoots(dir, victim)
	if report.Replicas[victim].Up {
		t.Errorf("replica %d was killed and yet answers: %+v", victim, report)
	}
}

func TestPlainServesAKernelMount(t *testing.T) {
	s := newSite(t)
	g := s.guest()
	for i, kind := range []string{"bfsd", "go-nfs"} {
		t.Run(kind, func(t *testing.T) {
			port := testPort + i
			s.start("plain", "--nfs", net.JoinHostPort(s.host(), strconv.Itoa(port)), "--frontend", kind)
			mnt := s.mount(g, port)
			src := goSource(t)
			runScript(t, g, fmt.Sprintf("cd %s; cp -r go %s/; diff -r go %s/go", src, mnt, mnt))
			if err := g.Unmount(t.Context(), mnt); err != nil {
				t.Fatal(err)
			}
		})
	}
}
