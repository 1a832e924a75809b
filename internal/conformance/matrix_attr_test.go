package conformance

import (
	"fmt"
	"maps"
	"slices"
)

// makers make an object named x of each type.
var makers = []string{"put x data", "mkdir x 0755", "mkfifo x 0644", "mksock x 0644", "mkchr x 0644 1 3", "mkblk x 0644 250 1", "symlink t x"}

// chownCases: who may give what to whom, and what becomes of the set-id bits.
func chownCases() []Case {
	uids := []int{-1, 0, 1001, 1002}
	gids := []int{-1, 0, 2001, 2011, 2004, 2014}
	var cases []Case
	for _, maker := range makers {
		for _, mode := range []string{"0644", "6755", "6745", "6711", "2745", "7777", "4000"} {
			symlink := maker == "symlink t x"
			if symlink && mode != "0644" {
				continue
			}
			for _, user := range everyone {
				c := Case{Name: name("chown of", maker, mode, "by", user), Steps: []string{maker}}
				add := func(format string, a ...any) { c.Steps = append(c.Steps, fmt.Sprintf(format, a...)) }
				for _, uid := range uids {
					for _, gid := range gids {
						if uid == -1 && gid == -1 {
							continue
						}
						add("lchown x 1001 2001")
						if !symlink {
							add("chmod x %s", mode)
						}
						add("%s: lchown x %d %d", user, uid, gid)
						add("lstat x")
					}
				}
				cases = append(cases, c)
			}
		}
	}
	for _, user := range everyone[2:] {
		cases = append(cases, Case{name("chown that changes nothing by", user), []string{"alice: put x data", "alice: chmod x 6755", user + ": chown x -1 -1"}})
	}
	// The same through a descriptor and through a symbolic link.
	for _, user := range everyone {
		for _, to := range [][2]int{{-1, 2001}, {-1, 2011}, {-1, 2004}, {1001, -1}, {1002, -1}, {0, 0}, {1001, 2012}, {1002, 2001}} {
			cases = append(cases, Case{name("chown by ways to", to, "by", user), []string{
				"alice: put x data", "alice: chmod x 6755", "symlink x l", "open 1 x r 0",
				fmt.Sprintf("%s: fchown 1 %d %d", user, to[0], to[1]), "stat x",
				fmt.Sprintf("%s: chown l %d %d", user, to[0], to[1]), "lstat x", "lstat l",
				fmt.Sprintf("%s: lchown l %d %d", user, to[0], to[1]), "lstat x", "lstat l",
			}})
		}
	}
	return cases
}

// chmodCases: who may set which mode, and which bits stick.
func chmodCases() []Case {
	var cases []Case
	for _, maker := range makers[:6] {
		for _, owner := range [][2]int{{1001, 2001}, {1001, 2004}, {0, 2001}, {1004, 2001}} {
			for _, user := range everyone {
				c := Case{Name: name("chmod of", maker, owner, "by", user), Steps: []string{maker, fmt.Sprintf("chown x %d %d", owner[0], owner[1])}}
				for _, mode := range []uint32{0o0, 0o7777, 0o1777, 0o2777, 0o2755, 0o2745, 0o4755, 0o6755, 0o6644, 0o1644, 0o0644} {
					c.Steps = append(c.Steps, "chmod x 0640", fmt.Sprintf("%s: chmod x %04o", user, mode), "stat x")
				}
				c.Steps = append(c.Steps, "symlink x l", user+": chmod l 0711", "lstat l", "stat l")
				cases = append(cases, c)
			}
		}
	}
	return cases
}

// setIDCases: writing to a file and changing its size take the set-id bits away, unless root does it.
func setIDCases() []Case {
	writes := map[string][]string{
		"write":            {"open 1 x w 0", "write 1 more", "fsync 1"},
		"write, and look":  {"open 1 x w 0", "write 1 more", "fstat 1"},
		"append":           {"append x more"},
		"write of nothing": {"open 1 x w 0", "write 1 \"\"", "fsync 1"},
		"truncate":         {"truncate x 2"},
		"truncate to more": {"truncate x 9"},
		"ftruncate":        {"open 1 x rw 0", "ftruncate 1 2"},
		"open trunc":       {"open 1 x w|trunc 0"},
		"creat":            {"creat x 0777"},
		"chmod":            {"chmod x 0777"},
		"utimens":          {"utimens x now now"},
		"read":             {"get x"},
		"link":             {"link x y"},
		"rename":           {"rename x y"},
	}
	var cases []Case
	for _, what := range slices.Sorted(maps.Keys(writes)) {
		for _, mode := range []string{"4777", "2777", "6777", "6767", "2767", "6666", "7777", "1777"} {
			for _, user := range []string{"root", "alice", "bob", "dave"} {
				c := Case{Name: name(what, "of", mode, "by", user), Steps: []string{"alice: put x data", "chmod x " + mode}}
				for _, s := range writes[what] {
					c.Steps = append(c.Steps, user+": "+s)
				}
				c.Steps = append(c.Steps, "closeall", "stat x")
				cases = append(cases, c)
			}
		}
	}
	return cases
}

// newObjects: the mode, the owner and the group of what is made, by mask, set-group-id directory and user.
func newObjects() []Case {
	kinds := []string{"creat d/x%d %04o", "mkdir d/x%d %04o", "mkfifo d/x%d %04o", "mksock d/x%d %04o", "mkreg d/x%d %04o"}
	var cases []Case
	for _, kind := range kinds {
		for _, dir := range []string{"0777", "2777", "3777", "6777"} {
			for _, gid := range []int{0, 2001, 2014} {
				for _, mask := range []string{"0", "022", "077", "0777"} {
					for _, user := range everyone {
						c := Case{Name: name(kind, "in", dir, "of group", gid, "mask", mask, "by", user)}
						c.Steps = []string{"mkdir d 0777", fmt.Sprintf("chown d 0 %d", gid), "chmod d " + dir, "umask " + mask}
						for i, mode := range []uint32{0, 0o777, 0o151, 0o7777, 0o2755, 0o2745, 0o4711, 0o1666} {
							if mode == 0o2745 && kind == "mkreg d/x%d %04o" {
								continue // an exclusive create, which sets the mode afterwards, as chmod does
							}
							c.Steps = append(c.Steps, user+": "+fmt.Sprintf(kind, i, mode))
						}
						cases = append(cases, c)
					}
				}
			}
		}
	}
	for _, user := range everyone {
		cases = append(cases, Case{name("open makes what its flags say, by", user), []string{
			user + ": open 1 a r|creat 0000", user + ": write 1 no",
			user + ": open 2 b rw|creat 0000", user + ": write 2 yes", user + ": pread 2 9 0",
			user + ": open 3 c w|creat|excl 0400", user + ": write 3 yes", user + ": fstat 3",
			user + ": open 4 d rw|creat|trunc 4755", user + ": write 4 yes", user + ": fstat 4",
			user + ": open 5 e rw|creat|append 2777", user + ": write 5 yes", user + ": write 5 more", user + ": fstat 5",
			user + ": open 6 f rw|creat|excl 7777", user + ": fstat 6", user + ": open 6 f rw|creat|excl 7777",
			user + ": mkchr g 0600 1 3", user + ": mkblk h 0600 1 0", user + ": symlink t i", user + ": lstat i",
		}})
	}
	return cases
}

// sizeCases: truncating to every kind of size.
func sizeCases() []Case {
	sizes := []int64{0, 1, 4, 5, 4095, 4096, 4097, 65536, 1 << 20, 1<<31 - 1, 1 << 31, 1 << 32, 1<<32 + 1, 1 << 40, 1<<43 + 7, -1, -1 << 62}
	var cases []Case
	for _, size := range sizes {
		for _, from := range []int64{0, 3, 4097, 1 << 33} {
			cases = append(cases, Case{name("truncate from", from, "to", size), []string{
				"creat x 0644", fmt.Sprintf("truncate x %d", from), "open 1 x rw 0", "pwrite 1 abc 0",
				fmt.Sprintf("truncate x %d", size), "stat x", "pread 1 16 0", fmt.Sprintf("pread 1 16 %d", max(0, size-2)),
				fmt.Sprintf("ftruncate 1 %d", from), "fstat 1", fmt.Sprintf("ftruncate 1 %d", size), "fstat 1",
				"pwrite 1 tail " + fmt.Sprint(max(0, size)), "fstat 1", "seek -2 end", "truncate x 2", "get x",
			}})
		}
	}
	for i := range cases {
		for j, s := range cases[i].Steps {
			if s == "seek -2 end" {
				cases[i].Steps[j] = "seek 1 -2 end"
			}
		}
	}
	return append(cases,
		Case{"largest file", []string{"creat x 0644", "truncate x 9223372036854775807", "stat x", "open 1 x rw 0", "pwrite 1 a 9223372036854775806", "pread 1 2 9223372036854775806"}},
		Case{"read only", []string{"put x data", "open 1 x r 0", "ftruncate 1 0", "write 1 a", "get x"}},
		Case{"write only", []string{"put x data", "open 1 x w 0", "read 1 1", "ftruncate 1 2", "get x"}},
		Case{"path only", []string{"put x data", "open 1 x path 0", "read 1 1", "ftruncate 1 2", "fchmod 1 0600", "fchown 1 0 0", "fstat 1"}},
		Case{"directory", []string{"mkdir x 0755", "open 1 x r 0", "ftruncate 1 2", "read 1 1", "fsync 1", "fchmod 1 0700", "fstat 1"}},
		Case{"seek", []string{"put x data", "open 1 x rw 0", "seek 1 -1 set", "seek 1 100 end", "write 1 z", "seek 1 -5 cur", "read 1 9", "seek 1 -1000 cur", "seek 1 2 set", "read 1 1", "get x"}},
		Case{"append is at the end whoever else writes", []string{
			"put x data", "open 1 x w|append 0", "open 2 x rw 0", "write 1 one", "pwrite 2 xx 10", "write 1 two", "seek 1 0 set", "write 1 three", "get x",
		}},
		Case{"modes do not bind who has it open", []string{
			"alice: put x data", "alice: chmod x 0600", "alice: open 1 x rw 0", "chmod x 0000", "alice: pwrite 1 AA 0", "alice: fsync 1", "alice: pread 1 9 0", "alice: get x",
			"chown x 0 0", "chmod x 0666", "alice: pwrite 1 BB 2", "alice: fsync 1", "alice: pread 1 9 0",
		}},
	)
}

// utimensCases: which times can be set, and that they are kept to the nanosecond.
func utimensCases() []Case {
	times := []string{
		"0", "1.000000001", "1.999999999", "1000000000.123456789", "2147483647", "2147483648.5", "4294967295", "4294967294.999999999",
		"5.1000000000", "5.-5", "now", "omit",
	}
	var cases []Case
	for _, atime := range times {
		for _, mtime := range times {
			cases = append(cases, Case{name("utimens", atime, mtime), []string{
				"put x data", "utimens x 77 88", "mkdir d 0755", "symlink x l", "mkfifo p 0644",
				fmt.Sprintf("utimens x %s %s", atime, mtime), "times x",
				fmt.Sprintf("utimens d %s %s", atime, mtime), "times d",
				fmt.Sprintf("lutimens l %s %s", atime, mtime), "times l", "times x",
				fmt.Sprintf("utimens l %s %s", mtime, atime), "times x",
				fmt.Sprintf("utimens p %s %s", atime, mtime), "times p",
			}})
		}
	}
	for _, user := range everyone {
		for _, mode := range []string{"0644", "0666", "0444", "0000", "0600", "0060", "0006"} {
			c := Case{name("utimens of", mode, "by", user), []string{"alice: put x data", "chmod x " + mode}}
			for _, set := range []string{"now now", "5 6", "omit 7", "8 omit", "now 9", "10 now", "now omit", "omit omit"} {
				c.Steps = append(c.Steps, "utimens x 77 88", user+": utimens x "+set, "times x")
			}
			cases = append(cases, c)
		}
	}
	return cases
}
