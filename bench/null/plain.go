package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/transport"
	"bfsd/replica/wire"
)

// The unreplicated server (NO-REP in TOCS §8) has the same links as a replica and the same service, and nothing else: no
// MACs, no order, no digests, no reply table. A frame is the number of the call in four bytes, big-endian, and one byte
// that says whether the operation is read-only, and the operation; the answer is the number and the result.
const callHead = 5

// runPlain is the unreplicated server. It takes no orders.
func runPlain(c *console) error {
	var spec memberSpec
	if err := c.next(&spec); err != nil {
		return err
	}
	links, err := openPlain(&spec)
	if err != nil {
		return c.reply(nil, err)
	}
	defer links.Close()
	if err := c.reply(struct{}{}, nil); err != nil {
		return err
	}
	var order string
	if err := c.next(&order); !errors.Is(err, io.EOF) {
		return errors.Join(err, errors.New("the unreplicated server takes no orders"))
	}
	return nil
}

func openPlain(spec *memberSpec) (*transport.Transport, error) {
	cluster, keys, err := spec.open()
	if err != nil {
		return nil, err
	}
	service, err := newNullService(cluster, spec.State)
	if err != nil {
		return nil, err
	}
	l, err := inheritedListener()
	if err != nil {
		return nil, err
	}
	s := &plainServer{service: service}
	s.links, err = transport.New(transport.Config{
		Self: keys.Self(), Keys: keys, Peers: transport.Peers(cluster, keys.Self()), Listener: l, Handler: s.receive, Log: quiet(),
	})
	if err != nil {
		return nil, err
	}
	s.links.Start()
	return s.links, nil
}

type plainServer struct {
	links   *transport.Transport
	mu      sync.Mutex // one operation at a time, as in a group
	service *nullService
}

func (s *plainServer) receive(from wire.Principal, frame []byte) {
	if len(frame) < callHead {
		return
	}
	op := frame[callHead:]
	s.mu.Lock()
	result, ok := []byte(nil), false
	if frame[callHead-1] != 0 {
		result, ok = s.service.Query(wire.ClientID(from.ID), op)
	}
	if !ok {
		result = s.service.Execute(wire.ClientID(from.ID), op, nil)
	}
	s.mu.Unlock()
	reply := make([]byte, callHead, callHead+len(result))
	copy(reply, frame[:callHead])
	s.links.Send(from, append(reply, result...))
}

// plainClient calls the unreplicated server.
type plainClient struct {
	links  *transport.Transport
	server wire.Principal
	slots  []chan []byte // by number of the call: each has one call at a time
	free   chan uint32
}

func dialPlain(cluster *config.Cluster, keys *auth.Keyring) (*plainClient, error) {
	c := &plainClient{
		server: wire.Principal{Role: wire.RoleReplica}, slots: make([]chan []byte, cluster.Tunables.ClientSlots),
		free: make(chan uint32, cluster.Tunables.ClientSlots),
	}
	for i := range c.slots {
		c.slots[i] = make(chan []byte, 1)
		c.free <- uint32(i)
	}
	var err error
	c.links, err = transport.New(transport.Config{
		Self: keys.Self(), Keys: keys, Peers: transport.Peers(cluster, keys.Self()), Handler: c.receive, Log: quiet(),
	})
	if err != nil {
		return nil, err
	}
	c.links.Start()
	return c, nil
}

func (c *plainClient) receive(_ wire.Principal, frame []byte) {
	if len(frame) < callHead {
		return
	}
	if slot := binary.BigEndian.Uint32(frame); int64(slot) < int64(len(c.slots)) {
		select {
		case c.slots[slot] <- frame[callHead:]:
		default: // nobody asked
		}
	}
}

// Invoke has an operation executed. A call that failed keeps its slot, since its answer may still come.
func (c *plainClient) Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error) {
	var slot uint32
	select {
	case slot = <-c.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	frame := make([]byte, callHead, callHead+len(op))
	binary.BigEndian.PutUint32(frame, slot)
	if readOnly {
		frame[callHead-1] = 1
	}
	if !c.links.Send(c.server, append(frame, op...)) {
		return nil, fmt.Errorf("calling the unreplicated server: an operation of %d bytes does not fit the queue", len(op))
	}
	select {
	case result := <-c.slots[slot]:
		c.free <- slot
		return result, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("calling the unreplicated server: %w", ctx.Err())
	}
}

// Transport gives the client's links.
func (c *plainClient) Transport() *transport.Transport { return c.links }

// Close ends the links.
func (c *plainClient) Close() { c.links.Close() }
