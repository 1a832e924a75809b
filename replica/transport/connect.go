package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// settled is how long a link must last for the next attempt to start again with the shortest wait.
const settled = time.Second

// dialForever keeps a link to a peer that we dial.
func (t *Transport) dialForever(p *peer) {
	wait := t.cfg.RetryMin
	for t.ctx.Err() == nil {
		start := time.Now()
		err := t.dial(p)
		if t.ctx.Err() != nil {
			return
		}
		if time.Since(start) >= settled {
			wait = t.cfg.RetryMin
		}
		foreign := errors.Is(err, errVersion) && !p.foreign.Swap(true) // worth a word even if it was missed before
		unwelcome := errors.Is(err, errUnwelcome) && !p.unwelcome.Swap(true)
		if !p.missed.Swap(true) || foreign || unwelcome {
			t.cfg.Log.Warn("no link to peer, trying again until there is one", "self", t.cfg.Self, "peer", p.principal, "addr", p.addr, "err", err)
		}
		// Half of the wait is random, so that many peers do not come back to a restarted replica at one moment.
		pause := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-t.ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		wait = min(2*wait, t.cfg.RetryMax)
	}
}

// dial connects to a peer and serves the link until it breaks.
func (t *Transport) dial(p *peer) error {
	e, err := t.establish(p)
	if err != nil {
		return err
	}
	return t.dialed(p, e)
}

// establish makes a connection to a peer that both sides have accepted.
func (t *Transport) establish(p *peer) (e established, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.HandshakeTimeout)
	defer cancel()
	raw, err := t.connect(ctx, p.addr)
	if err != nil {
		return e, err
	}
	e.meter = &meteredConn{Conn: raw}
	e.close = t.closing(e.meter)
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	e.conn = tls.Client(e.meter, t.tls)
	if err := t.handshake(ctx, e.conn); err != nil {
		return e, err
	}
	if who, err := identify(e.conn.ConnectionState(), t.cfg.Keys, t.cfg.Versions); err != nil {
		return e, err
	} else if who != p.principal {
		return e, fmt.Errorf("%v answers at the address of %v", who, p.principal)
	}
	// In TLS 1.3 our handshake ends before the other side has seen our certificate: only its first frame, a keep-alive,
	// shows that it accepted us.
	e.frames = newFrameReader(e.conn, t.cfg.MaxFrame)
	first, err := e.frames.next()
	if err != nil {
		return e, fmt.Errorf("waiting for a welcome: %w", explainUnwelcome(err))
	}
	if len(first) != 0 {
		return e, errors.New("the peer's first frame is no welcome")
	}
	return e, e.conn.SetDeadline(time.Time{})
}

// badCertificate is TLS's alert of RFC 8446, section 6.2, by which the other end tells that it does not accept our key.
const badCertificate = 42

// errUnwelcome is what a link's end gets whose key the other end does not accept.
var errUnwelcome = errors.New("the peer has another key for this member; bfsd key show tells which were replaced")

// explainUnwelcome turns the alert by which the other end refuses this member into what it means.
func explainUnwelcome(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == tls.AlertError(badCertificate).Error() {
		return fmt.Errorf("%w: %w", err, errUnwelcome)
	}
	return err
}

// connect opens a connection. Each address of the host gets its own time: a name server may be slow without harm, but
// where packets are lost without a word, the next attempt must come soon.
func (t *Transport) connect(ctx context.Context, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: t.cfg.ConnectTimeout}
	var failures error
	for _, ip := range ips {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
		if err == nil {
			return conn, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, failures
}

// closing closes a connection when the transport is closed, or at the latest when the returned function is called.
func (t *Transport) closing(conn net.Conn) (atLatest func()) {
	stop := context.AfterFunc(t.ctx, func() { conn.Close() })
	return func() {
		stop()
		conn.Close()
	}
}

// handshake runs the TLS handshake. The deadline stays set: the caller lifts it when the connection becomes a link.
func (t *Transport) handshake(ctx context.Context, conn *tls.Conn) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", t.cfg.Versions.explainRefusal(err))
	}
	return nil
}

// accept takes connections until the transport is closed.
func (t *Transport) accept() {
	failures := 0
	for {
		raw, err := t.cfg.Listener.Accept()
		if err == nil {
			failures = 0
			t.admit(raw)
			continue
		}
		if t.ctx.Err() != nil {
			return
		}
		// Usually the process is out of file descriptors; some will come free.
		failures++
		t.cfg.Log.Error("cannot accept connections", "self", t.cfg.Self, "addr", t.cfg.Listener.Addr(), "err", err, "failures", failures)
		pause := time.NewTimer(min(time.Duration(failures)*10*time.Millisecond, time.Second))
		select {
		case <-t.ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// admit starts the handshake of an incoming connection, unless too many are under way.
func (t *Transport) admit(raw net.Conn) {
	host := hostOf(raw.RemoteAddr())
	if !t.door.enter(host) {
		raw.Close()
		return
	}
	t.running.Go(func() {
		defer t.closing(raw)()
		meter := &meteredConn{Conn: raw}
		conn := tls.Server(meter, t.tls)
		p, err := t.welcome(conn)
		t.door.leave(host)
		if err != nil {
			t.handshakesRefused.Add(1)
			if meter.foreign != "" {
				t.foreignVersion(host, meter.foreign)
			}
			t.cfg.Log.Debug("incoming connection refused", "self", t.cfg.Self, "remote", raw.RemoteAddr(), "err", err)
			return
		}
		err = t.serve(p, conn, meter, newFrameReader(conn, t.cfg.MaxFrame))
		t.cfg.Log.Debug("link down", "self", t.cfg.Self, "peer", p.principal, "err", err)
	})
}

// welcome authenticates an incoming connection and tells the peer that it is accepted.
func (t *Transport) welcome(conn *tls.Conn) (*peer, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.HandshakeTimeout)
	defer cancel()
	if err := t.handshake(ctx, conn); err != nil {
		return nil, err
	}
	who, err := identify(conn.ConnectionState(), t.cfg.Keys, t.cfg.Versions)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(make([]byte, headerSize)); err != nil {
		return nil, fmt.Errorf("welcoming %v: %w", who, err)
	}
	return t.peers[who], conn.SetDeadline(time.Time{})
}
