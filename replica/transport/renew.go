package transport

import (
	"crypto/tls"
	"math/rand/v2"
	"time"
)

// A link's session keys come from its handshake, and links may last for months. So who dialed makes a new link before the
// old one has carried what one key may protect (RFC 8446 section 5.5; crypto/tls does not update keys by itself), and at
// the latest after RenewAfter: whoever learned the session keys of a link, and not the members' own, has
// nothing from then on (TOCS §5.2 asks that of session keys). The new link is there before the old one goes, and the
// old one's frames are read to their end, so nothing is lost.

const (
	// recordsMax is about 2^22.5 records each way: a quarter of the 2^24.5 that RFC 8446 allows with AES-GCM.
	recordsMax = 6_000_000
	// recordSize is the most that one TLS record carries.
	recordSize = 16 << 10
	// retiredFor is how long what is on its way on an old link may take.
	retiredFor = time.Second
)

// established is a connection that both ends have accepted.
type established struct {
	conn   *tls.Conn
	meter  *meteredConn
	frames *frameReader
	close  func()
}

// usage counts from above how many TLS records a link has carried in the direction that has more of them.
func (l *link) usage() uint64 {
	out := l.meter.writes.Load() // crypto/tls writes each record by itself
	in := l.frames.count.Load() + l.meter.in.Load()/recordSize
	return max(in, out)
}

// dialed keeps a link going that this side dialed, with a new connection now and then, until it breaks.
func (t *Transport) dialed(p *peer, first established) error {
	current := first
	var before <-chan struct{} // closed when the link before is gone
	for {
		ended, gone, c := make(chan error, 1), make(chan struct{}), current
		t.running.Go(func() {
			defer close(gone)
			defer c.close()
			ended <- t.serve(p, c.conn, c.meter, c.frames)
		})
		next, err := t.renewal(p, ended, before)
		if next == nil {
			return err
		}
		// The old link ends by itself when the new one takes over.
		current, before = *next, gone
	}
}

// renewal waits until the link should be renewed and makes the connection for that; nil when the link has ended, and why. Not
// before the link before it is gone: each end keeps one retired link (serve), and three at once could take over from each other
// in another order here than there.
func (t *Transport) renewal(p *peer, ended <-chan error, before <-chan struct{}) (*established, error) {
	// Up to a quarter less, so that the links of a cluster that was started at once are not renewed at once.
	due := time.Now().Add(t.cfg.RenewAfter - rand.N(t.cfg.RenewAfter/4+1))
	ticker := time.NewTicker(min(t.cfg.RenewAfter/16+1, time.Second))
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return nil, err
		case now := <-ticker.C:
			if before != nil {
				select {
				case <-before:
					before = nil
				default:
					continue
				}
			}
			l := p.current()
			if l == nil || now.Before(due) && l.usage() < t.cfg.recordsMax {
				continue
			}
		}
		next, err := t.establish(p)
		if err == nil {
			return &next, nil
		}
		t.cfg.Log.Debug("a link is not renewed yet", "self", t.cfg.Self, "peer", p.principal, "err", err)
	}
}
