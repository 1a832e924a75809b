package fsstate

import (
	"slices"
	"testing"
)

// FuzzCorruptState spoils the stored pairs of a sound state and runs every operation on it: bad disks and bad memory may
// give wrong answers here, which the root tells, but no panic.
func FuzzCorruptState(f *testing.F) {
	w := newWorld(f, Config{Duplicates: 4})
	root := w.root()
	d := w.mkdir(alice, root, "dir", 0o755)
	file := w.create(alice, d, "name", 0o644)
	w.write(alice, file, 5000, "data")
	link := must[*CreateResult](w, alice, &Symlink{Dir: root, Name: "link", Target: "to"}).Object
	w.call("m", 1, alice, &Mkdir{Dir: root, Name: "again"})
	w.fs.SetSession(1, 1, 1, make([]byte, 5000))
	must[*LinkResult](w, alice, &Link{Object: file, Dir: root, Name: "second"})
	w.exports(Export{Path: "/dir", Squash: SquashRoot}, Export{Path: "/"})
	w.memberKey(100, "key")
	holder, waiter := w.locker("1", 1), w.locker("2", 2)
	waiter.owner.Client, waiter.machine = sampleLockArgs(file)[0].(*Lock).Owner.Client, "m"
	holder.takes(file, 0, 10)
	waiter.waits(file, 0, 10)
	waiter.owner.SVID = 3
	waiter.waits(file, 0, 10)
	holder.unlocks(file, 0, 10)
	holder.waits(file, 0, 10)
	waiter.want(OK, &Share{Object: file, Owner: waiter.owner, Access: ShareRead})
	type pair struct{ k, v []byte }
	var sound []pair
	for k, v := range pairsOf(f, w.fs.Snapshot(), nil) {
		sound = append(sound, pair{slices.Clone(k), slices.Clone(v)})
	}
	f.Add([]byte{})
	for i := range sound {
		f.Add([]byte{byte(i), 0, 255, byte(i), 40, 1, byte(i), 255, 3})
	}
	f.Fuzz(func(t *testing.T, edits []byte) {
		pairs := slices.Clone(sound)
		for ; len(edits) >= 3; edits = edits[3:] {
			i := int(edits[0]) % len(pairs)
			v := slices.Clone(pairs[i].v)
			if edits[1] == 255 || len(v) == 0 {
				v = v[:min(len(v), int(edits[2]))]
			} else {
				v[int(edits[1])%len(v)] = edits[2]
			}
			pairs[i].v = v
		}
		fs := New(Config{})
		if fs.Load(func(yield func(k, v []byte) bool) {
			for _, p := range pairs {
				if !yield(p.k, p.v) {
					return
				}
			}
		}) != nil {
			return
		}
		Check(fs.Snapshot())
		if copied, err := rebuilt(fs.Snapshot()); err == nil && copied.Root() != fs.Root() && len(Check(fs.Snapshot())) == 0 {
			t.Error("a backup of a sound state gives another")
		}
		for _, h := range []Handle{root, d, file, link} {
			for _, op := range sampleOps() {
				onHandle(op.Args, h)
				op.Cred, op.XID, op.Machine = superuser, 1, "m"
				fs.Execute(EncodeOp(op), 10)
				if snap := fs.Snapshot(); op.Args.ReadOnly() {
					snap.Query(EncodeOp(op))
				}
			}
		}
		fs.SetSession(1, 1, 2, nil)
		fs.Sessions(func(uint32, uint32, uint64, []byte) bool { return true })
		Check(fs.Snapshot())
	})
}

// onHandle points an operation at h, and names at ones that exist.
func onHandle(args Args, h Handle) {
	switch a := args.(type) {
	case *GetAttr:
		a.Object = h
	case *SetAttr:
		a.Object, a.Guard = h, nil
	case *Lookup:
		a.Dir, a.Name = h, "name"
	case *Access:
		a.Object = h
	case *ReadLink:
		a.Object = h
	case *Read:
		a.Object, a.Offset = h, 4000
	case *Write:
		a.Object = h
	case *Create:
		a.Dir, a.How = h, Unchecked
	case *Mkdir:
		a.Dir, a.Set.Size = h, nil
	case *Symlink:
		a.Dir, a.Set.Size = h, nil
	case *Mknod:
		a.Dir, a.Set.Size = h, nil
	case *Remove:
		a.Dir, a.Name = h, "name"
	case *Rmdir:
		a.Dir, a.Name = h, "dir"
	case *Rename:
		a.FromDir, a.ToDir, a.FromName = h, h, "name"
	case *Link:
		a.Object, a.Dir = h, h
	case *ReadDir:
		a.Dir, a.Cookie, a.Verf, a.Limits = h, 0, 0, [2]DirLimit{}
	case *StatFS:
		a.Object = h
	case *Lock:
		a.Object, a.Range, a.Reclaim, a.Server = h, LockRange{}, false, ""
	case *LockTest:
		a.Object, a.Range = h, LockRange{}
	case *LockCancel:
		a.Object = h
	case *Unlock:
		a.Object, a.Range = h, LockRange{}
	case *Share:
		a.Object = h
	case *Unshare:
		a.Object = h
	case *LockGrants:
		a.Front = "front"
	case *LockAnswer:
		a.Object, a.ID, a.Answer = h, 2, GrantRefused
	case *LockClients:
		a.After = 0
	}
}
