package fsstate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bfsd/fsstate/tree"
)

// Limits of an export policy.
const (
	// ExportsMax is how many exports it has.
	ExportsMax = 64
	// ExportListMax is how many front ends, and how many networks, one export names.
	ExportListMax = 64

	policySizeMax = 16 * pageSize // of its encoding
)

// Policy says who may use which parts of the tree, and how. It is replicated state, so replicas enforce it: a front end
// that an attacker owns gains no more than what its key is allowed. A file system without one has a single export, "/",
// for everybody, that changes nothing about credentials.
type Policy struct {
	Version uint64 // how often it was changed
	Exports []Export
}

// Export is a directory with all below it, except what is below another export's directory: rules belong to places in the
// tree, not to ways to get there. Of several exports of one directory, the first that is for the caller's front end and
// machine counts; a caller that none is for cannot use what is there.
type Export struct {
	Path      string // absolute; no symbolic links are followed
	Dir       uint64 // the directory's inode number, as Path led to it when the policy was set: renaming it changes nothing
	ReadOnly  bool
	Squash    Squash
	AnonUID   uint32     // who is squashed becomes this user
	AnonGID   uint32     // and this group
	FrontEnds []FrontEnd // whose keys may use it; empty: all
	Machines  []string   // from which networks, as netip.Prefix writes them; empty: from everywhere
}

// Squash says whose credentials are replaced.
type Squash uint8

// The kinds of squashing.
const (
	SquashNone Squash = iota
	SquashRoot        // user and group 0, as exports(5) root_squash
	SquashAll         // everybody's
)

// policy is a Policy in use; nil is the one of a file system without. It never changes.
type policy struct {
	Policy
	regions  map[uint64][]int // directory → its exports, in order
	networks [][]netip.Prefix // of each export
	ways     map[uint64]bool  // the exported directories and those above them (see waysTo)
}

// defaultExport is the only one where there is no policy.
func defaultExport() Export { return Export{Path: "/", Dir: rootIno} }

// check verifies what does not depend on the state. It makes the networks in passing.
func (p *Policy) check() (networks [][]netip.Prefix, err error) {
	if len(p.Exports) > ExportsMax {
		return nil, fmt.Errorf("%d exports, %d at most", len(p.Exports), ExportsMax)
	}
	for i := range p.Exports {
		e := &p.Exports[i]
		n, err := e.check()
		if err != nil {
			return nil, fmt.Errorf("export %d, %q: %w", i+1, clipped(e.Path), err)
		}
		networks = append(networks, n)
	}
	return networks, nil
}

func (e *Export) check() (networks []netip.Prefix, err error) {
	if len(e.Path) > PathMax {
		return nil, fmt.Errorf("a path of %d bytes, %d at most", len(e.Path), PathMax)
	}
	if e.Path != "/" {
		names := strings.Split(e.Path, "/")
		if names[0] != "" || len(names) < 2 || slices.ContainsFunc(names[1:], func(n string) bool { return isDot(n) || checkName(n) != nil }) {
			return nil, errors.New("not an absolute path without \".\", \"..\" and empty names")
		}
	}
	if e.AnonUID == noID || e.AnonGID == noID {
		return nil, errors.New("who is squashed must become a user and a group that there can be: below 4294967295")
	}
	if e.Squash > SquashAll {
		return nil, fmt.Errorf("squash %d", e.Squash)
	}
	if len(e.FrontEnds) > ExportListMax || len(e.Machines) > ExportListMax {
		return nil, fmt.Errorf("%d front ends and %d networks, %d at most", len(e.FrontEnds), len(e.Machines), ExportListMax)
	}
	for _, s := range e.Machines {
		p, err := netip.ParsePrefix(s)
		if err != nil || p != p.Masked() || p.String() != s {
			return nil, fmt.Errorf("%q is no network such as 10.0.0.0/8", clipped(s))
		}
		networks = append(networks, p)
	}
	return networks, nil
}

// clipped keeps a piece of input short enough for an error message.
func clipped(s string) string { return s[:min(len(s), 64)] }

// inUse prepares a policy whose directories are known.
func (p Policy) inUse(v view) (*policy, error) {
	networks, err := p.check()
	if err != nil {
		return nil, err
	}
	u := &policy{Policy: p, networks: networks, regions: make(map[uint64][]int, len(p.Exports)), ways: v.waysTo(p.Exports)}
	for i, e := range p.Exports {
		u.regions[e.Dir] = append(u.regions[e.Dir], i)
	}
	return u, nil
}

// find returns the export of a directory that is for a front end and a machine.
func (p *policy) find(dir uint64, via FrontEnd, machine netip.Addr) (*Export, bool) {
	for _, i := range p.regions[dir] {
		if e := &p.Exports[i]; e.isFor(via) && (len(e.Machines) == 0 || contains(p.networks[i], machine)) {
			return e, true
		}
	}
	return nil, false
}

func (e *Export) isFor(via FrontEnd) bool {
	return len(e.FrontEnds) == 0 || slices.Contains(e.FrontEnds, via)
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// squash returns the credential that the export makes of one.
func (e *Export) squash(c Cred) Cred {
	switch e.Squash {
	case SquashAll:
		return Cred{UID: e.AnonUID, GID: e.AnonGID}
	case SquashRoot:
		if c.UID == 0 {
			c.UID = e.AnonUID
		}
		if c.GID == 0 {
			c.GID = e.AnonGID
		}
		if slices.Contains(c.GIDs, 0) {
			c.GIDs = slices.Clone(c.GIDs)
			for i, g := range c.GIDs {
				if g == 0 {
					c.GIDs[i] = e.AnonGID
				}
			}
		}
	case SquashNone:
	}
	return c
}

// policyKey is where a part of the encoded policy lies.
func policyKey(part uint64) tree.Key { return tree.Key{Hi: policyTag, Lo: part} }

// storePolicy makes a policy the one in use, and puts it in the tree.
func (fs *FS) storePolicy(p Policy) Status {
	u, err := p.inUse(fs.view())
	if err != nil {
		return EINVAL
	}
	b := appendValue(nil, &p)
	if len(b) > policySizeMax {
		return EFBIG
	}
	fs.tree.DeleteRange(policyKey(0), policyKey(^uint64(0)))
	for part := uint64(0); len(b) > 0; part++ {
		n := min(len(b), pageSize)
		fs.tree.Put(policyKey(part), b[:n])
		b = b[n:]
	}
	fs.super.policy = u
	return OK
}

// CheckExports says whether exports are such as a policy may have, as far as that does not depend on the state.
func CheckExports(exports []Export) error {
	_, err := EncodePolicyOrder(&PolicyOrder{Exports: exports})
	return err
}

// export makes the directories of a new file system's exports, and the policy.
func (fs *FS) export(exports []Export) {
	p := Policy{Exports: slices.Clone(exports)}
	mode := uint32(0o755)
	for i := range p.Exports {
		e := &p.Exports[i]
		at, s := Handle{Ino: rootIno, Gen: generation(&fs.super.seed, rootIno)}, OK
		for name, rest := cutPath(e.Path); name != "" && s == OK; name, rest = cutPath(rest) {
			if found := fs.view().lookup(&Cred{}, &Lookup{Dir: at, Name: name}); found.Status == OK {
				at = found.Object
				continue
			}
			made := fs.mkdir(&Cred{}, &Mkdir{Dir: at, Name: name, Set: SetAttrs{Mode: &mode}}, fs.super.tick(0))
			at, s = made.Object, made.Status
		}
		if s != OK {
			panic(fmt.Sprintf("fsstate: making the exported directory %q of a new file system: status %d", e.Path, s))
		}
		e.Dir = at.Ino
	}
	if s := fs.storePolicy(p); s != OK {
		panic(fmt.Sprintf("fsstate: %d exports for a new file system, which CheckExports must have refused: status %d", len(exports), s))
	}
}

// loadPolicy reads the policy from the tree.
func (fs *FS) loadPolicy() (*policy, error) {
	var b []byte
	next := uint64(0)
	fs.tree.Reader().Scan(policyKey(0), policyKey(policySizeMax/pageSize), func(k tree.Key, part []byte) bool {
		if k.Lo == next {
			b, next = append(b, part...), next+1
		}
		return k.Lo < next
	})
	if next == 0 {
		return nil, nil
	}
	var p Policy
	if err := decodeAll(b, &p); err != nil {
		return nil, fmt.Errorf("no valid export policy: %w", err)
	}
	u, err := p.inUse(fs.view())
	if err != nil {
		return nil, fmt.Errorf("no valid export policy: %w", err)
	}
	return u, nil
}
