package sim

import (
	"errors"
	"iter"
	"slices"

	"bfsd/replica"
	"bfsd/replica/pbft"
	"bfsd/replica/wire"
)

// transfer is a state transfer under way. The service's Restore asks for nodes and waits for them; it runs as a coroutine, so
// that waiting does not hold up the rest of the world.
type transfer struct {
	e      pbft.FetchState
	next   func() ([]wire.Digest, bool) // goes on with Restore until it lacks nodes
	stop   func()
	want   []wire.Digest
	answer [][]byte // for want; nil: not there yet
	gone   bool     // no source has the state any longer
	err    error    // of Restore, when next has reported its end

	source int
	asked  int // how often for what is wanted
	lacks  []bool
	timer  int // counts askings, so that an old timeout is known
}

var (
	errStopped   = errors.New("the transfer was stopped")
	errStateGone = errors.New("no replica keeps that state any longer")
)

// The timing of replica.Node's fetcher, at the speed of a small world.
const (
	fetchRetry  = 25 * millisecond
	fetchRounds = 10
)

// fetch begins to fetch a state, in place of whatever was being fetched.
func (n *node) fetch(e pbft.FetchState) {
	n.stopTransfer()
	n.w.check.fetching(n, e)
	t := &transfer{e: e, lacks: make([]bool, n.w.plan.n)}
	service := n.service
	restore := func(yield func([]wire.Digest) bool) {
		t.err = service.Restore(e.Root, func(d []wire.Digest) ([]replica.StateNode, error) {
			if t.gone {
				return nil, errStateGone
			}
			if !yield(d) {
				return nil, errStopped
			}
			if t.gone {
				return nil, errStateGone
			}
			nodes := make([]replica.StateNode, len(d))
			for i, digest := range d {
				nodes[i] = replica.StateNode{Digest: digest, Encoding: t.answer[i]}
			}
			return nodes, nil
		}, func(uint64) {}, nil)
	}
	t.next, t.stop = iter.Pull(iter.Seq[[]wire.Digest](restore))
	n.transfer = t
	n.alive(0, func() { // not now: the effects of this step come first
		if n.transfer == t {
			n.resumeTransfer()
		}
	})
}

func (n *node) stopTransfer() {
	if n.transfer != nil {
		n.transfer.stop()
		n.transfer = nil
	}
}

// resumeTransfer lets Restore run until it lacks nodes, and asks for those; or until it ends.
func (n *node) resumeTransfer() {
	t := n.transfer
	d, more := t.next()
	if more {
		t.want, t.answer, t.asked = slices.Clone(d), make([][]byte, len(d)), 0
		clear(t.lacks)
		n.ask()
		return
	}
	if t.err != nil {
		n.w.tracef("r%d cannot fetch state %d: %v", n.id, t.e.Seq, t.err)
		n.transfer = nil
		n.step(pbft.StateUnavailable{Seq: t.e.Seq, Root: t.e.Root})
		n.flush()
		return
	}
	n.undos = nil
	c := checkpoint{wire.CheckpointRef{Seq: t.e.Seq, Root: t.e.Root}, t.e.Proof, n.service.Snapshot()}
	n.write(c, func() {
		if n.transfer != t {
			return
		}
		n.transfer = nil
		n.w.check.fetched(n, t.e, n.service)
		n.step(pbft.StateFetched{Seq: t.e.Seq, Root: t.e.Root, Replies: clientTable(n.service)})
		n.flush()
	})
}

// ask asks the next source for the nodes that are wanted.
func (n *node) ask() {
	t := n.transfer
	all := true
	for _, s := range t.e.Sources {
		all = all && t.lacks[s]
	}
	if all || t.asked >= fetchRounds*len(t.e.Sources) {
		t.gone = true
		n.resumeTransfer()
		return
	}
	from := t.e.Sources[t.source%len(t.e.Sources)]
	t.asked++
	t.timer++
	timer := t.timer
	m := &wire.Fetch{Replica: n.id, Root: t.e.Root, Digests: t.missing()}
	n.frame(replicaPrincipal(from), wire.Encode(m), m)
	n.flush()
	n.alive(fetchRetry, func() {
		if n.transfer == t && t.timer == timer {
			t.source++
			n.ask()
		}
	})
}

// deliver takes a source's answer.
func (n *node) deliver(m wire.Message) {
	t := n.transfer
	if t == nil || t.timer == 0 || len(t.e.Sources) == 0 {
		return
	}
	from := t.e.Sources[t.source%len(t.e.Sources)]
	switch m := m.(type) {
	case *wire.Data:
		if m.Root != t.e.Root || m.Replica != from {
			return
		}
		for _, node := range m.Nodes {
			if i := slices.Index(t.want, wire.ResultDigest(node)); i >= 0 {
				t.answer[i] = node
			}
		}
		if len(t.missing()) == 0 {
			t.timer++
			n.resumeTransfer()
			return
		}
	case *wire.MetaData:
		if m.Root != t.e.Root || m.Replica != from {
			return
		}
	}
	t.lacks[from] = true
	t.timer++
	t.source++
	n.ask()
}

// missing lists the nodes that are still wanted.
func (t *transfer) missing() []wire.Digest {
	var list []wire.Digest
	for i, d := range t.want {
		if t.answer[i] == nil && len(list) < wire.MaxDigests {
			list = append(list, d)
		}
	}
	return list
}

// serve answers a peer's FETCH from a stable state, or from one that may become stable: a NEW-VIEW can start from a
// checkpoint that f+1 replicas have announced, though nobody has the certificate.
func (n *node) serve(m *wire.Fetch) {
	to := replicaPrincipal(m.Replica)
	if state := n.stateWith(m.Root); state != nil {
		answer := &wire.Data{Replica: n.id, Root: m.Root, Size: state.Size()}
		for _, d := range m.Digests {
			if node, ok := state.Node(d); ok {
				answer.Nodes = append(answer.Nodes, node)
			}
		}
		n.frame(to, wire.Encode(answer), answer)
		return
	}
	answer := &wire.MetaData{Replica: n.id, Root: m.Root}
	if k := len(n.pinned); k > 0 {
		answer.Stable = n.pinned[k-1].at
	}
	n.frame(to, wire.Encode(answer), answer)
}

func (n *node) stateWith(root wire.Digest) replica.Snapshot {
	for _, c := range n.pinned {
		if c.at.Root == root {
			return c.state
		}
	}
	for _, h := range n.snaps {
		if h.hashed && h.state.Root() == root {
			return h.state
		}
	}
	return nil
}
