package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/fsservice"
	"bfsd/replica"
	"bfsd/replica/sim"
	"bfsd/replica/wire"
)

// fileSystemScenario is the simulator's scenario of what bfsd is for: clients make, write, read, list, rename and remove
// files in a few directories that they share.
func fileSystemScenario() sim.Scenario {
	return sim.Scenario{
		Name: "fs",
		New: func() replica.Service {
			fs := fsstate.New(fsstate.Config{MaxBytes: 8 << 20, MaxInodes: 64, Mode: 0o777, Duplicates: 16})
			return fsservice.New(fs, time.Second)
		},
		Workload: func(rng *rand.Rand, c wire.ClientID, s wire.Slot) sim.Workload {
			return &fileLoad{rng: rng, cred: fsstate.Cred{UID: uint32(c), GID: 100}, machine: fmt.Sprintf("10.0.%d.%d", c, s), reads: rng.IntN(4)}
		},
		Rogue: func(rng *rand.Rand) []byte {
			l := &fileLoad{rng: rng, cred: fsstate.Cred{UID: 4711, GID: 4711}, machine: "10.6.6.6", reads: rng.IntN(4)}
			op, _ := l.Next(nil)
			switch rng.IntN(4) {
			case 0:
				return op[:rng.IntN(len(op))]
			case 1:
				op[rng.IntN(len(op))] ^= 1 << rng.IntN(8)
			}
			return op
		},
	}
}

// fileLoad is one slot's sequence of operations. It knows the handles that results told it of; some are stale by the time
// it uses them, as a real client's are.
type fileLoad struct {
	rng     *rand.Rand
	cred    fsstate.Cred
	machine string
	reads   int // of four operations
	xid     uint32
	sent    []byte // the last operation, if it may change something
	asked   fsstate.Kind
	into    bool // the object of the last operation is a directory
	root    fsstate.Handle
	dirs    []fsstate.Handle
	files   []fsstate.Handle
}

// Next implements sim.Workload.
func (l *fileLoad) Next(last []byte) (op []byte, readOnly bool) {
	l.learn(last)
	if l.sent != nil && l.rng.IntN(12) == 0 {
		return l.sent, false // as after a lost connection
	}
	args := l.args()
	l.asked = args.Kind()
	if l.rng.IntN(8) > 0 { // else it looks like a call that is sent again, and is another
		l.xid++
	}
	op = fsstate.EncodeOp(&fsstate.Op{Cred: l.cred, Machine: l.machine, XID: l.xid, Args: args})
	if l.sent = nil; !args.ReadOnly() {
		l.sent = bytes.Clone(op)
	}
	return op, args.ReadOnly()
}

// learn takes the handle from a result.
func (l *fileLoad) learn(last []byte) {
	if last == nil {
		return
	}
	r, err := fsstate.DecodeResult(l.asked, last)
	if err != nil || r.Code() != fsstate.OK {
		return
	}
	var h fsstate.Handle
	switch r := r.(type) {
	case *fsstate.LookupResult:
		h = r.Object
		if l.asked == fsstate.KindResolve {
			l.root, l.dirs = h, []fsstate.Handle{h}
			return
		}
		l.into = r.Attr != nil && r.Attr.Type == fsstate.TypeDirectory
	case *fsstate.CreateResult:
		h = r.Object
		l.into = l.asked == fsstate.KindMkdir
	default:
		return
	}
	const remembered = 6
	if l.into {
		l.dirs = keep(l.dirs, h, remembered)
	} else {
		l.files = keep(l.files, h, remembered)
	}
}

// keep adds a handle to a list, of which the first (the root, of directories) stays.
func keep(list []fsstate.Handle, h fsstate.Handle, limit int) []fsstate.Handle {
	if len(list) == limit {
		list = append(list[:1], list[2:]...)
	}
	return append(list, h)
}

func (l *fileLoad) args() fsstate.Args {
	switch {
	case len(l.dirs) == 0:
		return &fsstate.Resolve{Path: "/"}
	case len(l.files) > 0 && l.rng.IntN(6) == 0:
		return l.locking()
	case l.rng.IntN(4) < l.reads:
		return l.reading()
	case len(l.files) == 0 || l.rng.IntN(2) == 0:
		return l.naming()
	}
	size := 1 + l.rng.IntN(64)
	if l.rng.IntN(10) == 0 {
		size = 1 + l.rng.IntN(10_000)
	}
	switch l.rng.IntN(5) {
	case 0:
		length := l.rng.Uint64N(9000)
		return &fsstate.SetAttr{Object: l.file(), Set: fsstate.SetAttrs{Size: &length, Mtime: fsstate.SetTime{How: fsstate.TimeServer}}}
	case 1:
		mode := uint32(l.rng.IntN(0o1000))
		return &fsstate.SetAttr{Object: l.file(), Set: fsstate.SetAttrs{Mode: &mode}}
	}
	return &fsstate.Write{Object: l.file(), Offset: l.rng.Uint64N(5000), Data: bytes.Repeat([]byte{byte('a' + l.rng.IntN(26))}, size)}
}

func (l *fileLoad) reading() fsstate.Args {
	if len(l.files) > 0 && l.rng.IntN(2) == 0 {
		if l.rng.IntN(2) == 0 {
			return &fsstate.GetAttr{Object: l.file()}
		}
		return &fsstate.Read{Object: l.file(), Offset: l.rng.Uint64N(5000), Count: 1 + l.rng.Uint32N(5000)}
	}
	switch l.rng.IntN(4) {
	case 0:
		return &fsstate.ReadDir{Dir: l.dir(), Plus: l.rng.IntN(2) == 0, Limits: [2]fsstate.DirLimit{{Bytes: 4096, PerEntry: 24}}}
	case 1:
		return &fsstate.GetAttr{Object: l.dir()}
	case 2:
		return &fsstate.StatFS{Object: l.dir()}
	}
	return &fsstate.Lookup{Dir: l.dir(), Name: l.name()}
}

func (l *fileLoad) naming() fsstate.Args {
	mode := uint32(0o777)
	switch l.rng.IntN(8) {
	case 0:
		return &fsstate.Mkdir{Dir: l.dir(), Name: l.name(), Set: fsstate.SetAttrs{Mode: &mode}}
	case 1:
		return &fsstate.Remove{Dir: l.dir(), Name: l.name()}
	case 2:
		return &fsstate.Rmdir{Dir: l.dir(), Name: l.name()}
	case 3:
		return &fsstate.Rename{FromDir: l.dir(), FromName: l.name(), ToDir: l.dir(), ToName: l.name()}
	case 4:
		if len(l.files) > 0 {
			return &fsstate.Link{Object: l.file(), Dir: l.dir(), Name: l.name()}
		}
		return &fsstate.Symlink{Dir: l.dir(), Name: l.name(), Target: "elsewhere"}
	case 5:
		return &fsstate.Create{Dir: l.dir(), Name: l.name(), How: fsstate.Exclusive, Verf: l.rng.Uint64N(4)}
	}
	return &fsstate.Create{Dir: l.dir(), Name: l.name(), How: fsstate.CreateHow(l.rng.IntN(2)), Set: fsstate.SetAttrs{Mode: &mode}}
}

func (l *fileLoad) file() fsstate.Handle { return l.files[l.rng.IntN(len(l.files))] }
func (l *fileLoad) dir() fsstate.Handle  { return l.dirs[l.rng.IntN(len(l.dirs))] }
func (l *fileLoad) name() string         { return fmt.Sprintf("n%d", l.rng.IntN(6)) }
