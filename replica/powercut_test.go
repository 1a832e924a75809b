package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bfsd/replica/config"
)

// supply is the electricity of a whole cluster: its disks' operations happen while it is on, and at some moment, between
// operations, it is cut for all of them at once.
type supply struct {
	mu  sync.RWMutex // held for reading by whatever happens on a disk
	cut bool

	counting sync.Mutex
	left     int // operations until the cut
	blackout func()
}

// operation is called around everything that changes a disk.
func (s *supply) operation(do func()) {
	s.counting.Lock()
	s.left--
	now := s.left == 0
	s.counting.Unlock()
	if now {
		s.mu.Lock() // waits for what is going on
		s.cut = true
		s.blackout()
		s.mu.Unlock()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	do()
}

// before does something unless the power was cut already.
func (s *supply) before(do func()) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.cut {
		do()
	}
}

// poweredFS is a disk that needs electricity.
type poweredFS struct {
	vfs.FS
	power *supply
}

func (p poweredFS) file(open func() (vfs.File, error)) (f vfs.File, err error) {
	p.power.operation(func() { f, err = open() })
	if err != nil {
		return nil, err
	}
	return poweredFile{f, p.power}, nil
}

func (p poweredFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return p.file(func() (vfs.File, error) { return p.FS.Create(name, c) })
}

func (p poweredFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return p.file(func() (vfs.File, error) { return p.FS.OpenReadWrite(name, c, opts...) })
}

func (p poweredFS) OpenDir(name string) (vfs.File, error) {
	return p.file(func() (vfs.File, error) { return p.FS.OpenDir(name) })
}

func (p poweredFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return p.file(func() (vfs.File, error) { return p.FS.ReuseForWrite(old, name, c) })
}

func (p poweredFS) Remove(name string) (err error) {
	p.power.operation(func() { err = p.FS.Remove(name) })
	return err
}

func (p poweredFS) Rename(old, name string) (err error) {
	p.power.operation(func() { err = p.FS.Rename(old, name) })
	return err
}

func (p poweredFS) Link(old, name string) (err error) {
	p.power.operation(func() { err = p.FS.Link(old, name) })
	return err
}

func (p poweredFS) Unwrap() vfs.FS { return p.FS }

type poweredFile struct {
	vfs.File
	power *supply
}

func (f poweredFile) Write(b []byte) (n int, err error) {
	f.power.operation(func() { n, err = f.File.Write(b) })
	return n, err
}

func (f poweredFile) WriteAt(b []byte, at int64) (n int, err error) {
	f.power.operation(func() { n, err = f.File.WriteAt(b, at) })
	return n, err
}

func (f poweredFile) Sync() (err error) {
	f.power.operation(func() { err = f.File.Sync() })
	return err
}

func (f poweredFile) SyncData() (err error) {
	f.power.operation(func() { err = f.File.SyncData() })
	return err
}

func (f poweredFile) SyncTo(length int64) (full bool, err error) {
	f.power.operation(func() { full, err = f.File.SyncTo(length) })
	return full, err
}

// startOperations is about how many operations on their disks the replicas' start takes.
const startOperations = 250

// The power fails for all replicas at once, at any moment of the life of a cluster, its first and a restart's included, and
// what was not synced is lost in part or altogether. Whatever was acknowledged before is there afterwards, once; and nobody
// takes his disk for damaged.
func TestAPowerCutOfAllReplicasLosesNothingAcknowledged(t *testing.T) {
	cuts := 12
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		cuts = 400
	}
	rng := rand.New(rand.NewPCG(5, 6))
	g := stoppedGroup(t, config.Disk, 4)
	g.dir = "/"
	var disks [4]*vfs.MemFS
	for i := range disks {
		disks[i] = vfs.NewCrashableMem()
	}
	var acknowledged []string
	for cut := range cuts {
		var left [4]*vfs.MemFS
		moment := 1 + rng.IntN(startOperations)
		if rng.IntN(4) > 0 {
			moment = startOperations + rng.IntN(100<<rng.IntN(6))
		}
		power := &supply{left: moment, blackout: func() {
			for i := range disks {
				left[i] = disks[i].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 100}[rng.IntN(3)], RNG: rng})
			}
		}}
		for i := range disks {
			g.disks[i] = poweredFS{disks[i], power}
			g.start(i)
			if damage := g.nodes[i].node.damage; len(damage) > 0 {
				t.Fatalf("after power cut %d replica %d takes its disk for damaged: %+v", cut, i, damage)
			}
		}
		acknowledged = append(acknowledged, g.writeUntilCut(t, power, cut)...)
		for i := range g.nodes {
			g.stop(i)
		}
		disks = left
		g.mustRemember(t, disks, acknowledged, cut)
	}
	t.Logf("%d power cuts, %d operations acknowledged", cuts, len(acknowledged))
}

// writeUntilCut has clients write until the power is cut, and returns what was acknowledged before.
func (g *group) writeUntilCut(t *testing.T, power *supply, cut int) (acknowledged []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := g.client()
	defer c.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for worker := range 8 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				op := fmt.Sprintf("cut-%d-worker-%d-op-%d", cut, worker, n)
				if _, err := c.Invoke(ctx, []byte(op), false); err != nil {
					return
				}
				on := false
				power.before(func() {
					mu.Lock()
					defer mu.Unlock()
					acknowledged, on = append(acknowledged, op), true
				})
				if !on {
					cancel() // the dead need no more
				}
			}
		})
	}
	wg.Wait()
	return acknowledged
}

// mustRemember starts the cluster once on copies of the disks and looks whether everything is there.
func (g *group) mustRemember(t *testing.T, disks [4]*vfs.MemFS, acknowledged []string, cut int) {
	t.Helper()
	for i := range disks {
		g.disks[i] = disks[i].CrashClone(vfs.CrashCloneCfg{}) // everything that is there was synced
		g.start(i)
	}
	c := g.client()
	defer c.Close()
	invoke(t, c, fmt.Sprintf("after cut %d", cut), false)
	g.awaitEqual()
	var ops []string
	if n := g.nodes[0].node; !n.onLoop(t.Context(), func() { ops = slices.Clone(n.service.(*toyService).ops) }) {
		t.Fatal("replica 0 has stopped")
	}
	for i := range g.nodes {
		g.stop(i)
	}
	times := map[string]int{}
	for _, op := range ops {
		times[op]++
	}
	for _, op := range acknowledged {
		if times[op] != 1 {
			t.Fatalf("after power cut %d: %q was acknowledged, and is there %d times", cut, op, times[op])
		}
	}
}
