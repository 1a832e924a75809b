package conformance

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// randomSteps draws scripts: several users do, in a small tree, whatever programs do. Left out is what leads to a known
// difference that shows later: changing nothing about an owner, truncating to the same size, the modification time alone, and
// writing through what another user opened, which Linux's client does in that user's name, so that set-id bits stay or go
// by who that is.
// Files are closed before a name may go, so that the client does not rename them out of the way, where a listing shows them.
func randomSteps(mounts int) *rapid.Generator[[]string] {
	path := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "d/a", "d/b", "d/s", "d/s/a", "e/a", "e/b", "l/a", "l", "a/", "d/..", "e/../a", "n/x"})
	user := rapid.SampledFrom([]string{"", "", "alice: ", "alice: ", "bob: ", "carol: ", "dave: "})
	mode := rapid.SampledFrom([]string{"0777", "0777", "0755", "0700", "0644", "0666", "0600", "0000", "0070", "0007", "0555", "0311", "1777", "2777", "2755", "4755", "6711", "3775"})
	id := rapid.SampledFrom([]string{"0", "1001", "1002", "1004"})
	group := rapid.SampledFrom([]string{"0", "2001", "2011", "2003", "2014"})
	slot := rapid.SampledFrom([]string{"1", "2", "3"})
	flags := rapid.SampledFrom([]string{"r", "w", "rw", "rw|creat", "w|append|creat", "rw|creat|excl", "r|directory", "r|nofollow"})
	data := rapid.SampledFrom([]string{"x", "hello", "0123456789abcdef"})
	moment := rapid.SampledFrom([]string{"1", "1000000000.000000001", "2000000000.5"})
	step := rapid.Custom(func(t *rapid.T) string {
		p, q := path.Draw(t, "path"), path.Draw(t, "other path")
		m := mode.Draw(t, "mode")
		n := rapid.IntRange(0, 9000).Draw(t, "number")
		text := ""
		switch kind := rapid.IntRange(0, 33).Draw(t, "kind"); kind {
		case 0, 1:
			text = "mkdir " + p + " " + m
		case 2, 3:
			text = "put " + p + " " + data.Draw(t, "data")
		case 4:
			text = "append " + p + " " + data.Draw(t, "data")
		case 5:
			text = "symlink " + q + " " + p
		case 6:
			text = "mkfifo " + p + " " + m
		case 7:
			text = "mksock " + p + " " + m
		case 8:
			text = "mkchr " + p + " " + m + " 1 3"
		case 9, 10:
			text = "link " + p + " " + q
		case 11, 12, 13:
			text = "rename " + p + " " + q
		case 14, 15:
			text = "unlink " + p
		case 16:
			text = "rmdir " + p
		case 17, 18, 19:
			text = "chmod " + p + " " + m
		case 20:
			text = "chown " + p + " " + id.Draw(t, "uid") + " -1"
		case 21:
			text = "lchown " + p + " -1 " + group.Draw(t, "gid")
		case 22:
			text = fmt.Sprintf("truncate %s %d", p, 1000+n)
		case 23:
			text = "utimens " + p + " " + moment.Draw(t, "atime") + " " + moment.Draw(t, "mtime")
		case 24:
			text = fmt.Sprintf("access %s %o", p, n%8)
		case 25:
			text = "get " + p
		case 26:
			text = "ls " + p
		case 27:
			text = "readlink " + p
		case 28:
			text = "open " + slot.Draw(t, "slot") + " " + p + " " + flags.Draw(t, "flags") + "|nonblock 0666"
		case 29:
			text = fmt.Sprintf("pwrite %s %s %d", slot.Draw(t, "slot"), data.Draw(t, "data"), n)
		case 30:
			text = "write " + slot.Draw(t, "slot") + " " + data.Draw(t, "data")
		case 31:
			text = fmt.Sprintf("pread %s 20 %d", slot.Draw(t, "slot"), n)
		case 32:
			text = "fchmod " + slot.Draw(t, "slot") + " " + m
		case 33:
			text = fmt.Sprintf("ftruncate %s %d", slot.Draw(t, "slot"), 1000+n)
		}
		return user.Draw(t, "user") + text
	})
	return rapid.Map(rapid.SliceOfN(step, 1, 60), func(drawn []string) []string {
		script := []string{"mkdir d 0777", "alice: mkdir e 0777", "symlink d l", "alice: put a first", "bob: put d/a second", "carol: mkdir d/s 2777"}
		openers := map[string]string{} // by slot
		for i, line := range drawn {
			if i%3 == 0 && mounts > 1 {
				script = append(script, fmt.Sprintf("via %d", i/3%mounts))
			}
			s, err := Parse(line)
			if err == nil && s.Op == "open" {
				script = append(script, "close "+s.Args[0])
				openers[s.Args[0]] = s.As
			}
			if err == nil && (s.Op == "write" || s.Op == "pwrite" || s.Op == "ftruncate") && openers[s.Args[0]] != "" {
				_, operation, named := strings.Cut(line, ": ")
				if !named {
					operation = line
				}
				line = openers[s.Args[0]] + ": " + operation
			}
			if err == nil && (s.Op == "rename" || s.Op == "unlink" || s.Op == "rmdir") {
				script = append(script, "closeall")
			}
			if err == nil && mounts > 1 && (s.Op == "put" || s.Op == "open") {
				// nfs_neg_need_reval: a name that was not there is created without another look, whatever it is by now. The
				// server then says that it exists.
				path := s.Args[0]
				if s.Op == "open" {
					path = s.Args[1]
				}
				script = append(script, "stat "+path)
			}
			script = append(script, line, "lstat a", "times d/a")
		}
		return script
	})
}

// checkRandom runs as many random scripts on the mount as count says, and shrinks the first that differs.
func (c *client) checkRandom(t *testing.T, count int) {
	t.Helper()
	met := make([]int, len(c.known))
	for range count {
		rapid.Check(t, func(rt *rapid.T) {
			cases := []Case{{Name: "random", Steps: randomSteps(1+len(c.more)).Draw(rt, "script")}}
			for _, f := range c.run(t, cases)[0].compare(c.known, met) {
				rt.Fatal(f.text)
			}
		})
	}
}
