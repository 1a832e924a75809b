package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"bfsd/replica/wire"
)

// Options says where and how a store keeps things.
type Options struct {
	Dir        string
	Durability Durability // OS or Disk; a replica in memory has no store
	// Owner says whose store this is: a store made for another owner is refused. nil is not checked.
	Owner    []byte
	Log      *slog.Logger
	ReadOnly bool   // look only; there must be a store
	FS       vfs.FS // nil: the operating system's; tests give one that crashes
	// Lost says that the store is made in place of one that was damaged; nil: it is not.
	Lost *DamageError
	// Fatal is called when the disk no longer takes writes: nothing this replica says from then on could be relied
	// upon. It must not return. nil: panic. Explain says what a person can do.
	Fatal func(error)
}

// Store is the durable side of one replica. Append and Cut are for one goroutine, Commit for one, Checkpoint and Settle for
// one; the three may run at the same time.
type Store struct {
	dir       string
	fs        vfs.FS
	db        *pebble.DB
	options   *pebble.Options
	spillAt   int // bytes of changes that a checkpoint keeps in memory
	high      *highWater
	faults    *faults
	condition Condition
	found     *findings       // by Open, before it changed anything
	kept      map[byte][]byte // what Open found under the keys that stand alone

	batch *pebble.Batch
	next  uint64    // the next record's place in the log
	view  wire.View // the highest view that a record in the batch, or an earlier one, is about

	viewRecord uint64        // the place of the newest record of batch 0 that was appended
	viewKept   atomic.Uint64 // the place of the newest one that is durable: older ones are superfluous

	closing sync.RWMutex // held while somebody measures the database
	closed  bool
}

// Meta describes the checkpoint whose pages the store holds.
type Meta struct {
	Seq         wire.Seq
	Root        wire.Digest
	Certificate []byte // what proves Root to others; opaque here
	Size        uint64 // about how many bytes the pages have, for showing progress; 0: not known
}

const (
	prefixDoubt    = 'd'
	prefixEnd      = 'e'
	prefixIdentity = 'i'
	prefixMeta     = 'm'
	prefixSize     = 'n'
	prefixOwner    = 'o'
	prefixRecord   = 'r'
	prefixState    = 's'
)

// Append adds a record of a batch to the current group. The record is copied.
func (s *Store) Append(seq wire.Seq, record []byte) error {
	if s.batch == nil {
		s.batch = s.db.NewBatch()
	}
	if err := s.batch.Set(recordKey(seq, s.next), record, nil); err != nil {
		return fmt.Errorf("adding a record of batch %d to the log: %w", seq, err)
	}
	if seq == 0 {
		s.viewRecord = s.next
	}
	s.next++
	return nil
}

// AppendView adds a record that belongs to no batch, but to a view: of those the newest one says it all.
func (s *Store) AppendView(v wire.View, record []byte) error {
	s.view = max(s.view, v)
	return s.Append(0, record)
}

// Group is a run of records that becomes durable together.
type Group struct {
	batch      *pebble.Batch
	viewRecord uint64 // of Store, when the group was cut
	next       uint64
	view       wire.View
}

// Cut ends the current group of records and returns it; nil when nothing was appended. The caller commits the groups in
// the order in which they were cut, on whatever goroutine.
func (s *Store) Cut() (*Group, error) {
	if s.batch == nil {
		return nil, nil
	}
	if err := s.batch.Set([]byte{prefixEnd}, binary.BigEndian.AppendUint64(nil, s.next), nil); err != nil {
		return nil, fmt.Errorf("ending a group of records: %w", err)
	}
	g := &Group{s.batch, s.viewRecord, s.next, s.view}
	s.batch = nil
	return g, nil
}

// Commit makes groups durable, as far as the setting promises, with one sync for all of them. It takes them over.
func (s *Store) Commit(groups ...*Group) error {
	for i, g := range groups {
		// The write-ahead log is sequential, so syncing the last one syncs all.
		how := pebble.NoSync
		if i == len(groups)-1 {
			how = pebble.Sync
		}
		if err := errors.Join(g.batch.Commit(how), g.batch.Close()); err != nil {
			return fmt.Errorf("writing the log: %w", err)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	last := groups[len(groups)-1]
	s.viewKept.Store(last.viewRecord)
	return s.high.update(last.view > s.high.view(), func(m *mark) { m.end, m.view = last.next, max(m.view, last.view) })
}

// Meta returns the description of the checkpoint in the store; ok is false when there is none yet.
func (s *Store) Meta() (meta Meta, ok bool, err error) {
	value, closer, err := s.db.Get([]byte{prefixMeta})
	if errors.Is(err, pebble.ErrNotFound) {
		return Meta{}, false, nil
	}
	if err != nil {
		return Meta{}, false, s.unreadable(fmt.Errorf("reading the checkpoint's description: %w", err))
	}
	defer closer.Close()
	if meta, err = decodeMeta(value); err != nil {
		return Meta{}, false, s.unreadable(err)
	}
	size, err := s.get(prefixSize)
	if err != nil {
		return Meta{}, false, err
	}
	if len(size) == 8 {
		meta.Size = binary.BigEndian.Uint64(size)
	}
	return meta, true, nil
}

// Pages calls yield for each page of the checkpoint, in key order. The slices are valid during the call only.
func (s *Store) Pages(yield func(key, value []byte) error) error {
	return s.scan(prefixState, "the checkpoint's pages", func(key, value []byte) error { return yield(key[1:], value) })
}

// Records returns the log's records in the order in which they were appended, without those that the checkpoint has made
// superfluous.
func (s *Store) Records() ([][]byte, error) {
	meta, _, err := s.Meta()
	if err != nil {
		return nil, err
	}
	type record struct {
		n    uint64
		data []byte
	}
	var records []record
	err = s.eachRecord(func(seq wire.Seq, n uint64, data []byte) error {
		if seq == 0 || seq > meta.Seq {
			records = append(records, record{n, slices.Clone(data)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(records, func(a, b record) int {
		if a.n < b.n {
			return -1
		}
		return 1
	})
	out := make([][]byte, len(records))
	for i, r := range records {
		out[i] = r.data
	}
	return out, nil
}

// Close closes the store. What was appended and not committed is given up.
func (s *Store) Close() error {
	if s.batch != nil {
		s.batch.Close()
		s.batch = nil
	}
	s.closing.Lock()
	s.closed = true
	err := s.db.Close()
	s.closing.Unlock()
	if s.high != nil {
		err = errors.Join(err, s.high.close())
	}
	return err
}

func (s *Store) eachRecord(yield func(seq wire.Seq, n uint64, data []byte) error) error {
	return s.scan(prefixRecord, "the log", func(key, value []byte) error {
		if len(key) != 17 {
			return s.unreadable(fmt.Errorf("reading the log: a key of %d bytes, want 17", len(key)))
		}
		return yield(wire.Seq(binary.BigEndian.Uint64(key[1:])), binary.BigEndian.Uint64(key[9:]), value)
	})
}

func (s *Store) scan(prefix byte, what string, yield func(key, value []byte) error) error {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return s.unreadable(fmt.Errorf("reading %s: %w", what, err))
	}
	defer iter.Close()
	for ok := iter.First(); ok; ok = iter.Next() {
		if err := yield(iter.Key(), iter.Value()); err != nil {
			return err
		}
	}
	if err := iter.Error(); err != nil {
		return s.unreadable(fmt.Errorf("reading %s: %w", what, err))
	}
	return nil
}

func recordKey(seq wire.Seq, n uint64) []byte {
	key := make([]byte, 0, 17)
	key = append(key, prefixRecord)
	key = binary.BigEndian.AppendUint64(key, uint64(seq))
	return binary.BigEndian.AppendUint64(key, n)
}

func encodeMeta(m Meta) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(m.Seq))
	b = append(b, m.Root[:]...)
	return append(b, m.Certificate...)
}

func encodeSize(m Meta) []byte { return binary.BigEndian.AppendUint64(nil, m.Size) }

func decodeMeta(b []byte) (Meta, error) {
	const fixed = 8 + len(wire.Digest{})
	if len(b) < fixed {
		return Meta{}, fmt.Errorf("reading the checkpoint's description: %d bytes, want %d at least", len(b), fixed)
	}
	return Meta{
		Seq:         wire.Seq(binary.BigEndian.Uint64(b)),
		Root:        wire.Digest(b[8:fixed]),
		Certificate: slices.Clone(b[fixed:]),
	}, nil
}

// pebbleLog makes Pebble's log quiet when all is well.
type pebbleLog struct {
	log   *slog.Logger
	fatal func(error)
}

func (l pebbleLog) Infof(format string, args ...any) {
	if l.log != nil && l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("store: " + fmt.Sprintf(format, args...))
	}
}

func (l pebbleLog) Errorf(format string, args ...any) {
	if l.log != nil {
		l.log.Error("store: " + fmt.Sprintf(format, args...))
	}
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	err := &fatalError{text: "store: " + fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			err.cause = cause
		}
	}
	if l.fatal != nil {
		l.fatal(err)
	}
	panic(err.text)
}

// fatalError is what Pebble says, with the error that it says it of.
type fatalError struct {
	text  string
	cause error
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.cause }
