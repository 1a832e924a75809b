//go:build byzantine

package replica

import (
	"fmt"
	"testing"
	"time"

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
	for _, unknown := range []string{"shy", "lie:20ms", "slow:", "slow:soon", "slow:-1s", ""} {
		t.Setenv("BFSD_BYZANTINE", "1="+unknown)
		if m, err := newMisbehaviour(1); err == nil {
			t.Errorf("a replica was told to be %q, and would have been %+v", unknown, m)
		}
	}
	t.Setenv("BFSD_BYZANTINE", "0=lie,1=slow:20ms")
	if m, err := newMisbehaviour(1); err != nil || m != (misbehaviour{"slow", 20 * time.Millisecond}) {
		t.Errorf("slow by 20 ms: %+v, %v", m, err)
	}
}

// A copy of the state, for a backup, is right whatever one replica does.
func TestACopyIsRightThoughAReplicaIsFaulty(t *testing.T) {
	for _, kind := range misbehaviours {
		t.Run(kind, func(t *testing.T) {
			t.Setenv("BFSD_BYZANTINE", "1="+kind)
			g := newGroup(t, config.Memory, 8)
			g.append(g.client(), "op", 40)
			s, done, err := g.copyState(backupOf, "?", 30*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.ops) != 40 || s.Snapshot().Root() != done.At.Root {
				t.Errorf("the copy holds %d operations of 40", len(s.ops))
			}
		})
	}
}
