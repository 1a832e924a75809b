package gonfs

import (
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/go-git/go-billy/v5"

	"bfsd/fsstate"
)

// openFile is an open file: a handle, so that renaming the file does not disturb it. It holds nothing at the backend;
// removing the file's last name ends it (ESTALE).
type openFile struct {
	fs     *FS
	path   string // as given to the call that opened it
	name   string // the path as Name returns it
	handle fsstate.Handle
	flag   int

	mu     sync.Mutex // guards what follows, and keeps the calls that move the offset apart
	offset int64
	closed bool
}

// Name implements billy.File: the path without a leading slash, clean.
func (f *openFile) Name() string { return f.name }

func (f *openFile) fail(op string, err error) error { return pathError(op, f.path, err) }

func (f *openFile) readable() bool { return f.flag&os.O_WRONLY == 0 }
func (f *openFile) writable() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != 0 }

// check verifies that the file is open, and for the right thing.
func (f *openFile) check(allowed bool, otherwise error) error {
	if f.closed {
		return os.ErrClosed
	}
	if !allowed {
		return otherwise
	}
	return nil
}

// Read implements io.Reader with one operation, so it may be short.
func (f *openFile) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(f.readable(), syscall.EBADF); err != nil {
		return 0, f.fail("read", err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, _, err := f.readOnce(p, f.offset)
	f.offset += int64(n)
	if err != nil {
		return n, f.fail("read", err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// ReadAt implements io.ReaderAt.
func (f *openFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	err := f.check(f.readable(), syscall.EBADF)
	f.mu.Unlock()
	if err == nil && off < 0 {
		err = syscall.EINVAL
	}
	if err != nil {
		return 0, f.fail("read", err)
	}
	done := 0
	for done < len(p) {
		n, eof, err := f.readOnce(p[done:], off+int64(done))
		done += n
		if err != nil {
			return done, f.fail("read", err)
		}
		if done < len(p) && (eof || n == 0) {
			return done, io.EOF
		}
	}
	return done, nil
}

// readOnce is one Read operation.
func (f *openFile) readOnce(p []byte, off int64) (n int, eof bool, err error) {
	want := min(len(p), fsstate.IOMax)
	r, err := call[*fsstate.ReadResult](f.fs.inv, &fsstate.Read{Object: f.handle, Offset: uint64(off), Count: uint32(want)})
	if err != nil {
		return 0, false, err
	}
	if len(r.Data) > want {
		return 0, false, syscall.EIO // more than was asked for
	}
	return copy(p, r.Data), r.EOF, nil
}

// Write implements io.Writer. With O_APPEND it writes at the size that it asks for first: two writers who append at the
// same time may overwrite each other, as through any NFS.
func (f *openFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(f.writable(), syscall.EBADF); err != nil {
		return 0, f.fail("write", err)
	}
	if f.flag&os.O_APPEND != 0 {
		size, err := f.size()
		if err != nil {
			return 0, f.fail("write", err)
		}
		f.offset = size
	}
	n, err := f.writeAll(p, f.offset)
	f.offset += int64(n)
	return n, f.fail("write", err)
}

// WriteAt implements io.WriterAt.
func (f *openFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	err := f.check(f.writable(), syscall.EBADF)
	f.mu.Unlock()
	if err == nil && (off < 0 || f.flag&os.O_APPEND != 0) {
		err = syscall.EINVAL
	}
	if err != nil {
		return 0, f.fail("write", err)
	}
	n, err := f.writeAll(p, off)
	return n, f.fail("write", err)
}

// writeAll writes p in operations of IOMax bytes at most: each is atomic, all together are not.
func (f *openFile) writeAll(p []byte, off int64) (int, error) {
	if int64(len(p)) > offsetMax-off {
		return 0, syscall.EFBIG
	}
	done := 0
	for done < len(p) {
		chunk := p[done:min(len(p), done+fsstate.IOMax)]
		r, err := call[*fsstate.WriteResult](f.fs.inv, &fsstate.Write{
			Object: f.handle, Offset: uint64(off) + uint64(done), Data: chunk,
		})
		if err != nil {
			return done, err
		}
		f.fs.names.saw(f.path, f.handle, r.Wcc.After)
		if r.Count == 0 || uint64(r.Count) > uint64(len(chunk)) {
			return done, syscall.EIO // fsstate writes all or nothing
		}
		done += int(r.Count)
	}
	return done, nil
}

// Seek implements io.Seeker. Positions past the end are allowed.
func (f *openFile) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pos, err := f.seek(offset, whence)
	if err != nil {
		return 0, f.fail("seek", err)
	}
	f.offset = pos
	return pos, nil
}

func (f *openFile) seek(offset int64, whence int) (int64, error) {
	if f.closed {
		return 0, os.ErrClosed
	}
	var from int64
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		from = f.offset
	case io.SeekEnd:
		size, err := f.size()
		if err != nil {
			return 0, err
		}
		from = size
	default:
		return 0, syscall.EINVAL
	}
	if offset > offsetMax-from || from+offset < 0 {
		return 0, syscall.EINVAL
	}
	return from + offset, nil
}

func (f *openFile) size() (int64, error) {
	r, err := call[*fsstate.GetAttrResult](f.fs.inv, &fsstate.GetAttr{Object: f.handle})
	if err != nil {
		return 0, err
	}
	return int64(min(r.Attr.Size, offsetMax)), nil
}

// Truncate implements billy.File.
func (f *openFile) Truncate(size int64) error {
	f.mu.Lock()
	err := f.check(f.writable() && size >= 0, syscall.EINVAL)
	f.mu.Unlock()
	if err == nil {
		err = f.setSize(uint64(size))
	}
	return f.fail("truncate", err)
}

func (f *openFile) setSize(size uint64) error {
	return f.fs.setAttr(f.path, f.handle, fsstate.SetAttrs{Size: &size})
}

// Lock implements billy.File: there are no locks yet, and it says so.
func (f *openFile) Lock() error { return f.fail("lock", billy.ErrNotSupported) }

// Unlock implements billy.File.
func (f *openFile) Unlock() error { return f.fail("unlock", billy.ErrNotSupported) }

// Close implements io.Closer.
func (f *openFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.fail("close", os.ErrClosed)
	}
	f.closed = true
	return nil
}
