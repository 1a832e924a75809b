package conformance

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// nameSpecials are checks of names and links.
var nameSpecials = []special{
	{"names of every byte", func(p *probe) {
		want := map[string]bool{}
		for b := 1; b < 256; b++ {
			if b == '/' {
				continue
			}
			for _, name := range []string{"n" + string([]byte{byte(b)}), string([]byte{byte(b), 'x', byte(b)})} {
				if !want[name] {
					p.put(p.dir+"/"+name, name)
					want[name] = true
				}
			}
		}
		names := p.names(p.dir)
		p.check(len(names) == len(want), "%d names, must be %d", len(names), len(want))
		for _, name := range names {
			p.check(want[name], "%q is there", name)
			p.get(p.dir+"/"+name, name)
			p.must(unix.Rename(p.dir+"/"+name, p.dir+"/r"+name), "rename %q", name)
			p.must(unix.Unlink(p.dir+"/r"+name), "unlink %q", name)
		}
		p.check(len(p.names(p.dir)) == 0, "left: %q", p.names(p.dir))
	}},
	{"names of every length", func(p *probe) {
		for n := 1; n <= 255; n++ {
			name := strings.Repeat("é", 128)[:n] // cuts a character in two when odd
			p.must(unix.Mkdir(p.dir+"/"+name, 0o755), "mkdir of %d bytes", n)
			p.must(unix.Rename(p.dir+"/"+name, p.dir+"/"+strings.Repeat("b", n)), "rename of %d bytes", n)
		}
		p.want(unix.ENAMETOOLONG, unix.Mkdir(p.dir+"/"+strings.Repeat("c", 256), 0o755), "mkdir of 256 bytes")
		names := p.names(p.dir)
		p.check(len(names) == 255, "%d names", len(names))
		for _, name := range names {
			p.must(unix.Rmdir(p.dir+"/"+name), "rmdir")
		}
		var st unix.Statfs_t
		p.must(unix.Statfs(p.dir, &st), "statfs")
		p.check(st.Namelen == 255, "statfs says that names have %d bytes", st.Namelen)
	}},
	{"symbolic links of every length", func(p *probe) {
		step := 67
		if p.long {
			step = 1
		}
		buf := make([]byte, 8192)
		for n := 1; n <= 4095; n = next(n, step, 4095) {
			target := strings.Repeat("0123456789abcdef", 256)[:n]
			p.must(unix.Symlink(target, p.path("l")), "symlink of %d bytes", n)
			p.check(p.stat(p.path("l")).Size == int64(n), "the link of %d bytes is one of %d", n, p.stat(p.path("l")).Size)
			got, err := unix.Readlink(p.path("l"), buf)
			p.must(err, "readlink of %d bytes", n)
			p.check(string(buf[:got]) == target, "the link of %d bytes reads as %q", n, buf[:got])
			p.must(unix.Unlink(p.path("l")), "unlink")
		}
		p.want(unix.ENAMETOOLONG, unix.Symlink(strings.Repeat("x", 4096), p.path("l")), "symlink of 4096 bytes")
	}},
	{"hard links up to the limit", func(p *probe) {
		limit := 300
		if p.long && p.remote() {
			limit = 65000
		}
		p.put(p.path("f"), "shared")
		for i := 1; i < limit; i++ {
			p.must(unix.Link(p.path("f"), p.path("l", i)), "link number %d", i)
		}
		p.check(int(p.stat(p.path("f")).Nlink) == limit, "%d links", p.stat(p.path("f")).Nlink)
		if limit == 65000 {
			p.want(unix.EMLINK, unix.Link(p.path("f"), p.path("one more")), "one link more")
		}
		p.get(p.path("l", limit-1), "shared")
		for i := 1; i < limit; i++ {
			p.must(unix.Unlink(p.path("l", i)), "unlink number %d", i)
		}
		p.check(p.stat(p.path("f")).Nlink == 1, "%d links in the end", p.stat(p.path("f")).Nlink)
	}},
	{"directories in a directory up to the limit", func(p *probe) {
		if !p.long || !p.remote() {
			return
		}
		for i := range 65000 - 2 {
			p.must(unix.Mkdir(p.path("d", i), 0o755), "mkdir number %d", i)
		}
		p.want(unix.EMLINK, unix.Mkdir(p.path("one more"), 0o755), "one directory more")
		p.must(unix.Mkdir(p.path("d0/sub"), 0o755), "mkdir below")
		p.want(unix.EMLINK, unix.Rename(p.path("d0/sub"), p.path("moved")), "moving one in")
		p.must(unix.Rename(p.path("d0"), p.path("renamed")), "rename in the same directory")
	}},
	{"renaming back and forth, with what does not succeed twice", func(p *probe) {
		// What a server that executes a call again would get wrong.
		rounds := 20
		p.must(unix.Mkdir(p.path("d"), 0o755), "mkdir")
		for i := range rounds {
			p.must(unix.Mkdir(p.path("d/x"), 0o755), "mkdir, round %d", i)
			p.want(unix.EEXIST, unix.Mkdir(p.path("d/x"), 0o755), "mkdir again")
			p.must(unix.Rename(p.path("d/x"), p.path("d/y")), "rename, round %d", i)
			p.want(unix.ENOENT, unix.Rename(p.path("d/x"), p.path("d/y")), "rename again")
			p.must(unix.Rmdir(p.path("d/y")), "rmdir, round %d", i)
			p.want(unix.ENOENT, unix.Rmdir(p.path("d/y")), "rmdir again")
			p.put(p.path("d/f"), "x")
			p.must(unix.Link(p.path("d/f"), p.path("d/g")), "link, round %d", i)
			p.want(unix.EEXIST, unix.Link(p.path("d/f"), p.path("d/g")), "link again")
			p.must(unix.Symlink("f", p.path("d/l")), "symlink, round %d", i)
			p.want(unix.EEXIST, unix.Symlink("f", p.path("d/l")), "symlink again")
			for _, name := range []string{"f", "g", "l"} {
				p.must(unix.Unlink(p.path("d/", name)), "unlink, round %d", i)
				p.want(unix.ENOENT, unix.Unlink(p.path("d/", name)), "unlink again")
			}
		}
	}},
	{"between file systems nothing is moved or linked", func(p *probe) {
		p.put(p.path("f"), "x")
		if !p.remote() {
			return // elsewhere is the same file system
		}
		for _, err := range []error{
			unix.Rename(p.path("f"), p.elsewhere+"/f"), unix.Link(p.path("f"), p.elsewhere+"/f"),
		} {
			p.want(unix.EXDEV, err, "out")
		}
		var there unix.Stat_t
		p.want(unix.ENOENT, unix.Lstat(p.elsewhere+"/f", &there), "what was not moved")
		p.get(p.path("f"), "x")
	}},
	{"one of many creators wins", func(p *probe) {
		for round := range 30 {
			results := make([]error, 8)
			p.atOnce(len(results), func(i int) {
				switch round % 4 {
				case 0:
					fd, err := unix.Open(p.path("x", round), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
					if results[i] = err; err == nil {
						p.must(unix.Close(fd), "close")
					}
				case 1:
					results[i] = unix.Mkdir(p.path("x", round), 0o755)
				case 2:
					results[i] = unix.Symlink(fmt.Sprint(i), p.path("x", round))
				case 3:
					results[i] = unix.Mknod(p.path("x", round), unix.S_IFIFO|0o644, 0)
				}
			})
			won := 0
			for _, err := range results {
				if err == nil {
					won++
				} else {
					p.check(errors.Is(err, unix.EEXIST), "a loser of round %d got %v", round, err)
				}
			}
			p.check(won == 1, "%d won round %d", won, round)
		}
	}},
}

// next is n+step, or the last once before the end.
func next(n, step, last int) int {
	if n < last && n+step > last {
		return last
	}
	return n + step
}
