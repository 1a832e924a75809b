package conformance

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openSpecials are checks of files that change their name or their mode, or lose their name, while they are open.
var openSpecials = []special{
	{"a removed file stays usable until it is closed", func(p *probe) {
		for _, how := range []string{"unlink", "rename over"} {
			p.put(p.path("f"), "before")
			fd := p.open(p.path("f"), unix.O_RDWR)
			if how == "unlink" {
				p.must(unix.Unlink(p.path("f")), "unlink an open file")
			} else {
				p.put(p.path("g"), "other")
				p.must(unix.Rename(p.path("g"), p.path("f")), "rename over an open file")
				p.get(p.path("f"), "other")
				p.must(unix.Unlink(p.path("f")), "unlink the new one")
			}
			_, err := os.Lstat(p.path("f"))
			p.want(unix.ENOENT, err, "the name after %s", how)
			p.pread(fd, 0, "before")
			p.pwrite(fd, 6, " and after")
			p.must(unix.Fsync(fd), "fsync")
			p.pread(fd, 0, "before and after")
			p.check(p.fstat(fd).Size == 16, "its size is %d", p.fstat(fd).Size)
			p.must(unix.Ftruncate(fd, 3), "ftruncate")
			p.must(unix.Fchmod(fd, 0o600), "fchmod")
			p.pread(fd, 0, "bef")
			p.put(p.path("f"), "a new file of the name")
			p.pread(fd, 0, "bef")
			p.must(unix.Close(fd), "close")
			p.get(p.path("f"), "a new file of the name")
			p.check(strings.Join(p.names(p.dir), " ") == "f", "left after %s: %v", how, p.names(p.dir))
			p.must(unix.Unlink(p.path("f")), "unlink")
		}
	}},
	{"a directory is empty once the removed file in it is closed", func(p *probe) {
		p.must(unix.Mkdir(p.path("d"), 0o755), "mkdir")
		p.put(p.path("d/f"), "data")
		fd := p.open(p.path("d/f"), unix.O_RDONLY)
		p.must(unix.Unlink(p.path("d/f")), "unlink")
		p.pread(fd, 0, "data")
		p.must(unix.Close(fd), "close")
		p.must(unix.Rmdir(p.path("d")), "rmdir")
	}},
	{"a mapping outlives the file's name and descriptor", func(p *probe) {
		p.put(p.path("f"), strings.Repeat("m", 10000))
		fd := p.open(p.path("f"), unix.O_RDWR)
		memory, err := unix.Mmap(fd, 0, 10000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		p.must(err, "mmap")
		p.must(unix.Close(fd), "close")
		p.must(unix.Rename(p.path("f"), p.path("g")), "rename")
		copy(memory[5000:], "changed")
		p.must(unix.Msync(memory, unix.MS_SYNC), "msync")
		p.get(p.path("g"), strings.Repeat("m", 5000)+"changed"+strings.Repeat("m", 4993))
		p.must(unix.Unlink(p.path("g")), "unlink")
		p.check(memory[9999] == 'm', "the mapping of a removed file holds %q", memory[9999])
		p.must(unix.Munmap(memory), "munmap")
	}},
	{"who has it open may go on after chmod, chown and rename", func(p *probe) {
		p.as("alice", func() {
			p.put(p.path("f"), "data")
			fd := p.open(p.path("f"), unix.O_RDWR)
			p.must(unix.Chmod(p.path("f"), 0), "chmod to nothing")
			p.pwrite(fd, 0, "DATA")
			p.must(unix.Fsync(fd), "fsync")
			p.must(unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED), "fadvise")
			p.pread(fd, 0, "DATA")
			p.must(unix.Mkdir(p.path("d"), 0o755), "mkdir")
			p.must(unix.Rename(p.path("f"), p.path("d/g")), "rename")
			p.pwrite(fd, 4, "more")
			p.must(unix.Fsync(fd), "fsync")
			p.must(unix.Ftruncate(fd, 6), "ftruncate")
			p.must(unix.Close(fd), "close")
			_, err := unix.Open(p.path("d/g"), unix.O_RDONLY, 0)
			p.want(unix.EACCES, err, "open with a mode of nothing")
		})
		p.get(p.path("d/g"), "DATAmo")
	}},
	{"creating exclusively fails the second time, and leaves times and mode as they must be", func(p *probe) {
		for i := range 20 {
			fd, err := unix.Open(p.path("f", i), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o640)
			p.must(err, "create")
			_, err = unix.Open(p.path("f", i), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o640)
			p.want(unix.EEXIST, err, "create again")
			st := p.fstat(fd)
			p.check(st.Mode == unix.S_IFREG|0o640, "its mode is %o", st.Mode)
			now := p.now()
			for what, sec := range map[string]int64{"atime": st.Atim.Sec, "mtime": st.Mtim.Sec, "ctime": st.Ctim.Sec} {
				p.check(sec > now-recentSeconds && sec < now+recentSeconds, "its %s is %d, and now is %d", what, sec, now)
			}
			p.must(unix.Close(fd), "close")
		}
	}},
	{"appending finds the end, whichever descriptor moved it", func(p *probe) {
		one, two := p.open(p.path("f"), unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND), p.open(p.path("f"), unix.O_WRONLY|unix.O_APPEND)
		want := ""
		for i := range 50 {
			fd, text := one, "one"
			if i%3 == 0 {
				fd, text = two, "two2"
			}
			n, err := unix.Write(fd, []byte(text))
			p.must(err, "write")
			p.check(n == len(text), "wrote %d bytes", n)
			want += text
		}
		p.must(unix.Close(one), "close")
		p.must(unix.Close(two), "close")
		p.get(p.path("f"), want)
	}},
	{"FIFOs and sockets join processes of this machine", func(p *probe) {
		p.must(unix.Mkfifo(p.path("fifo"), 0o600), "mkfifo")
		p.atOnce(2, func(i int) {
			if i == 0 {
				p.put(p.path("fifo"), "through a fifo")
			} else {
				p.get(p.path("fifo"), "through a fifo")
			}
		})
		server, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		p.must(err, "socket")
		// An address has room for 107 bytes.
		at := "/proc/self/fd/" + itoa(p.open(p.dir, unix.O_RDONLY|unix.O_DIRECTORY)) + "/socket"
		p.must(unix.Bind(server, &unix.SockaddrUnix{Name: at}), "bind")
		p.check(p.stat(p.path("socket")).Mode&unix.S_IFMT == unix.S_IFSOCK, "it is no socket")
		client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		p.must(err, "socket")
		p.must(unix.Sendto(client, []byte("hello"), 0, &unix.SockaddrUnix{Name: at}), "send")
		buf := make([]byte, 10)
		n, _, err := unix.Recvfrom(server, buf, 0)
		p.must(err, "receive")
		p.check(string(buf[:n]) == "hello", "received %q", buf[:n])
		p.must(unix.Close(client), "close")
		p.must(unix.Close(server), "close")
		_, err = unix.Open(p.path("socket"), unix.O_RDONLY, 0)
		p.want(unix.ENXIO, err, "open a socket")
		p.must(unix.Unlink(p.path("socket")), "unlink the socket")
	}},
	{"locks that stay on this machine", func(p *probe) {
		p.put(p.path("f"), "data")
		one, two := p.open(p.path("f"), unix.O_RDWR), p.open(p.path("f"), unix.O_RDWR)
		p.must(unix.Flock(one, unix.LOCK_EX), "flock")
		p.want(unix.EWOULDBLOCK, unix.Flock(two, unix.LOCK_EX|unix.LOCK_NB), "flock again")
		p.must(unix.Flock(one, unix.LOCK_UN), "unlock")
		p.must(unix.Flock(two, unix.LOCK_SH|unix.LOCK_NB), "flock shared")
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: 1, Len: 2}
		p.must(unix.FcntlFlock(uintptr(one), unix.F_SETLK, &lock), "fcntl lock")
		p.must(unix.Close(one), "close")
		p.must(unix.Close(two), "close")
	}},
	{"what NFS version 3 has no procedure for says so", func(p *probe) {
		if !p.remote() {
			return
		}
		p.put(p.path("f"), "data")
		fd := p.open(p.path("f"), unix.O_RDWR)
		p.want(unix.EOPNOTSUPP, unix.Fallocate(fd, 0, 0, 100), "fallocate")
		p.want(unix.EOPNOTSUPP, unix.Setxattr(p.path("f"), "user.a", []byte("b"), 0), "setxattr")
		p.want(unix.EINVAL, unix.Renameat2(unix.AT_FDCWD, p.path("f"), unix.AT_FDCWD, p.path("g"), unix.RENAME_NOREPLACE), "renameat2")
		p.must(unix.Close(fd), "close")
		p.get(p.path("f"), "data")
	}},
}
