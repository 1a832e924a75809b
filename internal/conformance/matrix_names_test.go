package conformance

import (
	"fmt"
	"strings"
)

// objects are what may be under a name, made at %s.
var objects = []struct{ name, make string }{
	{"nothing", ""},
	{"file", "put %s data"},
	{"empty directory", "mkdir %s 0755"},
	{"full directory", "mkdir %[1]s 0755;put %[1]s/in x"},
	{"directory of a directory", "mkdir %[1]s 0755;mkdir %[1]s/in 0755"},
	{"fifo", "mkfifo %s 0644"},
	{"socket", "mksock %s 0644"},
	{"character device", "mkchr %s 0644 1 3"},
	{"block device", "mkblk %s 0644 250 1"},
	{"dangling link", "symlink nowhere %s"},
	{"link to a file", "put a/target t;symlink ../a/target %s"},
	{"link to a directory", "mkdir a/dir 0755;symlink ../a/dir %s"},
	{"second name", "put a/first f;link a/first %s"},
}

func made(text, at string) []string {
	if text == "" {
		return nil
	}
	steps := strings.Split(text, ";")
	for i := range steps {
		steps[i] = strings.ReplaceAll(strings.ReplaceAll(steps[i], "%[1]s", at), "%s", at)
	}
	return steps
}

// renameCases: everything over everything, in one directory and between two, and what it does to names, links and times.
func renameCases() []Case {
	var cases []Case
	for _, src := range objects {
		for _, dst := range objects {
			if src.name == dst.name && (src.name == "link to a file" || src.name == "link to a directory" || src.name == "second name") {
				continue // the same target twice; see below
			}
			for _, to := range []string{"a/y", "b/y"} {
				steps := []string{"mkdir a 0755", "mkdir b 0755"}
				steps = append(append(steps, made(src.make, "a/x")...), made(dst.make, to)...)
				steps = append(steps, "rename a/x "+to, "lstat a/x", "lstat "+to, "ls a", "ls b", "lstat a", "lstat b")
				cases = append(cases, Case{name("rename", src.name, "over", dst.name, "at", to), steps})
			}
		}
	}
	in := func(title string, steps ...string) { cases = append(cases, Case{"rename " + title, steps}) }
	in("to itself", "put f x", "rename f f", "stat f", "mkdir d 0755", "rename d d", "stat d")
	in("to its other name", "put f x", "link f g", "rename f g", "stat f", "stat g", "rename g f", "ls .")
	in("to its other name elsewhere", "mkdir d 0755", "put f x", "link f d/g", "rename f d/g", "stat f", "ls d")
	in("into itself", "mkdir d 0755", "rename d d/e", "mkdir d/e 0755", "rename d d/e", "rename d d/e/f", "ls d")
	in("over its parent", "mkdir d 0755", "mkdir d/e 0755", "rename d/e d", "put d/f x", "rename d/f d", "rename d/e/. d", "ls d")
	in("of dots", "mkdir d 0755", "rename d/. e", "rename d/.. e", "rename . e", "rename .. e", "rename d .", "rename d d/.", "rename d d/..", "ls .")
	in("with slashes", "mkdir d 0755", "put f x", "rename d/ e/", "rename e g/", "rename f h/", "rename f/ h", "rename g/ h", "put i x", "rename i h/", "ls .")
	in("of a link with slashes", "mkdir d 0755", "symlink d l", "rename l/ m", "rename d/ l", "rename d/ l/", "mkdir e 0755", "rename e l/", "ls .")
	in("far up", "mkdir a 0755", "mkdir a/b 0755", "mkdir a/b/c 0755", "rename a/b/c c", "lstat c/..", "lstat a/b", "ls .", "rename a c/a", "lstat c", "ls c/a/b/..")
	in("changes dot dot", "mkdir a 0755", "mkdir b 0755", "put b/mark x", "mkdir a/d 0755", "rename a/d b/d", "get b/d/../mark", "chdir b/d", "get ../mark")
	in("of a directory not writable", "mkdir a 0777", "mkdir b 0777", "alice: mkdir a/d 0755", "alice: chmod a/d 0555", "alice: rename a/d a/e", "alice: rename a/e b/e", "bob: rename a/e b/e", "rename a/e b/e")
	in("of an open file", "put f x", "open 1 f rw 0", "rename f g", "pwrite 1 yy 0", "fstat 1", "get g", "put f new", "rename g f", "get f", "fstat 1")
	in("and back", "put f 1", "put g 2", "rename f t", "rename g f", "rename t g", "get f", "get g")
	in("of the longest names", "creat "+strings.Repeat("a", 255)+" 0644", "rename "+strings.Repeat("a", 255)+" "+strings.Repeat("b", 255), "rename "+strings.Repeat("b", 255)+" "+strings.Repeat("c", 256), "ls .")
	return cases
}

// linkCases: a second name for everything, where there is something already or not.
func linkCases() []Case {
	var cases []Case
	for _, src := range objects {
		for _, dst := range objects {
			if src.name == dst.name && (src.name == "link to a file" || src.name == "link to a directory" || src.name == "second name") {
				continue
			}
			for _, call := range []string{"link", "linkf"} {
				for _, user := range []string{"root", "alice"} {
					steps := []string{"mkdir a 0777", "mkdir b 0777"}
					steps = append(append(steps, made(src.make, "a/x")...), made(dst.make, "b/y")...)
					steps = append(steps, fmt.Sprintf("%s: %s a/x b/y", user, call), "lstat a/x", "lstat b/y", "ls b", "unlink a/x", "lstat b/y", "unlink b/y", "lstat b/y")
					cases = append(cases, Case{name(call, src.name, "to", dst.name, "by", user), steps})
				}
			}
		}
	}
	cases = append(cases,
		Case{"three names", []string{"put f x", "link f g", "mkdir d 0755", "link g d/h", "stat f", "append d/h y", "get f", "chmod g 0600", "chown d/h 1 2", "stat f", "unlink f", "stat g", "unlink g", "get d/h"}},
		Case{"unlink of one of two, and by whom", []string{"alice: put f x", "alice: link f g", "bob: link f h", "stat f", "dave: unlink g", "stat f", "bob: append f y"}},
	)
	return cases
}

// removeCases: unlink and rmdir of everything, by root and by others.
func removeCases() []Case {
	var cases []Case
	for _, object := range objects {
		for _, call := range []string{"unlink", "rmdir"} {
			for _, user := range []string{"root", "alice", "dave"} {
				for _, suffix := range []string{"", "/"} {
					steps := append([]string{"mkdir a 0777", "mkdir d 0777"}, made(object.make, "d/x")...)
					steps = append(steps, fmt.Sprintf("%s: %s d/x%s", user, call, suffix), "lstat d/x", "lstat d", "ls d")
					cases = append(cases, Case{name(call, object.name+suffix, "by", user), steps})
				}
			}
		}
	}
	return append(cases,
		Case{"rmdir of dots", []string{"mkdir d 0755", "rmdir d/.", "mkdir d/e 0755", "rmdir d/e/..", "rmdir .", "rmdir ..", "rmdir d/e/.", "unlink .", "unlink d/..", "ls d"}},
		Case{"rmdir of the working directory", []string{"mkdir d 0755", "chdir d", "rmdir ../d", "ls .", "lstat .", "creat x 0644", "mkdir y 0755", "lstat .."}},
		Case{"link count of a directory", []string{"mkdir d 0755", "mkdir d/a 0755", "mkdir d/b 0755", "creat d/f 0644", "lstat d", "rmdir d/a", "lstat d", "rename d/b b", "lstat d", "lstat ."}},
	)
}

// openCases: every combination of flags on everything.
func openCases() []Case {
	var cases []Case
	extras := []string{"creat", "excl", "trunc", "append", "nofollow", "directory"}
	for _, object := range objects {
		for _, access := range []string{"r", "w", "rw"} {
			c := Case{Name: name("open", object.name, access)}
			c.Steps = append([]string{"mkdir a 0755", "mkdir b 0755"}, made(object.make, "b/x")...)
			for set := range 1 << len(extras) {
				flags := access + "|nonblock"
				for i, extra := range extras {
					if set&(1<<i) != 0 {
						flags += "|" + extra
					}
				}
				c.Steps = append(c.Steps, "open 1 b/x "+flags+" 0640", "fstat 1", "write 1 w", "closeall")
				if object.name == "nothing" || object.name == "dangling link" {
					c.Steps = append(c.Steps, "unlink b/x", "unlink b/nowhere", "symlink nowhere b/x")
					if object.name == "nothing" {
						c.Steps = append(c.Steps, "unlink b/x")
					}
				}
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// symlinkCases: targets of every kind are kept byte for byte.
func symlinkCases() []Case {
	var cases []Case
	for _, target := range []string{"", "a", ".", "..", "/", "//", "a/", "a//b", " ", "\n", "\xff\xfe", "é", "'\"\\", strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("y/", 500), strings.Repeat("z", 4094), strings.Repeat("z", 4095), strings.Repeat("z", 4096)} {
		cases = append(cases, Case{name("symlink to", short(quote(target))), []string{
			"symlink " + quote(target) + " l", "readlink l", "lstat l", "rename l m", "readlink m", "link m n", "lstat n", "unlink m", "readlink n", "symlink x n", "chmod n 0600", "lstat n",
		}})
	}
	for _, user := range everyone {
		cases = append(cases, Case{name("symlink by", user), []string{
			user + ": symlink t l", "lstat l", user + ": readlink l", "lchown l 1001 2001", user + ": readlink l", user + ": lchown l -1 2011", user + ": lutimens l 1 2", "lstat l", "times l",
			"mkdir d 2777", "chown d 0 2014", "chmod d 2777", user + ": symlink t d/l", "lstat d/l",
		}})
	}
	return cases
}

// timeCases: which times a call changes, if it succeeds, and that it changes none if it fails.
func timeCases() []Case {
	setup := []string{
		"mkdir d 0777", "mkdir e 0777", "alice: put d/f data", "alice: put d/g more", "alice: link d/g d/h", "alice: mkdir d/s 0755",
		"alice: mkdir d/t 0755", "alice: mkdir d/full 0755", "alice: put d/full/x y", "alice: symlink f d/l", "alice: put e/f other", "alice: mkfifo d/p 0666",
		"alice: put d/set x", "alice: chmod d/set 6755",
	}
	calls := []string{
		"creat d/new 0644", "open 1 d/new rw|creat|excl 0644", "creat d/f 0644", "open 1 d/f r|creat 0644", "open 1 d/f w|trunc 0", "open 1 d/f rw|creat|excl 0644",
		"mkdir d/new 0755", "mkdir d/s 0755", "mkfifo d/new 0644", "mkfifo d/p 0644", "mksock d/new 0644", "mkchr d/new 0644 1 3", "symlink t d/new", "symlink t d/l",
		"link d/f d/new", "link d/f e/new", "link d/f d/g", "link d/s d/new", "link d/nothing d/new",
		"unlink d/f", "unlink d/g", "unlink d/l", "unlink d/p", "unlink d/s", "unlink d/nothing", "rmdir d/s", "rmdir d/full", "rmdir d/f", "rmdir d/nothing",
		"rename d/f d/new", "rename d/f e/new", "rename d/f d/g", "rename d/f e/f", "rename d/g d/h", "rename d/s d/new", "rename d/s e/new", "rename d/s d/t", "rename d/s d/full", "rename d/f d/s", "rename d/nothing d/f", "rename d/s d/s/x", "rename d/l d/new",
		"chmod d/f 0600", "chmod d/f 0644", "chmod d/nothing 0600", "chmod d/s 0700", "chown d/f -1 2001", "chown d/f -1 2011", "chown d/f -1 -1", "chown d/f 1002 -1", "chown d/set -1 2011", "lchown d/l -1 2011", "lchown d/l -1 -1",
		"truncate d/f 2", "truncate d/f 4", "truncate d/f 9", "truncate d/f -1", "truncate d/s 0", "append d/f more", "append d/f \"\"", "put d/f data", "put d/set data",
		"utimens d/f now now", "utimens d/f 5 6", "utimens d/f omit 6", "utimens d/f 5 omit", "utimens d/f omit omit", "lutimens d/l 5 6", "utimens d/s 5 6",
		"stat d/f", "access d/f 7", "readlink d/l", "ls d", "get d/f", "get d/l", "lstat d/nothing", "statfs d/f", "open 1 d/f r 0",
	}
	var cases []Case
	for _, user := range []string{"root", "alice", "dave"} {
		for _, call := range calls {
			const watched = "d,e,d/f,d/g,d/h,d/s,d/l,d/set,d/new,d/full"
			steps := append(append([]string{}, setup...), fmt.Sprintf("watch %s %s", watched, quote(user+": "+call)))
			cases = append(cases, Case{name("times after", call, "by", user), steps})
		}
	}
	for _, on := range []string{"write 1 x", "write 1 \"\"", "pwrite 1 x 100", "ftruncate 1 1", "ftruncate 1 4", "fchmod 1 0600", "fchmod 1 0644", "fchown 1 -1 -1", "fchown 1 1001 2011", "fsync 1", "read 1 2", "seek 1 0 end", "close 1", "mmapwrite 1 x 2"} {
		cases = append(cases, Case{name("times after", on), append(append([]string{}, setup...), "alice: open 1 d/f rw 0", fmt.Sprintf("watch d,d/f %s", quote("alice: "+on)))})
	}
	return cases
}
