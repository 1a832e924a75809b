package conformance

import "fmt"

// everyone is who tries: root, the owner, her group, her group as a supplementary one, and nobody to her.
var everyone = []string{"root", "alice", "bob", "carol", "dave"}

// Every digit of a mode in every place, the others being the contrary, so that exactly one class decides.
func modes() []uint32 {
	var all []uint32
	for place := 0; place <= 6; place += 3 {
		for digit := range uint32(8) {
			all = append(all, digit<<place|(7^digit)*0o111&^(7<<place))
		}
	}
	return append(all, 0, 0o777)
}

// filePermissions: what each mode lets each user do with a file of alice's.
func filePermissions() []Case {
	var cases []Case
	for _, mode := range modes() {
		for _, user := range everyone {
			c := Case{Name: name("file", fmt.Sprintf("%04o", mode), "by", user)}
			add := func(format string, a ...any) { c.Steps = append(c.Steps, fmt.Sprintf(format, a...)) }
			add("alice: put f hello")
			add("chmod f %04o", mode)
			for bits := range 8 {
				add("%s: access f %o", user, bits)
			}
			add("%s: get f", user)
			add("%s: append f x", user)
			for i, flags := range []string{"r", "w", "rw", "r|creat", "w|append", "w|creat|excl", "r|nofollow", "w|sync", "r|noatime"} {
				add("%s: open %d f %s 0644", user, i, flags)
			}
			add("%s: read 0 10", user)
			add("%s: pwrite 2 AB 1", user)
			add("%s: pread 2 9 0", user)
			add("%s: ftruncate 2 4", user)
			add("%s: write 4 end", user)
			add("closeall")
			add("%s: truncate f 3", user)
			add("%s: open a f w|trunc 0", user)
			add("closeall")
			add("%s: utimens f now now", user)
			add("%s: utimens f omit now", user)
			add("%s: utimens f now omit", user)
			add("%s: utimens f 1000000 2000000", user)
			add("%s: utimens f omit omit", user)
			add("%s: utimens f omit 3000000", user)
			add("%s: times f", user)
			add("%s: chmod f %04o", user, mode^0o077)
			add("%s: chown f -1 2001", user)
			add("%s: chown f -1 -1", user)
			cases = append(cases, c)
		}
	}
	return cases
}

// special files follow the same rules, but for what opening them does.
func specialPermissions() []Case {
	var cases []Case
	for _, kind := range []string{"mkfifo s 0600", "mksock s 0600", "mkchr s 0600 1 3", "mkblk s 0600 250 9", "symlink t s", "mkdir s 0700"} {
		for _, mode := range []uint32{0, 0o400, 0o200, 0o100, 0o040, 0o020, 0o004, 0o002, 0o666, 0o777} {
			for _, user := range everyone {
				c := Case{Name: name(kind, fmt.Sprintf("%04o", mode), "by", user), Steps: []string{kind, "lchown s 1001 2001"}}
				add := func(format string, a ...any) { c.Steps = append(c.Steps, fmt.Sprintf(format, a...)) }
				if kind != "symlink t s" {
					add("chmod s %04o", mode)
				}
				for bits := 1; bits < 8; bits++ {
					add("%s: access s %o", user, bits)
				}
				for i, flags := range []string{"r|nonblock", "w|nonblock", "rw|nonblock", "w|trunc|nonblock"} {
					add("%s: open %d s %s 0", user, i, flags)
				}
				add("closeall")
				add("%s: truncate s 0", user)
				add("%s: readlink s", user)
				add("%s: lutimens s now now", user)
				add("%s: lutimens s 5 6", user)
				add("%s: times s", user)
				if kind != "symlink t s" {
					add("%s: chmod s 0640", user)
				}
				add("%s: lchown s -1 2011", user)
				add("%s: link s l", user)
				add("%s: unlink s", user)
				add("%s: rmdir s", user)
				cases = append(cases, c)
			}
		}
	}
	return cases
}

// directoryPermissions: what each mode lets each user do in a directory of alice's.
func directoryPermissions() []Case {
	var cases []Case
	for _, mode := range modes() {
		for _, user := range everyone {
			c := Case{Name: name("directory", fmt.Sprintf("%04o", mode), "by", user)}
			add := func(format string, a ...any) { c.Steps = append(c.Steps, fmt.Sprintf(format, a...)) }
			add("alice: mkdir d 0777")
			add("mkdir o 0777")
			for _, f := range []string{"a", "b", "c", "e"} {
				add("creat d/%s 0666", f)
			}
			add("mkdir d/sub 0777")
			add("mkdir d/sub2 0777")
			add("creat d/sub/x 0666")
			add("put o/f f")
			add("put o/g g")
			add("mkdir o/dir 0777")
			add("chmod d %04o", mode)
			for bits := 1; bits < 8; bits++ {
				add("%s: access d %o", user, bits)
			}
			for _, step := range []string{
				"ls d", "lstat d/a", "lstat d/nothing", "get d/a", "get d/sub/x", "put d/sub/y y", "put d/a A", "lstat d/..",
				"creat d/new 0644", "open 1 d/new2 rw|creat|excl 0600", "mkdir d/newdir 0755", "mkfifo d/newfifo 0644",
				"mksock d/newsock 0644", "symlink t d/newlink", "link o/f d/linked", "link d/a o/linked2",
				"creat d/a 0644", "open 2 d/b rw|creat|excl 0600", "mkdir d/sub 0755", "symlink t d/b",
				"unlink d/a", "unlink d/nothing", "rmdir d/sub2", "rmdir d/sub", "rmdir d/nothing",
				"rename d/b d/b2", "rename d/c o/c", "rename o/g d/g", "rename o/dir d/dir", "rename d/e d/nothing", "rename d/nothing o/n",
				"rename d/sub d/sub3", "rename d/sub3 o/sub3", "rename o/f d/b2", "rename d/nothing d/nothing2",
				"chmod d/a 0600", "utimens d now now", "utimens d 7 8", "chdir d", "ls .", "lstat a", "creat z 0644",
			} {
				add("%s: %s", user, step)
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// prefixPermissions: no call gets through a directory that may not be searched.
func prefixPermissions() []Case {
	var cases []Case
	for _, user := range everyone {
		for _, mode := range []uint32{0o000, 0o666, 0o100, 0o010, 0o001, 0o111} {
			for _, call := range pathCalls {
				if user != "root" && (call.name == "mkchr" || call.name == "mkblk") && mode != 0o111 {
					continue
				}
				steps := append([]string{}, "alice: mkdir p 0777", "mkdir p/d 0777", "creat p/d/x 0666", "symlink x p/d/l",
					fmt.Sprintf("%s: creat other 0666", user), fmt.Sprintf("%s: mkdir otherdir 0777", user), fmt.Sprintf("chmod p %04o", mode))
				for _, path := range []string{"p/d/x", "p/d/n", "p/d/l", "p/d"} {
					steps = append(steps, user+": "+call.on(path))
				}
				steps = append(steps, "chmod p 0755")
				cases = append(cases, Case{name(call.name, "through", fmt.Sprintf("%04o", mode), "by", user), steps})
			}
		}
	}
	return cases
}

// sticky: in a directory with the sticky bit, only the owners of the entry and of the directory remove and rename.
func sticky() []Case {
	var cases []Case
	kinds := []string{"creat %s 0666", "mkdir %s 0777", "mkfifo %s 0666", "symlink t %s"}
	users := []string{"root", "alice", "bob", "dave"}
	for _, bits := range []string{"1777", "0777", "1775"} {
		for _, dirOwner := range users {
			for _, owner := range users {
				for _, actor := range users {
					c := Case{Name: name(bits, "directory of", dirOwner, "entry of", owner, "by", actor)}
					add := func(format string, a ...any) { c.Steps = append(c.Steps, fmt.Sprintf(format, a...)) }
					d, e := Users[dirOwner], Users[owner]
					add("mkdir d 0777")
					add("%s: mkdir o 0777", actor)
					for i, kind := range kinds {
						for _, use := range []string{"rm", "within", "out", "over", "target"} {
							add(kind, fmt.Sprintf("d/%d%s", i, use))
							add("lchown d/%d%s %d %d", i, use, e.UID, e.GID)
						}
						add("%s: "+kind, actor, fmt.Sprintf("o/%d", i))
						add("%s: "+kind, actor, fmt.Sprintf("o/in%d", i))
					}
					add("chown d %d %d", d.UID, d.GID)
					add("chmod d %s", bits)
					for i, kind := range kinds {
						remove := "unlink"
						if kind == "mkdir %s 0777" {
							remove = "rmdir"
						}
						add("%s: rename d/%dwithin d/%drenamed", actor, i, i)
						add("%s: rename d/%dover d/%dtarget", actor, i, i)
						add("%s: rename d/%dout o/%dout", actor, i, i)
						add("%s: rename o/%d d/%dtarget", actor, i, i)
						add("%s: rename o/in%d d/%dmoved", actor, i, i)
						add("%s: %s d/%drm", actor, remove, i)
						add("%s: %s d/%dmoved", actor, remove, i)
					}
					cases = append(cases, c)
				}
			}
		}
	}
	return cases
}
