package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

const (
	// resultDelay is how long the designated replier may be behind the quorum that agrees with it, before the result is
	// asked of everybody.
	resultDelay = 10 * time.Millisecond
	// backoffMax bounds the time between two retransmissions, as a multiple of the first.
	backoffMax = 16
	// complainAfter is the waiting time from which on a call without a result is worth a word in the log.
	complainAfter = 10 * time.Second
)

// call is one operation on its way. It lives on the goroutine that invoked it, which also sends it again: the runtime's
// timers are the timer wheel, and an idle client has nothing running.
type call struct {
	client *Client
	slot   *slot
	op     []byte

	replier wire.ReplicaID
	reading bool   // sent as read-only so far
	again   []byte // the frame of a retransmission; all are the same
	begun   time.Time
	wait    time.Duration
	urgent  bool // the timer runs for the result alone, or for a reply that makes others match
	waited  bool // complained in the log
}

// run takes the call from the first sending to its result.
func (a *call) run(ctx context.Context, readOnly bool) ([]byte, error) {
	c := a.client
	a.begun, a.reading = time.Now(), readOnly
	a.replier = c.repliers.choose(a.begun)
	a.slot.begin(readOnly, a.replier)
	c.counters.invoked.Add(1)
	defer func() { c.repliers.release(a.replier) }()
	defer a.slot.timer.Stop()
	if err := a.sendFirst(); err != nil {
		a.slot.end()
		return nil, err
	}
	for {
		var err error
		select {
		case result := <-a.slot.done:
			return a.finish(result), nil
		case <-a.slot.nudge:
			err = a.nudged()
		case <-a.slot.timer.C:
			err = a.timeout()
		case <-ctx.Done():
			err = ctx.Err()
		case <-c.closed:
			err = ErrClosed
		}
		if err != nil {
			if result, ok := a.slot.end(); ok {
				return a.finish(result), nil
			}
			return nil, err
		}
	}
}

func (a *call) finish(result []byte) []byte {
	a.slot.end()
	c := a.client
	c.latency.took(time.Since(a.begun))
	c.counters.completed.Add(1)
	return result
}

// sendFirst sends the request for the first time: a read-only or large one to all replicas, another to the primary
// (TOCS §4.2, §6.1), who is enough in the normal case. When the primary seems out of reach, all get a request that looks
// sent again, which makes them tell the primary of it.
func (a *call) sendFirst() error {
	c := a.client
	primary := c.views.primary()
	cutOff := !c.cfg.Connected(c.replicas[primary]) || c.reach.doubts(primary)
	var flags wire.Flags
	switch {
	case a.reading:
		flags = wire.FlagReadOnly
		c.counters.reads.Add(1)
	case cutOff:
		flags = wire.FlagFullReply
	}
	r, err := a.request(flags)
	if err != nil {
		return err
	}
	a.wait = c.latency.timeout()
	a.arm(a.wait)
	if a.reading || cutOff || r.Large(c.cfg.LargeRequest) {
		a.sendAll(wire.Encode(r))
		return nil
	}
	c.cfg.Send(c.replicas[primary], wire.Encode(r))
	return nil
}

// request makes the request with what proves that it is this client's.
func (a *call) request(flags wire.Flags) (*wire.Request, error) {
	c := a.client
	r := wire.NewRequest(c.cfg.ID, a.slot.id, a.slot.number, flags, a.replier, a.op)
	if c.cfg.SignRequests {
		return r, auth.SignRequest(c.cfg.Keys, r)
	}
	return r, auth.Authenticate(c.cfg.Keys, r, c.cfg.N)
}

func (a *call) sendAll(frame []byte) {
	for _, p := range a.client.replicas {
		a.client.cfg.Send(p, frame)
	}
}

// nudged acts on what the replies so far say.
func (a *call) nudged() error {
	switch a.slot.missing(a.client.quorum()) {
	case wantOrder:
		if again, err := a.readCommitted(); again {
			return err
		}
		if a.reading {
			return a.order()
		}
	case wantCommitted:
		if a.reading && a.client.anyToCome(a.slot) {
			a.hurry()
			return nil
		}
		_, err := a.readCommitted()
		return err
	case wantResult:
		a.hurry()
	case wantOthers:
		if a.again == nil {
			return a.askForResult()
		}
	case wantNothing, wantReplies:
	}
	return nil
}

// anyToCome says whether one of the replicas that have not answered may be about to.
func (c *Client) anyToCome(s *slot) bool {
	for i, p := range c.replicas {
		if id := wire.ReplicaID(i); !s.answered(id) && c.cfg.Connected(p) && !c.reach.doubts(id) {
			return true
		}
	}
	return false
}

// hurry gives what is nearly there a little time.
func (a *call) hurry() {
	if a.again == nil && !a.urgent {
		a.urgent = true
		a.arm(max(resultDelay, a.client.latency.average()))
	}
}

// readCommitted asks for the full result where tentative replies were of different states; whether it did. Asked so, replicas
// answer from committed states, and those need not be the same.
func (a *call) readCommitted() (bool, error) {
	if !a.reading || a.again != nil || !a.slot.dropTentative() {
		return false, nil
	}
	a.urgent = false
	return true, a.resend()
}

// order gives up reading without order: writes are going on, or replicas lie. Late replies to the reading still count.
func (a *call) order() error {
	a.stopReading()
	return a.sendFirst()
}

func (a *call) stopReading() {
	a.reading, a.urgent, a.again = false, false, nil
	a.client.counters.fallbacks.Add(1)
}

// askForResult asks all replicas for the result that a quorum agrees on, which the designated replier did not send.
func (a *call) askForResult() error {
	c := a.client
	c.counters.missingResults.Add(1)
	c.repliers.blame(a.replier, time.Now())
	a.urgent = false
	return a.resend()
}

// timeout sends the request to all, and asks all for the full result. A reading is ordered from now on.
func (a *call) timeout() error {
	c := a.client
	missing := a.slot.missing(c.quorum())
	if missing == wantNothing {
		return nil // the result came just now
	}
	if a.urgent && missing == wantCommitted {
		if again, err := a.readCommitted(); again {
			return err
		}
	}
	if a.urgent {
		return a.askForResult()
	}
	if waited := time.Since(a.begun); waited > complainAfter && !a.waited {
		a.waited = true
		c.cfg.Log.Warn("an operation has no result yet: are 2f+1 replicas up, and was this machine's clock set back?",
			"client", c.cfg.ID, "slot", a.slot.id, "number", a.slot.number, "waited", waited, "view", c.views.current())
	}
	c.counters.retransmissions.Add(1)
	if primary := c.views.primary(); !a.slot.answered(primary) {
		c.reach.missed(primary)
	}
	if a.reading {
		a.stopReading()
	}
	a.wait = min(2*a.wait, backoffMax*c.cfg.RequestTimeout)
	return a.resend()
}

func (a *call) resend() error {
	if a.again == nil {
		flags := wire.FlagFullReply
		if a.reading {
			flags |= wire.FlagReadOnly
		}
		r, err := a.request(flags)
		if err != nil {
			return fmt.Errorf("sending it again: %w", err)
		}
		a.again = wire.Encode(r)
	}
	a.arm(a.wait)
	a.sendAll(a.again)
	return nil
}

// arm sets the timer, off by up to an eighth, so that calls that began together do not stay together.
func (a *call) arm(d time.Duration) {
	a.slot.timer.Reset(d + rand.N(d/8+1))
}
