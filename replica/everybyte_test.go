package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bfsd/replica/config"
	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// memory is what a replica knows once it has read its store: where it is, and what its service holds.
type memory struct {
	view              wire.View
	executed          wire.Seq
	committed, stable wire.Seq
	root              wire.Digest
}

func remembered(n *Node) memory {
	n.step(pbft.Tick{}) // executes the log again, as Run does first
	info := n.core.Info()
	s := n.service.Snapshot()
	defer s.Release()
	return memory{info.View, info.Executed, info.Committed, info.Stable.Seq, s.Root()}
}

// Each byte of each file of a stopped replica's store is changed, one at a time, and the replica started: it remembers all that
// it did, or knows that it does not, is in doubt and says why, or does not start and says what to do. Whatever state it then
// has is a checkpoint that f+1 replicas signed, or the empty one. With BFSD_LONG_TESTS=1 that is every byte, else some of each file.
func TestAnyByteOfAStoreMayChange(t *testing.T) {
	const interval, victim = 8, 2
	g := newGroup(t, config.OS, interval)
	c := g.client()
	g.append(c, "before", 20)
	g.awaitEqual()
	g.stop(victim)
	g.start(victim) // so that it has tables, too
	g.append(c, "then", 30)
	// How many batches that were is chance, and how many of them it was told, when it was back, instead of voting on them.
	for s := g.awaitEqual(); ; s = g.awaitEqual() {
		g.append(c, "a log behind the checkpoint", 1)
		if s.Executed%interval == interval-3 {
			break
		}
	}
	g.awaitEqual()
	for i := range g.nodes {
		g.stop(i)
	}
	files := filesBelow(t, g.storeDir(victim))
	start := func(files map[string][]byte) (*Node, error) {
		g.disks[victim] = laidOut(t, g.storeDir(victim), files)
		return g.open(victim, g.storeDir(victim))
	}
	empty := newToyService().Snapshot().Root()
	node, err := start(files)
	if err != nil {
		t.Fatal(err)
	}
	whole := remembered(node)
	node.Close()
	if whole.executed <= whole.stable || whole.stable == 0 || len(node.damage) > 0 {
		t.Fatalf("the untouched store holds %+v, damage %v; want a checkpoint, and a log behind it", whole, node.damage)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		outcomes := map[string]int{}
		for _, at := range everyByte(len(files[name])) {
			what := fmt.Sprintf("%s with byte %d of %d changed", name, at, len(files[name]))
			changed := maps.Clone(files)
			changed[name] = slices.Clone(files[name])
			changed[name][at] ^= 1 << (at % 8)
			node, err := start(changed)
			if err != nil {
				if !strings.Contains(err.Error(), g.storeDir(victim)) || !strings.Contains(err.Error(), "move that directory away") {
					t.Errorf("%s: it does not start, and does not say what to do: %v", what, err)
				}
				outcomes["refused"]++
				continue
			}
			got := remembered(node)
			doubt, damage := node.core.Info().Doubt, node.damage
			at, proof := node.snaps.stable()
			node.Close()
			switch {
			case !doubt && len(damage) == 0:
				if got != whole {
					t.Errorf("%s: it takes its store for whole, and remembers %+v instead of %+v", what, got, whole)
				}
				outcomes["nothing lost"]++
			case doubt && len(damage) > 0 && damage[0].What != "":
				if _, err := VerifyCertificate(g.cluster, at, EncodeCertificate(proof)); got.root != at.Root || err != nil {
					if at.Seq != 0 || got.root != empty {
						t.Errorf("%s: it is in doubt, with a state %v that is not that of %+v: %v", what, got.root, at, err)
					}
				}
				outcomes["knows that it forgot"]++
			default:
				t.Errorf("%s: in doubt %t, but damage %v", what, doubt, damage)
			}
		}
		t.Logf("%-24s %7d bytes: %v", name, len(files[name]), outcomes)
	}
}

// everyByte gives the places to change: all, or some of a file, its ends included.
func everyByte(size int) []int {
	stride := 1
	if os.Getenv("BFSD_LONG_TESTS") == "" {
		stride = max(1, size/12)
	}
	var places []int
	for at := 0; at < size; at += stride {
		places = append(places, at)
	}
	if size > 0 && places[len(places)-1] != size-1 {
		places = append(places, size-1)
	}
	return places
}

func filesBelow(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// laidOut makes a disk with files in a directory.
func laidOut(t *testing.T, dir string, files map[string][]byte) vfs.FS {
	t.Helper()
	disk := vfs.NewMem()
	for name, content := range files {
		path := disk.PathJoin(dir, name)
		if err := disk.MkdirAll(disk.PathDir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := disk.Create(path, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write(slices.Clone(content))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return disk
}
