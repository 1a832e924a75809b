package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A checkpoint appears in one step, whatever its size, and is written in memory of bounded size. A small one, as there are
// many of, is one batch. A large one is written into tables of its own, beside the database, as its pages come; then the
// database takes over all these files with one edit of its manifest. So its pages are written to the disk once, and not
// through the write-ahead log, the memtable and their flush. What a crash leaves of unfinished tables is removed at the
// next start.
const (
	// checkpointMemory is how many bytes of pages make a checkpoint large. BenchmarkCheckpoint: at 8 MiB a batch is the quicker
	// and the disk is given less, for tables make the memtable with the log be flushed early; at 32 MiB they are equal, but for
	// the memory: 560 MiB of heap against 22.
	checkpointMemory = 16 << 20
	tableSize        = 64 << 20     // bytes of pages in one table of a large one
	spillName        = "checkpoint" // the directory
)

func (s *Store) spillDir() string { return s.fs.PathJoin(s.dir, spillName) }

// Checkpoint replaces the checkpoint by a newer one, in one atomic step. diff emits the pages that changed since the one
// the store holds, in key order, a nil value for a page that is gone; wholly says that it emits all pages instead. If it returns an
// error, or the process ends before it has returned, the checkpoint is the older one. The
// records of batches up to meta.Seq are dropped, and of those of batch 0 all but the newest.
func (s *Store) Checkpoint(meta Meta, wholly bool, diff func(emit func(key, value []byte) error) error) error {
	p := &pageWriter{store: s}
	err := diff(p.add)
	if wholly && meta.Size == 0 { // who writes pages as they come does not know before
		meta.Size = p.total
	}
	switch {
	case err != nil:
		err = errors.Join(err, p.abandon())
	case p.large():
		err = p.ingest(meta, wholly)
		if err == nil {
			err = s.dropRecords(meta, nil)
		}
	default:
		err = s.dropRecords(meta, func(b *pebble.Batch) error { return p.fill(b, meta, wholly) })
	}
	if err == nil {
		err = s.high.update(false, func(m *mark) { m.stable = max(m.stable, meta.Seq) })
	}
	if err != nil {
		return fmt.Errorf("writing the checkpoint of batch %d: %w", meta.Seq, err)
	}
	return nil
}

// dropRecords drops the records that a checkpoint makes superfluous, together with what fill puts into the batch.
func (s *Store) dropRecords(meta Meta, fill func(*pebble.Batch) error) error {
	b := s.db.NewBatch()
	defer b.Close()
	if fill != nil {
		if err := fill(b); err != nil {
			return err
		}
	}
	// Of the records of batch 0 the newest durable one says it all.
	if err := b.DeleteRange(recordKey(0, 0), recordKey(0, s.viewKept.Load()), nil); err != nil {
		return err
	}
	if err := b.DeleteRange(recordKey(1, 0), recordKey(meta.Seq+1, 0), nil); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// pageWriter gathers the pages of a checkpoint: in memory at first, in tables when they become many.
type pageWriter struct {
	store *Store
	held  []page
	size  int    // of what is held; then of what is in the current table
	total uint64 // of everything
	last  []byte // key

	tables []string // finished, or being written
	writer *sstable.Writer
}

type page struct {
	key   []byte // with prefixState
	value []byte // nil: the page is gone
}

func (p *pageWriter) large() bool { return len(p.tables) > 0 }

func (p *pageWriter) add(key, value []byte) error {
	k := append([]byte{prefixState}, key...)
	if bytes.Compare(k, p.last) <= 0 { // a table needs them in order; who breaks that must hear of it with few pages, too
		return fmt.Errorf("page %x comes after page %x", key, p.last[1:])
	}
	p.last, p.total = k, p.total+uint64(len(key)+len(value))
	if p.large() {
		return p.write(page{k, value})
	}
	p.held = append(p.held, page{k, slices.Clone(value)})
	if p.size += len(k) + len(value); p.size < p.store.spillAt {
		return nil
	}
	if err := p.begin(); err != nil {
		return err
	}
	for _, held := range p.held {
		if err := p.write(held); err != nil {
			return err
		}
	}
	p.held = nil
	return nil
}

// begin opens the next table.
func (p *pageWriter) begin() error {
	if !p.large() {
		if err := p.store.fs.MkdirAll(p.store.spillDir(), 0o700); err != nil {
			return err
		}
	}
	path := p.store.fs.PathJoin(p.store.spillDir(), fmt.Sprintf("%06d.sst", len(p.tables)))
	f, err := p.store.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	p.tables, p.size = append(p.tables, path), 0
	p.writer = sstable.NewWriter(objstorageprovider.NewFileWritable(f), p.store.options.MakeWriterOptions(0, p.store.db.TableFormat()))
	return nil
}

// end finishes the current table, which syncs it.
func (p *pageWriter) end() error {
	if p.writer == nil {
		return nil
	}
	w := p.writer
	p.writer = nil
	return w.Close()
}

func (p *pageWriter) write(g page) error {
	if p.size >= tableSize {
		if err := errors.Join(p.end(), p.begin()); err != nil {
			return err
		}
	}
	p.size += len(g.key) + len(g.value)
	if g.value == nil {
		return p.writer.Delete(g.key)
	}
	return p.writer.Set(g.key, g.value)
}

// fill makes the pages, few as they are, part of a batch.
func (p *pageWriter) fill(b *pebble.Batch, meta Meta, wholly bool) error {
	if wholly {
		if err := b.DeleteRange([]byte{prefixState}, []byte{prefixState + 1}, nil); err != nil {
			return err
		}
	}
	for _, g := range p.held {
		var err error
		if g.value == nil {
			err = b.Delete(g.key, nil)
		} else {
			err = b.Set(g.key, g.value, nil)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(b.Set([]byte{prefixMeta}, encodeMeta(meta), nil), b.Set([]byte{prefixSize}, encodeSize(meta), nil))
}

// ingest makes the tables part of the database. The description has a table of its own: one that reached from it to the
// pages would seem to overlap the log's records in the memtable, and flush them.
func (p *pageWriter) ingest(meta Meta, wholly bool) error {
	err := errors.Join(p.end(), p.begin())
	if err == nil {
		err = errors.Join(p.writer.Set([]byte{prefixMeta}, encodeMeta(meta)), p.writer.Set([]byte{prefixSize}, encodeSize(meta)), p.end())
	}
	if err != nil {
		return errors.Join(err, p.abandon())
	}
	if wholly {
		_, err = p.store.db.IngestAndExcise(context.Background(), p.tables, nil, nil,
			pebble.KeyRange{Start: []byte{prefixState}, End: []byte{prefixState + 1}})
	} else {
		err = p.store.db.Ingest(context.Background(), p.tables)
	}
	return errors.Join(err, p.abandon())
}

// abandon removes what was written, of a checkpoint that did not come about, or that the database has links of its own to.
func (p *pageWriter) abandon() error {
	if !p.large() {
		return nil
	}
	return errors.Join(p.end(), p.store.fs.RemoveAll(p.store.spillDir()))
}
