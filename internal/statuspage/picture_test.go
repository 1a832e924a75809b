package statuspage

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"bfsd/replica"
)

func reports(n int, change func(i int, a *answer)) []answer {
	all := make([]answer, n)
	for i := range all {
		all[i].report.Status = replica.Status{Executed: 500, Committed: 500, Root: "ab", Active: true}
		change(i, &all[i])
	}
	return all
}

// The picture says how each replica is, and how the group is for it. Up to f of those who speak lie.
func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		name    string
		n       int
		change  func(i int, a *answer)
		health  []string
		cluster string
		verdict string
	}{
		{"all is well", 4, func(int, *answer) {}, []string{good, good, good, good}, good, "Good: all 4 replicas work, any 1 may fail."},
		{"one is down", 4, func(i int, a *answer) {
			if i == 2 {
				a.err = errGone
			}
		}, []string{good, good, down, good}, degraded, "Working, with 3 of 4 replicas; 0 more may fail. Replica 2 is down."},
		{"two are down", 4, func(i int, a *answer) {
			if i > 1 {
				a.err = errGone
			}
		}, []string{good, good, down, down}, stopped, "Stopped: 2 of 4 replicas work, 3 are needed. Replica 2 is down, replica 3 is down."},
		{"all are down", 4, func(_ int, a *answer) { a.err = errGone }, []string{down, down, down, down}, stopped, "Stopped: 0 of 4"},
		{"one has another state", 4, func(i int, a *answer) {
			if i == 1 {
				a.report.Status.Root = "cd"
			}
		}, []string{good, differs, good, good}, degraded, "Replica 1 is of another state than f+1 others."},
		{"one lags", 4, func(i int, a *answer) {
			if i == 3 {
				a.report.Status.Executed, a.report.Status.Committed = 100, 100
			}
		}, []string{good, good, good, lagging}, degraded, "Replica 3 is lagging."},
		{"a liar says that it is far ahead, and suspects everybody", 4, func(i int, a *answer) {
			if i == 0 {
				a.report.Status.Executed, a.report.Status.Committed, a.report.Status.View = 1e15, 1e15, 1e15
				for j := range uint32(9) {
					a.report.Status.Suspicions = append(a.report.Status.Suspicions, replica.Suspicion{Replica: j, What: "equivocation"})
				}
			}
		}, []string{good, good, good, good}, good, "Good"},
		{"two suspect a third", 4, func(i int, a *answer) {
			if i < 2 {
				a.report.Status.Suspicions = []replica.Suspicion{{Replica: 3, What: "equivocation"}}
			}
		}, []string{good, good, good, suspected}, degraded, "Replica 3 is suspected by f+1 others."},
		{"two are changing the view", 4, func(i int, a *answer) { a.report.Status.Active = i > 1 }, []string{"changing view", "changing view", good, good}, degraded, "Replica 0 is changing view, replica 1 is changing view."},
		{"one starts and one is in doubt, of seven", 7, func(i int, a *answer) {
			switch i {
			case 5:
				a.report.Status.InDoubt = true
			case 6:
				a.report.Status.Rejoin.How = replica.RejoinReplay
			}
		}, []string{good, good, good, good, good, "in doubt", starting}, degraded, "Working, with 5 of 7 replicas; 0 more may fail."},
	} {
		p := draw((tt.n-1)/3, reports(tt.n, tt.change), time.Unix(1, 0))
		var health []string
		for _, r := range p.Replicas {
			health = append(health, r.Health)
		}
		if !slices.Equal(health, tt.health) || p.Health != tt.cluster || !strings.Contains(p.Verdict, tt.verdict) {
			t.Errorf("%s: %v, %s: %s", tt.name, health, p.Health, p.Verdict)
		}
		if p.View != 0 || p.Primary != 0 {
			t.Errorf("%s: view %d, primary %d", tt.name, p.View, p.Primary)
		}
	}
}

// Words of several replicas about one thing are one moment.
func TestMomentsAreMerged(t *testing.T) {
	answers := reports(4, func(i int, a *answer) {
		at := int64(1000 + 10*i)
		switch i {
		case 0:
			a.err = errGone
		case 1:
			a.report.Occurrences = []replica.Occurrence{
				{AtMs: at, Event: "view change", View: 1, About: -1, Reason: "joined", Count: 1}, {AtMs: at + 5, Event: "new view", View: 1, About: 1, Count: 1},
			}
		default:
			a.report.Occurrences = []replica.Occurrence{
				{AtMs: at, Event: "view change", View: 1, About: -1, Reason: "timeout", Count: 1}, {AtMs: at + 5, Event: "new view", View: 1, About: 1, Count: 1},
			}
		}
	})
	got := moments(answers)
	want := []Moment{
		{1015, "new view", 1, 1, "", []int{1, 2, 3}, 1}, {1010, "view change", 1, -1, "timeout", []int{1, 2, 3}, 1},
	}
	if len(got) != 2 || !slices.EqualFunc(got, want, func(a, b Moment) bool {
		return a.AtMs == b.AtMs && a.Event == b.Event && a.Reason == b.Reason && slices.Equal(a.By, b.By)
	}) {
		t.Errorf("%+v", got)
	}
}

// normalCase is the way of batch seq as n replicas report it whose clocks are off by so many microseconds each; replicas below
// silent report nothing.
func normalCase(n int, seq uint64, silent int, skew int64) []answer {
	return reports(n, func(i int, a *answer) {
		if i < silent {
			a.err = errGone
			return
		}
		off := skew * int64(i)
		primary := silent
		f := replica.Flow{Seq: seq, View: uint64(silent), Client: 100, Number: 7, Requests: 2} //nolint:gosec // small
		add := func(what string, from int, at int64) {
			f.Steps = append(f.Steps, replica.FlowStep{What: what, From: from, AtUs: 5e15 + at + off})
		}
		if i == primary {
			add(replica.FlowRequest, replica.FlowClient, 0)
			add(replica.FlowPrePrepare, replica.FlowSent, 10)
		} else {
			add(replica.FlowPrePrepare, primary, 100)
			add(replica.FlowPrepare, replica.FlowSent, 110)
		}
		for j := silent; j < n; j++ {
			if j != i && j != primary {
				add(replica.FlowPrepare, j, 200)
			}
		}
		add(replica.FlowCommit, replica.FlowSent, 210)
		add(replica.FlowExecute, replica.FlowSent, 220)
		add(replica.FlowReply, replica.FlowSent, 230)
		for j := silent; j < n; j++ {
			if j != i {
				add(replica.FlowCommit, j, 300)
			}
		}
		if len(f.Steps) < 2 {
			panic("no steps")
		}
		a.report.Flows = []replica.Flow{f}
	})
}

func countMessages(r *Request) map[string]int {
	counts := map[string]int{}
	for _, m := range r.Messages {
		if m.Received < 0 {
			counts["lost "+m.What]++
			continue
		}
		counts[m.What]++
	}
	return counts
}

// The messages of a request are those of the paper's figure 1; clocks that disagree let nothing arrive before it was sent, and
// what went to a dead replica is shown as not having come.
func TestARequestsWayIsPutTogether(t *testing.T) {
	for _, skew := range []int64{0, 50_000, -50_000} {
		r := pick(1, normalCase(4, 48, 0, skew))
		if r == nil {
			t.Fatalf("skew %d: no request", skew)
		}
		counts := countMessages(r)
		if counts["request"] != 1 || counts["pre-prepare"] != 3 || counts["prepare"] != 9 || counts["commit"] != 12 || counts["reply"] != 4 || len(r.Executed) != 4 || len(counts) != 5 {
			t.Errorf("skew %d: %v, %d executed", skew, counts, len(r.Executed))
		}
		for _, m := range r.Messages {
			if m.Sent < 0 || m.Received < m.Sent {
				t.Errorf("skew %d: %+v arrives before it is sent", skew, m)
			}
		}
		if r.Seq != 48 || r.Requests != 2 || r.Client != 100 || r.Primary != 0 {
			t.Errorf("%+v", r)
		}
	}
	r := pick(1, normalCase(4, 48, 1, 0))
	if r == nil {
		t.Fatal("no request without the dead replica")
	}
	counts := countMessages(r)
	if counts["pre-prepare"] != 2 || counts["lost pre-prepare"] != 1 || counts["prepare"] != 4 || counts["lost prepare"] != 2 || counts["commit"] != 6 || counts["reply"] != 3 || r.Primary != 1 {
		t.Errorf("without the dead replica: %v, primary %d", counts, r.Primary)
	}
}

// A batch that one replica alone speaks of is not shown, however new; and of those that are known the newest is.
func TestALiarsBatchIsNotShown(t *testing.T) {
	answers, newer := normalCase(4, 48, 0, 0), normalCase(4, 49, 0, 0)
	for i := range answers {
		answers[i].report.Flows = append(answers[i].report.Flows, newer[i].report.Flows...)
	}
	forged := newer[3].report.Flows[0]
	forged.Seq = 1 << 60
	answers[3].report.Flows = append([]replica.Flow{forged}, answers[3].report.Flows...)
	if r := pick(1, answers); r == nil || r.Seq != 49 {
		t.Errorf("%+v", r)
	}
	if r := pick(1, reports(4, func(int, *answer) {})); r != nil {
		t.Errorf("of nothing came %+v", r)
	}
}

// Whatever a replica answers, the picture is bounded and can be sent.
func FuzzDraw(f *testing.F) {
	seed, err := json.Marshal(normalCase(4, 16, 0, 3)[0].report)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"status":{"root":"<script>","suspicions":[{"replica":4294967295,"what":"x"}],"linked":[9]},"flows":[{"seq":16,"view":18446744073709551615,"steps":[{"what":"commit","from":-9},{"what":"reply"}]}],"occurrences":[{"at_ms":-9223372036854775808,"about":9}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var hostile replica.Report
		if json.Unmarshal(b, &hostile) != nil {
			return
		}
		answers := normalCase(4, 16, 0, 0)
		answers[2].report = hostile
		p := draw(1, answers, time.Unix(1, 0))
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("the picture cannot be sent: %v", err)
		}
		if len(text) > 1<<18 {
			t.Errorf("an answer of %d bytes makes a picture of %d", len(b), len(text))
		}
		if p.View != 0 {
			t.Errorf("one liar moves the view to %d", p.View)
		}
	})
}
