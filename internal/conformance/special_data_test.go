package conformance

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// nfsMagic is NFS_SUPER_MAGIC, statfs(2).
const nfsMagic = 0x6969

// remote reports whether the check runs on the mount under test, and not on the local file system.
func (p *probe) remote() bool {
	var st unix.Statfs_t
	p.must(unix.Statfs(p.dir, &st), "statfs")
	return st.Type == nfsMagic
}

func (p *probe) now() int64 {
	var ts unix.Timespec
	p.must(unix.ClockGettime(unix.CLOCK_REALTIME, &ts), "clock_gettime")
	return ts.Sec
}

func (p *probe) pread(fd int, at int64, want string) {
	buf := make([]byte, len(want)+100)
	n, err := unix.Pread(fd, buf, at)
	p.must(err, "pread")
	p.check(string(buf[:n]) == want, "at %d is %q, must be %q", at, buf[:n], want)
}

func (p *probe) pwrite(fd int, at int64, data string) {
	n, err := unix.Pwrite(fd, []byte(data), at)
	p.must(err, "pwrite at %d", at)
	p.check(n == len(data), "%d of %d bytes were written at %d", n, len(data), at)
}

// dataSpecials are checks of sizes, holes and space.
var dataSpecials = []special{
	{"files beyond 2 and 4 GiB, and at the end of what can be", func(p *probe) {
		fd := p.open(p.path("f"), unix.O_CREAT|unix.O_RDWR)
		offsets := []int64{1<<31 - 12, 1<<31 - 3, 1<<32 - 12, 1<<32 - 3, 1<<32 + 4096, 1 << 40, 1<<43 - 8192}
		for i, at := range offsets {
			p.pwrite(fd, at, "mark"+itoa(i))
			p.check(p.fstat(fd).Size == at+5, "the size is %d", p.fstat(fd).Size)
		}
		p.must(unix.Fsync(fd), "fsync")
		p.must(unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED), "fadvise")
		buf := make([]byte, 5)
		for i, at := range offsets {
			_, err := unix.Pread(fd, buf, at)
			p.must(err, "pread at %d", at)
			p.check(string(buf) == "mark"+itoa(i), "at %d is %q, must be mark%d", at, buf, i)
		}
		_, err := unix.Pread(fd, buf, 1<<39)
		p.must(err, "pread in a hole")
		p.check(string(buf) == p.zeros(5), "in a hole is %q", buf)
		used := p.fstat(fd).Blocks * 512
		p.check(used < 1<<20, "a file of holes takes %d bytes", used)
		at, err := unix.Seek(fd, -5, 2)
		p.must(err, "seek")
		p.check(at == 1<<43-8192, "the end is at %d", at)
		p.must(unix.Ftruncate(fd, 1<<32+2), "truncate to beyond 4 GiB")
		p.pread(fd, 1<<32-3, "mark3")
		p.must(unix.Ftruncate(fd, 0), "truncate to nothing")
		p.check(p.fstat(fd).Blocks == 0, "an empty file takes %d blocks", p.fstat(fd).Blocks)
		p.must(unix.Close(fd), "close")
	}},
	{"offsets and sizes that cannot be", func(p *probe) {
		p.put(p.path("f"), "0123456789")
		fd := p.open(p.path("f"), unix.O_RDWR)
		_, err := unix.Seek(fd, -1, 0)
		p.want(unix.EINVAL, err, "seek before the beginning")
		_, err = unix.Seek(fd, -11, 2)
		p.want(unix.EINVAL, err, "seek before the beginning, from the end")
		_, err = unix.Seek(fd, 5, 0)
		p.must(err, "seek")
		_, err = unix.Seek(fd, -6, 1)
		p.want(unix.EINVAL, err, "seek before the beginning, from here")
		here, err := unix.Seek(fd, 0, 1)
		p.must(err, "tell")
		p.check(here == 5, "failed seeks moved it to %d", here)
		_, err = unix.Pread(fd, make([]byte, 1), -1)
		p.want(unix.EINVAL, err, "pread at -1")
		_, err = unix.Pwrite(fd, []byte("x"), -1)
		p.want(unix.EINVAL, err, "pwrite at -1")
		_, err = unix.Pwrite(fd, []byte("x"), math.MaxInt64)
		p.check(errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EINVAL), "pwrite at the end of the world: %v", err)
		p.want(unix.EINVAL, unix.Ftruncate(fd, -1), "ftruncate to -1")
		p.want(unix.EINVAL, unix.Truncate(p.path("f"), -1), "truncate to -1")
		at, err := unix.Seek(fd, 1000, 2)
		p.must(err, "seek beyond the end")
		n, err := unix.Read(fd, make([]byte, 10))
		p.must(err, "read beyond the end")
		p.check(at == 1010 && n == 0, "beyond the end, at %d, were %d bytes", at, n)
		p.must(unix.Close(fd), "close")
		p.get(p.path("f"), "0123456789")
	}},
	{"a file with holes", func(p *probe) {
		const size, hole = 4321, 8192
		fd := p.open(p.path("f"), unix.O_CREAT|unix.O_RDWR)
		var want []byte
		for i := range 60 {
			data := bytes.Repeat([]byte{byte('a' + i%26)}, size)
			p.pwrite(fd, int64(i*(size+hole)), string(data))
			want = append(append(want, data...), make([]byte, hole)...)
		}
		want = want[:len(want)-hole]
		p.must(unix.Close(fd), "close")
		p.get(p.path("f"), string(want))
	}},
	{"writing again after truncating, at the old offset", func(p *probe) {
		fd := p.open(p.path("f"), unix.O_CREAT|unix.O_RDWR)
		for range 3 {
			n, err := unix.Write(fd, bytes.Repeat([]byte("x"), 4096))
			p.must(err, "write")
			p.check(n == 4096, "wrote %d", n)
		}
		p.must(unix.Ftruncate(fd, 0), "ftruncate")
		_, err := unix.Write(fd, []byte("y"))
		p.must(err, "write")
		p.check(p.fstat(fd).Size == 12289, "the size is %d", p.fstat(fd).Size)
		p.pread(fd, 12280, p.zeros(8)+"y")
		p.must(unix.Close(fd), "close")
	}},
	{"times to the nanosecond, and a change time that never goes back", func(p *probe) {
		p.put(p.path("f"), "x")
		last := p.stat(p.path("f")).Ctim
		for i := range 50 {
			p.must(unix.Chmod(p.path("f"), uint32(0o600+i%2)), "chmod")
			at := p.stat(p.path("f")).Ctim
			p.check(at.Nano() >= last.Nano(), "the change time went from %d to %d", last.Nano(), at.Nano())
			last = at
		}
		set := []unix.Timespec{{Sec: 1234567890, Nsec: 123456789}, {Sec: 1, Nsec: 1}}
		p.must(unix.UtimesNanoAt(unix.AT_FDCWD, p.path("f"), set, 0), "utimensat")
		st := p.stat(p.path("f"))
		p.check(st.Atim == set[0] && st.Mtim == set[1], "times are %v and %v", st.Atim, st.Mtim)
	}},
	{"statfs tells what is taken", func(p *probe) {
		before := p.statfs()
		data := bytes.Repeat([]byte("0123456789abcdef"), 512<<10) // 8 MiB
		p.must(os.WriteFile(p.path("f"), data, 0o644), "write")
		p.must(unix.Mkdir(p.path("d"), 0o755), "mkdir")
		after := p.statfs()
		p.check(after.Blocks == before.Blocks && after.Files == before.Files, "the size changed: %+v, %+v", before, after)
		taken := int64(before.Bfree-after.Bfree) * after.Bsize
		p.check(taken >= 8<<20 && taken < 10<<20, "8 MiB took %d bytes", taken)
		p.check(before.Ffree-after.Ffree == 2, "a file and a directory took %d inodes", before.Ffree-after.Ffree)
		p.check(after.Bavail <= after.Bfree && after.Bfree <= after.Blocks, "%+v", after)
		p.must(unix.Unlink(p.path("f")), "unlink")
		p.must(unix.Rmdir(p.path("d")), "rmdir")
		end := p.statfs()
		p.check(end.Bfree == before.Bfree && end.Ffree == before.Ffree, "not given back: %+v, %+v", before, end)
	}},
	{"pieces of every size, written and read in order", func(p *probe) {
		var want bytes.Buffer
		fd := p.open(p.path("f"), unix.O_CREAT|unix.O_RDWR)
		for i, size := 0, 1; want.Len() < 3<<20; i, size = i+1, size*3/2+1 {
			data := bytes.Repeat([]byte{byte(i + 1)}, size)
			want.Write(data)
			for len(data) > 0 {
				n, err := unix.Write(fd, data)
				p.must(err, "write")
				data = data[n:]
			}
		}
		p.must(unix.Close(fd), "close")
		got, err := os.ReadFile(p.path("f"))
		p.must(err, "read")
		p.must(differs(got, want.Bytes(), 0), "reading back")
	}},
}

func (p *probe) zeros(n int) string { return strings.Repeat("\x00", n) }

func (p *probe) statfs() unix.Statfs_t {
	var st unix.Statfs_t
	p.must(unix.Statfs(p.dir, &st), "statfs")
	return st
}
