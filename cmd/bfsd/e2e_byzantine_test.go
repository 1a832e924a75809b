//go:build byzantine

package main

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// buildTags are those that bfsdBinary builds with: its replicas do what BFSD_BYZANTINE tells them (replica/byzantine.go).
const buildTags = "byzantine"

// faulty replicas are f at most, each faulty in its way.
type faulty struct {
	replicas int
	kinds    map[uint32]string
	killed   int // which replica is killed while users work; -1: none
}

func (f faulty) String() string {
	var names []string
	for i := range uint32(f.replicas) {
		if kind := f.kinds[i]; kind != "" {
			names = append(names, fmt.Sprintf("replica %d: %s", i, kind))
		}
		if int(i) == f.killed {
			names = append(names, fmt.Sprintf("replica %d: killed", i))
		}
	}
	return strings.Join(names, ", ")
}

// environment is the value of BFSD_BYZANTINE.
func (f faulty) environment() string {
	var entries []string
	for i := range uint32(f.replicas) {
		if kind := f.kinds[i]; kind != "" {
			entries = append(entries, fmt.Sprintf("%d=%s", i, kind))
		}
	}
	return strings.Join(entries, ",")
}

func (f faulty) ids() []uint32 {
	var ids []uint32
	for i := range uint32(f.replicas) {
		if f.kinds[i] != "" || int(i) == f.killed {
			ids = append(ids, i)
		}
	}
	return ids
}

// has says whether a replica is faulty in one of these ways.
func (f faulty) has(id uint32, kinds ...string) bool { return slices.Contains(kinds, f.kinds[id]) }

// faults are, for four replicas, each kind at the first primary and at a backup. Of seven, two are faulty in different ways:
// the first primary and the second, the first primary and a backup, two backups.
func faults() []faulty {
	var all []faulty
	for _, kind := range []string{"mute", "equivocate", "lie", "wrong-digest", "slow"} {
		all = append(all, faulty{4, map[uint32]string{0: kind}, -1})
		if kind != "slow" { // only a primary is slow
			all = append(all, faulty{4, map[uint32]string{2: kind}, -1})
		}
	}
	if os.Getenv("BFSD_LONG_TESTS") == "" {
		return all
	}
	for _, kinds := range []map[uint32]string{
		{0: "equivocate", 3: "lie"},
		{0: "lie", 1: "equivocate"},
		{0: "mute", 1: "equivocate"},
		{0: "equivocate", 1: "mute"},
		{0: "wrong-digest", 4: "lie"},
		{2: "lie", 5: "wrong-digest"},
		{0: "slow", 2: "lie"},
	} {
		all = append(all, faulty{7, kinds, -1})
	}
	return append(all, faulty{7, map[uint32]string{3: "lie"}, 0}, faulty{7, map[uint32]string{1: "equivocate"}, 0})
}

// While f replicas are faulty a tree is copied through a kernel mount and read back. Nobody gets an error, no byte is wrong,
// and the correct replicas end with one state.
func TestFaultyReplicasAreNotNoticedThroughAKernelMount(t *testing.T) {
	for _, f := range faults() {
		t.Run(fmt.Sprintf("of %d, %v", f.replicas, f), func(t *testing.T) { f.test(t) })
	}
}

func (f faulty) test(t *testing.T) {
	t.Setenv("BFSD_BYZANTINE", f.environment())
	s := newSite(t)
	dir := t.TempDir()
	s.start(upArgs(dir, s.host(), "--durability", "memory", "--replicas", fmt.Sprint(f.replicas))...)
	g := s.guest()
	mnt := s.mount(g, testPort)
	probe := s.startProbe()
	tree := "net/http"
	if f.has(0, "slow") { // each batch takes four fifths of the view-change timeout
		tree = "errors"
	}
	copying := copyInBackground(t, g, mnt, tree)
	if f.killed >= 0 {
		witness := (f.killed + 2) % f.replicas // correct in all scenarios
		awaitCondition(t, "the copy to be under way", func() bool {
			return s.status(dir).Replicas[witness].Executed > 100
		}, func() string { return fmt.Sprintf("%+v", s.status(dir)) })
		signalReplica(t, dir, uint32(f.killed), syscall.SIGKILL)
	}
	if err := <-copying; err != nil {
		t.Fatal(err)
	}
	pause, calls := probe()
	if err := g.Unmount(t.Context(), mnt); err != nil {
		t.Fatal(err)
	}
	mnt = s.mount(g, testPort)
	runScript(t, g, fmt.Sprintf("cd %s; diff -r --no-dereference %s %s/%s", goSource(t), tree, mnt, path.Base(tree)))
	report := s.awaitEqualRoots(dir, f.ids()...)
	// An equivocating one may stay: what it tells two of three backups is agreed on, and the third catches up.
	if (f.has(0, "mute") || f.killed == 0) && report.View == 0 {
		t.Error("a primary that is mute or dead still leads")
	}
	logFault(t, f.String(), f.replicas, "longest_pause_ms", pause.Milliseconds(), "small_writes", calls, "view", report.View)
}
