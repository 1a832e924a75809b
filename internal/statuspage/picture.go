package statuspage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bfsd/replica"
)

// Picture is the cluster as all the replicas' answers show it.
type Picture struct {
	Server   string       `json:"server"` // who made it
	AtMs     int64        `json:"at_ms"`
	N        int          `json:"n"`
	F        int          `json:"f"`
	Up       int          `json:"up"`
	View     uint64       `json:"view"` // what f+1 replicas at least have reached
	Primary  uint64       `json:"primary"`
	Health   string       `json:"health"` // good, degraded, stopped
	Verdict  string       `json:"verdict"`
	Replicas []Replica    `json:"replicas"`
	Request  *Request     `json:"request"` // the way of one request; nil: none was seen
	Timeline []Moment     `json:"timeline"`
	Calls    []CallSample `json:"calls"` // of the front end that serves the page
}

// Replica is one replica: what it says of itself, and what others say of it.
type Replica struct {
	ID          int                  `json:"id"`
	Up          bool                 `json:"up"`
	Error       string               `json:"error,omitempty"`
	Role        string               `json:"role"`   // primary, backup
	Health      string               `json:"health"` // good, lagging, changing view, fetching, in doubt, differs, suspected, down
	Status      replica.Status       `json:"status"`
	Rejoin      string               `json:"rejoin"`
	Disk        string               `json:"disk,omitempty"`
	Behind      uint64               `json:"behind"` // batches behind the median
	SuspectedBy []int                `json:"suspected_by"`
	Load        []replica.LoadSample `json:"load"`
}

// The healths.
const (
	good      = "good"
	degraded  = "degraded"
	stopped   = "stopped"
	down      = "down"
	differs   = "differs"
	suspected = "suspected"
	lagging   = "lagging"
	starting  = "starting"
)

// lagShown is how many batches behind the median a replica may be without a word: they are in flight.
const lagShown = 64

// draw puts the answers together. now is the time of this process's clock.
func draw(f int, answers []answer, now time.Time) Picture {
	p := Picture{AtMs: now.UnixMilli(), N: len(answers), F: f, Replicas: make([]Replica, len(answers))}
	for i := range answers {
		p.Replicas[i] = one(i, &answers[i])
		if p.Replicas[i].Up {
			p.Up++
		}
	}
	p.View = p.reached()
	p.Primary = p.View % uint64(p.N)
	p.compare()
	p.judge()
	p.Request = pick(f, answers)
	p.Timeline = moments(answers)
	return p
}

// one is a replica's own part, with what it may fill bounded.
func one(i int, a *answer) Replica {
	r := Replica{ID: i, Role: "backup", Health: good}
	if a.err != nil {
		r.Health, r.Error = down, clip(a.err.Error())
		return r
	}
	r.Up, r.Status = true, a.report.Status
	s := &r.Status
	s.ID, s.Root, s.StableRoot, s.Durability, s.Version = uint32(i), clip(s.Root), clip(s.StableRoot), clip(s.Durability), clip(s.Version) //nolint:gosec // an index
	s.Damage, s.Suspicions, s.Linked = atMost(s.Damage, 8), atMost(s.Suspicions, 64), atMost(s.Linked, 16)
	for k := range s.Damage {
		s.Damage[k] = clip(s.Damage[k])
	}
	for k := range s.Suspicions {
		s.Suspicions[k].What = clip(s.Suspicions[k].What)
	}
	if s.Disk != nil {
		r.Disk = clip(s.Disk.String())
	}
	r.Rejoin = clip(s.Rejoin.String())
	r.Load = atMost(a.report.Load, samplesKept)
	return r
}

// reached is the highest view that f+1 replicas have reached.
func (p *Picture) reached() uint64 {
	var views []uint64
	for i := range p.Replicas {
		if p.Replicas[i].Up {
			views = append(views, p.Replicas[i].Status.View)
		}
	}
	slices.Sort(views)
	if len(views) <= p.F {
		return 0
	}
	return views[len(views)-1-p.F]
}

// compare sets the replicas beside each other: who lags, whose root differs, who is suspected by whom.
func (p *Picture) compare() {
	var committed []uint64
	for i := range p.Replicas {
		if p.Replicas[i].Up {
			committed = append(committed, p.Replicas[i].Status.Committed)
		}
	}
	slices.Sort(committed)
	for i := range p.Replicas {
		r := &p.Replicas[i]
		if uint64(r.ID) == p.Primary { //nolint:gosec // an index
			r.Role = "primary"
		}
		for j := range p.Replicas {
			for _, s := range p.Replicas[j].Status.Suspicions {
				if int64(s.Replica) == int64(i) && i != j && !slices.Contains(r.SuspectedBy, j) {
					r.SuspectedBy = append(r.SuspectedBy, j)
				}
			}
		}
		if !r.Up {
			continue
		}
		if median := committed[len(committed)/2]; median > r.Status.Committed {
			r.Behind = median - r.Status.Committed
		}
		switch s := &r.Status; {
		case s.Rejoin.How.Starting():
			r.Health = starting
		case p.contradicted(r):
			r.Health = differs
		case len(r.SuspectedBy) > p.F:
			r.Health = suspected
		case s.InDoubt:
			r.Health = "in doubt"
		case s.Fetching:
			r.Health = "fetching"
		case r.Behind > lagShown:
			r.Health = lagging
		case !s.Active:
			r.Health = "changing view"
		}
	}
}

// contradicted says whether f+1 others have another root after the same batch: one of them is correct.
func (p *Picture) contradicted(r *Replica) bool {
	votes := map[string]int{}
	for i := range p.Replicas {
		if o := &p.Replicas[i]; o.Up && o.ID != r.ID && o.Status.Root != "" && o.Status.Executed == r.Status.Executed && o.Status.Committed == o.Status.Executed {
			votes[o.Status.Root]++
		}
	}
	for root, n := range votes {
		if root != r.Status.Root && n > p.F && r.Status.Root != "" && r.Status.Committed == r.Status.Executed {
			return true
		}
	}
	return false
}

// judge says in a sentence how the cluster is.
func (p *Picture) judge() {
	var troubled []string
	working := 0
	for i := range p.Replicas {
		r := &p.Replicas[i]
		switch r.Health {
		case good:
			working++
			continue
		case lagging, "changing view":
			working++ // it votes
		}
		troubled = append(troubled, fmt.Sprintf("replica %d is %s", r.ID, map[string]string{
			differs: "of another state than f+1 others", suspected: "suspected by f+1 others",
		}[r.Health]+plain(r.Health)))
	}
	quorum := 2*p.F + 1
	switch {
	case working < quorum:
		p.Health = stopped
		p.Verdict = fmt.Sprintf("Stopped: %d of %d replicas work, %d are needed.", working, p.N, quorum)
	case len(troubled) > 0:
		p.Health = degraded
		p.Verdict = fmt.Sprintf("Working, with %d of %d replicas; %d more may fail.", working, p.N, working-quorum)
	default:
		p.Health = good
		p.Verdict = fmt.Sprintf("Good: all %d replicas work, any %d may fail.", p.N, p.F)
	}
	if len(troubled) > 0 {
		p.Verdict += " " + strings.ToUpper(troubled[0][:1]) + strings.Join(troubled, ", ")[1:] + "."
	}
}

func plain(health string) string {
	if health == differs || health == suspected {
		return ""
	}
	return health
}

// Moment is something that happened, and who says so.
type Moment struct {
	AtMs   int64  `json:"at_ms"` // when it was first seen
	Event  string `json:"event"`
	View   uint64 `json:"view"`
	About  int64  `json:"about"` // -1: no replica in particular
	Reason string `json:"reason"`
	By     []int  `json:"by"` // who reports it
	Count  uint64 `json:"count"`
}

// togetherMs is how far apart two replicas' words about the same thing may be.
const togetherMs = 5000

// moments merges what the replicas remember, the newest first.
func moments(answers []answer) []Moment {
	var all []Moment
	for i := range answers {
		for _, o := range atMost(answers[i].report.Occurrences, 128) {
			at := slices.IndexFunc(all, func(m Moment) bool {
				return m.Event == clip(o.Event) && m.About == o.About && m.View == o.View && !slices.Contains(m.By, i) &&
					m.AtMs-o.AtMs < togetherMs && o.AtMs-m.AtMs < togetherMs
			})
			if at < 0 {
				all = append(all, Moment{plausible(o.AtMs), clip(o.Event), o.View, o.About, clip(o.Reason), []int{i}, o.Count})
				continue
			}
			m := &all[at]
			m.By = append(m.By, i)
			m.AtMs, m.Count = min(m.AtMs, o.AtMs), max(m.Count, o.Count)
			if m.Reason == "" || m.Reason == "joined" {
				m.Reason = clip(o.Reason)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Moment) int { return int(b.AtMs - a.AtMs) })
	return atMost(all, 100)
}

// plausible keeps a time within what JavaScript can show.
func plausible(ms int64) int64 { return min(max(ms, 0), 1<<52) }

// clip bounds a text of another's.
func clip(s string) string {
	const longest = 200
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

func atMost[T any](s []T, n int) []T {
	return s[:min(len(s), n)]
}
