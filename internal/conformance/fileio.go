package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// IO is one step of a history of one file: what is done to it, where, and how many bytes.
type IO struct {
	Do  string `json:"do"` // one of ioOps
	At  int64  `json:"at,omitempty"`
	Len int    `json:"len,omitempty"`
}

func (s IO) String() string { return fmt.Sprintf("%s %d+%d", s.Do, s.At, s.Len) }

// FileIORequest asks for a history to be run on the file at Path. Other is the same file through another mount of the same
// server, which shares no cache with the first.
type FileIORequest struct {
	Path, Other string
	Steps       []IO
}

// FileIOResult tells where the file was not as the model of it; Step is −1 if it always was.
type FileIOResult struct {
	Step int
	Text string
}

// ioOps are what may be done to a file. Offsets and lengths of reading and mapping are cut to what there is.
var ioOps = map[string]func(f *ioFile, s *IO) error{
	"write":      func(f *ioFile, s *IO) error { return f.write(f.fd, s) },
	"append":     (*ioFile).append,
	"read":       func(f *ioFile, s *IO) error { return f.read(f.fd, s) },
	"truncate":   func(f *ioFile, s *IO) error { return f.resize(s.At, unix.Ftruncate(f.fd, s.At)) },
	"truncpath":  func(f *ioFile, s *IO) error { return f.resize(s.At, unix.Truncate(f.req.Path, s.At)) },
	"opentrunc":  (*ioFile).openTrunc,
	"mapwrite":   (*ioFile).mapWrite,
	"mapread":    (*ioFile).mapRead,
	"dwrite":     func(f *ioFile, s *IO) error { return f.directly(s, f.write) },
	"dread":      func(f *ioFile, s *IO) error { return f.directly(s, f.read) },
	"copy":       (*ioFile).copyRange,
	"fsync":      func(f *ioFile, _ *IO) error { return unix.Fsync(f.fd) },
	"fdatasync":  func(f *ioFile, _ *IO) error { return unix.Fdatasync(f.fd) },
	"reopen":     func(f *ioFile, _ *IO) error { return errors.Join(f.close(), f.open()) },
	"dropcaches": (*ioFile).dropCaches,
	"other":      (*ioFile).compareOther,
	"overwrite":  (*ioFile).writeOther,
}

// ioFile is a file under test and what it must hold.
type ioFile struct {
	req           *FileIORequest
	fd, appending int
	model         []byte
	step          int
}

func runFileIO(ctx context.Context, in json.RawMessage, _ io.Writer) (any, error) {
	var req FileIORequest
	if err := json.Unmarshal(in, &req); err != nil {
		return nil, fmt.Errorf("history of a file: %w", err)
	}
	f := &ioFile{req: &req}
	if err := os.WriteFile(req.Path, nil, 0o644); err != nil {
		return nil, err
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	defer f.close()
	for i := range req.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f.step = i
		if err := f.do(&req.Steps[i]); err != nil {
			return &FileIOResult{i, err.Error()}, nil
		}
	}
	if err := f.finish(); err != nil {
		return &FileIOResult{len(req.Steps), err.Error()}, nil
	}
	return &FileIOResult{Step: -1}, os.Remove(req.Path)
}

func (f *ioFile) open() error {
	var errs [2]error
	f.fd, errs[0] = unix.Open(f.req.Path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	f.appending, errs[1] = unix.Open(f.req.Path, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
	return errors.Join(errs[:]...)
}

func (f *ioFile) close() error {
	return errors.Join(unix.Close(f.fd), unix.Close(f.appending))
}

// directly reads or writes past the page cache, which NFS does at every offset.
func (f *ioFile) directly(s *IO, do func(fd int, s *IO) error) error {
	fd, err := unix.Open(f.req.Path, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open with O_DIRECT: %w", err)
	}
	return errors.Join(do(fd, s), unix.Close(fd))
}

// do carries a step out and compares the file's size.
func (f *ioFile) do(s *IO) error {
	op, ok := ioOps[s.Do]
	if !ok {
		return fmt.Errorf("no such step: %s", s.Do)
	}
	if err := op(f, s); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	if st.Size != int64(len(f.model)) {
		return fmt.Errorf("the size is %d, must be %d", st.Size, len(f.model))
	}
	return nil
}

// finish compares all of it, as it is here, as another client sees it, and as it is here once nothing is cached.
func (f *ioFile) finish() error {
	whole := &IO{Len: len(f.model) + 1}
	return errors.Join(f.read(f.fd, whole), f.compareOther(whole), f.dropCaches(whole), f.read(f.fd, whole))
}

// fill is n bytes that no other step writes.
func (f *ioFile) fill(n int) []byte {
	source := rand.NewChaCha8([32]byte{byte(f.step), byte(f.step >> 8), byte(f.step >> 16)})
	data := make([]byte, n)
	_, _ = source.Read(data) // it never fails
	return data
}

// grow makes the model as long as a write to its end makes the file; what lies between is zeros.
func (f *ioFile) grow(end int64) {
	if grown := end - int64(len(f.model)); grown > 0 {
		f.model = append(f.model, make([]byte, grown)...)
	}
}

func (f *ioFile) write(fd int, s *IO) error {
	data := f.fill(s.Len)
	n, err := unix.Pwrite(fd, data, s.At)
	if err != nil {
		return fmt.Errorf("pwrite: %w", err)
	}
	if n != len(data) {
		return fmt.Errorf("%d of %d bytes were written", n, len(data))
	}
	f.store(s.At, data)
	return nil
}

func (f *ioFile) store(at int64, data []byte) {
	if len(data) > 0 {
		f.grow(at + int64(len(data)))
		copy(f.model[at:], data)
	}
}

func (f *ioFile) append(s *IO) error {
	data := f.fill(s.Len)
	n, err := unix.Write(f.appending, data)
	if err != nil || n != len(data) {
		return fmt.Errorf("%d of %d bytes were appended: %w", n, len(data), err)
	}
	f.model = append(f.model, data...)
	return nil
}

func (f *ioFile) read(fd int, s *IO) error {
	got := make([]byte, s.Len)
	n := 0
	for n < len(got) {
		more, err := unix.Pread(fd, got[n:], s.At+int64(n))
		if err != nil {
			return fmt.Errorf("pread: %w", err)
		}
		if more == 0 {
			break
		}
		n += more
	}
	return differs(got[:n], f.slice(s), s.At)
}

// slice is what reading must find.
func (f *ioFile) slice(s *IO) []byte {
	from := min(s.At, int64(len(f.model)))
	return f.model[from:min(from+int64(s.Len), int64(len(f.model)))]
}

// differs describes the first byte that is not as it must be.
func differs(got, want []byte, at int64) error {
	if bytes.Equal(got, want) {
		return nil
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d bytes were read at %d, must be %d", len(got), at, len(want))
	}
	i := 0
	for got[i] == want[i] {
		i++
	}
	return fmt.Errorf("byte %d is %#02x, must be %#02x", at+int64(i), got[i], want[i])
}

func (f *ioFile) resize(size int64, err error) error {
	if err != nil {
		return fmt.Errorf("truncate to %d: %w", size, err)
	}
	f.grow(size)
	f.model = slices.Clone(f.model[:size])
	return nil
}

func (f *ioFile) openTrunc(*IO) error {
	fd, err := unix.Open(f.req.Path, unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0)
	return f.resize(0, errors.Join(err, unix.Close(fd)))
}

// mapped calls do with the bytes of the file from at, as far as they are there, in a shared mapping.
func (f *ioFile) mapped(s *IO, do func(memory []byte) error) error {
	want := f.slice(s)
	if len(want) == 0 {
		return nil
	}
	page := int64(unix.Getpagesize())
	from := s.At &^ (page - 1)
	skip := int(s.At - from)
	memory, err := unix.Mmap(f.fd, from, skip+len(want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	err = do(memory[skip:])
	return errors.Join(err, unix.Munmap(memory))
}

func (f *ioFile) mapWrite(s *IO) error {
	return f.mapped(s, func(memory []byte) error {
		copy(memory, f.fill(len(memory)))
		f.store(s.At, memory)
		return nil
	})
}

func (f *ioFile) mapRead(s *IO) error {
	return f.mapped(s, func(memory []byte) error { return differs(memory, f.slice(s), s.At) })
}

// copyRange copies the beginning of the file to s.At, where it does not overlap.
func (f *ioFile) copyRange(s *IO) error {
	from, to := int64(0), s.At
	n := min(s.Len, len(f.model), int(to))
	copied := 0
	for copied < n {
		more, err := unix.CopyFileRange(f.fd, &from, f.fd, &to, n-copied, 0)
		if err != nil {
			return fmt.Errorf("copy_file_range: %w", err)
		}
		if more == 0 {
			return fmt.Errorf("copy_file_range stopped after %d of %d bytes", copied, n)
		}
		copied += more
	}
	f.store(s.At, slices.Clone(f.model[:n]))
	return nil
}

// dropCaches writes everything and forgets it, so that the next reading asks the server.
func (f *ioFile) dropCaches(*IO) error {
	return errors.Join(unix.Fsync(f.fd), unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED))
}

// compareOther is what another client sees after this one has closed the file (close-to-open consistency): all of it.
func (f *ioFile) compareOther(*IO) error {
	if err := f.close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	seen, err := os.ReadFile(f.req.Other)
	if err != nil {
		return fmt.Errorf("through the other mount: %w", err)
	}
	if err := differs(seen, f.model, 0); err != nil {
		return fmt.Errorf("through the other mount: %w", err)
	}
	return f.open()
}

// writeOther is what this client sees after another one has written to the file and closed it.
func (f *ioFile) writeOther(s *IO) error {
	if err := f.close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	fd, err := unix.Open(f.req.Other, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("through the other mount: %w", err)
	}
	if err := errors.Join(f.write(fd, s), unix.Close(fd)); err != nil {
		return fmt.Errorf("through the other mount: %w", err)
	}
	return f.open()
}
