package main

import (
	"context"
	"errors"
	"io"
	"time"

	"bfsd/replica"
)

// statusTimeout bounds how long a replica looks for its status.
const statusTimeout = 10 * time.Second

// runReplica is one replica of a group: what bfsd replica runs, with the null service and without NFS. Its only order is
// a line "status".
func runReplica(ctx context.Context, c *console) error {
	var spec memberSpec
	if err := c.next(&spec); err != nil {
		return err
	}
	node, err := openReplica(&spec)
	if err != nil {
		return c.reply(nil, err)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	err = serveStatus(ctx, c, node)
	stop()
	return errors.Join(err, <-ended)
}

func openReplica(spec *memberSpec) (*replica.Node, error) {
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
	return replica.Open(replica.Options{Cluster: cluster, Keys: keys, Service: service, StoreDir: spec.Store, Listener: l, Log: quiet()})
}

// serveStatus says that the replica is open, and then what it is asked.
func serveStatus(ctx context.Context, c *console, node *replica.Node) error {
	if err := c.reply(struct{}{}, nil); err != nil {
		return err
	}
	for {
		var order string
		if err := c.next(&order); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		asked, cancel := context.WithTimeout(ctx, statusTimeout)
		status, err := node.Status(asked)
		cancel()
		if err := c.reply(status, err); err != nil {
			return err
		}
	}
}
