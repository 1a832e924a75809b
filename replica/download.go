package replica

import (
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
	answers <-chan wire.Message
	sources []*source
	order   []*source // the same, in the order in which they are asked

	missing map[wire.Digest]struct{} // wanted, and not here yet
	queue   []wire.Digest            // of these, what no source is asked for; and some that came late
	wait    time.Duration            // how long a source has to answer
	nodes   []StateNode              // scratch

	fetched atomic.Uint64 // nodes
	bytes   atomic.Uint64
	kept    atomic.Uint64 // bytes that were here already
}

// vainMax is how many answers a source may send that nothing was asked for by. An honest one may have been asked by an earlier
// download; who sends more than that wants us to hash rubbish.
const vainMax = fetchRounds * fetchAhead

// source is one peer that may have the state.
type source struct {
	peer   wire.Principal
	asked  []asking      // the FETCHes it has not answered, oldest first, which is how it answers
	since  time.Time     // when it was last heard of, or began to have something to answer
	silent int           // how often it did not answer in time
	vain   int           // how many answers of it were to nothing
	gone   bool          // it lacks the state, changes it, or is silent
	size   atomic.Uint64 // of the whole state, in bytes, as it says
}

// asking is a FETCH.
type asking struct {
	digests []wire.Digest
	late    bool // others are asked for the same meanwhile
}

func newDownload(root wire.Digest, from []wire.ReplicaID, answers <-chan wire.Message, request func(to wire.Principal, digests []wire.Digest)) *download {
	d := &download{root: root, request: request, answers: answers, missing: make(map[wire.Digest]struct{}), wait: fetchRetry}
	for _, id := range from {
		d.sources = append(d.sources, &source{peer: wire.Principal{Role: wire.RoleReplica, ID: uint32(id)}})
	}
	d.order = slices.Clone(d.sources)
	return d
}

// fetch is a Fetch, until ctx ends.
func (d *download) fetch(ctx context.Context, more []wire.Digest) ([]StateNode, error) {
	for _, digest := range more {
		d.missing[digest] = struct{}{}
	}
	d.queue = append(d.queue, more...)
	for len(d.missing) > 0 {
		if err := d.ask(time.Now()); err != nil {
			return nil, err
		}
		m, err := d.next(ctx)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		if nodes := d.take(m, time.Now()); len(nodes) > 0 {
			d.wait = fetchRetry
			return nodes, nil
		}
	}
	return nil, nil
}

// next returns the next answer; nil when one of the sources has not answered in time.
func (d *download) next(ctx context.Context) (wire.Message, error) {
	select {
	case m := <-d.answers: // what is here already is not late
		return m, ctx.Err()
	default:
	}
	if d.timeOut(time.Now()) {
		return nil, nil
	}
	late := time.NewTimer(d.wait)
	defer late.Stop()
	select {
	case m := <-d.answers:
		return m, nil
	case <-late.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask gives what is queued to the sources that have room.
func (d *download) ask(now time.Time) error {
	alive := false
	for _, s := range d.order {
		alive = alive || !s.gone
		for !s.gone && s.pending() < fetchAhead && len(d.queue) > 0 {
			chunk := d.chunk()
			if len(chunk) == 0 {
				break
			}
			if s.pending() == 0 {
				s.since = now
			}
			s.asked = append(s.asked, asking{digests: chunk})
			d.request(s.peer, chunk)
		}
	}
	if !alive {
		return errStateGone
	}
	return nil
}

// chunk takes what one FETCH asks for off the queue.
func (d *download) chunk() []wire.Digest {
	chunk := make([]wire.Digest, 0, min(fetchChunk, len(d.queue)))
	for len(chunk) < cap(chunk) && len(d.queue) > 0 {
		if _, missing := d.missing[d.queue[0]]; missing {
			chunk = append(chunk, d.queue[0])
		}
		d.queue = d.queue[1:]
	}
	return chunk
}

// take uses an answer, and returns the missing nodes that it brought.
func (d *download) take(m wire.Message, now time.Time) []StateNode {
	switch m := m.(type) {
	case *wire.MetaData:
		if s := d.from(m.Replica); s != nil && m.Root == d.root && s.pending() > 0 {
			d.giveUp(s)
		}
	case *wire.Data:
		if s := d.from(m.Replica); s != nil && !s.gone && m.Root == d.root {
			s.size.Store(m.Size)
			return d.use(s, m.Nodes, now)
		}
	}
	return nil
}

// use takes the nodes that are missing out of an answer of s.
func (d *download) use(s *source, answer [][]byte, now time.Time) []StateNode {
	s.since = now
	d.nodes = d.nodes[:0]
	var first wire.Digest
	for i, encoding := range answer {
		digest := wire.ResultDigest(encoding) // SHA-256, as of everything
		if i == 0 {
			first = digest
		}
		if _, missing := d.missing[digest]; missing {
			delete(d.missing, digest)
			d.nodes = append(d.nodes, StateNode{digest, encoding})
			d.bytes.Add(uint64(len(encoding)))
		}
	}
	d.fetched.Add(uint64(len(d.nodes)))
	k := slices.IndexFunc(s.asked, func(a asking) bool { return slices.Contains(a.digests, first) })
	switch {
	case len(s.asked) == 0:
		if s.vain++; s.vain > vainMax {
			d.giveUp(s)
		}
	case k < 0 || d.lacks(s.asked[k].digests):
		d.giveUp(s)
	default:
		d.again(s.asked[:k]) // it answers in order, so these answers are lost
		s.asked = slices.Delete(s.asked, 0, k+1)
	}
	return d.nodes
}

// lacks says whether some of these nodes are still missing.
func (d *download) lacks(chunk []wire.Digest) bool {
	return slices.ContainsFunc(chunk, func(digest wire.Digest) bool {
		_, missing := d.missing[digest]
		return missing
	})
}

// again puts what is not answered first in the queue, unless that was done.
func (d *download) again(unanswered []asking) {
	for i := range unanswered {
		if a := &unanswered[i]; !a.late {
			d.queue = append(slices.Clone(a.digests), d.queue...)
			a.late = true
		}
	}
}

// timeOut has others asked for what sources did not answer in time. Those that answer are asked first from then on.
func (d *download) timeOut(now time.Time) (late bool) {
	for _, s := range d.sources {
		if s.pending() == 0 || now.Sub(s.since) < d.wait {
			continue
		}
		late = true
		d.again(s.asked)
		if s.silent++; s.silent >= fetchRounds {
			d.giveUp(s)
		}
	}
	if late {
		d.wait = min(2*d.wait, fetchRetryMax) // they, or we, are busy: what is asked for twice makes that worse
		slices.SortStableFunc(d.order, func(a, b *source) int { return cmp.Compare(a.silent, b.silent) })
	}
	return late
}

// pending is how many FETCHes a source has to answer, and nobody else.
func (s *source) pending() int {
	n := 0
	for _, a := range s.asked {
		if !a.late {
			n++
		}
	}
	return n
}

// giveUp asks a source no more.
func (d *download) giveUp(s *source) {
	s.gone = true
	d.again(s.asked)
	s.asked = nil
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
