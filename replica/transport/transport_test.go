package transport

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

func TestEveryReplicaReachesEveryOtherAndEveryClient(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	members := []wire.Principal{replicaP(0), replicaP(1), replicaP(2), replicaP(3), clientP(100)}
	boxes, transports := map[wire.Principal]*inbox{}, map[wire.Principal]*Transport{}
	for _, p := range members {
		boxes[p] = &inbox{}
		transports[p] = g.start(t, p, boxes[p].handle)
	}
	for _, from := range members {
		for _, to := range members {
			if from != to && !transports[from].Send(to, []byte(from.String())) {
				t.Fatalf("%v could not send to %v", from, to)
			}
		}
	}
	for _, to := range members {
		for _, from := range members {
			if from != to {
				eventually(t, fmt.Sprintf("%v hears from %v", to, from), func() bool { return boxes[to].has(from, from.String()) })
			}
		}
	}
}

func TestFramesOfAllSizesArriveWholeAndInOrder(t *testing.T) {
	g := newGroup(t, 1, "gateway")
	in := &inbox{}
	g.start(t, replicaP(0), in.handle)
	client := g.start(t, clientP(100), ignore)
	var want []string
	for i, size := range []int{1, 2, 100, writeBuffer - headerSize - 1, writeBuffer - headerSize, writeBuffer, writeBuffer + 1, readBuffer, 3, 1 << 20, 5, 4 << 20, 7} {
		frame := bytes.Repeat([]byte{byte('a' + i)}, size)
		want = append(want, string(frame))
		if !client.Send(replicaP(0), frame) {
			t.Fatalf("frame %d was dropped", i)
		}
		// Small queue limits hold until the first link is up.
		eventually(t, "the link is up", connected(t, client, replicaP(0)))
	}
	eventually(t, "all frames arrive", func() bool { return len(in.from(clientP(100))) == len(want) })
	if !slices.Equal(in.from(clientP(100)), want) {
		t.Fatal("frames were changed or came out of order")
	}
	eventually(t, "the queue is empty", func() bool { s := peerStats(t, client, replicaP(0)); return s.FramesQueued == 0 && s.BytesQueued == 0 })
	if s := peerStats(t, client, replicaP(0)); s.FramesOut != uint64(len(want)) || s.FramesLost+s.FramesDropped != 0 {
		t.Fatalf("counted %+v, sent %d frames", s, len(want))
	}
}

func TestBroadcastSharesOneFrame(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	var boxes [4]inbox
	for i := range boxes {
		g.start(t, replicaP(uint32(i)), boxes[i].handle)
	}
	client := g.start(t, clientP(100), ignore)
	client.Broadcast([]wire.Principal{replicaP(0), replicaP(1), replicaP(2), replicaP(3)}, []byte("to all"))
	for i := range boxes {
		eventually(t, fmt.Sprintf("replica %d gets it", i), func() bool { return boxes[i].has(clientP(100), "to all") })
	}
}

func TestLinkComesBackAfterThePeerRestarts(t *testing.T) {
	g := newGroup(t, 1, "gateway")
	client := g.start(t, clientP(100), ignore)
	for round := range 3 {
		in := &inbox{}
		replica := g.start(t, replicaP(0), in.handle)
		frame := fmt.Sprintf("round %d", round)
		client.Send(replicaP(0), []byte(frame)) // perhaps while there is no link: it waits for one
		eventually(t, "the frame arrives after the restart", func() bool { return in.has(clientP(100), frame) })
		replica.Close()
		eventually(t, "the client sees that the link is gone", func() bool { return !peerStats(t, client, replicaP(0)).Connected })
	}
	if s := peerStats(t, client, replicaP(0)); s.Links < 3 {
		t.Fatalf("%d links in three rounds", s.Links)
	}
}

func TestAFullQueueDropsAndCountsWithoutBlocking(t *testing.T) {
	g := newGroup(t, 4)
	g.quick = func(c *Config) { c.QueueFrames, c.QueueBytes = 100, 1<<20 }
	stuck := make(chan struct{})
	handling := make(chan struct{}, 1)
	var others inbox
	g.start(t, replicaP(0), func(wire.Principal, []byte) { // a receiver that stops reading
		select {
		case handling <- struct{}{}:
		default:
		}
		<-stuck
	})
	t.Cleanup(func() { close(stuck) }) // before the transport is closed: cleanups run in reverse order
	g.start(t, replicaP(1), others.handle)
	sender := g.start(t, replicaP(2), ignore)
	sender.Send(replicaP(0), []byte("first"))
	<-handling

	frame := make([]byte, 64<<10)
	for peerStats(t, sender, replicaP(0)).FramesDropped == 0 {
		sender.Send(replicaP(0), frame)
	}
	s := peerStats(t, sender, replicaP(0))
	if s.FramesQueued > 100 || s.BytesQueued > 1<<20 {
		t.Fatalf("the queue holds %d frames, %d bytes; its bounds are 100 and %d", s.FramesQueued, s.BytesQueued, 1<<20)
	}
	if sender.Send(replicaP(0), frame) {
		t.Fatal("a full queue took a frame")
	}
	for _, f := range numbered(50) {
		sender.Send(replicaP(1), []byte(f))
	}
	eventually(t, "the other peer is served", func() bool { return slices.Equal(others.from(replicaP(2)), numbered(50)) })
}

func TestWithoutALinkTheNewestFramesAreKept(t *testing.T) {
	g := newGroup(t, 1, "gateway")
	client := g.start(t, clientP(100), ignore)
	frames := numbered(unlinkedFrames + 10)
	for _, f := range frames {
		client.Send(replicaP(0), []byte(f))
	}
	if s := peerStats(t, client, replicaP(0)); s.FramesQueued != unlinkedFrames || s.FramesDropped != 10 {
		t.Fatalf("%d queued, %d dropped, want %d and 10", s.FramesQueued, s.FramesDropped, unlinkedFrames)
	}
	in := &inbox{}
	g.start(t, replicaP(0), in.handle)
	eventually(t, "the newest arrive", func() bool { return slices.Equal(in.from(clientP(100)), frames[10:]) })
}

func TestSendToAStrangerOrTooMuchIsRefused(t *testing.T) {
	g := newGroup(t, 1, "gateway")
	g.quick = func(c *Config) { c.MaxFrame = 1000 }
	client := g.start(t, clientP(100), ignore)
	if client.Send(clientP(101), []byte("x")) || client.Send(replicaP(0), make([]byte, 1001)) || client.Send(replicaP(0), nil) {
		t.Fatal("it was accepted")
	}
	if n := client.Stats().Misaddressed; n != 3 {
		t.Fatalf("counted %d, want 3", n)
	}
}

func TestAReplicaAndItsOwnClientAreJoinedWithinTheProcess(t *testing.T) {
	g := newGroup(t, 4)
	atReplica, atClient := &inbox{}, &inbox{}
	replica := g.start(t, replicaP(2), atReplica.handle)
	client := g.start(t, clientP(2), atClient.handle)
	if err := Join(replica, client); err != nil {
		t.Fatal(err)
	}
	frame := []byte("request")
	client.Send(replicaP(2), frame)
	replica.Send(clientP(2), []byte("reply"))
	eventually(t, "the request arrives", func() bool { return atReplica.has(clientP(2), "request") })
	eventually(t, "the reply arrives", func() bool { return atClient.has(replicaP(2), "reply") })
	if !peerStats(t, replica, clientP(2)).Connected || !peerStats(t, client, replicaP(2)).Connected {
		t.Error("joined, but not counted as connected")
	}
	if s := peerStats(t, client, replicaP(2)); s.FramesQueued != 0 || s.FramesOut != 1 || s.FramesIn != 1 {
		t.Errorf("counted %+v", s)
	}
	client.Close()
	if peerStats(t, replica, clientP(2)).Connected {
		t.Error("still connected to a client that was closed")
	}
	if err := Join(replica, g.make(t, replicaP(3), ignore)); err == nil {
		t.Error("two replicas were joined, though one dials the other")
	}
}

func TestPeersOfTheCluster(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	dialed := func(p wire.Principal) (dial, wait []wire.Principal) {
		for _, peer := range Peers(g.cluster, p) {
			if peer.Addr != "" {
				dial = append(dial, peer.Principal)
			} else {
				wait = append(wait, peer.Principal)
			}
		}
		return dial, wait
	}
	for _, tc := range []struct {
		self       wire.Principal
		dial, wait []wire.Principal
	}{
		{
			replicaP(1),
			[]wire.Principal{replicaP(0)},
			[]wire.Principal{replicaP(2), replicaP(3), clientP(0), clientP(1), clientP(2), clientP(3), clientP(100)},
		},
		{clientP(100), []wire.Principal{replicaP(0), replicaP(1), replicaP(2), replicaP(3)}, nil},
		{clientP(1), []wire.Principal{replicaP(0), replicaP(2), replicaP(3)}, []wire.Principal{replicaP(1)}},
	} {
		dial, wait := dialed(tc.self)
		if !slices.Equal(dial, tc.dial) || !slices.Equal(wait, tc.wait) {
			t.Errorf("%v dials %v and waits for %v, want %v and %v", tc.self, dial, wait, tc.dial, tc.wait)
		}
	}
}

func TestNewRefusesAConfigurationThatCannotBe(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	good := Config{Self: clientP(100), Keys: g.keys(t, clientP(100)), Handler: ignore, Peers: Peers(g.cluster, clientP(100))}
	for name, spoil := range map[string]func(*Config){
		"no handler":      func(c *Config) { c.Handler = nil },
		"another's keys":  func(c *Config) { c.Keys = g.keys(t, replicaP(0)) },
		"an unknown peer": func(c *Config) { c.Peers = append(slices.Clone(c.Peers), Peer{Principal: replicaP(9)}) },
		"a peer twice":    func(c *Config) { c.Peers = append(slices.Clone(c.Peers), c.Peers[0]) },
		"itself":          func(c *Config) { c.Peers = append(slices.Clone(c.Peers), Peer{Principal: c.Self}) },
	} {
		bad := good
		spoil(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCloseEndsEverythingWhileTrafficFlows(t *testing.T) {
	g := newGroup(t, 4)
	var received atomic.Int64
	count := func(wire.Principal, []byte) { received.Add(1) }
	var transports [4]*Transport
	for i := range transports {
		transports[i] = g.start(t, replicaP(uint32(i)), count)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				transports[3].Broadcast([]wire.Principal{replicaP(0), replicaP(1), replicaP(2)}, make([]byte, 1000))
			}
		}
	}()
	eventually(t, "traffic flows", func() bool { return received.Load() > 100 })
	for _, tr := range transports {
		tr.Close() // TestMain's leak check sees whether anything is left
	}
	close(stop)
	<-stopped
}

// When a client's key is replaced its link ends at once; the old key gets no other, and the log of who has it says why; the
// new key does.
func TestALinkEndsWithItsKey(t *testing.T) {
	g := newGroup(t, 1, "gateway")
	ring, err := g.cluster.Keyring(g.ids[replicaP(0)])
	if err != nil {
		t.Fatal(err)
	}
	g.quick = func(c *Config) {
		if c.Self == replicaP(0) {
			c.Keys = ring
		}
	}
	replica := g.start(t, replicaP(0), ignore)
	log := &logBuffer{}
	g.quick = func(c *Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) }
	old := g.start(t, clientP(100), ignore)
	linked := func(tr *Transport) func() bool {
		return func() bool { return replica.Connected(clientP(100)) && tr.Connected(replicaP(0)) }
	}
	eventually(t, "a link", linked(old))
	replica.Recheck()
	if !linked(old)() {
		t.Error("a link whose key is still good was closed")
	}
	next := auth.Identity{Cluster: g.cluster.ID, Principal: clientP(100), Key: auth.GenerateKey(), Number: 1}
	if err := ring.Replace([]auth.ClientKey{{Client: 100, Number: 1, Key: next.Key.Public()}}); err != nil {
		t.Fatal(err)
	}
	replica.Recheck()
	eventually(t, "the link to end", func() bool { return !replica.Connected(clientP(100)) && !old.Connected(replicaP(0)) })
	eventually(t, "the log to say why", func() bool { return strings.Contains(log.String(), errUnwelcome.Error()) })
	refused := replica.Stats().HandshakesRefused
	eventually(t, "more attempts", func() bool { return replica.Stats().HandshakesRefused > refused+3 })
	if n := strings.Count(log.String(), errUnwelcome.Error()); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	old.Close()
	g.ids[clientP(100)] = next
	eventually(t, "a link with the new key", linked(g.start(t, clientP(100), ignore)))
}
