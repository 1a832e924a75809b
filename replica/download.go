package replica

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"bfsd/replica/wire"
)

// download gets nodes of one state from several peers at the same time. Each node is compared with the digest it was asked
// for by, so one honest source is enough, and a lie costs its sender the rest of the download.
type download struct {
	root    wire.Digest
	request func(to wire.Principal, digests []wire.Digest) // asks a source for nodes
	sources []*source
	order   []*source     // the same, in the order in which they are asked
	fetched atomic.Uint64 // nodes
	bytes   atomic.Uint64
	kept    atomic.Uint64 // bytes that were here already
}

// vainMax is how many answers of a source may bring nothing. An honest one may be late, so that others were asked meanwhile, as
// often as it may be silent; who sends more than that wants us to hash rubbish.
const vainMax = fetchRounds * fetchAhead

// source is one peer that may have the state.
type source struct {
	peer   wire.Principal
	asked  [][]wire.Digest // the FETCHes it has not answered, oldest first
	silent int             // how often it did not answer in time
	vain   int             // how many answers of it brought nothing that was missing
	gone   bool            // it lacks the state, changes it, or is silent
	size   atomic.Uint64   // of the whole state, in bytes, as it says
}

func newDownload(root wire.Digest, from []wire.ReplicaID, request func(to wire.Principal, digests []wire.Digest)) *download {
	d := &download{root: root, request: request}
	for _, id := range from {
		d.sources = append(d.sources, &source{peer: wire.Principal{Role: wire.RoleReplica, ID: uint32(id)}})
	}
	d.order = slices.Clone(d.sources)
	return d
}

// get returns the nodes with the digests, in their order.
func (d *download) get(ctx context.Context, digests []wire.Digest, answers <-chan wire.Message) ([][]byte, error) {
	nodes := make(map[wire.Digest][]byte, len(digests))
	for _, digest := range digests {
		nodes[digest] = nil
	}
	var queue [][]wire.Digest
	for chunk := range slices.Chunk(digests, fetchChunk) {
		queue = append(queue, chunk)
	}
	wait := fetchRetry
	late := time.NewTimer(wait)
	defer late.Stop()
	for missing := len(nodes); missing > 0; {
		var err error
		if queue, err = d.ask(queue); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late.C:
			queue = append(queue, d.timeOut()...)
			wait = min(2*wait, fetchRetryMax) // they, or we, are busy: what is asked for twice makes that worse
			late.Reset(wait)
		case m := <-answers:
			got, again := d.take(m, nodes)
			missing -= got
			queue = append(queue, again...)
			if got > 0 {
				wait = fetchRetry
				late.Reset(wait)
			}
		}
	}
	for _, s := range d.sources {
		s.asked = nil // what comes late is not waited for
	}
	out := make([][]byte, len(digests))
	for i, digest := range digests {
		out[i] = nodes[digest]
	}
	return out, nil
}

// ask gives the queue's chunks to the sources that have room, and returns those that are left.
func (d *download) ask(queue [][]wire.Digest) ([][]wire.Digest, error) {
	alive := false
	for _, s := range d.order {
		alive = alive || !s.gone
		for !s.gone && len(s.asked) < fetchAhead && len(queue) > 0 {
			chunk := queue[0]
			queue = queue[1:]
			s.asked = append(s.asked, chunk)
			d.request(s.peer, chunk)
		}
	}
	if !alive {
		return nil, errStateGone
	}
	return queue, nil
}

// take uses an answer. It returns how many missing nodes it brought, and what must be asked for again.
func (d *download) take(m wire.Message, nodes map[wire.Digest][]byte) (got int, again [][]wire.Digest) {
	switch m := m.(type) {
	case *wire.MetaData:
		s := d.from(m.Replica)
		if s == nil || m.Root != d.root || len(s.asked) == 0 {
			return 0, nil
		}
		return 0, s.giveUp()
	case *wire.Data:
		s := d.from(m.Replica)
		if s == nil || s.gone || m.Root != d.root {
			return 0, nil
		}
		s.size.Store(m.Size)
		if got = d.keep(m.Nodes, nodes); got == 0 {
			if s.vain++; s.vain > vainMax {
				return 0, s.giveUp()
			}
		}
		if len(s.asked) == 0 {
			return got, nil // late, but as good as any
		}
		chunk := s.asked[0]
		s.asked = s.asked[1:]
		if lacking := lack(chunk, nodes); len(lacking) > 0 {
			again = append(s.giveUp(), lacking)
		}
		return got, again
	}
	return 0, nil
}

// keep takes the nodes that are missing out of an answer, and returns how many.
func (d *download) keep(answer [][]byte, nodes map[wire.Digest][]byte) (got int) {
	total, useful := 0, 0
	var kept []wire.Digest
	for _, node := range answer {
		total += len(node)
		digest := wire.ResultDigest(node) // SHA-256, as of everything
		if known, wanted := nodes[digest]; wanted && known == nil {
			nodes[digest] = node
			kept = append(kept, digest)
			useful += len(node)
		}
	}
	if useful < total/2 { // the nodes are parts of the message: a few must not keep much of what is not wanted in memory
		for _, digest := range kept {
			nodes[digest] = bytes.Clone(nodes[digest])
		}
	}
	d.fetched.Add(uint64(len(kept)))
	d.bytes.Add(uint64(useful))
	return len(kept)
}

// lack returns the digests whose nodes are still missing.
func lack(chunk []wire.Digest, nodes map[wire.Digest][]byte) []wire.Digest {
	var missing []wire.Digest
	for _, digest := range chunk {
		if nodes[digest] == nil {
			missing = append(missing, digest)
		}
	}
	return missing
}

// timeOut takes back what the sources did not answer in time. Those that answer are asked first from then on.
func (d *download) timeOut() (again [][]wire.Digest) {
	for _, s := range d.sources {
		if len(s.asked) == 0 {
			continue
		}
		s.silent++
		again = append(again, s.asked...)
		s.asked = nil
		s.gone = s.gone || s.silent >= fetchRounds
	}
	slices.SortStableFunc(d.order, func(a, b *source) int { return cmp.Compare(a.silent, b.silent) })
	return again
}

// giveUp asks a source no more, and returns what it still owed.
func (s *source) giveUp() [][]wire.Digest {
	s.gone = true
	owed := s.asked
	s.asked = nil
	return owed
}

func (d *download) from(id wire.ReplicaID) *source {
	for _, s := range d.sources {
		if s.peer.ID == uint32(id) {
			return s
		}
	}
	return nil
}

// size is how many bytes the whole state takes, as the sources say: the median of what they say, for some may lie. 0 while
// nobody has said anything.
func (d *download) size() uint64 {
	var said []uint64
	for _, s := range d.sources {
		if size := s.size.Load(); size > 0 {
			said = append(said, size)
		}
	}
	if len(said) == 0 {
		return 0
	}
	slices.Sort(said)
	return said[(len(said)-1)/2]
}
