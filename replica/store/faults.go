package store

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// asideMax is how many damaged stores are kept beside a new one.
const asideMax = 3

// SetAside moves a damaged store out of the way, and says where to. Nothing is deleted: should more replicas be damaged
// than the group tolerates, it may be the only copy of something. It gives up when that has happened too often: such a
// disk must not be trusted with a new one.
func SetAside(fs vfs.FS, dir string) (string, error) {
	if fs == nil {
		fs = vfs.Default
	}
	for i := 1; i <= asideMax; i++ {
		aside := fmt.Sprintf("%s.damaged-%d", dir, i)
		if _, err := fs.Stat(aside); err == nil {
			continue
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("setting %s aside: %w", dir, err)
		}
		if err := fs.Rename(dir, aside); err != nil {
			return "", fmt.Errorf("setting %s aside: %w", dir, err)
		}
		if err := syncDir(fs, fs.PathDir(dir)); err != nil {
			return "", fmt.Errorf("setting %s aside: %w", dir, err)
		}
		return aside, nil
	}
	return "", fmt.Errorf("%s was damaged %d times before (%s.damaged-*): replace the disk; when the others are well, remove those directories", dir, asideMax, dir)
}

// condemnedName is a file that says that the database was found damaged while it was in use.
const condemnedName = "condemned"

func readCondemned(fs vfs.FS, dir string) string {
	const most = 512
	f, err := fs.Open(fs.PathJoin(dir, condemnedName))
	if err != nil {
		return "found while it was in use"
	}
	defer f.Close()
	b := make([]byte, most)
	n, _ := f.Read(b) // whatever it says is said to a person
	return string(b[:n])
}

// faults is told by Pebble and by the high-water mark of what goes wrong in the background.
type faults struct {
	log      pebbleLog
	fs       vfs.FS
	dir      string
	readOnly bool

	mu      sync.Mutex
	opening error // the first one before Serve
	serving bool
}

// background takes an error of Pebble's flushes and compactions. Pebble tries again for ever when it cannot write in the
// background. A replica whose disk is full or broken must say so and stop: it can keep no further promise.
func (f *faults) background(err error) {
	if !f.isServing(err) {
		return
	}
	if pebble.IsCorruptionError(err) && !f.readOnly {
		f.condemn(err)
		f.log.Fatalf("%s is damaged: %v; start the replica again: it sets its store aside and fetches everything from the others", f.dir, err)
	}
	f.log.Fatalf("writing %s: %v", f.dir, err)
}

// corruption takes Pebble's word that a file is damaged.
func (f *faults) corruption(info pebble.DataCorruptionInfo) {
	f.background(fmt.Errorf("%s: %w", info.Path, pebble.ErrCorruption))
}

// isServing says whether an error is fatal at once. Before Serve was called damage is not: it is kept for Serve. But who
// cannot write must not wait for that, for Pebble's Open waits for its own flush.
func (f *faults) isServing(err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.serving || !pebble.IsCorruptionError(err) && !isRead(err) {
		return true
	}
	if f.opening == nil {
		f.opening = err
	}
	return false
}

// isRead says that an error comes from reading a file.
func isRead(err error) bool {
	var e *os.PathError
	return errors.As(err, &e) && e.Op == "read"
}

func (f *faults) mark(err error) { f.log.Fatalf("writing %s: %v", f.dir, err) }

// condemn leaves word for the next start that the database is damaged: what is damaged may be nothing that a start reads.
func (f *faults) condemn(why error) {
	file, err := f.fs.Create(f.fs.PathJoin(f.dir, condemnedName), vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = fmt.Fprint(file, why)
		err = errors.Join(err, file.Sync(), file.Close())
	}
	if err != nil {
		f.log.Errorf("noting for the next start that %s is damaged: %v", f.dir, err)
	}
}
