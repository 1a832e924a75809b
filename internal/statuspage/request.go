package statuspage

import (
	"slices"

	"bfsd/replica"
)

// Request is the way of one request through the group, as in the paper's figure 1. Times are microseconds after the
// first message, each by the clock of who sent or received; where those disagree, nothing arrives before it was sent.
type Request struct {
	Seq      uint64    `json:"seq"`
	View     uint64    `json:"view"`
	Primary  int       `json:"primary"`
	Client   uint32    `json:"client"`
	Requests int       `json:"requests"` // in the same batch
	AtMs     int64     `json:"at_ms"`
	Messages []Message `json:"messages"`
	Executed []Step    `json:"executed"`
}

// Message went from one to another. A message that somebody sent and of whom it was for nobody says that it came has no
// Received time: -1.
type Message struct {
	What     string `json:"what"`
	From     int    `json:"from"` // replica.FlowClient: the client
	To       int    `json:"to"`
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
}

// Step is what a replica did by itself.
type Step struct {
	Replica int   `json:"replica"`
	At      int64 `json:"at"`
}

// pick chooses the newest request whose way is known to its end: 2f+1 replicas replied, and as many committed.
func pick(f int, answers []answer) *Request {
	type seen struct{ replied, committed, known int }
	bySeq := map[uint64]*seen{}
	for i := range answers {
		for _, flow := range answers[i].report.Flows {
			s := bySeq[flow.Seq]
			if s == nil {
				s = &seen{}
				bySeq[flow.Seq] = s
			}
			s.known++
			has := func(what string, count int) bool {
				for _, step := range flow.Steps {
					if step.What == what {
						count--
					}
				}
				return count <= 0
			}
			if has(replica.FlowReply, 1) {
				s.replied++
			}
			if has(replica.FlowCommit, 2*f+1) {
				s.committed++
			}
		}
	}
	var best uint64
	rank := func(seq uint64) int {
		switch s := bySeq[seq]; {
		case s == nil || s.known <= f: // a single liar's batch is nobody's
			return 0
		case s.replied > 2*f && s.committed > 2*f:
			return 3
		case s.replied > 2*f:
			return 2
		default:
			return 1
		}
	}
	for seq := range bySeq {
		if r, b := rank(seq), rank(best); r > b || r == b && r > 0 && seq > best {
			best = seq
		}
	}
	if rank(best) < 2 {
		return nil
	}
	return assemble(best, answers)
}

// stepsMax bounds what is taken of one replica's flow.
const stepsMax = 128

// assemble pairs what was sent with what was received.
func assemble(seq uint64, answers []answer) *Request {
	n := len(answers)
	r := &Request{Seq: seq}
	flows := make([]*replica.Flow, n)
	for i := range answers {
		for k := range answers[i].report.Flows {
			if f := &answers[i].report.Flows[k]; f.Seq == seq {
				flows[i] = f
			}
		}
	}
	r.View = majority(flows, func(f *replica.Flow) uint64 { return f.View })
	r.Client = uint32(majority(flows, func(f *replica.Flow) uint64 { return uint64(f.Client) })) //nolint:gosec // it was one
	r.Requests = int(min(majority(flows, func(f *replica.Flow) uint64 { return uint64(max(f.Requests, 0)) }), 1<<20))
	r.Primary = int(r.View % uint64(n)) //nolint:gosec // below n
	sent := func(from int, what string) (int64, bool) {
		if flows[from] != nil {
			for _, s := range atMost(flows[from].Steps, stepsMax) {
				if s.What == what && s.From == replica.FlowSent {
					return s.AtUs, true
				}
			}
		}
		return 0, false
	}
	for to, f := range flows {
		if f == nil {
			continue
		}
		for _, s := range atMost(f.Steps, stepsMax) {
			switch {
			case s.What == replica.FlowExecute:
				r.Executed = append(r.Executed, Step{to, s.AtUs})
			case s.What == replica.FlowReply:
				r.Messages = append(r.Messages, Message{s.What, to, replica.FlowClient, s.AtUs, s.AtUs})
			case s.What == replica.FlowRequest && s.From == replica.FlowClient:
				r.Messages = append(r.Messages, Message{s.What, s.From, to, s.AtUs, s.AtUs})
			case s.From >= 0 && s.From < n && s.From != to && known(s.What) && !r.has(s.What, s.From, to):
				at, ok := sent(s.From, s.What)
				if !ok || at > s.AtUs {
					at = s.AtUs
				}
				r.Messages = append(r.Messages, Message{s.What, s.From, to, at, s.AtUs})
			}
		}
	}
	r.addLost(n, sent)
	r.fromStart()
	return r
}

func known(what string) bool {
	return what == replica.FlowPrePrepare || what == replica.FlowPrepare || what == replica.FlowCommit
}

func (r *Request) has(what string, from, to int) bool {
	return slices.ContainsFunc(r.Messages, func(m Message) bool { return m.What == what && m.From == from && m.To == to })
}

// addLost shows what was sent to all and not seen to arrive.
func (r *Request) addLost(n int, sent func(int, string) (int64, bool)) {
	for from := range n {
		for _, what := range []string{replica.FlowPrePrepare, replica.FlowPrepare, replica.FlowCommit} {
			at, ok := sent(from, what)
			for to := range n {
				if ok && to != from && !r.has(what, from, to) {
					r.Messages = append(r.Messages, Message{what, from, to, at, -1})
				}
			}
		}
	}
}

// fromStart makes times relative to the first one.
func (r *Request) fromStart() {
	if len(r.Messages) == 0 {
		return
	}
	first := r.Messages[0].Sent
	for _, m := range r.Messages {
		first = min(first, m.Sent)
	}
	r.AtMs = plausible(first / 1000)
	for i := range r.Messages {
		m := &r.Messages[i]
		m.Sent -= first
		if m.Received >= 0 {
			m.Received -= first
		}
	}
	for i := range r.Executed {
		r.Executed[i].At = max(0, r.Executed[i].At-first)
	}
	slices.SortStableFunc(r.Messages, func(a, b Message) int { return int(a.Sent - b.Sent) })
}

// majority is what most flows say.
func majority(flows []*replica.Flow, value func(*replica.Flow) uint64) uint64 {
	votes, best := map[uint64]int{}, uint64(0)
	for _, f := range flows {
		if f == nil {
			continue
		}
		v := value(f)
		votes[v]++
		if votes[v] > votes[best] {
			best = v
		}
	}
	return best
}
