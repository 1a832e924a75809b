package transport

import "fmt"

// localLink joins two transports of one process: a replica and its own client. Each direction has the same bounded queue
// as a link has, and one goroutine that hands frames to the receiver; nothing is copied or encrypted.
type localLink struct {
	ends [2]localEnd
}

// localEnd is one direction.
type localEnd struct {
	from     *Transport
	to       *peer // in from
	receiver *Transport
	sender   *peer // from, in receiver
}

// Join links two transports within the process. Each must have the other among its peers, with no address to dial.
// Closing either ends the link.
func Join(a, b *Transport) error {
	ab, ba := a.peers[b.cfg.Self], b.peers[a.cfg.Self]
	if ab == nil || ba == nil || ab.addr != "" || ba.addr != "" {
		return fmt.Errorf("joining %v and %v: each must be a peer without an address to the other", a.cfg.Self, b.cfg.Self)
	}
	l := &localLink{}
	l.ends[0] = localEnd{from: a, to: ab, receiver: b, sender: ba}
	l.ends[1] = localEnd{from: b, to: ba, receiver: a, sender: ab}
	for _, t := range []*Transport{a, b} {
		t.mu.Lock()
		t.locals = append(t.locals, l)
		t.mu.Unlock()
	}
	for i := range l.ends {
		e := &l.ends[i]
		e.to.joined.Store(true)
		e.to.links.Add(1)
		e.to.queue.attach(e)
		e.receiver.running.Add(1)
		e.from.running.Go(func() {
			defer e.receiver.running.Done()
			e.run()
		})
	}
	return nil
}

func (l *localLink) close() {
	for i := range l.ends {
		l.ends[i].to.queue.detach(&l.ends[i])
		l.ends[i].to.joined.Store(false)
	}
}

func (e *localEnd) run() {
	var batch [][]byte
	for {
		var ok bool
		if batch, ok = e.to.queue.take(e, batch); !ok {
			return
		}
		for i, frame := range batch {
			e.to.sent(frame)
			e.to.queue.release(1, len(frame))
			e.sender.received(frame)
			e.receiver.cfg.Handler(e.from.cfg.Self, frame)
			batch[i] = nil
		}
	}
}
