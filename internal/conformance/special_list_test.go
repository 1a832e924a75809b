package conformance

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// entry is what getdents(2) returns of a name.
type entry struct {
	name   string
	cookie int64 // where lseek(2) leads to what follows
	typ    byte
}

// dirents reads one buffer of a directory.
func (p *probe) dirents(fd, size int) []entry {
	buf := make([]byte, size)
	n, err := unix.Getdents(fd, buf)
	p.must(err, "getdents")
	var entries []entry
	for buf = buf[:n]; len(buf) > 0; {
		length := int(buf[16]) | int(buf[17])<<8
		var cookie int64
		for i := 7; i >= 0; i-- {
			cookie = cookie<<8 | int64(buf[8+i])
		}
		name, _, _ := strings.Cut(string(buf[19:length]), "\x00")
		entries = append(entries, entry{name, cookie, buf[18]})
		buf = buf[length:]
	}
	return entries
}

// fillDir makes n files in a new directory.
func (p *probe) fillDir(n int) string {
	dir := p.path("d")
	p.must(unix.Mkdir(dir, 0o755), "mkdir")
	p.atOnce(8, func(worker int) {
		for i := worker; i < n; i += 8 {
			fd := p.open(fmt.Sprintf("%s/file%d", dir, i), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
			p.must(unix.Close(fd), "close")
		}
	})
	return dir
}

// listSpecials are checks of listings.
var listSpecials = []special{
	{"a directory is emptied while it is read", func(p *probe) {
		// Like rm -r: reads a buffer, removes what is in it, goes on. Each name must come, and be there.
		dir := p.fillDir(600)
		fd := p.open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
		removed := 0
		for {
			entries := p.dirents(fd, 1024)
			if len(entries) == 0 {
				break
			}
			for _, e := range entries {
				if e.name != "." && e.name != ".." {
					p.must(unix.Unlink(dir+"/"+e.name), "unlink %s", e.name)
					removed++
				}
			}
		}
		p.must(unix.Close(fd), "close")
		p.check(removed == 600, "%d of 600 names came", removed)
		p.must(unix.Rmdir(dir), "rmdir")
	}},
	{"telldir and seekdir lead to the same entry, also when others have gone and come", func(p *probe) {
		dir := p.fillDir(300)
		fd := p.open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
		var all []entry
		for more := p.dirents(fd, 2048); len(more) > 0; more = p.dirents(fd, 2048) {
			all = append(all, more...)
		}
		p.check(len(all) == 302, "%d entries", len(all))
		next := func(cookie int64) string {
			_, err := unix.Seek(fd, cookie, 0)
			p.must(err, "seekdir")
			entries := p.dirents(fd, 2048)
			if len(entries) == 0 {
				return ""
			}
			return entries[0].name
		}
		for i := len(all) - 2; i >= 0; i -= 7 {
			p.check(next(all[i].cookie) == all[i+1].name, "after entry %d comes not %s", i, all[i+1].name)
		}
		if !p.remote() {
			return // tmpfs of this age numbers entries by position
		}
		gone := map[string]bool{}
		for i, e := range all {
			if i%3 == 0 && strings.HasPrefix(e.name, "file") {
				p.must(unix.Unlink(dir+"/"+e.name), "unlink")
				gone[e.name] = true
			}
		}
		for i := range 50 {
			p.put(fmt.Sprintf("%s/new%d", dir, i), "")
		}
		for i := range all[:len(all)-1] {
			from := next(all[i].cookie)
			follows := all[i+1:]
			for len(follows) > 0 && gone[follows[0].name] {
				follows = follows[1:]
			}
			// What is new may come anywhere, but what stayed keeps its place.
			p.check(len(follows) == 0 || strings.HasPrefix(from, "new") || from == follows[0].name, "after entry %d, %s, comes %s, must be %s", i, all[i].name, from, follows[0].name)
		}
		p.must(unix.Close(fd), "close")
	}},
	{"reading on after rewinding shows what came and not what went", func(p *probe) {
		dir := p.fillDir(100)
		fd := p.open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
		for range 5 {
			p.dirents(fd, 512)
		}
		for i := range 50 {
			p.must(unix.Unlink(fmt.Sprintf("%s/file%d", dir, i)), "unlink")
			p.put(fmt.Sprintf("%s/new%d", dir, i), "")
		}
		_, err := unix.Seek(fd, 0, 0)
		p.must(err, "rewinddir")
		var names []string
		for more := p.dirents(fd, 512); len(more) > 0; more = p.dirents(fd, 512) {
			for _, e := range more {
				names = append(names, e.name)
			}
		}
		p.must(unix.Close(fd), "close")
		slices.Sort(names)
		p.check(len(names) == 102 && len(slices.Compact(slices.Clone(names))) == 102, "%d names: %v", len(names), names)
		p.check(!slices.Contains(names, "file7") && slices.Contains(names, "new7"), "%v", names)
	}},
	{"types and inode numbers of a listing are those of stat", func(p *probe) {
		p.put(p.path("f"), "x")
		p.must(unix.Mkdir(p.path("d"), 0o755), "mkdir")
		p.must(unix.Symlink("f", p.path("l")), "symlink")
		p.must(unix.Mkfifo(p.path("p"), 0o644), "mkfifo")
		p.must(unix.Mknod(p.path("c"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))), "mknod")
		entries, err := os.ReadDir(p.dir)
		p.must(err, "list")
		p.check(len(entries) == 5, "%d entries", len(entries))
		for _, e := range entries {
			info, err := os.Lstat(p.path(e.Name()))
			p.must(err, "lstat")
			p.check(e.Type() == info.Mode().Type(), "%s is listed as %v, and is %v", e.Name(), e.Type(), info.Mode().Type())
		}
		fd := p.open(p.dir, unix.O_RDONLY|unix.O_DIRECTORY)
		for _, e := range p.dirents(fd, 4096) {
			if e.name == ".." {
				continue
			}
			p.check(uint32(e.typ)<<12 == p.stat(p.path(e.name)).Mode&unix.S_IFMT, "%s is of type %d", e.name, e.typ)
		}
		p.must(unix.Close(fd), "close")
	}},
	{"dot dot and the working directory, deep down", func(p *probe) {
		const depth = 200
		p.as("root", func() {
			p.must(unix.Unshare(unix.CLONE_FS), "have a working directory of its own")
			p.must(unix.Chdir(p.dir), "chdir")
			for i := range depth {
				name := "level" + strconv.Itoa(i)
				p.must(unix.Mkdir(name, 0o755), "mkdir number %d", i)
				p.must(unix.Chdir(name), "chdir number %d", i)
			}
			buf := make([]byte, 8192)
			n, err := unix.Getcwd(buf)
			p.must(err, "getcwd")
			p.check(strings.Count(string(buf[:n]), "level") == depth, "getcwd: %s", buf[:n])
			var here, up unix.Stat_t
			for i := depth - 1; i >= 0; i-- {
				p.must(unix.Stat(".", &here), "stat .")
				p.must(unix.Chdir(".."), "chdir ..")
				p.must(unix.Stat("level"+strconv.Itoa(i), &up), "stat")
				p.check(here.Ino == up.Ino, "directory %d has two inode numbers, %d and %d", i, here.Ino, up.Ino)
				p.must(unix.Rmdir("level"+strconv.Itoa(i)), "rmdir number %d", i)
			}
		})
		p.check(len(p.names(p.dir)) == 0, "left: %v", p.names(p.dir))
	}},
	{"a tree is made and removed", func(p *probe) {
		var build func(dir string, levels int)
		build = func(dir string, levels int) {
			for i := range 5 {
				p.put(fmt.Sprintf("%s/file.%d", dir, i), dir)
			}
			for i := range 2 {
				if levels > 0 {
					sub := fmt.Sprintf("%s/dir.%d", dir, i)
					p.must(unix.Mkdir(sub, 0o755), "mkdir")
					build(sub, levels-1)
				}
			}
		}
		for range 3 {
			build(p.dir, 4)
			p.get(p.path("dir.0/dir.1/dir.0/dir.1/file.4"), p.path("dir.0/dir.1/dir.0/dir.1"))
			p.check(p.stat(p.dir).Nlink == 4, "the top has %d links", p.stat(p.dir).Nlink)
			for _, name := range p.names(p.dir) {
				p.must(os.RemoveAll(p.path(name)), "rm -r")
			}
			p.check(p.stat(p.dir).Nlink == 2, "the top has %d links when empty", p.stat(p.dir).Nlink)
		}
	}},
}
