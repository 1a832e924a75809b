package client

import (
	"log/slog"

	"bfsd/replica/auth"
	"bfsd/replica/config"
	"bfsd/replica/transport"
	"bfsd/replica/wire"
)

// dialWaiting is how many calls may wait for a slot. A front end bounds what it holds by itself, by not reading on, which
// costs its users nothing but time; this is for who does not.
const dialWaiting = 1 << 16

// Dial makes the client of a cluster's member and begins to connect it to the replicas. The client of a gateway's keyring
// has the gateway's number; that of a replica's keyring is the replica's own, and transport.Join must link its Transport
// with the replica's. nil for log means slog.Default().
func Dial(cluster *config.Cluster, keys *auth.Keyring, log *slog.Logger) (*Client, error) {
	self := wire.Principal{Role: wire.RoleClient, ID: keys.Self().ID}
	var c *Client
	links, err := transport.New(transport.Config{
		Self: self, Keys: keys, Peers: transport.Peers(cluster, self), Log: log,
		Handler: func(from wire.Principal, frame []byte) { c.Receive(from, frame) }, // not before Start
	})
	if err != nil {
		return nil, err
	}
	c, err = New(Config{
		ID: wire.ClientID(self.ID), N: cluster.N(), Keys: keys, Log: log,
		Send: links.Send, Connected: links.Connected,
		Waiting: dialWaiting, Slots: cluster.Tunables.ClientSlots, LargeRequest: cluster.LargeRequestBytes(),
		SignRequests: !cluster.Optimisations.MACs, NoReadOnly: !cluster.Optimisations.ReadOnly,
		RequestTimeout: cluster.Tunables.RequestTimeout(),
	})
	if err != nil {
		links.Close()
		return nil, err
	}
	c.links, c.onClose = links, links.Close
	links.Start()
	return c, nil
}

// Transport is the client's links, if Dial made it; else nil.
func (c *Client) Transport() *transport.Transport { return c.links }
