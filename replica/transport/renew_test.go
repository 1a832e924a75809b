package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bfsd/replica/wire"
)

// A link gets new session keys while frames go both ways, and none is lost.
func TestLinksAreRenewedWithoutLoss(t *testing.T) {
	const frames = 5_000 // at a rate that a queue without a link holds for 25 ms: this end may be told late of the new link
	for name, change := range map[string]func(*Config){
		"after some time":    func(c *Config) { c.RenewAfter = 30 * time.Millisecond },
		"after some records": func(c *Config) { c.RenewAfter, c.recordsMax = time.Second, 50 },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 1, "gateway")
			g.quick = change
			var mu sync.Mutex
			got := map[wire.Principal]map[uint64]bool{replicaP(0): {}, clientP(100): {}}
			var sent [2]atomic.Uint64
			count := func(by wire.Principal, n *atomic.Uint64) Handler {
				return func(_ wire.Principal, frame []byte) {
					mu.Lock()
					defer mu.Unlock()
					if number := binary.BigEndian.Uint64(frame); !got[by][number] {
						got[by][number] = true
						n.Add(1)
					} else {
						t.Errorf("%v got frame %d twice", by, number)
					}
				}
			}
			replica := g.start(t, replicaP(0), count(replicaP(0), &sent[0]))
			client := g.start(t, clientP(100), count(clientP(100), &sent[1]))
			eventually(t, "a link", func() bool { return replica.Connected(clientP(100)) && client.Connected(replicaP(0)) })
			first := client.peers[replicaP(0)].current()
			var senders sync.WaitGroup
			for _, end := range []struct {
				from *Transport
				to   wire.Principal
			}{{replica, clientP(100)}, {client, replicaP(0)}} {
				senders.Go(func() {
					pace := time.NewTicker(time.Millisecond)
					defer pace.Stop()
					for i := range uint64(frames) {
						if i%(frames/500) == 0 {
							<-pace.C // so that it takes half a second, and longer than several links last
						}
						if !end.from.Send(end.to, binary.BigEndian.AppendUint64(nil, i)) {
							t.Errorf("frame %d was dropped", i)
							return
						}
					}
				})
			}
			senders.Wait()
			eventually(t, "all frames", func() bool { return sent[0].Load() == frames && sent[1].Load() == frames })
			eventually(t, "a new link", func() bool {
				now := client.peers[replicaP(0)].current()
				return now != nil && now != first
			})
			eventually(t, "the first link to end", func() bool {
				_, err := first.meter.Conn.Write(nil)
				return err != nil
			})
			for tr, peer := range map[*Transport]wire.Principal{replica: clientP(100), client: replicaP(0)} {
				all := tr.Stats().Peers
				p := all[slices.IndexFunc(all, func(s PeerStats) bool { return s.Peer == peer })]
				if p.Links < 2 || p.FramesDropped > 0 || p.FramesLost > 0 {
					t.Errorf("%v: %+v", tr.cfg.Self, p)
				}
				t.Logf("%v: %d links", tr.cfg.Self, p.Links)
			}
		})
	}
}

// Who dials again and again has two links at most: the newest, and the one before, which is read to its end.
func TestOnlyOneLinkIsRetiredAtATime(t *testing.T) {
	g := newGroup(t, 1, "gateway")
	replica := g.start(t, replicaP(0), ignore)
	current := replica.peers[clientP(100)].current
	var first *link
	for range 3 {
		before := current()
		if _, err := connectAs(t, g, clientP(100), privateKey(t, g, clientP(100)), nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a link", func() bool { return current() != before })
		if first == nil {
			first = current()
		}
	}
	eventually(t, "the first link to end", func() bool {
		return errors.Is(first.meter.SetWriteDeadline(time.Time{}), net.ErrClosed)
	})
	first.closing.Do(func() {}) // waits for who closes it
	if !errors.Is(first.reason, errReplaced) {
		t.Errorf("the first link ended with %v: it was read on beside two newer ones", first.reason)
	}
}
