package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"bfsd/internal/loopback"
	"bfsd/replica/auth"
	"bfsd/replica/client"
	"bfsd/replica/config"
	"bfsd/replica/store"
)

// group is a cluster of nodes in this process, over real links and real stores, with a toy service.
type group struct {
	t          testing.TB
	cluster    *config.Cluster
	identities []auth.Identity
	dir        string
	nodes      []*runningNode // nil: down
	genesis    string         // the file with the state that it began with
	ignored    []bool         // not asked by awaitEqual: a faulty replica may say anything

	disks  [4]vfs.FS                  // nil: the operating system's
	logs   [4]io.Writer               // nil: none
	fatals func(i int, reason string) // nil: panic
	ports  [4]net.Listener            // of the last Open

	service func() Service // nil: a toy
	loading *Loading       // of the next Open
}

type runningNode struct {
	node *Node
	stop context.CancelFunc
	done chan struct{}
}

func newGroup(t testing.TB, durability config.Durability, checkpointInterval uint64) *group {
	t.Helper()
	return newGroupOf(t, durability, checkpointInterval, func(*config.Cluster) {})
}

// newGroupOf is newGroup with a change to the cluster file.
func newGroupOf(t testing.TB, durability config.Durability, checkpointInterval uint64, change func(*config.Cluster)) *group {
	t.Helper()
	g := stoppedGroup(t, durability, checkpointInterval)
	change(g.cluster)
	for i := range g.nodes {
		g.start(i)
	}
	return g
}

// stoppedGroup is a group that was never started.
func stoppedGroup(t testing.TB, durability config.Durability, checkpointInterval uint64) *group {
	t.Helper()
	addrs := make([]config.Addresses, 4)
	port, err := loopback.Ports(len(addrs))
	if err != nil {
		t.Fatal(err)
	}
	for i := range addrs {
		addrs[i].Peer = net.JoinHostPort(loopback.Host(), strconv.Itoa(port+i))
	}
	tunables := config.DefaultTunables()
	tunables.CheckpointInterval = checkpointInterval
	tunables.BatchWindow = min(tunables.BatchWindow, int(checkpointInterval))
	cluster, ids, err := config.Generate(config.Options{
		Replicas: addrs, Gateways: []string{"test"}, Backups: []string{"backup"}, Durability: durability, Tunables: tunables,
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &group{t: t, cluster: cluster, identities: ids, dir: t.TempDir(), nodes: make([]*runningNode, 4), ignored: make([]bool, 4)}
	t.Cleanup(func() {
		for i := range g.nodes {
			g.stop(i)
		}
	})
	return g
}

func listenLocal(t testing.TB, addr string) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (g *group) open(i int, dir string) (*Node, error) {
	g.t.Helper()
	keys, err := g.cluster.Keyring(g.identities[i])
	if err != nil {
		g.t.Fatal(err)
	}
	fatal := func(why string) { panic(why) }
	if g.fatals != nil {
		fatal = func(why string) { g.fatals(i, why) }
	}
	log := slog.New(slog.DiscardHandler)
	if g.logs[i] != nil {
		log = slog.New(slog.NewTextHandler(g.logs[i], nil))
	}
	service := Service(newToyService())
	if g.service != nil {
		service = g.service()
	}
	l := listenLocal(g.t, g.cluster.Replicas[i].Peer)
	g.ports[i] = l
	n, err := Open(Options{
		Cluster: g.cluster, Keys: keys, Service: service, StoreDir: dir, StoreFS: g.disks[i], Genesis: g.genesis,
		Listener: l, Log: log, Fatal: fatal, Loading: g.loading,
	})
	if err != nil {
		l.Close()
	}
	return n, err
}

func (g *group) start(i int) {
	g.t.Helper()
	node, err := g.open(i, g.storeDir(i))
	if err != nil {
		g.t.Fatal(err)
	}
	g.run(i, node)
}

// run makes an open node a member of the group.
func (g *group) run(i int, node *Node) {
	ctx, stop := context.WithCancel(context.Background())
	r := &runningNode{node, stop, make(chan struct{})}
	g.nodes[i] = r
	go func() {
		defer close(r.done)
		if err := node.Run(ctx); err != nil {
			g.t.Errorf("replica %d: %v", i, err)
		}
	}()
}

func (g *group) storeDir(i int) string { return filepath.Join(g.dir, fmt.Sprint(i)) }

func (g *group) stop(i int) {
	if r := g.nodes[i]; r != nil {
		r.stop()
		<-r.done
		g.nodes[i] = nil
	}
}

func (g *group) client() *client.Client {
	g.t.Helper()
	keys, err := g.cluster.Keyring(g.identities[4])
	if err != nil {
		g.t.Fatal(err)
	}
	c, err := client.Dial(g.cluster, keys, slog.New(slog.DiscardHandler))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(c.Close)
	return c
}

func invoke(t *testing.T, c *client.Client, op string, readOnly bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result, err := c.Invoke(ctx, []byte(op), readOnly)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return string(result)
}

// append executes count operations, eight at a time.
func (g *group) append(c *client.Client, what string, count int) {
	g.t.Helper()
	var wg sync.WaitGroup
	next := make(chan string)
	for range 8 {
		wg.Go(func() {
			for op := range next {
				if g.t.Failed() {
					continue
				}
				ctx, cancel := context.WithTimeout(g.t.Context(), 15*time.Second)
				if _, err := c.Invoke(ctx, []byte(op), false); err != nil {
					g.t.Errorf("%s: %v; %s", op, err, g.describe())
				}
				cancel()
			}
		})
	}
	for i := range count {
		next <- fmt.Sprintf("%s %d", what, i)
	}
	close(next)
	wg.Wait()
}

// describe tells what each core says of itself.
func (g *group) describe() string {
	var b strings.Builder
	for i, r := range g.nodes {
		if r != nil {
			fmt.Fprintf(&b, "\nreplica %d: %+v", i, *r.node.info.Load())
		}
	}
	return b.String()
}

// awaitEqual waits until the replicas that run have executed the same, with the same root, and returns it.
func (g *group) awaitEqual() Status {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	var seen []string
	for {
		var first Status
		equal := true
		seen = seen[:0]
		for i, r := range g.nodes {
			if r == nil || g.ignored[i] {
				continue
			}
			s, err := r.node.Status(ctx)
			if err != nil {
				g.t.Fatalf("the replicas do not become equal: %s: %v", strings.Join(seen, "; "), errors.Join(err, ctx.Err()))
			}
			seen = append(seen, fmt.Sprintf("replica %d executed %d committed %d stable %d root %.8s fetching %v view %d in doubt %v until %d", i, s.Executed, s.Committed, s.Stable, s.Root, s.Fetching, s.View, s.InDoubt, s.DoubtUntil))
			if first.Root == "" {
				first = s
			}
			equal = equal && !s.InDoubt && s.Root != "" && s.Root == first.Root && s.Executed == first.Executed && s.Committed == s.Executed
		}
		if equal {
			return first
		}
		select { // what is awaited happens on the nodes' loops, which tell nobody
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			g.t.Fatalf("the replicas do not become equal: %s", strings.Join(seen, "; "))
		}
	}
}

func TestFourNodesExecuteTheSameOnce(t *testing.T) {
	g := newGroup(t, config.Memory, 16)
	c := g.client()
	if got := invoke(t, c, "first", false); got != "1: first" {
		t.Errorf("the first operation answered %q", got)
	}
	g.append(c, "op", 100)
	if got := invoke(t, c, "?", true); got != "101" {
		t.Errorf("after 101 operations the state has %s", got)
	}
	if s := g.awaitEqual(); s.Stable == 0 {
		t.Errorf("after %d batches there is no stable checkpoint: %+v", s.Executed, s)
	}
}

func TestANodeThatWasDownCatchesUpFromItsLogAndItsPeers(t *testing.T) {
	for _, missed := range []int{5, 200} { // within the window, and beyond it: state transfer
		t.Run(fmt.Sprint(missed), func(t *testing.T) {
			g := newGroup(t, config.OS, 16)
			c := g.client()
			g.append(c, "before", 40)
			g.stop(2)
			for i := range missed {
				invoke(t, c, fmt.Sprintf("missed %d", i), false)
			}
			g.start(2)
			g.append(c, "after", 20)
			g.awaitEqual()
			if got := invoke(t, c, "?", true); got != fmt.Sprint(60+missed) {
				t.Errorf("the state has %s operations, want %d", got, 60+missed)
			}
		})
	}
}

func TestAGroupThatWasStoppedComesBackWithItsState(t *testing.T) {
	g := newGroup(t, config.Disk, 16)
	c := g.client()
	g.append(c, "before", 70)
	before := g.awaitEqual()
	for i := range g.nodes {
		g.stop(i)
	}
	for i := range g.nodes {
		g.start(i)
	}
	if got := invoke(t, c, "after", false); got != "71: after" {
		t.Errorf("after the restart an operation answered %q", got)
	}
	if after := g.awaitEqual(); after.Executed <= before.Executed {
		t.Errorf("executed %d before, %d after", before.Executed, after.Executed)
	}
}

func TestANodeWithAnEmptyDiskFetchesTheState(t *testing.T) {
	g := newGroup(t, config.Memory, 8)
	c := g.client()
	g.append(c, "before", 100)
	g.stop(3) // in memory: it comes back with nothing
	g.start(3)
	g.append(c, "after", 50)
	g.awaitEqual()
}

func TestAPrimaryThatIsGoneIsReplaced(t *testing.T) {
	g := newGroup(t, config.Memory, 16)
	c := g.client()
	g.append(c, "before", 20)
	g.stop(0)
	if got := invoke(t, c, "without it", false); got != "21: without it" {
		t.Errorf("without the primary an operation answered %q", got)
	}
	if s := g.awaitEqual(); s.View == 0 {
		t.Errorf("the view is still 0: %+v", s)
	}
}

func TestAStateThatTheDiskChangedIsFetchedAnew(t *testing.T) {
	for _, tc := range []struct {
		name, says string
		meta       func(*store.Meta)
		change     func(page []byte) []byte
	}{
		{"a page", "the disk has changed them", func(*store.Meta) {}, func([]byte) []byte { return []byte("op never executed\n") }},
		{"its place in the order", "is that of checkpoint", func(m *store.Meta) { m.Seq += 8 }, func(page []byte) []byte { return page }},
	} {
		t.Run(tc.name, func(t *testing.T) { changedByTheDisk(t, tc.says, tc.meta, tc.change) })
	}
}

func changedByTheDisk(t *testing.T, says string, change func(*store.Meta), changePage func([]byte) []byte) {
	g := newGroup(t, config.OS, 8)
	c := g.client()
	g.append(c, "op", 40)
	g.awaitEqual()
	g.stop(1)
	// The certificate of another state: as if a page had changed.
	node, err := g.open(1, g.storeDir(1))
	if err != nil {
		t.Fatal(err)
	}
	meta, ok, err := node.store.Meta()
	if err != nil || !ok {
		t.Fatalf("no checkpoint to corrupt: %v", err)
	}
	var page []byte
	if err := node.store.Pages(func(_, value []byte) error { page = slices.Clone(value); return nil }); err != nil {
		t.Fatal(err)
	}
	change(&meta)
	if err := node.store.Checkpoint(meta, true, func(emit func(k, v []byte) error) error {
		return emit([]byte("state"), changePage(page))
	}); err != nil {
		t.Fatal(err)
	}
	node.Close()
	g.start(1)
	if s := g.awaitEqual(); s.Stable == 0 {
		t.Errorf("no stable checkpoint: %+v", s)
	}
	s, err := g.nodes[1].node.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Damage) != 2 || !strings.Contains(s.Damage[0], says) {
		t.Errorf("the replica tells of %q", s.Damage)
	}
	if _, err := os.Stat(g.storeDir(1) + ".damaged-1"); err != nil {
		t.Errorf("the damaged store is not kept: %v", err)
	}
	if got := invoke(t, c, "?", true); got != "40" {
		t.Errorf("the state has %s operations, want 40", got)
	}
}
