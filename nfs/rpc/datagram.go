package rpc

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"bfsd/nfs/internal/bufpool"
)

// datagramMax bounds a call or reply by UDP, in bytes. What is called that way is small: ports, locks, news of restarts.
const datagramMax = 16 << 10

// packetSource is where a datagram came from, and how to answer it.
type packetSource struct {
	peer  netip.AddrPort
	local netip.Addr // that it was sent to; the zero Addr if that is not known
}

// ServePacket serves the programs that may be called by UDP (RFC 5531 §10: a datagram is a message) until the server is
// closed, and closes pc. There is one reply for each call, or none; whoever gets none asks again. Calls past
// Limits.Datagrams are dropped. It returns ErrServerClosed after Shutdown or Close, or the error that made receiving
// impossible.
func (s *Server) ServePacket(pc *net.UDPConn) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		pc.Close()
		return ErrServerClosed
	}
	s.packets[pc] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	var handlers sync.WaitGroup
	defer s.wg.Done()
	defer func() {
		handlers.Wait()
		pc.Close()
		s.mu.Lock()
		delete(s.packets, pc)
		s.mu.Unlock()
	}()
	socket, err := newPacketSocket(pc)
	if err != nil {
		return fmt.Errorf("prepare to receive datagrams on %v: %w", pc.LocalAddr(), err)
	}
	buf := make([]byte, datagramMax+1)
	for {
		n, from, err := socket.receive(buf)
		switch {
		case s.isClosing():
			return ErrServerClosed
		case err != nil && (errors.Is(err, net.ErrClosed) || !passing(err)):
			return fmt.Errorf("receive datagrams on %v: %w", pc.LocalAddr(), err)
		case err != nil || n > datagramMax:
			continue
		}
		record := s.pool.Get(n)
		record.B = append(record.B, buf[:n]...)
		select {
		case s.datagrams <- struct{}{}:
			handlers.Go(func() {
				s.answerPacket(socket, record, from)
				<-s.datagrams
			})
		default:
			s.pool.Put(record)
			s.count(EventDatagram)
			s.complaints.warn(s.log, "too many calls by udp: one was dropped", "peer", from.peer, "limit", cap(s.datagrams))
		}
	}
}

// passing reports whether an error of receiving says nothing of the socket: an earlier reply could not be delivered, or
// memory is short.
func passing(err error) bool {
	var network net.Error
	return errors.As(err, &network) && !network.Timeout()
}

// answerPacket answers one call. What is no call gets no answer, so that nobody can make two servers talk to each other.
func (s *Server) answerPacket(socket *packetSocket, record *bufpool.Buffer, from packetSource) {
	defer s.pool.Put(record)
	call, deny, err := parseCall(record.B)
	if err != nil {
		return
	}
	call.Peer, call.Local, call.Datagram = from.peer.Addr().Unmap(), from.local.Unmap(), true
	r := s.newReply()
	defer s.freeReply(r)
	outcome := Success
	if deny != nil {
		encodeDenied(&r.enc, deny)
	} else {
		outcome = s.dispatch(s.ctx, &call, r)
	}
	if outcome == Drop || r.enc.Len() > datagramMax {
		return
	}
	if err := socket.send(r.enc.Bytes()[headerLen:], from); err != nil {
		s.log.Debug("a reply by udp could not be sent", "peer", from.peer, "err", err)
	}
}

// packetSocket receives datagrams with the address they were sent to, and answers from there: a caller that reached a
// machine at one of several addresses takes no answer from another.
type packetSocket struct {
	pc    *net.UDPConn
	local netip.Addr // of a socket bound to one address; else the zero Addr, and each datagram says
}

func newPacketSocket(pc *net.UDPConn) (*packetSocket, error) {
	s := &packetSocket{pc: pc}
	if a, ok := pc.LocalAddr().(*net.UDPAddr); ok && !a.IP.IsUnspecified() {
		s.local = a.AddrPort().Addr()
		return s, nil
	}
	return s, wantDestination(pc)
}

func (s *packetSocket) receive(buf []byte) (n int, from packetSource, err error) {
	var oob [128]byte
	n, oobn, _, peer, err := s.pc.ReadMsgUDPAddrPort(buf, oob[:])
	from = packetSource{peer: peer, local: s.local}
	if err == nil && !s.local.IsValid() {
		from.local = destination(oob[:oobn])
	}
	return n, from, err
}

func (s *packetSocket) send(b []byte, to packetSource) error {
	var oob []byte
	if !s.local.IsValid() {
		oob = sourceControl(to.local)
	}
	if err := s.pc.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, _, err := s.pc.WriteMsgUDPAddrPort(b, oob, to.peer)
	return err
}
