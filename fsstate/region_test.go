package fsstate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// as runs an operation that comes through a front end from a machine.
func (w *world) as(via FrontEnd, machine string, c Cred, a Args) Result {
	w.Helper()
	return w.callFrom(via, &Op{Cred: c, Machine: machine, Args: a})
}

// changes are operations of every kind that changes files, on a directory, a file in it called "f" and its empty
// subdirectory "e".
func changes(dir, f Handle) []Args {
	size := uint64(1)
	return []Args{
		&SetAttr{Object: f, Set: SetAttrs{Size: &size}},
		&Write{Object: f, Data: []byte("x")},
		&Create{Dir: dir, Name: "new"},
		&Create{Dir: dir, Name: "excl", How: Exclusive, Verf: 1},
		&Mkdir{Dir: dir, Name: "newdir"},
		&Symlink{Dir: dir, Name: "sym", Target: "t"},
		&Mknod{Dir: dir, Name: "fifo", Type: TypeFIFO},
		&Link{Object: f, Dir: dir, Name: "link"},
		&Rename{FromDir: dir, FromName: "new", ToDir: dir, ToName: "moved"},
		&Remove{Dir: dir, Name: "moved"},
		&Rmdir{Dir: dir, Name: "e"},
	}
}

// looks are operations of every kind that only looks, on a directory and a file in it called "f".
func looks(dir, f Handle) []Args {
	return []Args{
		&GetAttr{Object: f}, &Lookup{Dir: dir, Name: "f"}, &Access{Object: f, Mask: 0x3f}, &Read{Object: f, Count: 9},
		&ReadDir{Dir: dir}, &ReadDir{Dir: dir, Plus: true}, &StatFS{Object: dir},
	}
}

func owner(name string) LockOwner { return LockOwner{Client: LockClient{Name: name}, SVID: 1} }

// exported is a file system with the directories /a and /b, with a file "f" and a directory "e" in each, and /a/in.
type exported struct {
	*world
	root, a, b, in, af, bf Handle
}

func newExported(t *testing.T, exports ...Export) *exported {
	w := newWorld(t, Config{})
	x := &exported{world: w, root: w.root()}
	x.a, x.b = w.mkdir(superuser, x.root, "a", 0o777), w.mkdir(superuser, x.root, "b", 0o777)
	x.in = w.mkdir(superuser, x.a, "in", 0o777)
	for _, d := range []Handle{x.a, x.b} {
		w.write(superuser, w.create(superuser, d, "f", 0o666), 0, "data")
		w.mkdir(superuser, d, "e", 0o777)
	}
	x.af = must[*LookupResult](w, superuser, &Lookup{Dir: x.a, Name: "f"}).Object
	x.bf = must[*LookupResult](w, superuser, &Lookup{Dir: x.b, Name: "f"}).Object
	x.exports(exports...)
	return x
}

func TestExport_forSomeFrontEndsAndMachines(t *testing.T) {
	x := newExported(
		t,
		Export{Path: "/a", FrontEnds: []FrontEnd{1, 100}, Machines: []string{"10.0.0.0/8", "2001:db8::/32"}},
		Export{Path: "/b", ReadOnly: true, FrontEnds: []FrontEnd{100}},
		Export{Path: "/b"},
	)
	for _, tc := range []struct {
		via     FrontEnd
		machine string
		dir, f  Handle
		look    Status
		change  Status
	}{
		{1, "10.1.2.3", x.a, x.af, OK, OK},
		{1, "::ffff:10.1.2.3", x.a, x.af, OK, OK},
		{1, "2001:db8::7", x.a, x.af, OK, OK},
		{1, "11.1.2.3", x.a, x.af, EACCES, EACCES},
		{1, "", x.a, x.af, EACCES, EACCES},
		{1, "no address", x.a, x.af, EACCES, EACCES},
		{2, "10.1.2.3", x.a, x.af, EACCES, EACCES},
		{LocalFrontEnd, "10.1.2.3", x.a, x.af, EACCES, EACCES},
		{100, "", x.b, x.bf, OK, EROFS}, // the first that is for the caller counts
		{101, "", x.b, x.bf, OK, OK},
		{101, "", x.root, x.bf, EACCES, EACCES}, // a handle of another export does not help
	} {
		name := fmt.Sprintf("front end %d from %q", tc.via, tc.machine)
		for _, op := range looks(tc.dir, tc.f) {
			want := tc.look
			if objectsOf(op)[0].Ino != tc.dir.Ino && tc.dir == x.root {
				want = OK // the file is in b
			}
			if s := x.as(tc.via, tc.machine, alice, op).Code(); s != want {
				t.Errorf("%s: %T: status %d, want %d", name, op, s, want)
			}
		}
		before := x.fs.Snapshot()
		for _, op := range changes(tc.dir, tc.f) {
			if tc.dir == x.root {
				continue
			}
			if s := x.as(tc.via, tc.machine, superuser, op).Code(); s != tc.change {
				t.Errorf("%s: %T: status %d, want %d", name, op, s, tc.change)
			}
		}
		if tc.change != OK && x.fs.Root() != before.Root() {
			t.Errorf("%s: what was refused changed the state", name)
		}
		x.fs.Rollback(before)
	}
	x.sound()
}

func TestExport_readOnly(t *testing.T) {
	x := newExported(t, Export{Path: "/", ReadOnly: true})
	for _, op := range changes(x.a, x.af) {
		if s := x.as(0, "10.0.0.1", superuser, op).Code(); s != EROFS {
			t.Errorf("%T: status %d", op, s)
		}
	}
	for _, op := range looks(x.a, x.af) {
		if s := x.as(0, "10.0.0.1", superuser, op).Code(); s != OK {
			t.Errorf("%T: status %d", op, s)
		}
	}
	got := x.as(0, "10.0.0.1", superuser, &Access{Object: x.a, Mask: 0x3f}).(*AccessResult).Granted
	if got != AccessRead|AccessLookup {
		t.Errorf("access %#x", got)
	}
	lock := &Lock{Object: x.af, Owner: owner("m"), Exclusive: true}
	if s := x.as(0, "10.0.0.1", alice, lock).Code(); s != OK {
		t.Errorf("a lock in a read-only export: status %d", s)
	}
}

func TestExport_locksAreWithinTheExport(t *testing.T) {
	x := newExported(t, Export{Path: "/a"})
	for _, op := range []Args{
		&Lock{Object: x.bf, Owner: owner("m")}, &LockTest{Object: x.bf, Owner: owner("m")}, &LockCancel{Object: x.bf, Owner: owner("m")},
		&Unlock{Object: x.bf, Owner: owner("m")}, &Share{Object: x.bf, Owner: owner("m")}, &Unshare{Object: x.bf, Owner: owner("m")},
	} {
		if s := x.as(0, "10.0.0.1", alice, op).Code(); s != EACCES {
			t.Errorf("%T: status %d", op, s)
		}
	}
}

func TestExport_squash(t *testing.T) {
	for _, tc := range []struct {
		squash Squash
		cred   Cred
		want   Cred
	}{
		{SquashNone, superuser, superuser},
		{SquashNone, alice, alice},
		{SquashRoot, superuser, Cred{UID: 70, GID: 80}},
		{SquashRoot, alice, alice},
		{SquashRoot, Cred{UID: 1000, GID: 0, GIDs: []uint32{5, 0}}, Cred{UID: 1000, GID: 80, GIDs: []uint32{5, 80}}},
		{SquashRoot, Cred{UID: 0, GID: 100, GIDs: []uint32{0}}, Cred{UID: 70, GID: 100, GIDs: []uint32{80}}},
		{SquashAll, superuser, Cred{UID: 70, GID: 80}},
		{SquashAll, alice, Cred{UID: 70, GID: 80}},
	} {
		x := newExported(t, Export{Path: "/", Squash: tc.squash, AnonUID: 70, AnonGID: 80})
		groups := fmt.Sprint(tc.cred.GIDs)
		made := x.as(0, "10.0.0.1", tc.cred, &Create{Dir: x.a, Name: "made"}).(*CreateResult)
		if made.Status != OK || made.Attr.UID != tc.want.UID || made.Attr.GID != tc.want.GID {
			t.Errorf("squash %d of %+v: status %d, %+v", tc.squash, tc.cred, made.Status, made.Attr)
		}
		if fmt.Sprint(tc.cred.GIDs) != groups {
			t.Errorf("the caller's groups changed to %v", tc.cred.GIDs)
		}
		// Each group counts as what it became.
		for _, gid := range append(tc.want.GIDs, tc.want.GID) {
			mode := uint32(0o040)
			f := x.fs.Apply(&Op{Args: &Create{Dir: x.a, Name: fmt.Sprint(gid), Set: SetAttrs{Mode: &mode, GID: &gid}}}, x.now).(*CreateResult).Object
			if s := x.as(0, "10.0.0.1", tc.cred, &Read{Object: f, Count: 1}).Code(); s != OK {
				t.Errorf("squash %d of %+v: group %d: status %d", tc.squash, tc.cred, gid, s)
			}
		}
	}
}

// What is in one export cannot be brought into another, and is judged by where it is.
func TestExport_boundaries(t *testing.T) {
	x := newExported(t, Export{Path: "/a"}, Export{Path: "/b"}, Export{Path: "/a/in"})
	in := x.in
	for name, op := range map[string]Args{
		"rename a file":                  &Rename{FromDir: x.a, FromName: "f", ToDir: x.b, ToName: "g"},
		"rename a directory":             &Rename{FromDir: x.a, FromName: "e", ToDir: x.b, ToName: "g"},
		"rename into an export below":    &Rename{FromDir: x.a, FromName: "f", ToDir: in, ToName: "g"},
		"link":                           &Link{Object: x.af, Dir: x.b, Name: "l"},
		"link out of an export below it": &Link{Object: x.af, Dir: in, Name: "l"},
	} {
		if s := x.as(0, "10.0.0.1", superuser, op).Code(); s != EXDEV {
			t.Errorf("%s: status %d, want EXDEV", name, s)
		}
	}
}

// What the policy calls by its path stays there, as a mount point does: otherwise whoever may write above it could put
// another directory in its place, for the operator to export the next time.
func TestExport_directoriesStay(t *testing.T) {
	x := newExported(t, Export{Path: "/"}, Export{Path: "/a/in", ReadOnly: true})
	empty := x.mkdir(alice, x.root, "empty", 0o777)
	for name, tc := range map[string]struct {
		op   Args
		want Status
	}{
		"rename":                           {&Rename{FromDir: x.a, FromName: "in", ToDir: x.a, ToName: "out"}, EACCES},
		"rename the one above":             {&Rename{FromDir: x.root, FromName: "a", ToDir: x.root, ToName: "away"}, EACCES},
		"move the one above":               {&Rename{FromDir: x.root, FromName: "a", ToDir: empty, ToName: "a"}, EACCES},
		"replace":                          {&Rename{FromDir: x.a, FromName: "e", ToDir: x.a, ToName: "in"}, EACCES},
		"remove":                           {&Rmdir{Dir: x.a, Name: "in"}, EACCES},
		"unlink":                           {&Remove{Dir: x.a, Name: "in"}, EISDIR},
		"make":                             {&Create{Dir: x.a, Name: "in"}, EEXIST},
		"rename another beside it":         {&Rename{FromDir: x.a, FromName: "e", ToDir: x.a, ToName: "e2"}, OK},
		"remove another beside it":         {&Rmdir{Dir: x.b, Name: "e"}, OK},
		"rename one that is above nothing": {&Rename{FromDir: x.root, FromName: "b", ToDir: empty, ToName: "b"}, OK},
	} {
		if s := x.as(0, "10.0.0.1", superuser, tc.op).Code(); s != tc.want {
			t.Errorf("%s: status %d, want %d", name, s, tc.want)
		}
	}
	x.exports(Export{Path: "/"})
	if s := x.as(0, "10.0.0.1", superuser, &Rmdir{Dir: x.a, Name: "in"}).Code(); s != OK {
		t.Errorf("what is not exported any more: status %d", s)
	}
	x.sound()
}

// A file that had names in two exports when they were made is of one of them, whatever name it is called by, and a client
// of the other cannot make it its own.
func TestExport_filesWithNamesInSeveral(t *testing.T) {
	x := newExported(t, Export{Path: "/"})
	must[*LinkResult](x.world, superuser, &Link{Object: x.bf, Dir: x.in, Name: "fb"})
	x.exports(Export{Path: "/b", ReadOnly: true}, Export{Path: "/a"})
	size := uint64(0)
	for name, op := range map[string]struct {
		op   Args
		want Status
	}{
		"write":                    {&Write{Object: x.bf, Data: []byte("x")}, EROFS},
		"truncate":                 {&SetAttr{Object: x.bf, Set: SetAttrs{Size: &size}}, EROFS},
		"truncate by creating it":  {&Create{Dir: x.in, Name: "fb", Set: SetAttrs{Size: &size}}, EACCES},
		"create it and get it":     {&Create{Dir: x.in, Name: "fb"}, EACCES},
		"create it for oneself":    {&Create{Dir: x.in, Name: "fb", How: Guarded}, EEXIST},
		"link it in":               {&Link{Object: x.bf, Dir: x.a, Name: "l"}, EXDEV},
		"move its name":            {&Rename{FromDir: x.in, FromName: "fb", ToDir: x.a, ToName: "fb"}, EXDEV},
		"rename its name":          {&Rename{FromDir: x.in, FromName: "fb", ToDir: x.in, ToName: "fb2"}, EXDEV},
		"a file with one name":     {&Create{Dir: x.in, Name: "own"}, OK},
		"a directory may be moved": {&Rename{FromDir: x.a, FromName: "e", ToDir: x.in, ToName: "e2"}, OK},
	} {
		if s := x.as(0, "10.0.0.1", superuser, op.op).Code(); s != op.want {
			t.Errorf("%s: status %d, want %d", name, s, op.want)
		}
		var n inode
		x.fs.view().load(x.bf, &n)
		if now, _ := x.fs.view().region(&n); now != x.b.Ino || n.nlink != 2 {
			t.Errorf("%s: it is of export %d, with %d names", name, now, n.nlink)
		}
	}
	if got := x.as(0, "10.0.0.1", superuser, &Read{Object: x.bf, Count: 9}).(*ReadResult).Data; string(got) != "data" {
		t.Errorf("it holds %q", got)
	}
	if s := x.as(0, "10.0.0.1", superuser, &Remove{Dir: x.in, Name: "fb"}).Code(); s != OK {
		t.Errorf("removing the name: status %d", s)
	}
	x.sound()
}

// A front end cannot end the locks on files that it does not serve, whatever it says of their clients.
func TestExport_locksOfOthers(t *testing.T) {
	x := newExported(t, Export{Path: "/a", FrontEnds: []FrontEnd{1}}, Export{Path: "/b"})
	hold := func(f Handle, o LockOwner, block bool) *LockResult {
		return x.as(1, "10.0.0.1", alice, &Lock{Object: f, Owner: o, Exclusive: true, Block: block, Front: "one"}).(*LockResult)
	}
	held := func(f Handle) bool {
		return x.as(1, "10.0.0.2", alice, &LockTest{Object: f, Owner: owner("other")}).Code() == EAGAIN
	}
	for _, f := range []Handle{x.af, x.bf} {
		if r := hold(f, owner("m"), false); r.Status != OK {
			t.Fatalf("%+v", r)
		}
	}
	x.as(2, "10.0.0.1", alice, &Lock{Object: x.bf, Owner: owner("m"), Exclusive: true, State: 5})
	x.as(2, "10.0.0.1", alice, &Lock{Object: x.bf, Owner: owner("m"), Exclusive: true, State: 7})
	if !held(x.af) {
		t.Error("a front end that serves /b alone said that the client has restarted, and its lock in /a is gone")
	}
	release := &LockRelease{Client: owner("m").Client, All: true}
	x.as(2, "10.0.0.1", alice, release)
	if !held(x.af) || held(x.bf) {
		t.Errorf("a front end that serves /b alone: the lock in /a is held: %t, in /b: %t", held(x.af), held(x.bf))
	}
	waiter := LockOwner{Client: LockClient{Name: "w"}, SVID: 7}
	if r := hold(x.af, waiter, true); !r.Blocked {
		t.Fatalf("%+v", r)
	}
	x.as(1, "10.0.0.1", alice, release)
	grants := func(via FrontEnd) []LockGrant {
		return x.as(via, "", alice, &LockGrants{Front: "one"}).(*LockGrantsResult).Grants
	}
	mine := grants(1)
	if len(mine) != 1 || len(grants(2)) != 0 {
		t.Fatalf("granted %+v; another front end is shown %+v", mine, grants(2))
	}
	refuse := &LockAnswer{Object: x.af, ID: mine[0].ID, Answer: GrantRefused}
	if s := x.as(2, "", alice, refuse).Code(); s != ENOENT || !held(x.af) {
		t.Errorf("another front end gave the lock back: status %d", s)
	}
	if s := x.as(1, "", alice, refuse).Code(); s != OK || held(x.af) {
		t.Errorf("its own front end: status %d", s)
	}
	x.sound()
}

// A front end learns of the clients that have something on files which it serves, and keeps them alive: not of others, and not
// how many they are.
func TestExport_clientsOfOthers(t *testing.T) {
	x := newExported(t, Export{Path: "/a", FrontEnds: []FrontEnd{1}}, Export{Path: "/b"})
	lock := func(machine, name string, files ...Handle) {
		for i, f := range files {
			o := owner(name)
			if r := x.as(1, machine, alice, &Lock{Object: f, Owner: o, Range: LockRange{Offset: x.offset(machine, i), Length: 1}, Exclusive: true}); r.Code() != OK {
				t.Fatalf("%s: %+v", name, r)
			}
		}
	}
	lock("10.0.0.1", "in a", x.af)
	lock("10.0.0.2", "in b", x.bf)
	lock("10.0.0.3", "in both", x.af, x.bf)
	clients := func(via FrontEnd) map[string]LockClientInfo {
		list := map[string]LockClientInfo{}
		for _, c := range x.as(via, "", alice, &LockClients{}).(*LockClientsResult).Clients {
			list[c.Machine] = c
		}
		return list
	}
	names := func(via FrontEnd) string { return strings.Join(slices.Sorted(maps.Keys(clients(via))), " ") }
	if got := names(1); got != "10.0.0.1 10.0.0.2 10.0.0.3" {
		t.Errorf("the front end that serves /a and /b is shown %s", got)
	}
	if got := names(2); got != "10.0.0.2 10.0.0.3" {
		t.Errorf("one that serves /b alone is shown %s", got)
	}
	before := clients(1)
	x.now += lockSeenGrain
	renew := &LockRenew{}
	for _, c := range before {
		renew.Clients = append(renew.Clients, c.Number)
	}
	slices.Sort(renew.Clients)
	x.as(2, "", alice, renew)
	for machine, c := range clients(1) {
		if renewed := c.Seen > before[machine].Seen; renewed == (machine == "10.0.0.1") {
			t.Errorf("%s was renewed by one that serves /b alone: %v", machine, renewed)
		}
	}
	x.sound()
}

// offset is a byte for a machine's n-th lock alone.
func (*exported) offset(machine string, n int) uint64 {
	return uint64(machine[len(machine)-1])*16 + uint64(n)
}

// Who waits through a front end is that one's own business, also on files that others serve too: a front end that takes
// another's name learns nothing, and cannot answer in its place.
func TestExport_waitersOfOthers(t *testing.T) {
	w, f := lockWorld(t)
	as := func(via FrontEnd, a Args) Result { return w.as(via, "10.0.0.1", alice, a) }
	lock := func(name string) Args {
		return &Lock{Object: f, Owner: owner(name), Exclusive: true, Block: true, Front: "gateway-100"}
	}
	list := func(via FrontEnd) *LockGrantsResult {
		return as(via, &LockGrants{Front: "gateway-100"}).(*LockGrantsResult)
	}
	as(100, lock("holds"))
	as(100, lock("waits"))
	if mine, others := list(100), list(101); !mine.Waiting || others.Waiting {
		t.Errorf("somebody waits through front end 100: it is told %v, front end 101 %v", mine.Waiting, others.Waiting)
	}
	as(100, &Unlock{Object: f, Owner: owner("holds")})
	mine := list(100).Grants
	if others := list(101).Grants; len(mine) != 1 || len(others) != 0 {
		t.Fatalf("front end 100 is to tell %+v, front end 101 %+v", mine, others)
	}
	refuse := &LockAnswer{Object: f, ID: mine[0].ID, Answer: GrantRefused}
	if s := as(101, refuse).Code(); s != ENOENT || len(list(100).Grants) != 1 {
		t.Errorf("front end 101 gave the lock of another's client back: status %d", s)
	}
	// A client that turns to another front end and asks again is told by that one.
	as(100, refuse)
	as(100, lock("holds"))
	as(100, lock("waits"))
	as(101, lock("waits"))
	if list(100).Waiting || !list(101).Waiting {
		t.Error("a client that has turned to another front end still waits through the first")
	}
	w.sound()
}

// A handle that was got in an export is no use once the file is elsewhere, whatever names it had.
func TestExport_filesThatLeave(t *testing.T) {
	x := newExported(t, Export{Path: "/a"}, Export{Path: "/b", FrontEnds: []FrontEnd{1}})
	look := &GetAttr{Object: x.af}
	status := func() Status { return x.as(0, "10.0.0.1", alice, look).Code() }
	inside := func(want bool) {
		t.Helper()
		if s := status(); (s == OK) != want || s != OK && s != EACCES {
			t.Errorf("status %d, inside: %t", s, want)
		}
		x.sound()
	}
	move := func(a Args) {
		t.Helper()
		if s := x.fs.Apply(&Op{Args: a}, x.now).Code(); s != OK { // the server's own doing, which no policy hinders
			t.Fatal(s)
		}
	}
	inside(true)
	move(&Rename{FromDir: x.a, FromName: "f", ToDir: x.b, ToName: "g"})
	inside(false)
	move(&Rename{FromDir: x.b, FromName: "g", ToDir: x.in, ToName: "f"})
	inside(true)
	move(&Link{Object: x.af, Dir: x.in, Name: "second"})
	inside(true)
	move(&Rename{FromDir: x.a, FromName: "in", ToDir: x.b, ToName: "in"}) // with what is in it
	inside(false)
	move(&Link{Object: x.af, Dir: x.root, Name: "third"})
	inside(false)
	move(&Remove{Dir: x.in, Name: "f"})
	move(&Remove{Dir: x.in, Name: "second"})
	inside(false) // in the root directory, which is not exported
	move(&Rename{FromDir: x.root, FromName: "third", ToDir: x.a, ToName: "back"})
	inside(true)
}

func TestExport_waysOut(t *testing.T) {
	x := newExported(t, Export{Path: "/a"}, Export{Path: "/a/in", FrontEnds: []FrontEnd{1}})
	lookup := func(via FrontEnd, dir Handle, name string) *LookupResult {
		return x.as(via, "10.0.0.1", alice, &Lookup{Dir: dir, Name: name}).(*LookupResult)
	}
	if r := lookup(0, x.a, ".."); r.Status != OK || r.Object != x.a || r.Attr.Ino != x.a.Ino {
		t.Errorf("above an exported directory: %+v", r)
	}
	if r := lookup(0, x.a, "in"); r.Status != EACCES || r.Attr != nil || r.Object != (Handle{}) {
		t.Errorf("below, what is exported to others: %+v", r)
	}
	if r := lookup(1, x.a, "in"); r.Status != OK || r.Object != x.in {
		t.Errorf("below, what is exported too: %+v", r)
	}
	if r := lookup(1, x.in, ".."); r.Status != OK || r.Object != x.a {
		t.Errorf("from there back: %+v", r)
	}
	if r := lookup(0, x.a, "e"); r.Status != OK {
		t.Errorf("a directory of its own: %+v", r)
	}
	for _, plus := range []bool{false, true} {
		for _, via := range []FrontEnd{0, 1} {
			r := x.as(via, "10.0.0.1", alice, &ReadDir{Dir: x.a, Plus: plus}).(*ReadDirResult)
			seen := map[string]DirEntry{}
			for _, e := range r.Entries {
				seen[e.Name] = e
			}
			if up := seen[".."]; up.Ino != x.a.Ino || plus && (up.Gen != x.a.Gen || up.Attr == nil || up.Attr.Ino != x.a.Ino) {
				t.Errorf("plus %t: .. is %+v", plus, up)
			}
			if in := seen["in"]; in.Ino != x.in.Ino || (in.Gen != 0) != (plus && via == 1) || (in.Attr != nil) != (plus && via == 1) {
				t.Errorf("plus %t, front end %d: in is %+v", plus, via, in)
			}
			if e := seen["e"]; plus && (e.Gen == 0 || e.Attr == nil) || len(seen) != 5 {
				t.Errorf("plus %t: e is %+v of %d", plus, e, len(seen))
			}
		}
	}
}

// The way to an exported directory is open to whom it is for, and what else there is cannot be found out.
func TestExport_resolve(t *testing.T) {
	x := newExported(t, Export{Path: "/a/in", Squash: SquashRoot, AnonUID: 70, AnonGID: 80}, Export{Path: "/b", FrontEnds: []FrontEnd{1}})
	closed := uint32(0)
	for _, h := range []Handle{x.root, x.a} {
		x.fs.Apply(&Op{Args: &SetAttr{Object: h, Set: SetAttrs{Mode: &closed}}}, x.now)
	}
	sub := x.fs.Apply(&Op{Args: &Mkdir{Dir: x.in, Name: "sub", Set: SetAttrs{Mode: &closed}}}, x.now).(*CreateResult).Object
	for _, tc := range []struct {
		via  FrontEnd
		path string
		want Status
		is   Handle
	}{
		{0, "/a/in", OK, x.in},
		{0, "//a//in/", OK, x.in},
		{0, "/a/in/sub", OK, sub},
		{0, "/a/in/sub/x", EACCES, Handle{}}, // the superuser is squashed there
		{0, "/a/in/nothing", ENOENT, Handle{}},
		{0, "/a/in/../in", EINVAL, Handle{}},
		{0, "/a/../a/in", EACCES, Handle{}},
		{0, "", EACCES, Handle{}},
		{0, "/", EACCES, Handle{}},
		{0, "/a", EACCES, Handle{}},
		{0, "/a/f", EACCES, Handle{}},
		{0, "/a/f/x", EACCES, Handle{}},
		{0, "/a/nothing", EACCES, Handle{}},
		{0, "/nothing", EACCES, Handle{}},
		{0, "/b", EACCES, Handle{}},
		{1, "/b", OK, x.b},
		{1, "/b/f", OK, x.bf},
	} {
		r := x.as(tc.via, "10.0.0.1", superuser, &Resolve{Path: tc.path}).(*LookupResult)
		if r.Status != tc.want || r.Object != tc.is {
			t.Errorf("front end %d, %q: %+v, want status %d and %v", tc.via, tc.path, r, tc.want, tc.is)
		}
	}
	for via, want := range map[FrontEnd]string{0: "[{/a/in []}]", 1: "[{/a/in []} {/b []}]"} {
		if got := fmt.Sprint(x.as(via, "10.0.0.1", bob, &ListExports{}).(*ListExportsResult).Exports); got != want {
			t.Errorf("front end %d is shown %s, want %s", via, got, want)
		}
	}
}

func TestExport_depth(t *testing.T) {
	w := newWorld(t, Config{})
	at := w.mkdir(alice, w.root(), "a", 0o777)
	for range regionDepthMax - 2 {
		at = w.mkdir(alice, at, "d", 0o777)
	}
	deepest := w.create(alice, at, "f", 0o666)
	deeper := w.create(alice, w.mkdir(alice, at, "d", 0o777), "f", 0o666)
	tooDeep := w.create(alice, w.mkdir(alice, w.mkdir(alice, at, "e", 0o777), "d", 0o777), "f", 0o666)
	w.exports(Export{Path: "/a"}, Export{Path: "/", FrontEnds: []FrontEnd{1}})
	for name, tc := range map[string]struct {
		h    Handle
		want Status
	}{"as deep as may be": {deepest, OK}, "one deeper": {deeper, OK}, "too deep": {tooDeep, EACCES}} {
		if s := w.as(0, "10.0.0.1", alice, &GetAttr{Object: tc.h}).Code(); s != tc.want {
			t.Errorf("%s: status %d", name, s)
		}
	}
}

// The export of an inode is that of the longest exported path above any of its names, for random trees, links and moves.
func TestExport_isThatOfThePath(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, Config{})
		dirs := []Handle{w.root()}
		var files []Handle
		name := func() string { return fmt.Sprint("n", rnd.IntN(8)) }
		dir := func() Handle { return dirs[rnd.IntN(len(dirs))] }
		for range 300 {
			switch k := rnd.IntN(8); {
			case k < 2:
				if r := w.do(superuser, &Mkdir{Dir: dir(), Name: name()}).(*CreateResult); r.Status == OK {
					dirs = append(dirs, r.Object)
				}
			case k < 4:
				if r := w.do(superuser, &Create{Dir: dir(), Name: name(), How: Guarded}).(*CreateResult); r.Status == OK {
					files = append(files, r.Object)
				}
			case k == 4 && len(files) > 0:
				w.do(superuser, &Link{Object: files[rnd.IntN(len(files))], Dir: dir(), Name: name()})
			case k == 5:
				w.do(superuser, &Remove{Dir: dir(), Name: name()})
			default:
				w.do(superuser, &Rename{FromDir: dir(), FromName: name(), ToDir: dir(), ToName: name()})
			}
		}
		paths := map[uint64][]string{} // of each inode
		s := w.fs.Snapshot()
		var above []string
		err := s.Walk(0, func(o *Object) error {
			if above = append(above[:min(o.Depth, len(above))], o.Name); o.Depth > 0 {
				paths[o.Ino] = append(paths[o.Ino], strings.Join(above, "/"))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var exports []Export
		for _, h := range dirs[1:] {
			if p := paths[h.Ino]; len(p) > 0 && rnd.IntN(4) == 0 && len(exports) < 8 {
				exports = append(exports, Export{Path: p[0]})
			}
		}
		w.exports(exports...)
		for ino, names := range paths {
			want := map[uint64]bool{}
			for _, p := range names {
				longest := uint64(0)
				best := -1
				for _, e := range w.fs.view().policy().Exports {
					if (p == e.Path || strings.HasPrefix(p, e.Path+"/")) && len(e.Path) > best {
						longest, best = e.Dir, len(e.Path)
					}
				}
				want[longest] = true
			}
			var n inode
			w.fs.view().inode(ino, &n)
			if n.typ != TypeDirectory { // an exported directory is in its own export; a file of its name cannot be
				if got, _ := w.fs.view().region(&n); !want[got] {
					t.Errorf("seed %d: inode %d, %v: export %d, want one of %v of %+v", seed, ino, names, got, want, exports)
				}
				continue
			}
			if got, _ := w.fs.view().region(&n); !want[got] {
				t.Errorf("seed %d: directory %d, %v: export %d, want %v", seed, ino, names, got, want)
			}
		}
	}
}
