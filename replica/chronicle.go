package replica

import (
	"slices"
	"sync"
	"time"

	"bfsd/replica/pbft"
)

// Occurrence is something that happened in the protocol and that an operator may want to know of.
type Occurrence struct {
	AtMs   int64  `json:"at_ms"` // Unix time, of the last if there are several
	Event  string `json:"event"`
	View   uint64 `json:"view"`
	Seq    uint64 `json:"seq,omitempty"`
	About  int64  `json:"about"` // the replica whose doing it is; -1: nobody's in particular
	Reason string `json:"reason,omitempty"`
	Count  uint64 `json:"count"` // how often, in a row
}

// Suspicion is what a replica has seen another do that a correct one does not.
type Suspicion struct {
	Replica uint32 `json:"replica"`
	What    string `json:"what"`
	Count   uint64 `json:"count"`
	LastMs  int64  `json:"last_ms"` // Unix time
}

// chronicle keeps the last occurrences, and what each other replica is suspected of. A faulty one can add as much as it
// likes and takes no more memory: what it repeats is counted, and what is old goes.
type chronicle struct {
	mu          sync.Mutex
	occurrences []Occurrence // the newest last
	suspicions  []Suspicion
	links       map[uint32]bool // by replica: whether there was one
}

const occurrencesKept = 128

// accusing says whether an event is the doing of the replica that it names.
func accusing(e pbft.TraceEvent) bool {
	switch e {
	case pbft.TraceEquivocation, pbft.TraceBadNewView, pbft.TraceBadProposal, pbft.TraceBadChoice, pbft.TraceDivergence:
		return true
	default:
		return false
	}
}

// suspicionKinds are the labels of what a replica can be suspected of.
func suspicionKinds() []string {
	kinds := []string{suspectRefused}
	for _, e := range pbft.TraceEvents() {
		if accusing(e) {
			kinds = append(kinds, label(e.String()))
		}
	}
	return kinds
}

// suspectRefused is a message that does not decode or does not prove its origin.
const suspectRefused = "refused_message"

// notable says whether an event is worth keeping: neither the normal case nor what repeats with every batch.
func notable(e pbft.TraceEvent) bool {
	switch e {
	case pbft.TracePrepared, pbft.TraceCommitted, pbft.TraceAdopted, pbft.TraceStable, pbft.TraceUnauthentic:
		return false
	default:
		return true
	}
}

func (c *chronicle) note(e pbft.Trace, now time.Time) {
	if !notable(e.Event) {
		return
	}
	o := Occurrence{
		AtMs: now.UnixMilli(), Event: e.Event.String(), View: uint64(e.View), Seq: uint64(e.Seq), About: -1, Count: 1,
	}
	if accusing(e.Event) || e.Event == pbft.TraceNewView {
		o.About = int64(e.Replica)
	}
	if e.Reason != pbft.ReasonNone {
		o.Reason = e.Reason.String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(o)
}

// linked notes whether there is a link to a replica, if that has changed. That a link is made for the first time is no news.
func (c *chronicle) linked(replica uint32, up bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.links[replica]
	if c.links == nil {
		c.links = map[uint32]bool{}
	}
	if known || up {
		c.links[replica] = up
	}
	if !known || before == up {
		return
	}
	o := Occurrence{AtMs: now.UnixMilli(), Event: LinkLost, About: int64(replica), Count: 1}
	if up {
		o.Event = LinkBack
	}
	c.add(o)
}

// The events that are not the protocol's.
const (
	LinkLost = "link lost"
	LinkBack = "link back"
)

// add keeps an occurrence, or counts it. The mutex is held.
func (c *chronicle) add(o Occurrence) {
	if k := len(c.occurrences); k > 0 {
		last := &c.occurrences[k-1]
		if last.Event == o.Event && last.About == o.About && last.View == o.View && last.Reason == o.Reason {
			last.Count++
			last.AtMs, last.Seq = o.AtMs, o.Seq
			return
		}
		if k == occurrencesKept {
			c.occurrences = slices.Delete(c.occurrences, 0, 1)
		}
	}
	c.occurrences = append(c.occurrences, o)
}

// suspect counts what a replica did.
func (c *chronicle) suspect(replica uint32, what string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.suspicions {
		if s := &c.suspicions[i]; s.Replica == replica && s.What == what {
			s.Count++
			s.LastMs = now.UnixMilli()
			return
		}
	}
	c.suspicions = append(c.suspicions, Suspicion{Replica: replica, What: what, Count: 1, LastMs: now.UnixMilli()})
}

func (c *chronicle) read() ([]Occurrence, []Suspicion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.occurrences), slices.Clone(c.suspicions)
}
