package transport

import (
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/wire"
)

// connectAs makes a TLS connection to replica 0 with any name and key, and returns the error that either the handshake or
// the first read gives: nil only if the replica sent its welcome.
func connectAs(t *testing.T, g *group, self wire.Principal, key ed25519.PrivateKey, change func(*tls.Config)) (*tls.Conn, error) {
	t.Helper()
	cert, err := newCertificate(self, key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, NextProtos: Spoken().names()}
	if change != nil {
		change(cfg)
	}
	conn, err := tls.Dial("tcp", g.cluster.Replicas[0].Peer, cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	welcome := make([]byte, headerSize)
	if _, err := io.ReadFull(conn, welcome); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(welcome) != 0 {
		t.Fatalf("the replica said %x first, not a welcome", welcome)
	}
	return conn, nil
}

func privateKey(t *testing.T, g *group, p wire.Principal) ed25519.PrivateKey {
	return g.keys(t, p).TLSKey()
}

func strangersKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestOnlyTheRightKeyGetsALink(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	replica := g.start(t, replicaP(0), ignore)
	if _, err := connectAs(t, g, clientP(100), privateKey(t, g, clientP(100)), nil); err != nil {
		t.Fatalf("the gateway itself was refused: %v", err)
	}
	for _, tc := range []struct {
		name   string
		self   wire.Principal
		key    ed25519.PrivateKey
		change func(*tls.Config)
	}{
		{"a stranger's key under a member's name", clientP(100), strangersKey(t), nil},
		{"a stranger under its own name", clientP(101), strangersKey(t), nil},
		{"a member under another member's name", replicaP(1), privateKey(t, g, clientP(100)), nil},
		{"the replica itself", replicaP(0), privateKey(t, g, replicaP(0)), nil},
		{"no certificate", clientP(100), privateKey(t, g, clientP(100)), func(c *tls.Config) { c.Certificates = nil }},
		{"TLS 1.2", clientP(100), privateKey(t, g, clientP(100)), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{"another protocol", clientP(100), privateKey(t, g, clientP(100)), func(c *tls.Config) { c.NextProtos = []string{"h2"} }},
		{"no protocol", clientP(100), privateKey(t, g, clientP(100)), func(c *tls.Config) { c.NextProtos = nil }},
	} {
		refused := replica.Stats().HandshakesRefused
		if _, err := connectAs(t, g, tc.self, tc.key, tc.change); err == nil {
			t.Errorf("%s got a link", tc.name)
		}
		eventually(t, tc.name+" is counted", func() bool { return replica.Stats().HandshakesRefused > refused })
	}
	if s := peerStats(t, replica, clientP(100)); s.Links != 1 {
		t.Errorf("the gateway has had %d links, want 1", s.Links)
	}
}

func TestTheNewestConnectionOfAPrincipalWins(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	replica := g.start(t, replicaP(0), ignore)
	older, err := connectAs(t, g, clientP(100), privateKey(t, g, clientP(100)), nil)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := connectAs(t, g, clientP(100), privateKey(t, g, clientP(100)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := older.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the older connection was not closed: %v", err)
	}
	replica.Send(clientP(100), []byte("hello"))
	frames := newFrameReader(newer, 100)
	for {
		got, err := frames.next()
		if err != nil || len(got) > 0 && string(got) != "hello" {
			t.Fatalf("the newer connection got %q, %v", got, err)
		}
		if len(got) > 0 {
			return // the others were keep-alives
		}
	}
}

func TestADialerRefusesAnImpostorAtAPeersAddress(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	impostor := newGroup(t, 4, "gateway") // another cluster's replica 0, at this one's address
	impostor.sockets[0] = g.sockets[0]
	in := &inbox{}
	there := impostor.start(t, replicaP(0), in.handle)
	client := g.start(t, clientP(100), ignore)
	client.Send(replicaP(0), []byte("secret"))
	eventually(t, "the client has tried several times", func() bool { return there.Stats().HandshakesRefused >= 3 })
	if peerStats(t, client, replicaP(0)).Links != 0 || len(in.from(clientP(100))) != 0 {
		t.Fatal("the impostor got a link")
	}
}

func TestADialerRefusesAnotherReplicaAtAPeersAddress(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	in := &inbox{}
	other := g.start(t, replicaP(1), in.handle)
	g.cluster.Replicas[0].Peer = g.cluster.Replicas[1].Peer
	client := g.start(t, clientP(100), ignore)
	client.Send(replicaP(0), []byte("for replica 0 only"))
	eventually(t, "the link to replica 1 itself is up", connected(t, client, replicaP(1)))
	eventually(t, "the client has tried several times", func() bool { return peerStats(t, other, clientP(100)).Links >= 3 })
	if peerStats(t, client, replicaP(0)).Links != 0 || len(in.from(clientP(100))) != 0 {
		t.Fatal("replica 1 was taken for replica 0")
	}
}

func TestGarbageInsteadOfTLSIsRefusedAndTheOthersLiveOn(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	in := &inbox{}
	replica := g.start(t, replicaP(0), in.handle)
	client := g.start(t, clientP(100), ignore)
	eventually(t, "the client is connected", connected(t, client, replicaP(0)))
	for _, garbage := range []string{"GET / HTTP/1.0\r\n\r\n", "\x00\x00\x00\x00", strings.Repeat("\xff", 100_000), "\x16\x03\x01\xff\xff"} {
		refused := replica.Stats().HandshakesRefused
		conn, err := net.Dial("tcp", g.cluster.Replicas[0].Peer)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, garbage) // it may be cut off in the middle
		_ = conn.(*net.TCPConn).CloseWrite()
		eventually(t, "the garbage is refused", func() bool { return replica.Stats().HandshakesRefused > refused })
		conn.Close()
	}
	client.Send(replicaP(0), []byte("still here"))
	eventually(t, "the client is still served", func() bool { return in.has(clientP(100), "still here") })
	if s := peerStats(t, client, replicaP(0)); s.Links != 1 {
		t.Fatalf("the client needed %d links", s.Links)
	}
}

func TestAHandshakeThatTakesTooLongIsCutOff(t *testing.T) {
	g := newGroup(t, 4)
	g.quick = func(c *Config) { c.HandshakeTimeout = 50 * time.Millisecond }
	g.start(t, replicaP(0), ignore)
	conn, err := net.Dial("tcp", g.cluster.Replicas[0].Peer)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("a connection that says nothing is kept")
	}
}

func TestUnauthenticatedConnectionsOfOneAddressAreLimited(t *testing.T) {
	g := newGroup(t, 4, "gateway")
	g.quick = func(c *Config) { c.HandshakesPerHost, c.HandshakeTimeout = 3, patience }
	replica := g.start(t, replicaP(0), ignore)
	var idle []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", g.cluster.Replicas[0].Peer)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle = append(idle, conn)
	}
	client := g.start(t, clientP(100), ignore)
	eventually(t, "the fourth is turned away", func() bool { return replica.Stats().HandshakesLimited > 0 })
	if peerStats(t, replica, clientP(100)).Links != 0 {
		t.Fatal("the limit did not hold")
	}
	idle[0].Close()
	eventually(t, "there is room again", connected(t, client, replicaP(0)))
}

func TestTheDoorLimitsEachHostAndTheTotal(t *testing.T) {
	var d door
	d.init(2, 3)
	a := hostOf(&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1})
	same := hostOf(&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1})
	if same != hostOf(&net.TCPAddr{IP: net.ParseIP("2001:db8::ffff"), Port: 2}) {
		t.Error("two addresses of one /64 count as two hosts")
	}
	for i, want := range []bool{true, true, false} {
		if got := d.enter(a); got != want {
			t.Errorf("connection %d of a host with a limit of 2: let in %v", i+1, got)
		}
	}
	for i, want := range []bool{true, false} {
		if got := d.enter(same); got != want {
			t.Errorf("connection %d of another host, with a total of 3: let in %v", i+1, got)
		}
	}
	d.leave(a)
	if !d.enter(same) {
		t.Error("no room after one left")
	}
	d.leave(a)
	d.leave(same)
	d.leave(same)
	if len(d.byHost) != 0 || d.inside != 0 || d.limited.Load() != 2 {
		t.Errorf("after all left: %v, %d inside, %d limited", d.byHost, d.inside, d.limited.Load())
	}
}

func TestAnOversizedFrameBreaksOnlyItsOwnLink(t *testing.T) {
	g := newGroup(t, 4, "honest", "faulty")
	g.quick = func(c *Config) { c.MaxFrame = 1000 }
	in := &inbox{}
	replica := g.start(t, replicaP(0), in.handle)
	honest := g.start(t, clientP(100), ignore)
	eventually(t, "the honest client is connected", connected(t, honest, replicaP(0)))

	conn, err := connectAs(t, g, clientP(101), privateKey(t, g, clientP(101)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{0, 0, 0, 2, 'o', 'k', 0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the link was not cut: %v", err)
	}
	if !in.has(clientP(101), "ok") {
		t.Error("the frame before it was lost")
	}
	honest.Send(replicaP(0), []byte("hello"))
	eventually(t, "the honest client is served", func() bool { return in.has(clientP(100), "hello") })
	if s := peerStats(t, replica, clientP(100)); s.Links != 1 {
		t.Errorf("the honest client needed %d links", s.Links)
	}
}

func TestASilentPeerIsGivenUpAndALivelyOneIsKept(t *testing.T) {
	g := newGroup(t, 4, "lively", "silent")
	g.quick = func(c *Config) { c.DeadAfter = 300 * time.Millisecond }
	replica := g.start(t, replicaP(0), ignore)
	lively := g.start(t, clientP(100), ignore)
	eventually(t, "the lively client is connected", connected(t, lively, replicaP(0)))
	if _, err := connectAs(t, g, clientP(101), privateKey(t, g, clientP(101)), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the silent client is connected", connected(t, replica, clientP(101)))
	eventually(t, "the silent client is given up", func() bool { return !peerStats(t, replica, clientP(101)).Connected })
	if s := peerStats(t, replica, clientP(100)); s.Links != 1 || !s.Connected {
		t.Errorf("the idle but lively client was cut off: %+v", s)
	}
}

func TestAPeerThatDoesNotReadIsGivenUp(t *testing.T) {
	g := newGroup(t, 4, "stuck")
	g.quick = func(c *Config) { c.DeadAfter = 300 * time.Millisecond }
	replica := g.start(t, replicaP(0), ignore)
	conn, err := connectAs(t, g, clientP(100), privateKey(t, g, clientP(100)), nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is connected", connected(t, replica, clientP(100)))
	done := make(chan struct{})
	go func() { // it sends keep-alives, but reads nothing
		defer close(done)
		for {
			if _, err := conn.Write(make([]byte, headerSize)); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // the pace of its keep-alives, not a wait for anything
		}
	}()
	eventually(t, "it is given up", func() bool {
		replica.Send(clientP(100), make([]byte, 64<<10))
		return peerStats(t, replica, clientP(100)).Links == 1 && !peerStats(t, replica, clientP(100)).Connected
	})
	<-done
}

func TestIdentifyRefusesANonsenseName(t *testing.T) {
	g := newGroup(t, 1, "gateway")
	g.start(t, replicaP(0), ignore)
	if _, err := connectAs(t, g, wire.Principal{Role: 9, ID: 1}, strangersKey(t), nil); err == nil {
		t.Fatal("a peer without a proper name got a link")
	}
	if _, err := identify(tls.ConnectionState{NegotiatedProtocol: Spoken().names()[0]}, new(auth.Keyring), Spoken()); err == nil {
		t.Fatal("a peer without a certificate was identified")
	}
}
