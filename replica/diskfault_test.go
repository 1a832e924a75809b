package replica

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/config"
	"bfsd/replica/store"
)

// brokenDisk makes operations of some kinds, on some files, fail or take long, from when a test says so.
type brokenDisk struct {
	mu    sync.Mutex
	err   error
	delay time.Duration
	kinds []errorfs.OpKind
	ext   string // of the files; "": all
	hits  int
}

func (b *brokenDisk) set(f func(*brokenDisk)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

// MaybeError is errorfs's hook.
func (b *brokenDisk) MaybeError(op errorfs.Op) error {
	b.mu.Lock()
	hit := slices.Contains(b.kinds, op.Kind) && (b.ext == "" || filepath.Ext(op.Path) == b.ext)
	err, delay := b.err, b.delay
	if hit {
		b.hits++
	}
	b.mu.Unlock()
	if !hit {
		return nil
	}
	if delay > 0 {
		t := time.NewTimer(delay) // the fault itself
		defer t.Stop()
		<-t.C
	}
	if err != nil && slices.Contains(reads, op.Kind) {
		return &os.PathError{Op: "read", Path: op.Path, Err: err} // as an *os.File says it
	}
	return err
}

func (b *brokenDisk) String() string { return "broken disk" }

// buffer is a log that a node writes while the test reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// diskGroup is a group on disks in memory, one of which may break.
type diskGroup struct {
	*group
	victim int
	mem    [4]*vfs.MemFS
	disk   *brokenDisk
	log    *buffer
	died   chan string
}

func newDiskGroup(t *testing.T, victim int) *diskGroup {
	t.Helper()
	d := &diskGroup{victim: victim, disk: &brokenDisk{}, log: &buffer{}, died: make(chan string, 1)}
	g := stoppedGroup(t, config.Disk, 8)
	d.group, g.dir = g, "/"
	for i := range g.disks {
		d.mem[i] = vfs.NewCrashableMem()
		g.disks[i] = d.mem[i]
	}
	g.disks[victim], g.logs[victim] = errorfs.Wrap(d.mem[victim], d.disk), d.log
	g.fatals = func(i int, reason string) {
		if i != victim {
			panic(reason)
		}
		select {
		case d.died <- reason:
		default: // its other goroutines find out, too
		}
	}
	for i := range g.nodes {
		g.start(i)
	}
	return d
}

// bury takes a node out that has stopped by itself, and puts what is on its disk on a sound one. As with a process that has
// ended, nobody waits for its goroutines, which wait for a disk.
func (d *diskGroup) bury(unsyncedPercent int) {
	r := d.nodes[d.victim]
	d.nodes[d.victim] = nil
	r.node.links.Close()
	d.mend(unsyncedPercent)
}

// mend puts what is on the victim's disk on a sound one.
func (d *diskGroup) mend(unsyncedPercent int) {
	d.mem[d.victim] = d.mem[d.victim].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: rand.New(rand.NewPCG(1, 2))})
	d.disk = &brokenDisk{}
	d.disks[d.victim] = errorfs.Wrap(d.mem[d.victim], d.disk)
}

// faults is the metric of a node.
func faultCount(t *testing.T, n *Node, fault string) (count float64) {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(n.metrics.storeFaults); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == fault {
				count += m.GetCounter().GetValue()
			}
		}
	}
	return count
}

var (
	writes = []errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate}
	syncs  = []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}
	reads  = []errorfs.OpKind{errorfs.OpFileRead, errorfs.OpFileReadAt}
)

// A replica that cannot write any more stops by itself, says why and what to do, and breaks no promise: the others go on, and
// when the disk is mended it comes back with everything.
func TestAReplicaThatCannotWriteStops(t *testing.T) {
	for _, tc := range []struct {
		fault  string
		err    error
		kinds  []errorfs.OpKind
		advice string
	}{
		{"full disk", syscall.ENOSPC, writes, "make room"},
		{"read-only file system", syscall.EROFS, writes, "mount it writable"},
		{"input/output error", syscall.EIO, writes, "the disk failed"},
		{"input/output error", syscall.EIO, syncs, "the disk failed"},
	} {
		for _, victim := range []int{0, 2} { // the primary, a backup
			t.Run(fmt.Sprintf("%s, %v, replica %d", tc.fault, tc.kinds[0], victim), func(t *testing.T) {
				d := newDiskGroup(t, victim)
				c := d.client()
				d.append(c, "before", 20)
				d.awaitEqual()
				node := d.nodes[victim].node
				d.disk.set(func(b *brokenDisk) { b.err, b.kinds = tc.err, tc.kinds })
				d.append(c, "meanwhile", 20)
				reason := <-d.died
				if !strings.Contains(reason, tc.advice) {
					t.Errorf("it stops and says %q, which does not tell what to do (%q)", reason, tc.advice)
				}
				if faultCount(t, node, label(tc.fault)) == 0 {
					t.Errorf("the metric does not name the fault %q", tc.fault)
				}
				if log := d.log.String(); !strings.Contains(log, "fault=") || !strings.Contains(log, tc.fault) {
					t.Errorf("the log does not name the fault: %s", log)
				}
				d.bury(100)
				d.append(c, "without it", 10)
				d.start(victim)
				if damage := d.nodes[victim].node.damage; len(damage) > 0 {
					t.Errorf("after the disk was mended: %+v", damage)
				}
				d.append(c, "after", 10)
				d.awaitEqual()
				if got := invoke(t, c, "?", true); got != "60" {
					t.Errorf("the state has %s operations, want 60", got)
				}
			})
		}
	}
}

// What cannot be read at a start is fetched from the others, and the replica does not vote before it may.
func TestWhatCannotBeReadIsFetched(t *testing.T) {
	for _, ext := range []string{".log", ".sst"} {
		t.Run(ext, func(t *testing.T) {
			d := newDiskGroup(t, 1)
			c := d.client()
			d.append(c, "before", 50)
			d.awaitEqual()
			d.stop(1) // and once more, so that there is a table
			d.start(1)
			d.append(c, "more", 30)
			d.awaitEqual()
			d.stop(1)
			d.disk.set(func(b *brokenDisk) { b.err, b.kinds, b.ext = syscall.EIO, reads, ext })
			node, err := d.open(1, d.storeDir(1))
			if err != nil {
				t.Fatal(err)
			}
			d.disk.set(func(b *brokenDisk) { b.kinds = nil })
			if d.disk.hits == 0 {
				t.Fatal("nothing was read")
			}
			d.run(1, node)
			if len(node.damage) == 0 || !strings.Contains(node.damage[0].What, "input/output error") || faultCount(t, node, "database_damaged") == 0 {
				t.Errorf("damage %+v, metric %g", node.damage, faultCount(t, node, "database_damaged"))
			}
			if log := d.log.String(); !strings.Contains(log, "was set aside") {
				t.Errorf("the log does not say that the store was set aside: %s", log)
			}
			d.append(c, "after", 20)
			d.awaitEqual()
			if got := invoke(t, c, "?", true); got != "100" {
				t.Errorf("the state has %s operations, want 100", got)
			}
		})
	}
}

// A replica that finds its disk full or read-only when it starts says so and does not touch its store.
func TestAReplicaDoesNotStartWhereItCannotWrite(t *testing.T) {
	for _, tc := range []struct {
		err    error
		advice string
	}{
		{syscall.ENOSPC, "make room"},
		{syscall.EROFS, "mount it writable"},
		{syscall.EACCES, "may not write"},
	} {
		t.Run(tc.err.Error(), func(t *testing.T) {
			d := newDiskGroup(t, 1)
			c := d.client()
			d.append(c, "before", 30)
			d.stop(1)
			d.disk.set(func(b *brokenDisk) { b.err, b.kinds = tc.err, writes })
			refused := make(chan error, 1)
			go func() { // it returns, or stops the process from inside
				node, err := d.open(1, d.storeDir(1))
				if err == nil {
					node.Close()
				}
				refused <- err
			}()
			var reason string
			select {
			case err := <-refused:
				if err == nil {
					t.Fatal("it started")
				}
				reason = err.Error()
			case reason = <-d.died:
			}
			if !strings.Contains(reason, tc.advice) {
				t.Errorf("it does not tell what to do (%q): %s", tc.advice, reason)
			}
			d.ports[1].Close()
			d.mend(100)
			d.start(1)
			if damage := d.nodes[1].node.damage; len(damage) > 0 {
				t.Errorf("it came back with %+v", damage)
			}
			d.append(c, "after", 5)
			d.awaitEqual()
		})
	}
}

func TestASlowDiskIsReportedAndHoldsUpNobodyElse(t *testing.T) {
	d := newDiskGroup(t, 2)
	c := d.client()
	d.append(c, "before", 10)
	d.disk.set(func(b *brokenDisk) { b.kinds, b.delay = syncs, store.SlowSync+store.SlowSync/5 })
	began := time.Now()
	d.append(c, "meanwhile", 30)
	if took := time.Since(began); took > 20*store.SlowSync {
		t.Errorf("30 operations took %v beside one slow disk", took)
	}
	node := d.nodes[2].node
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for faultCount(t, node, "slow_sync") == 0 { // the node's own timers tell nobody
		select {
		case <-ctx.Done():
			t.Fatalf("no slow sync is counted; the log: %s", d.log)
		case <-time.After(5 * time.Millisecond):
		}
	}
	d.disk.set(func(b *brokenDisk) { b.kinds = nil })
	d.append(c, "after", 10)
	d.awaitEqual()
	if log := d.log.String(); !strings.Contains(log, "the disk is slow") {
		t.Errorf("the log does not say so: %s", log)
	}
}

// A log that was torn by a power cut is nothing to speak of.
func TestATornTailIsNothing(t *testing.T) {
	d := newDiskGroup(t, 3)
	c := d.client()
	for _, percent := range []int{0, 50, 100} {
		d.append(c, "before", 17)
		d.mend(percent) // what a power cut at this moment would leave
		d.stop(3)
		d.append(c, "meanwhile", 5)
		d.start(3)
		if n := d.nodes[3].node; len(n.damage) > 0 || n.info.Load().Doubt {
			t.Errorf("%d %% of what was not synced survived: damage %+v, in doubt %t", percent, n.damage, n.info.Load().Doubt)
		}
		d.append(c, "after", 10)
		d.awaitEqual()
	}
}
