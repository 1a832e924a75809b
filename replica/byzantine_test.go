//go:build byzantine

package replica

import (
	"fmt"
	"testing"

	"bfsd/replica/config"
)

// Every misbehaviour of one replica of four, as the primary (0) and as a backup (2): clients get right answers, each
// operation executes once, and the correct replicas agree.
func TestOneFaultyReplicaIsSurvived(t *testing.T) {
	for _, kind := range misbehaviours {
		for _, faulty := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s/replica %d", kind, faulty), func(t *testing.T) {
				t.Setenv("BFSD_BYZANTINE", fmt.Sprintf("%d=%s", faulty, kind))
				g := newGroup(t, config.Memory, 8)
				c := g.client()
				for i := range 20 {
					if got, want := invoke(t, c, fmt.Sprint("op ", i), false), fmt.Sprintf("%d: op %d", i+1, i); got != want {
						t.Fatalf("an operation answered %q, want %q", got, want)
					}
				}
				g.append(c, "more", 40)
				if got := invoke(t, c, "?", true); got != "60" {
					t.Errorf("after 60 operations the state has %s", got)
				}
				g.ignored[faulty] = true
				g.awaitEqual()
			})
		}
	}
}

// A replica that comes back with nothing fetches the state although one of its sources corrupts what it sends.
func TestAStateIsFetchedPastACorruptSource(t *testing.T) {
	for _, faulty := range []int{0, 1, 2} {
		t.Run(fmt.Sprint("replica ", faulty), func(t *testing.T) {
			t.Setenv("BFSD_BYZANTINE", fmt.Sprintf("%d=corrupt", faulty))
			g := newGroup(t, config.Memory, 8)
			c := g.client()
			g.append(c, "before", 60)
			g.stop(3)
			g.start(3)
			g.append(c, "after", 30)
			g.ignored[faulty] = true
			g.awaitEqual()
		})
	}
}

func TestAnUnknownMisbehaviourIsRefused(t *testing.T) {
	t.Setenv("BFSD_BYZANTINE", "1=shy")
	if _, err := newMisbehaviour(1); err == nil {
		t.Error("a replica was told to be shy, and would have been honest")
	}
}
