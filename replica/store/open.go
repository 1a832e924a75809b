package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"bfsd/replica/wire"
)

// Open opens or makes the store in a directory. The error is a *DamageError when there is a store, but not one that can be
// used; SetAside makes room for a new one. Whether what is there can be trusted is for Condition to say.
func Open(o Options) (*Store, error) {
	if o.Durability != OS && o.Durability != Disk {
		return nil, fmt.Errorf("opening the store in %s: durability %q keeps no store", o.Dir, o.Durability)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Durability == OS {
		o.FS = unsynced{o.FS}
	} else {
		o.FS = orderly{o.FS}
	}
	s := &Store{
		dir: o.Dir, fs: o.FS, kept: map[byte][]byte{}, spillAt: checkpointMemory,
		faults: &faults{log: pebbleLog{o.Log, o.Fatal}, fs: o.FS, dir: o.Dir, readOnly: o.ReadOnly},
	}
	if err := s.open(o); err != nil {
		if s.db != nil {
			err = errors.Join(err, s.Close())
		}
		return nil, fmt.Errorf("opening the store in %s: %w", o.Dir, withAdvice(err))
	}
	return s, nil
}

// Serve says that everything has been read that is read at a start. Until then what Pebble finds damaged is no reason to
// stop at once; it is returned here, if nothing else came across it. From then on it is.
func (s *Store) Serve() error {
	f := s.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opening != nil {
		return s.found.refused(f.opening)
	}
	f.serving = true
	return nil
}

func (s *Store) open(o Options) error {
	found, err := s.inspect()
	if err != nil {
		return err
	}
	s.found = found
	if o.ReadOnly && !found.database && !found.marked {
		return errors.New("there is none")
	}
	if err := s.openDatabase(o.ReadOnly, found); err != nil {
		return err
	}
	for _, key := range []byte{prefixOwner, prefixIdentity, prefixEnd, prefixDoubt} {
		if s.kept[key], err = s.get(key); err != nil {
			return err
		}
	}
	if owner := s.kept[prefixOwner]; o.Owner != nil && owner != nil && !bytes.Equal(owner, o.Owner) {
		return fmt.Errorf("it is the store of %q, not of %q: nothing in it may be used here", owner, o.Owner)
	}
	if err := s.readEnds(); err != nil {
		return err
	}
	meta, checkpointed, err := s.Meta()
	if err != nil {
		return err
	}
	if !o.ReadOnly {
		if err := s.fs.RemoveAll(s.spillDir()); err != nil {
			return fmt.Errorf("removing a checkpoint that was not finished: %w", err)
		}
	}
	if s.kept[prefixIdentity] == nil {
		return s.adopt(o, found, meta.Seq, checkpointed)
	}
	return s.verify(o, found, meta.Seq)
}

// get reads one of the keys that stand alone; nil: it is not there.
func (s *Store) get(key byte) ([]byte, error) {
	value, closer, err := s.db.Get([]byte{key})
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.unreadable(fmt.Errorf("reading key %q: %w", key, err))
	}
	defer closer.Close()
	return append([]byte{}, value...), nil
}

// findings are what lies in the directory before anything is changed.
type findings struct {
	database bool // Pebble finds a database
	tables   bool // there are tables, which only a database makes
	marked   bool // there is a file with a high-water mark
	markOK   bool // and it can be read
	whole    bool // both its slots can
	mark     mark
}

// viewKnown says whether the mark's view is the highest that the replica ever said anything in. While it is in doubt, it may be
// that of what it has said since, alone.
func (f *findings) viewKnown() bool { return f.whole && !f.mark.doubt }

func (f *findings) damage(format string, args ...any) error {
	return &DamageError{Kind: KindDatabase, What: fmt.Sprintf(format, args...), View: f.mark.view, ViewKnown: f.viewKnown()}
}

// inspect looks at the directory without changing it: Pebble takes a directory without its marker for an empty one, and
// removes what it does not know.
func (s *Store) inspect() (*findings, error) {
	f := &findings{}
	names, err := s.fs.List(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking what is there: %w", err)
	}
	condemned := false
	for _, name := range names {
		f.tables = f.tables || filepath.Ext(name) == ".sst"
		f.marked = f.marked || name == markName
		condemned = condemned || name == condemnedName
	}
	if f.marked {
		if f.mark, f.whole, f.markOK, err = readMark(s.fs, s.fs.PathJoin(s.dir, markName)); err != nil {
			return nil, fmt.Errorf("reading the high-water mark: %w", err)
		}
	}
	desc, err := pebble.Peek(s.dir, s.fs)
	if err != nil {
		return nil, f.refused(err)
	}
	f.database = desc.Exists
	switch {
	case condemned:
		return nil, f.damage("%s", readCondemned(s.fs, s.dir))
	case !f.database && (f.tables || f.markOK && !f.mark.empty()):
		return nil, f.damage("the database has no manifest any more")
	}
	return f, nil
}

// empty says that nothing durable was ever promised under the mark.
func (m *mark) empty() bool { return m.end == 0 && m.stable == 0 && m.view == 0 }

// refused turns an error of Pebble into what it means: the store is damaged, unless it is the machine's fault.
func (f *findings) refused(err error) error {
	switch {
	case environmental(err), strings.Contains(err.Error(), "lock held by current process"):
		return err
	case strings.Contains(err.Error(), "unknown format major version"):
		return fmt.Errorf("%w: a newer bfsd wrote it; start that one", err)
	}
	return f.damage("%v", err)
}

// openDatabase opens Pebble. What is damaged may make it panic, too.
func (s *Store) openDatabase(readOnly bool, found *findings) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = found.damage("the database cannot be read: %v", r)
		}
	}()
	s.options = &pebble.Options{
		FS:                 s.fs,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             s.faults.log,
		ReadOnly:           readOnly,
		ErrorIfNotExists:   found.database,
		EventListener:      &pebble.EventListener{BackgroundError: s.faults.background, DataCorruption: s.faults.corruption},
		// The log's records live for a checkpoint interval and are then deleted, so a memtable that holds an interval
		// keeps most of them from ever being written a second time.
		MemTableSize: 64 << 20,
		CacheSize:    8 << 20, // reads happen at restart only
	}
	for i := range s.options.Levels {
		s.options.Levels[i].BlockSize = 32 << 10 // pages have 4 KiB, and are read one after the other
	}
	s.options.EnsureDefaults()
	if s.db, err = pebble.Open(s.dir, s.options); err == nil {
		return nil
	}
	s.db = nil
	if !found.database && !found.marked {
		return err // nothing was there that could be damaged
	}
	return found.refused(err)
}

// readEnds finds where the log ends, and its newest record about the view.
func (s *Store) readEnds() error {
	if end := s.kept[prefixEnd]; len(end) == 8 {
		s.next = binary.BigEndian.Uint64(end)
	}
	return s.eachRecord(func(seq wire.Seq, n uint64, _ []byte) error {
		s.next = max(s.next, n+1)
		if seq == 0 && n >= s.viewRecord {
			s.viewRecord = n
			s.viewKept.Store(n)
		}
		return nil
	})
}

// unreadable turns an error of reading the database into what it means, with the file's name if Pebble has told it.
func (s *Store) unreadable(err error) error {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.opening != nil {
		err = fmt.Errorf("%w (%w)", err, s.faults.opening)
	}
	return s.found.refused(err)
}

// Unusable makes the error that says that what the store gave cannot be used, though the disk says that it is sound.
func (s *Store) Unusable(format string, args ...any) error {
	return &DamageError{Kind: KindCheckpoint, What: fmt.Errorf(format, args...).Error(), View: s.found.mark.view, ViewKnown: s.found.viewKnown()}
}
