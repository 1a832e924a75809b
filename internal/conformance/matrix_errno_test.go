package conformance

import (
	"fmt"
	"strings"
)

// A pathCall is a system call on a path, with %s where the path goes.
type pathCall struct {
	name, step string
	creates    bool // the path must not exist
	links      bool // it follows no symbolic link at the path's end
}

// pathCalls is every system call that takes a path.
var pathCalls = []pathCall{
	{name: "stat", step: "stat %s"},
	{name: "lstat", step: "lstat %s", links: true},
	{name: "access", step: "access %s 0"},
	{name: "chmod", step: "chmod %s 0644"},
	{name: "chown", step: "chown %s 0 0"},
	{name: "lchown", step: "lchown %s 0 0", links: true},
	{name: "truncate", step: "truncate %s 10"},
	{name: "utimens", step: "utimens %s 1 2"},
	{name: "lutimens", step: "lutimens %s 1 2", links: true},
	{name: "statfs", step: "statfs %s"},
	{name: "chdir", step: "chdir %s"},
	{name: "readlink", step: "readlink %s", links: true},
	{name: "ls", step: "ls %s"},
	{name: "open read", step: "open 1 %s r|nonblock 0"},
	{name: "open write", step: "open 1 %s w|nonblock 0"},
	{name: "open trunc", step: "open 1 %s w|trunc|nonblock 0"},
	{name: "open nofollow", step: "open 1 %s r|nofollow|nonblock 0", links: true},
	{name: "open directory", step: "open 1 %s r|directory 0"},
	{name: "open path", step: "open 1 %s path|nofollow 0", links: true},
	{name: "open creat", step: "open 1 %s rw|creat|nonblock 0644", creates: true},
	{name: "open excl", step: "open 1 %s rw|creat|excl 0644", creates: true, links: true},
	{name: "mkdir", step: "mkdir %s 0755", creates: true, links: true},
	{name: "mkfifo", step: "mkfifo %s 0644", creates: true, links: true},
	{name: "mksock", step: "mksock %s 0644", creates: true, links: true},
	{name: "mkreg", step: "mkreg %s 0644", creates: true, links: true},
	{name: "mkchr", step: "mkchr %s 0644 1 3", creates: true, links: true},
	{name: "mkblk", step: "mkblk %s 0644 1 0", creates: true, links: true},
	{name: "symlink", step: "symlink target %s", creates: true, links: true},
	{name: "link to", step: "link other %s", creates: true, links: true},
	{name: "rename to", step: "rename other %s", creates: true, links: true},
	{name: "rename dir to", step: "rename otherdir %s", creates: true, links: true},
	{name: "link from", step: "link %s new", links: true},
	{name: "linkf from", step: "linkf %s new"},
	{name: "rename from", step: "rename %s new", links: true},
	{name: "unlink", step: "unlink %s", links: true},
	{name: "rmdir", step: "rmdir %s", links: true},
}

func (p pathCall) on(path string) string { return fmt.Sprintf(p.step, quote(path)) }

// others are what link and rename move to the path.
var others = []string{"creat other 0644", "mkdir otherdir 0755"}

// pathErrors are the cases in which the path itself is at fault, or of a type that the call does not take, for every call.
func pathErrors() []Case {
	long := func(n int) string { return strings.Repeat("x", n) }
	deep := func(n int) string { return strings.Repeat("d/", (n-1)/2) + long(n-(n-1)/2*2) }
	situations := []struct {
		name  string
		setup []string
		path  string
	}{
		{"nothing there", nil, "n"},
		{"empty path", nil, ""},
		{"missing component", nil, "n/x"},
		{"file as a component", []string{"creat f 0644"}, "f/x"},
		{"fifo as a component", []string{"mkfifo f 0644"}, "f/x"},
		{"dangling link as a component", []string{"symlink n l"}, "l/x"},
		{"link to a directory as a component", []string{"mkdir d 0755", "creat d/x 0644", "symlink d l"}, "l/x"},
		{"link to a file as a component", []string{"creat f 0644", "symlink f l"}, "l/x"},
		{"loop as a component", []string{"symlink b a", "symlink a b"}, "a/x"},
		{"loop", []string{"symlink b a", "symlink a b"}, "a"},
		{"link to itself", []string{"symlink a a"}, "a"},
		{"dangling link", []string{"symlink n l"}, "l"},
		{"dangling link into a missing directory", []string{"symlink n/m l"}, "l"},
		{"link to a file", []string{"creat f 0600", "symlink f l"}, "l"},
		{"link to a link to a file", []string{"creat f 0600", "symlink f l", "symlink l m"}, "m"},
		{"link to a directory", []string{"mkdir d 0700", "symlink d l"}, "l"},
		{"link to a directory with a slash", []string{"mkdir d 0700", "symlink d l"}, "l/"},
		{"link to a file with a slash", []string{"creat f 0600", "symlink f l"}, "l/"},
		{"dangling link with a slash", []string{"symlink n l"}, "l/"},
		{"file", []string{"creat f 0600"}, "f"},
		{"file with a slash", []string{"creat f 0600"}, "f/"},
		{"file with a dot", []string{"creat f 0600"}, "f/."},
		{"empty directory", []string{"mkdir d 0700"}, "d"},
		{"empty directory with a slash", []string{"mkdir d 0700"}, "d/"},
		{"missing name with a slash", nil, "n/"},
		{"directory with a file", []string{"mkdir d 0700", "creat d/f 0644"}, "d"},
		{"directory with a directory", []string{"mkdir d 0700", "mkdir d/e 0755"}, "d"},
		{"directory and dot", []string{"mkdir d 0700"}, "d/."},
		{"directory and dot dot", []string{"mkdir d 0700", "mkdir d/e 0700"}, "d/e/.."},
		{"dot", nil, "."},
		{"dot dot", []string{"mkdir d 0755", "chdir d"}, ".."},
		{"root", nil, "/"},
		{"fifo", []string{"mkfifo f 0600"}, "f"},
		{"socket", []string{"mksock f 0600"}, "f"},
		{"character device", []string{"mkchr f 0600 1 3"}, "f"},
		{"block device nobody has", []string{"mkblk f 0600 250 7"}, "f"},
		{"character device nobody has", []string{"mkchr f 0600 250 7"}, "f"},
		{"longest name", nil, long(255)},
		{"longest name of a file", []string{"creat " + long(255) + " 0644"}, long(255)},
		{"name too long", nil, long(256)},
		{"name far too long", nil, long(4000)},
		{"component too long", nil, long(256) + "/x"},
		{"longest path", []string{"mkdir d 0755", "symlink . d/d"}, strings.Repeat("./", 2046) + "xyz"},
		{"path too long", nil, strings.Repeat("./", 2047) + "xy"},
		{"path of components too long", nil, deep(4096)},
		{"link of the longest target", []string{"symlink " + strings.Repeat("./", 2047) + "f l", "creat f 0644"}, "l"},
		{"link to a name too long", []string{"symlink " + long(256) + " l"}, "l"},
		{"forty links in a row", chain(40), "l40"},
		{"forty-one links in a row", chain(41), "l41"},
		{"odd bytes", []string{"creat \"\\x01\\xff\\n \\\\\" 0600"}, "\x01\xff\n \\"},
		{"hidden name", []string{"creat .h 0600"}, ".h"},
		{"three dots", []string{"creat ... 0600"}, "..."},
	}
	var cases []Case
	for _, at := range situations {
		for _, call := range pathCalls {
			if at.path == "/" && (call.name != "stat" && call.name != "access") {
				continue // it is another file system
			}
			steps := append(append([]string{}, others...), at.setup...)
			cases = append(cases, Case{name(call.name, "on", at.name), append(steps, call.on(at.path))})
		}
	}
	return cases
}

// chain is n symbolic links, each to the one before; the first leads to a file.
func chain(n int) []string {
	steps := []string{"creat l0 0644"}
	for i := range n {
		steps = append(steps, fmt.Sprintf("symlink l%d l%d", i, i+1))
	}
	return steps
}
