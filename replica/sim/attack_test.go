package sim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"bfsd/replica/wire"
)

// calmPlan is a plan in which nothing goes wrong but what the test adds.
func calmPlan(f int) plan {
	p := draw(stream(99, streamPlan), f, 2*second)
	p.traitors, p.habits, p.forgetful, p.rogues, p.stayDown = nil, nil, nil, 0, 0
	p.crashes, p.powerCuts, p.pauses, p.partitions = false, false, false, false
	p.loss, p.twice, p.spike, p.skew, p.drift = 0, 0, 0, 0, 0
	p.delay, p.jitter, p.sync, p.hashing = 300*microsecond, 200*microsecond, millisecond, 0
	p.clients, p.slots, p.core.Slots, p.goal = 2, 2, 2, 25
	p.core.Clients = []wire.ClientID{clientBase, clientBase + 1}
	p.core.NoTentative, p.core.NoDigestReplies, p.core.NoReadOnly, p.core.NoPiggyback = false, false, false, false
	return p
}

// Berger, Reiser and Bessani (SRDS '21, arXiv 2107.11144): a client waits for 2f+1 replies, as it must when reads are not
// ordered. A faulty primary keeps f correct replicas out of the protocol, the other 2f+1 go on without them, and the
// faulty ones among those do not reply: 2f replies is all that ever comes, and no timer runs out, since all is executed.
// Here the starved replicas learn what was decided from the others, and reply.
func TestAPrimaryThatLetsCorrectReplicasLagStopsNobody(t *testing.T) {
	for f := 1; f <= 3; f++ {
		t.Run(fmt.Sprintf("f=%d", f), func(t *testing.T) {
			p := calmPlan(f)
			for i := range f {
				p.traitors = append(p.traitors, wire.ReplicaID(i))
			}
			p.habits = []habit{starving}
			var trace bytes.Buffer
			stats, failure := run(Options{Scenario: KV(), Trace: &trace}, p)
			if failure != nil {
				t.Fatal(failure)
			}
			if stats.NewViews != 0 {
				t.Errorf("%d view changes: the attack was not on, or not fended off in its view", stats.NewViews)
			}
			if strings.Contains(trace.String(), "r0 → c") {
				t.Error("the faulty primary replies to clients")
			}
			if adopted := strings.Count(trace.String(), " adopted v0 "); adopted < f*int(stats.Batches)/2 {
				t.Errorf("%d batches, of which the %d starved replicas adopted %d: they did not lag", stats.Batches, f, adopted)
			}
			if slow := slowest(t, trace.String()); slow > 100 {
				t.Errorf("an operation took %d ms", slow)
			}
			if done := strings.Count(trace.String(), "has its result"); done < 100 {
				t.Errorf("%d operations completed", done)
			}
		})
	}
}

// slowest finds the operation that took longest, in milliseconds.
func slowest(t *testing.T, trace string) int {
	t.Helper()
	longest := 0
	for line := range strings.Lines(trace) {
		if _, took, found := strings.Cut(line, " after "); found && strings.Contains(line, "has its result") {
			var ms int
			if _, err := fmt.Sscanf(took, "%d ms", &ms); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			longest = max(longest, ms)
		}
	}
	return longest
}

// A client whose authenticators convince the primary alone costs nobody a view change (Aardvark, NSDI '09).
func TestABigMACAttackCausesNoViewChange(t *testing.T) {
	p := calmPlan(1)
	p.rogues = 2
	p.core.Clients = append(p.core.Clients, clientBase+2, clientBase+3)
	var trace bytes.Buffer
	stats, failure := run(Options{Scenario: KV(), Trace: &trace}, p)
	if failure != nil {
		t.Fatal(failure)
	}
	if stats.NewViews != 0 {
		t.Errorf("%d times a replica entered a new view", stats.NewViews)
	}
	if stats.Refused == 0 || !strings.Contains(trace.String(), "unauthentic request") {
		t.Error("no request was refused or doubted: there was no attack")
	}
}

// Without faults there are no faults: a baseline that shows what the simulator adds.
func TestACalmWorldNeedsNoRepairs(t *testing.T) {
	stats, failure := run(Options{Scenario: KV()}, calmPlan(1))
	if failure != nil {
		t.Fatal(failure)
	}
	if stats.NewViews+stats.Rollbacks+stats.Abandoned+stats.Transfers+stats.Refused+stats.Crashes != 0 {
		t.Errorf("there were repairs: %+v", stats)
	}
	if stats.Requests < 50 || stats.Reads == 0 || stats.Checkpoints == 0 {
		t.Errorf("not much happened: %+v", stats)
	}
}
