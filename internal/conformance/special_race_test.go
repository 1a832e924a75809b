package conformance

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// raceSpecials are checks of what several do at once on one machine.
var raceSpecials = []special{
	{"a name that is replaced is always there, and always whole", func(p *probe) {
		whole := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 3000) }
		p.must(os.WriteFile(p.path("f"), whole(0), 0o644), "write")
		var stop atomic.Bool
		p.atOnce(2, func(i int) {
			if i == 0 {
				defer stop.Store(true)
				for n := range 60 {
					p.must(os.WriteFile(p.path("new"), whole(n), 0o644), "write the next")
					p.must(unix.Rename(p.path("new"), p.path("f")), "rename over it")
				}
				return
			}
			for !stop.Load() {
				data, err := os.ReadFile(p.path("f"))
				p.must(err, "the name that is always there")
				p.check(len(data) == 3000 && bytes.Count(data, data[:1]) == 3000, "it holds %d bytes, of which %d are %q", len(data), bytes.Count(data, data[:1]), data[:1])
			}
		})
	}},
	{"many work in one directory", func(p *probe) {
		p.atOnce(8, func(worker int) {
			for i := range 10 {
				name := p.path(fmt.Sprintf("w%d-%d", worker, i))
				p.put(name, name)
				p.must(unix.Link(name, name+".l"), "link")
				p.must(unix.Rename(name, name+".r"), "rename")
				p.get(name+".l", name)
				p.must(unix.Unlink(name+".l"), "unlink")
				if i%2 == 0 {
					p.must(unix.Unlink(name+".r"), "unlink")
				}
			}
		})
		p.check(len(p.names(p.dir)) == 8*5, "%d names are left", len(p.names(p.dir)))
	}},
	{"many write to one file, each its own part", func(p *probe) {
		const workers, piece, pieces = 8, 5000, 30
		p.put(p.path("f"), "")
		p.atOnce(workers, func(worker int) {
			fd := p.open(p.path("f"), unix.O_WRONLY)
			for i := range pieces {
				at := int64((i*workers + worker) * piece)
				p.pwrite(fd, at, string(bytes.Repeat([]byte{byte('A' + worker)}, piece)))
			}
			p.must(unix.Close(fd), "close")
		})
		data, err := os.ReadFile(p.path("f"))
		p.must(err, "read")
		p.check(len(data) == workers*piece*pieces, "%d bytes", len(data))
		for i, b := range data {
			if want := byte('A' + i/piece%workers); b != want {
				p.fail("byte %d is %q, must be %q", i, b, want)
			}
		}
	}},
	{"many append to one file, and nothing is lost", func(p *probe) {
		p.put(p.path("f"), "")
		p.atOnce(6, func(worker int) {
			fd := p.open(p.path("f"), unix.O_WRONLY|unix.O_APPEND)
			for range 40 {
				n, err := unix.Write(fd, bytes.Repeat([]byte{byte('a' + worker)}, 70))
				p.must(err, "append")
				p.check(n == 70, "%d of 70 bytes were appended", n)
			}
			p.must(unix.Close(fd), "close")
		})
		data, err := os.ReadFile(p.path("f"))
		p.must(err, "read")
		p.check(len(data) == 6*40*70, "%d bytes, must be %d", len(data), 6*40*70)
		for at := 0; at < len(data); at += 70 {
			p.check(bytes.Count(data[at:at+70], data[at:at+1]) == 70, "the record at %d is torn", at)
		}
	}},
	{"directories moved against each other never become a circle", func(p *probe) {
		for round := range 20 {
			a, b := p.path("a", round), p.path("b", round)
			p.must(unix.Mkdir(a, 0o755), "mkdir")
			p.must(unix.Mkdir(b, 0o755), "mkdir")
			var moved atomic.Int32
			p.atOnce(2, func(i int) {
				from, to := a, b+"/in"
				if i == 1 {
					from, to = b, a+"/in"
				}
				if unix.Rename(from, to) == nil {
					moved.Add(1)
				}
			})
			p.check(moved.Load() == 1, "%d of two moves succeeded", moved.Load())
			names := p.names(p.dir)
			p.check(len(names) == round+1, "%v are left", names)
		}
	}},
}
