package backup

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	"bfsd/fsstate"
)

// Write writes the archive of a state. clusterFile is the configuration of its cluster; progress, unless nil, is told now
// and then how many of how many bytes of the state are written.
func Write(w io.Writer, m Manifest, clusterFile []byte, s *fsstate.Snapshot, progress func(done, total uint64)) error {
	a := writer{out: bufio.NewWriterSize(w, 1<<20), state: s, progress: progress, total: s.Size()}
	if len(clusterFile) > clusterMax {
		return fmt.Errorf("writing a backup: a cluster.toml of %d bytes; at most %d are read again", len(clusterFile), clusterMax)
	}
	manifest, err := m.encode()
	if err == nil {
		err = a.all(m, manifest, clusterFile)
	}
	if err != nil {
		return fmt.Errorf("writing a backup: %w", err)
	}
	return nil
}

type writer struct {
	out      *bufio.Writer
	written  uint64
	state    *fsstate.Snapshot
	progress func(done, total uint64)
	done     uint64 // bytes of the state
	total    uint64
}

func (a *writer) all(m Manifest, manifest, clusterFile []byte) error {
	taken := m.Taken.Unix() * 1e9
	for _, e := range []struct {
		path string
		data []byte
	}{{manifestPath, manifest}, {clusterPath, clusterFile}} {
		head := metaEntry(e.path, taken, uint64(len(e.data)))
		if err := a.write(head.header(), e.data); err != nil {
			return err
		}
		if err := a.pad(); err != nil {
			return err
		}
	}
	if err := a.skeleton(taken); err != nil {
		return err
	}
	if err := eachEntry(a.state, a.object); err != nil {
		return err
	}
	end := 2 * blockSize
	end += (recordSize - int((a.written+uint64(end))%recordSize)) % recordSize
	if err := a.write(make([]byte, end)); err != nil {
		return err
	}
	return a.out.Flush()
}

// metaEntry is an entry that is not of the tree.
func metaEntry(path string, taken int64, size uint64) *entry {
	return &entry{path: path, typ: typeFile, mode: 0o600, mtime: taken, size: size}
}

// skeleton writes the pairs. Their size has to be known first.
func (a *writer) skeleton(taken int64) error {
	size := uint64(0)
	if err := a.state.Skeleton(func(key, value []byte) error {
		size += uint64(len(key) + 2 + len(value))
		return nil
	}); err != nil {
		return err
	}
	if err := a.write(metaEntry(statePath, taken, size).header()); err != nil {
		return err
	}
	if err := a.state.Skeleton(func(key, value []byte) error {
		var length [2]byte
		binary.BigEndian.PutUint16(length[:], uint16(len(value)))
		a.report(len(key) + 2 + len(value))
		return a.write(key, length[:], value)
	}); err != nil {
		return err
	}
	return a.pad()
}

// object writes an entry of the tree.
func (a *writer) object(o *fsstate.Object, e *entry) error {
	if e.typ != typeFile {
		return a.write(e.header())
	}
	runs, stored, err := a.runs(o.Ino)
	if err != nil {
		return err
	}
	e.size = stored
	var sparseMap []byte
	if e.sparse = !whole(runs, o.Size); e.sparse {
		sparseMap = encodeMap(runs, o.Size)
		e.size += uint64(len(sparseMap))
	}
	if err := a.write(e.header(), sparseMap); err != nil {
		return err
	}
	if err := a.state.Pages(o.Ino, func(_ uint64, data []byte) error {
		a.report(len(data) + pairHead)
		return a.write(data)
	}); err != nil {
		return err
	}
	return a.pad()
}

// pairHead is what a stored pair takes besides its value.
const pairHead = 18

// run is a piece of a file that is stored.
type run struct{ offset, size uint64 }

// runs lists the pieces of a file that are stored.
func (a *writer) runs(ino uint64) (runs []run, stored uint64, err error) {
	err = a.state.Pages(ino, func(offset uint64, data []byte) error {
		size := uint64(len(data))
		stored += size
		if k := len(runs) - 1; k >= 0 && runs[k].offset+runs[k].size == offset {
			runs[k].size += size
		} else {
			runs = append(runs, run{offset, size})
		}
		return nil
	})
	return runs, stored, err
}

// whole says whether a file of the given size is stored without holes, at its end too.
func whole(runs []run, size uint64) bool {
	return len(runs) == 0 && size == 0 || len(runs) == 1 && runs[0] == run{0, size}
}

// encodeMap gives a sparse file's map: how many pieces, then where and how long each is, decimal, a line each, padded to
// a block. An empty piece at the file's end says where that is, unless a piece ends there.
func encodeMap(runs []run, size uint64) []byte {
	if k := len(runs) - 1; k < 0 || runs[k].offset+runs[k].size != size {
		runs = append(runs, run{size, 0})
	}
	b := strconv.AppendInt(nil, int64(len(runs)), 10)
	for _, r := range runs {
		b = strconv.AppendUint(append(b, '\n'), r.offset, 10)
		b = strconv.AppendUint(append(b, '\n'), r.size, 10)
	}
	b = append(b, '\n')
	return append(b, bytes.Repeat([]byte{0}, int(padding(uint64(len(b)))))...)
}

func (a *writer) write(parts ...[]byte) error {
	for _, b := range parts {
		a.written += uint64(len(b))
		if _, err := a.out.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// pad ends an entry.
func (a *writer) pad() error { return a.write(make([]byte, padding(a.written))) }

// reportEvery is how many bytes lie between two calls of progress.
const reportEvery = 1 << 20

func (a *writer) report(bytes int) {
	before := a.done / reportEvery
	a.done += uint64(bytes)
	if a.progress != nil && (a.done/reportEvery != before || a.done >= a.total) {
		a.progress(a.done, a.total)
	}
}
