package replica

import (
	"context"
	"time"
)

// Report is all that a replica tells a status page: its Status, and what it remembers of the last minutes. Like its status it is
// the replica's own word.
type Report struct {
	Status      Status       `json:"status"`
	Occurrences []Occurrence `json:"occurrences"` // the newest last
	Load        []LoadSample `json:"load"`        // one a second, the newest last
	Flows       []Flow       `json:"flows"`       // the newest first; none before somebody watches
}

// Watch asks the node for everything, and has it keep the flows of messages for the next seconds.
func (n *Node) Watch(ctx context.Context) (Report, error) {
	s, err := n.Status(ctx)
	if err != nil {
		return Report{}, err
	}
	r := Report{Status: s, Load: n.load.read(), Flows: n.flows.watch(time.Now())}
	r.Occurrences, _ = n.chronicle.read()
	return r, nil
}

// look is what the loop does now and then for those who may watch: it notes the load, and links that come and go.
func (n *Node) look(now time.Time) {
	if !n.load.observe(now, uint64(n.info.Load().View)) {
		return
	}
	n.flows.rest(now)
	for _, p := range n.peers {
		n.chronicle.linked(p.ID, n.links.Connected(p), now)
	}
}
