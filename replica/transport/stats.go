package transport

import (
	"sync/atomic"

	"bfsd/replica/wire"
)

// Stats is a snapshot of a transport's counters, which only grow while it lives.
type Stats struct {
	Peers []PeerStats // in order of role and number

	HandshakesRefused uint64 // incoming connections that did not become links: not TLS, an unknown key, too slow
	HandshakesLimited uint64 // incoming connections closed at once: too many handshakes were under way
	Misaddressed      uint64 // frames sent to principals that are no peers, or that exceed the limit
}

// PeerStats counts what goes to and comes from one peer.
type PeerStats struct {
	Peer      wire.Principal
	Connected bool

	Links               uint64 // connections made so far
	FramesIn, BytesIn   uint64
	FramesOut, BytesOut uint64 // written, or delivered within the process
	FramesDropped       uint64 // at the full queue
	FramesLost          uint64 // taken from the queue, but the link broke
	FramesQueued        int    // now
	BytesQueued         int    // now
}

// counters are the parts of PeerStats that goroutines add to.
type counters struct {
	links, framesIn, bytesIn, framesOut, bytesOut, framesLost atomic.Uint64
}

func (c *counters) received(frame []byte) {
	c.framesIn.Add(1)
	c.bytesIn.Add(uint64(len(frame)))
}

// sent counts a frame, unless it is a keep-alive.
func (c *counters) sent(frame []byte) {
	if len(frame) > 0 {
		c.framesOut.Add(1)
		c.bytesOut.Add(uint64(len(frame)))
	}
}
