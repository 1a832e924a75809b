package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bfsd/replica/wire"
)

// The high-water mark is a small file beside the database that says how far the log was durable when a message left. A log
// that ends before it was not torn in a crash: something that others may count on is gone.
//
// It is written after the log is synced, never before, so a crash at whatever moment cannot make it say too much. It is
// not itself synced before the message leaves, which would double the cost of a vote, but within markSyncEvery: so it
// shows every loss after the end of a process, however it ended, and after a power cut every loss but one of what was
// synced in the last moment before it. What it says about the view is synced first: views change seldom, and a replica
// that knows the view it was in rejoins sooner.
//
// The file holds two slots in different blocks, written in turns, so that one of them is whole whatever is torn.

// mark is what a slot says.
type mark struct {
	count  uint64   // of marks: the higher one is the newer
	store  [16]byte // which store it belongs to
	end    uint64   // the log's records before this place are durable
	stable wire.Seq // and so is this checkpoint
	view   wire.View
	doubt  bool
}

const (
	markName  = "high-water"
	markMagic = "bfsd-hw1"
	markSize  = 8 + 8 + 16 + 8 + 8 + 8 + 1 + 8 // with the magic before and 8 bytes of SHA-256 behind
	slotSize  = 4096

	// markSyncEvery bounds how long a mark may be written and not synced: a twentieth or less of the syncs that the log makes
	// under load.
	markSyncEvery = 100 * time.Millisecond
)

func (m *mark) encode() []byte {
	b := make([]byte, 0, markSize)
	b = append(b, markMagic...)
	b = binary.BigEndian.AppendUint64(b, m.count)
	b = append(b, m.store[:]...)
	b = binary.BigEndian.AppendUint64(b, m.end)
	b = binary.BigEndian.AppendUint64(b, uint64(m.stable))
	b = binary.BigEndian.AppendUint64(b, uint64(m.view))
	doubt := byte(0)
	if m.doubt {
		doubt = 1
	}
	b = append(b, doubt)
	sum := sha256.Sum256(b)
	return append(b, sum[:8]...)
}

// decodeMark is the inverse of encode; ok is false for anything else.
func decodeMark(b []byte) (m mark, ok bool) {
	if len(b) != markSize || string(b[:8]) != markMagic || b[markSize-9] > 1 {
		return mark{}, false
	}
	if sum := sha256.Sum256(b[:markSize-8]); !bytes.Equal(sum[:8], b[markSize-8:]) {
		return mark{}, false
	}
	return mark{
		count: binary.BigEndian.Uint64(b[8:]), store: [16]byte(b[16:32]), end: binary.BigEndian.Uint64(b[32:]),
		stable: wire.Seq(binary.BigEndian.Uint64(b[40:])), view: wire.View(binary.BigEndian.Uint64(b[48:])), doubt: b[56] == 1,
	}, true
}

// readMark reads the newest mark of a file. whole says that both slots could be read; then the view is sure to be the
// last that was said, for it is written to both. ok is false when there is no mark, or none that can be read.
func readMark(fs vfs.FS, path string) (newest mark, whole, ok bool, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return mark{}, false, false, err
	}
	defer f.Close()
	whole = true
	view := wire.View(0)
	for slot := range int64(2) {
		b := make([]byte, markSize)
		if _, err := f.ReadAt(b, slot*slotSize); err != nil && !errors.Is(err, io.EOF) {
			whole = false // a block that cannot be read is as good as a torn one
			continue
		}
		m, valid := decodeMark(b)
		whole = whole && valid
		if !valid {
			continue
		}
		view = max(view, m.view)
		if !ok || m.count > newest.count {
			newest, ok = m, true
		}
	}
	newest.view = view
	return newest, whole, ok, nil
}

// highWater keeps the mark's file up to date.
type highWater struct {
	fail func(error) // when the mark cannot be synced in the background

	mu      sync.Mutex
	file    vfs.File
	mark    mark
	pending *time.Timer   // syncs what is written; nil: nothing is waiting for it
	syncing chan struct{} // closed when the sync that is under way has ended; nil: none is
	closed  bool
}

// createMark makes the file, with both slots saying m.
func createMark(fs vfs.FS, dir string, m mark, fail func(error)) (*highWater, error) {
	// Made anew under another name: a crash leaves the old one or the new one.
	path, fresh := fs.PathJoin(dir, markName), fs.PathJoin(dir, markName+".new")
	f, err := fs.Create(fresh, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", fresh, err)
	}
	content := make([]byte, 2*slotSize)
	m.count++
	copy(content[slotSize*(m.count%2):], m.encode())
	m.count++
	copy(content[slotSize*(m.count%2):], m.encode())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("making %s: %w", fresh, err)
	}
	if err := fs.Rename(fresh, path); err != nil {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	if err := syncDir(fs, dir); err != nil {
		return nil, fmt.Errorf("making %s durable: %w", path, err)
	}
	return openMark(fs, dir, m, fail)
}

// openMark opens a file whose newest mark is m.
func openMark(fs vfs.FS, dir string, m mark, fail func(error)) (*highWater, error) {
	path := fs.PathJoin(dir, markName)
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return &highWater{file: f, mark: m, fail: fail}, nil
}

// view is what the mark says about the view.
func (h *highWater) view() wire.View {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mark.view
}

// update changes the mark. synced says that it must be durable, in both slots, before update returns.
func (h *highWater) update(synced bool, change func(*mark)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.mark)
	if !synced {
		if err := h.write(); err != nil {
			return err
		}
		if h.pending == nil && h.syncing == nil && !h.closed {
			h.pending = time.AfterFunc(markSyncEvery, h.syncWritten)
		}
		return nil
	}
	for range 2 {
		if err := h.write(); err != nil {
			return err
		}
		if err := h.file.SyncData(); err != nil {
			return fmt.Errorf("syncing the high-water mark: %w", err)
		}
	}
	return nil
}

// write puts the mark into the slot that holds the older one.
func (h *highWater) write() error {
	h.mark.count++
	if _, err := h.file.WriteAt(h.mark.encode(), slotSize*int64(h.mark.count%2)); err != nil {
		return fmt.Errorf("writing the high-water mark: %w", err)
	}
	return nil
}

// syncWritten syncs what was written, in the background: who writes the next mark does not wait for it.
func (h *highWater) syncWritten() {
	h.mu.Lock()
	h.pending = nil
	if h.closed || h.syncing != nil {
		h.mu.Unlock()
		return
	}
	done := make(chan struct{})
	h.syncing = done
	h.mu.Unlock()
	err := h.file.SyncData()
	h.mu.Lock()
	h.syncing = nil
	h.mu.Unlock()
	close(done)
	if err != nil {
		h.fail(fmt.Errorf("syncing the high-water mark: %w", err))
	}
}

func (h *highWater) close() error {
	h.mu.Lock()
	h.closed = true
	if h.pending != nil {
		h.pending.Stop()
	}
	syncing := h.syncing
	h.mu.Unlock()
	if syncing != nil {
		<-syncing
	}
	if err := errors.Join(h.file.SyncData(), h.file.Close()); err != nil {
		return fmt.Errorf("closing the high-water mark: %w", err)
	}
	return nil
}
