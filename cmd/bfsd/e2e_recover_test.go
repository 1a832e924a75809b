package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bfsd/replica/config"
)

// recoveryPeriod gives each of four replicas a slot of ten seconds, enough for a start on a machine that does everybody's work.
const recoveryPeriod = 40 * time.Second

// rot flips bits in the log of a running replica, as a failing disk would: it notices nothing until it reads that again.
type rot struct {
	store   string
	flipped map[string]int64
}

func (r *rot) flip(t *testing.T) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(r.store, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		info, err := os.Stat(path)
		if err != nil || info.Size() < 4096 || info.Size()/2 <= r.flipped[path]+1 {
			continue // gone meanwhile, or as long as it was
		}
		at := info.Size() / 2
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Error(err)
		}
		b[0] ^= 0x10
		if _, err := f.WriteAt(b, at); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		r.flipped[path] = at
	}
}

// Processes: with a recovery period every replica starts anew in its turn, never two at once, while a client works and sees no
// error. One whose disk has silently changed what it wrote finds out, and has the others' state afterwards.
func TestReplicasRecoverInTurn(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; run without -short")
	}
	s := local(t)
	dir := t.TempDir()
	if code, out, errs := cliRun(t, "init", "--dir", dir, "--hosts", hostsHere(), "--port", strconv.Itoa(freePort(t)), "--durability", "os", "--recovery-period", recoveryPeriod.String()); code != exitOK {
		t.Fatalf("bfsd init exits with %d: %s%s", code, out, errs)
	}
	if c, err := config.Load(filepath.Join(dir, "cluster.toml")); err != nil || c.Recovery.Period() != recoveryPeriod {
		t.Fatalf("the recovery period is %v (%v)", c.Recovery.Period(), err)
	}
	_, addr := startUp(s, dir)
	before := s.awaitEqualRoots(dir)
	began := time.Now()
	calls, stop := s.load(addr)
	bad := &rot{store: filepath.Join(dir, "replica-2", "store"), flipped: map[string]int64{}}
	recovered := map[uint32]bool{}
	var damage []string
	deadline := time.Now().Add(recoveryPeriod + recoveryPeriod/2)
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for len(recovered) < 4 || len(damage) == 0 {
		<-poll.C
		var away []uint32
		since := time.Since(began).Milliseconds() // before it is asked: who has run for less has started since
		for _, r := range s.status(dir).Replicas {
			switch {
			case !r.Up:
				away = append(away, r.ID)
			case r.UptimeMs < since && r.PID == before.Replicas[r.ID].PID:
				recovered[r.ID] = true
				if r.ID == 2 {
					damage = r.Damage
				}
			case r.PID != before.Replicas[r.ID].PID:
				t.Fatalf("replica %d has another process, %d", r.ID, r.PID)
			}
		}
		if len(away) > 1 {
			t.Errorf("replicas %v recover at the same time", away)
		}
		if !recovered[2] {
			bad.flip(t)
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v have recovered: %v; replica 2 found %q, with %d bits changed", time.Since(began), recovered, damage, len(bad.flipped))
		}
	}
	made := calls.Load()
	longest := stop() // fails the test if there was an error
	if made < 50 {
		t.Errorf("there were %d calls meanwhile: no load", made)
	}
	if !slices.ContainsFunc(damage, func(d string) bool { return strings.Contains(d, "log") || strings.Contains(d, "WAL") }) {
		t.Errorf("replica 2 found %q, not its log", damage)
	}
	awaitCondition(t, "replica 2 to vote again", func() bool {
		root, c := mountLibrary(t, addr)
		for i := range 20 { // so that there are checkpoints
			if _, err := c.WriteFile(t.Context(), root, fmt.Sprint("after ", i), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return !s.status(dir).Replicas[2].InDoubt
	}, func() string { return fmt.Sprintf("%+v", s.status(dir)) })
	s.awaitEqualRoots(dir)
	root, c := mountLibrary(t, net.JoinHostPort(s.host(), strconv.Itoa(clusterReplicaNFS(t, dir, 2))))
	if _, err := c.Lookup(t.Context(), root, "after 19"); err != nil {
		t.Errorf("through replica 2: %v", err)
	}
	t.Logf("%d calls while all four recovered, the longest %v", made, longest.Round(time.Millisecond))
}
