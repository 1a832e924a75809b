package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"bfsd/internal/netlab"
)

// partition is a way to lose packets between the hosts of a cluster.
type partition struct {
	name     string
	replicas int
	lasts    time.Duration
	long     bool // only with BFSD_LONG_TESTS
	// cut makes it, and says which replicas cannot take part meanwhile, at most f of them.
	cut func(ctx context.Context, c *labCluster, primary uint32) (without []uint32, err error)
}

// catchUpMax is how long a replica may take from the end of its partition until it has caught up with a group at work: its
// links come back within two seconds or so, the rest is state transfer, on a machine that does everybody's work.
const catchUpMax = 15 * time.Second

// Links notice silence after transport.Config.DeadAfter. A partition that is shorter heals under connections that have
// backed off, a longer one when both ends are dialing anew.
const (
	briefly   = 1500 * time.Millisecond
	lastingly = 6 * time.Second
)

// isolated cuts the replicas off that come first in the order of succession, from the primary's place on plus offset; they
// stay in touch with each other.
func isolated(offset, count int) func(context.Context, *labCluster, uint32) ([]uint32, error) {
	return func(ctx context.Context, c *labCluster, primary uint32) ([]uint32, error) {
		without := c.succession(primary, offset, count)
		return without, c.lab.Isolate(ctx, c.at(without)...)
	}
}

func partitions() []partition {
	all := []partition{
		{"a backup is cut off", 4, lastingly, false, isolated(2, 1)},
		{"the primary is cut off", 4, lastingly, false, isolated(0, 1)},
		{"a backup is cut off briefly", 4, briefly, true, isolated(2, 1)},
		{"the primary is cut off briefly", 4, briefly, true, isolated(0, 1)},
		{"the primary is deaf", 4, lastingly, true, func(ctx context.Context, c *labCluster, primary uint32) ([]uint32, error) {
			return []uint32{primary}, c.lab.Deafen(ctx, c.hosts[primary])
		}},
		{"the next primary is deaf", 4, lastingly, true, func(ctx context.Context, c *labCluster, primary uint32) ([]uint32, error) {
			without := c.succession(primary, 1, 1)
			return without, c.lab.Deafen(ctx, c.hosts[without[0]])
		}},
		{"the gateway does not reach the primary", 4, lastingly, true, func(ctx context.Context, c *labCluster, primary uint32) ([]uint32, error) {
			return nil, c.lab.Partition(ctx, []*netlab.Host{c.lab.Hub()}, []*netlab.Host{c.hosts[primary]})
		}},
		{"one backup is cut off", 7, lastingly, true, isolated(3, 1)},
		{"the primary is cut off", 7, lastingly, true, isolated(0, 1)},
		{"two backups are cut off together", 7, lastingly, true, isolated(1, 2)},
		{"the primary and the next are cut off together", 7, lastingly, true, isolated(0, 2)},
		{"the primary and the next are cut off, each alone", 7, lastingly, true, func(ctx context.Context, c *labCluster, primary uint32) ([]uint32, error) {
			without := c.succession(primary, 0, 2)
			rest := []*netlab.Host{c.lab.Hub()}
			for i, h := range c.hosts {
				if !slices.Contains(without, uint32(i)) {
					rest = append(rest, h)
				}
			}
			return without, c.lab.Partition(ctx, c.at(without[:1]), c.at(without[1:]), rest)
		}},
	}
	if os.Getenv("BFSD_LONG_TESTS") != "" {
		return all
	}
	return slices.DeleteFunc(all, func(p partition) bool { return p.long })
}

// succession lists replicas in the order in which they would be primaries, from the primary's place plus offset.
func (c *labCluster) succession(primary uint32, offset, count int) []uint32 {
	ids := make([]uint32, count)
	for i := range ids {
		ids[i] = (primary + uint32(offset+i)) % uint32(len(c.hosts))
	}
	return ids
}

func (c *labCluster) at(ids []uint32) []*netlab.Host {
	hosts := make([]*netlab.Host, len(ids))
	for i, id := range ids {
		hosts[i] = c.hosts[id]
	}
	return hosts
}

// While trees are copied through a kernel mount, the network loses all packets between some replicas and the rest, without
// a word to anybody, and then comes back. Nobody gets an error, no byte is wrong, the others go on meanwhile, and those
// that were cut off catch up while the work goes on, and end with the same state as all.
func TestAPartitionIsSurvived(t *testing.T) {
	for _, p := range partitions() {
		t.Run(fmt.Sprintf("%s of %d", p.name, p.replicas), func(t *testing.T) { p.test(t) })
	}
}

func (p partition) test(t *testing.T) {
	c := newLabCluster(t, p.replicas)
	guest := c.guest()
	mnt := c.mount(guest, testPort)
	probe := c.startProbe()
	work := c.startCopies(guest, mnt, "net/http", "loud")
	primary := c.ask()[0].Primary
	c.await("the copies to be under way", func(all []replicaReport) bool { return all[primary].Committed > 500 })

	before := c.ask()
	without, err := p.cut(t.Context(), c, primary)
	if err != nil {
		t.Fatal(err)
	}
	wait(p.lasts / 2)
	then := c.ask()
	wait(p.lasts / 2)
	now := c.ask()
	newest := slices.MaxFunc(now, byCommitted).Committed
	for _, id := range without {
		if now[id].Committed != then[id].Committed || newest < now[id].Committed+100 {
			t.Errorf("replica %d was cut off: it committed up to %d by half time and %d in the end, while the others came to %d",
				id, then[id].Committed, now[id].Committed, newest)
		}
	}
	if err := c.lab.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	caughtUp := c.awaitCaughtUp()
	if caughtUp > catchUpMax {
		t.Errorf("it took %v to catch up, longer than %v", caughtUp, catchUpMax)
	}
	n := work.stop()
	pause, calls := probe()
	if pause > pauseMax {
		t.Errorf("a small write took %v, longer than %v", pause, pauseMax)
	}
	c.await("equal roots", agreed)

	// Once more, and healed when nobody works any more: nothing but the replicas' own care brings them together.
	if _, err = p.cut(t.Context(), c, c.ask()[0].Primary); err != nil {
		t.Fatal(err)
	}
	quiet := c.startCopies(guest, mnt, "errors", "quiet")
	wait(p.lasts)
	m := quiet.stop()
	if err := c.lab.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal := c.await("equal roots", agreed)

	if err := guest.Unmount(t.Context(), mnt); err != nil {
		t.Fatal(err)
	}
	mnt = c.mount(guest, testPort)
	work.compare(mnt, n)
	quiet.compare(mnt, m)
	c.await("equal roots", agreed)
	views := c.ask()
	for _, r := range views {
		if r.View != views[0].View {
			t.Errorf("replica %d is in view %d, replica 0 in view %d", r.ID, r.View, views[0].View)
		}
	}
	logFault(t, p.name, p.replicas, "longest_pause_ms", pause.Milliseconds(), "small_writes", calls,
		"view_before", before[0].View, "view", views[0].View, "caught_up_under_load_ms", caughtUp.Milliseconds(),
		"equal_roots_when_idle_ms", equal.Milliseconds(), "copies", n+m)
}

// wait lets a partition last: it is not a wait for something.
func wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

func byCommitted(a, b replicaReport) int { return int(int64(a.Committed) - int64(b.Committed)) }

// awaitCaughtUp waits until every replica has links to all and has committed what the foremost had a moment ago, and says
// how long that took. The work goes on: they are never all at the same place.
func (c *labCluster) awaitCaughtUp() time.Duration {
	c.t.Helper()
	foremost := uint64(1 << 62)
	return c.await("those that were cut off to catch up", func(all []replicaReport) bool {
		least := slices.MinFunc(all, byCommitted).Committed
		fewest := slices.MinFunc(all, func(a, b replicaReport) int { return a.Peers - b.Peers }).Peers
		caught := least >= foremost && fewest == len(all)-1
		foremost = slices.MaxFunc(all, byCommitted).Committed
		return caught
	})
}
