package fsstate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"bfsd/fsstate/tree"
)

// The duplicate-request cache. An NFS client that loses its connection sends its calls again under the same transaction
// id, perhaps through another front end, while the first copy is still on its way: without the cache a REMOVE sent twice
// would fail, and a WRITE that comes late would undo a newer one (Juszczak, "Improving the Performance and Correctness of
// an NFS Server", USENIX Winter 1989). The cache is replicated state, so any replica gives the first answer, whatever it
// was: an answer of failure too, or a REMOVE that failed and comes late could remove what was made since. Everything that
// may change something is remembered, as Linux's server does (fs/nfsd: RC_REPLBUFF).
//
// A call is the same as an earlier one if all of its encoded operation is (machine, caller, transaction id, credential,
// arguments). The client's port is no part of it: it may be another one after a reconnection.
//
// A machine's answers are in two generations. When the newer one has its share of the answers that may be kept, the older
// one goes, as a whole, which costs no more than forgetting one answer. So a machine's latest answers are kept whatever
// others send: a server that is flooded does not forget what a client waits for whose front end has just failed. Only
// when all machines together have too many does another one's older generation go, of each machine in turn.

const (
	// DuplicatesDefault is how many answers a file system keeps whose Config does not say. One takes some 350 bytes.
	DuplicatesDefault = 1 << 16
	// dupShare says which part of all answers one generation of a machine's may be.
	dupShare = 16
	// dupWindow is for how long a call may be sent again: Linux's server has the same bound (RC_EXPIRE). It keeps a client
	// that starts anew with transaction ids used before from getting answers of its former life.
	dupWindow = Time(120e9)
	// dupWhole is up to how many bytes the hash takes the operation in full; of a longer one it takes that much and a
	// checksum of all (as Linux's does: RC_CSUMLEN). Only the client that sent both could gain from a collision.
	dupWhole = 512
	// dupResultMax bounds a remembered result, and so the cache in bytes. What a change returns is a third of it at most: two
	// objects' attributes, before and after.
	dupResultMax = 1024
	// dupHead is the length of an answer's record without the result: time, hash.
	dupHead = 8 + tree.KeyLen
	// dupSweep is after how many answers a machine is looked at that may have answers which nobody may ask for any more.
	dupSweep = 64
)

// dupCall is what tells a call from others.
type dupCall struct {
	machine uint64   // a hash of where it comes from, below 2^61
	index   uint64   // its transaction id, then a part of hash: below 2^63
	hash    tree.Key // of the operation
}

// dupMachine is a machine's record: what is known of its two generations. It is five numbers, big-endian.
type dupMachine struct {
	generation uint64 // the newer one: 0 or 1
	count      uint64 // answers in it
	last       Time   // of its last answer
	older      uint64 // answers in the other one
	olderLast  Time   // of the other one's last
}

// The keys of the cache: see keys.go.
func dupMachineKey(machine uint64) tree.Key { return tree.Key{Hi: dupTag | machine} }

func dupAnswerKey(machine, generation, index uint64) tree.Key {
	return tree.Key{Hi: dupAnswerTag | machine, Lo: generation<<63 | index}
}

// dupCallOf identifies a call. A machine is an address; 127.0.0.1 is another machine at each gateway, but one for all of
// the replicas' own front ends, which are mounted that way where all run on one machine.
func dupCallOf(via FrontEnd, o *Op, op []byte) dupCall {
	if a, err := netip.ParseAddr(o.Machine); via < FirstGateway || err != nil || !a.IsLoopback() {
		via = LocalFrontEnd
	}
	var place [4 + machineMax]byte
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(place[:0], uint32(via)), o.Machine...))
	d := dupCall{machine: binary.BigEndian.Uint64(sum[:]) >> 3, hash: dupHash(op)}
	d.index = uint64(o.XID)<<31 | d.hash.Lo>>33
	return d
}

// dupHash tells encoded operations apart.
func dupHash(op []byte) tree.Key {
	var buf [dupWhole + 8]byte
	b := append(buf[:0], op[:min(len(op), dupWhole)]...)
	if len(op) > dupWhole {
		b = binary.BigEndian.AppendUint32(b, uint32(len(op)))
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(op, crc32.MakeTable(crc32.Castagnoli)))
	}
	sum := sha256.Sum256(b)
	return tree.ParseKey(sum[:])
}

// once runs an operation that may change something and returns its encoded result, or that of the first time if the call
// is one sent again. A front end that has no transaction id gives 0.
func (fs *FS) once(via FrontEnd, o *Op, op []byte, now Time) []byte {
	if fs.super.dupMax == 0 || o.Machine == "" || o.XID == 0 {
		return EncodeResult(fs.change(via, o, now))
	}
	call := dupCallOf(via, o, op)
	m := fs.view().dupMachine(call.machine)
	if result, ok := fs.view().dupFind(call, &m, max(now, fs.super.last)); ok {
		return bytes.Clone(result)
	}
	result := EncodeResult(fs.change(via, o, now))
	if len(result) <= dupResultMax {
		fs.remember(call, &m, result)
	}
	return result
}

// dupFind returns the answer to a call, if there is one and it may still be asked for.
func (v view) dupFind(call dupCall, m *dupMachine, now Time) (result []byte, ok bool) {
	for _, generation := range [...]uint64{m.generation, 1 - m.generation} {
		b, ok := v.Get(dupAnswerKey(call.machine, generation, call.index))
		if !ok || len(b) < dupHead || tree.ParseKey(b[8:]) != call.hash {
			continue
		}
		if at := Time(binary.BigEndian.Uint64(b)); now-at <= dupWindow {
			return b[dupHead:], true
		}
	}
	return nil, false
}

// dupMachine returns a machine's record, an empty one if it has none.
func (v view) dupMachine(machine uint64) (m dupMachine) {
	if b, ok := v.Get(dupMachineKey(machine)); ok {
		m, _ = parseDupMachine(b)
	}
	return m
}

func parseDupMachine(b []byte) (m dupMachine, ok bool) {
	if len(b) != 5*8 {
		return m, false
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	return dupMachine{generation: u(0) & 1, count: u(1), last: Time(u(2)), older: u(3), olderLast: Time(u(4))}, true
}

func (fs *FS) putDupMachine(machine uint64, m *dupMachine) {
	if m.count == 0 && m.older == 0 {
		fs.tree.Delete(dupMachineKey(machine))
		return
	}
	b := fs.page[:0]
	for _, u := range [...]uint64{m.generation, m.count, uint64(m.last), m.older, uint64(m.olderLast)} {
		b = binary.BigEndian.AppendUint64(b, u)
	}
	fs.tree.Put(dupMachineKey(machine), b)
}

// remember adds an answer to those of the machine with record m.
func (fs *FS) remember(call dupCall, m *dupMachine, result []byte) {
	s := &fs.super
	if m.count >= max(1, s.dupMax/dupShare) {
		fs.forgetOlder(call.machine, m)
		m.generation, m.older, m.olderLast = 1-m.generation, m.count, m.last
		m.count = 0
	}
	pairs := fs.tree.Reader().Len()
	b := binary.BigEndian.AppendUint64(fs.page[:0], uint64(s.last))
	b = append(call.hash.Append(b), result...)
	fs.tree.Put(dupAnswerKey(call.machine, m.generation, call.index), b)
	added := fs.tree.Reader().Len() - pairs // none if it takes the place of one with the same index
	m.count, m.last = m.count+added, s.last
	fs.putDupMachine(call.machine, m)
	s.dupCount += added
	if s.dupNext++; s.dupNext%dupSweep == 0 || s.dupCount > s.dupMax {
		fs.sweep()
	}
}

// sweep looks at the next machine, in order of their hashes, and forgets what has expired; and more, while there are too
// many answers.
func (fs *FS) sweep() {
	for range dupSweep {
		machine, m, ok := fs.nextDupMachine()
		if !ok {
			return
		}
		fs.super.dupHand = machine
		if full := fs.super.dupCount > fs.super.dupMax; full || fs.super.last-m.olderLast > dupWindow {
			fs.forgetOlder(machine, &m)
		}
		if full := fs.super.dupCount > fs.super.dupMax; full || fs.super.last-m.last > dupWindow {
			m = dupMachine{generation: 1 - m.generation, older: m.count}
			fs.forgetOlder(machine, &m)
		}
		fs.putDupMachine(machine, &m)
		if fs.super.dupCount <= fs.super.dupMax {
			return
		}
	}
}

// nextDupMachine returns the machine after the one that was looked at last.
func (fs *FS) nextDupMachine() (machine uint64, m dupMachine, ok bool) {
	for _, from := range [...]uint64{fs.super.dupHand + 1, 0} {
		fs.tree.Reader().Scan(dupMachineKey(min(from, hashMask)), dupMachineKey(hashMask), func(k tree.Key, b []byte) bool {
			machine, ok = k.Hi&hashMask, true
			m, _ = parseDupMachine(b)
			return false
		})
		if ok {
			break
		}
	}
	return machine, m, ok
}

// forgetOlder forgets the older generation of a machine's answers.
func (fs *FS) forgetOlder(machine uint64, m *dupMachine) {
	old := 1 - m.generation
	gone := fs.tree.DeleteRange(dupAnswerKey(machine, old, 0), dupAnswerKey(machine, old, 1<<63-1))
	fs.super.dupCount -= min(gone, fs.super.dupCount)
	m.older, m.olderLast = 0, 0
}
