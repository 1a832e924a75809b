package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bfsd/replica"
	"bfsd/replica/config"
)

// Without a terminal status --watch prints a line each time, with --json an object, which tell of a replica that goes; ending it
// is no failure.
func TestStatusWatch(t *testing.T) {
	s := local(t)
	dir := t.TempDir()
	startUp(s, dir, "--durability", "memory")
	conf := filepath.Join(dir, "cluster.toml")
	lines := watchStatus(t, "status", "--config", conf, "--watch", "--interval", "50ms")
	objects := watchStatus(t, "status", "--config", conf, "--watch", "--interval", "50ms", "--json")
	lines.await("working, 4 of 4 up, view 0, primary 0")
	signalReplica(t, dir, 3, syscall.SIGKILL)
	lines.await("working, 3 of 4 up, view 0, primary 0", "replica 3 down")
	signalReplica(t, dir, 2, syscall.SIGKILL)
	lines.await("stopped, 2 of 4 up", "replica 2 down; replica 3 down")
	for {
		var r statusReport
		if err := json.Unmarshal([]byte(objects.next()), &r); err != nil {
			t.Fatal(err)
		}
		if r.up() == 2 {
			break
		}
	}
	lines.end()
	objects.end()
	if code, _, errs := cliRun(t, "status", "--config", conf, "--watch", "--interval", "1ms"); code != exitUsage || !strings.Contains(errs, "the shortest is") {
		t.Errorf("an interval that is too short: exit code %d, %s", code, errs)
	}
}

// watching is a status --watch that runs.
type watching struct {
	t      *testing.T
	cancel context.CancelFunc
	out    *bufio.Scanner
	pipe   *io.PipeReader
	code   chan int
}

func watchStatus(t *testing.T, args ...string) *watching {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	v := &watching{t: t, cancel: cancel, out: bufio.NewScanner(r), pipe: r, code: make(chan int, 1)}
	v.out.Buffer(nil, 1<<20)
	go func() {
		v.code <- run(ctx, args, w, io.Discard)
		w.Close()
	}()
	t.Cleanup(func() {
		cancel()
		r.Close()
	})
	return v
}

func (v *watching) next() string {
	v.t.Helper()
	if !v.out.Scan() {
		v.t.Fatalf("the watch ended: %v", v.out.Err())
	}
	return v.out.Text()
}

// await reads lines until one holds all the words.
func (v *watching) await(words ...string) {
	v.t.Helper()
	last := ""
	for range 600 {
		last = v.next()
		all := true
		for _, w := range words {
			all = all && strings.Contains(last, w)
		}
		if all {
			return
		}
	}
	v.t.Fatalf("no line has %q; the last: %s", words, last)
}

func (v *watching) end() {
	v.t.Helper()
	v.cancel()
	go func() { _, _ = io.Copy(io.Discard, v.pipe) }() // what it still says
	if code := <-v.code; code != exitOK {
		v.t.Errorf("the watch ends with %d", code)
	}
}

// What a replica says reaches the terminal as text, and not without end.
func TestStatusTellsSuspicionsSafely(t *testing.T) {
	hostile := replicaReport{Up: true}
	for range 1000 {
		hostile.Suspicions = append(hostile.Suspicions, replica.Suspicion{Replica: 1, What: "\x1b[2J" + strings.Repeat("x", 1000)})
	}
	s := statusReport{Replicas: []replicaReport{hostile, {Up: true}, {Up: true}, {Up: true}}}
	line := s.line(&config.Cluster{Replicas: make([]config.Replica, 4)})
	if strings.Contains(line, "\x1b") || len(line) > 4096 || !strings.Contains(line, "replica 0 suspects replica 1: ?[2Jxxx") {
		t.Errorf("%d bytes: %.200s", len(line), line)
	}
}
