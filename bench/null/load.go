package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"bfsd/replica/auth"
	"bfsd/replica/client"
	"bfsd/replica/config"
	"bfsd/replica/transport"
)

// loadSpec says whom the clients call, and as whom.
type loadSpec struct {
	Config string   `json:"config"`
	Keys   []string `json:"keys"`  // of the gateways: each is a client of the protocol, with links of its own
	Plain  bool     `json:"plain"` // the server is the unreplicated one
	Pids   []int    `json:"pids"`  // of the servers' processes
}

// loadOrder asks for one window of measurement.
type loadOrder struct {
	Clients  int           `json:"clients"` // calls under way at any time
	ReadOnly bool          `json:"read_only"`
	Args     int           `json:"args"`
	Result   int           `json:"result"`
	Pages    int64         `json:"pages"` // if not 0: write a random one of so many pages of the state, instead of the null operation
	Warmup   time.Duration `json:"warmup"`
	Duration time.Duration `json:"duration"`
	CPU      bool          `json:"cpu"` // measure processor time; not when a server will be killed

	// Where one client calls, each call is a batch, and these say which of them follow a checkpoint: the number of the last
	// batch before the first call, and how many lie between two checkpoints. 0: do not tell them apart.
	Executed uint64 `json:"executed"`
	Interval uint64 `json:"interval"`
}

// batchesAfter is how many batches from a checkpoint on count as following it: what is done beside them, hashing above all,
// takes a few milliseconds.
const batchesAfter = 16

// eventMeasuring tells the benchmark that the warm-up is over.
const eventMeasuring = "measuring"

// loadReport is what came of it. Times are in seconds.
type loadReport struct {
	Seconds    float64 `json:"seconds"`
	Operations int64   `json:"operations"`
	Calls      int64   `json:"calls"` // operations, and those of the warm-up and the end
	Latency    latency `json:"latency"`
	// AfterCheckpoint and Otherwise are the latencies of the calls that followed a checkpoint, and of the others.
	AfterCheckpoint *latency `json:"after_checkpoint,omitempty"`
	Otherwise       *latency `json:"otherwise,omitempty"`

	LongestPause float64 `json:"longest_pause"` // the longest time in which no operation of any client ended
	ServerCPU    float64 `json:"server_cpu"`    // of all servers together; 0 where it was not measured
	ClientCPU    float64 `json:"client_cpu"`

	Fallbacks       uint64 `json:"fallbacks"`       // reads that were ordered in the end
	Retransmissions uint64 `json:"retransmissions"` // requests sent again after a timeout
}

// invoker is the client of a group, or of the unreplicated server.
type invoker interface {
	Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error)
	Transport() *transport.Transport
	Close()
}

// load is the process of all clients.
type load struct {
	cluster *config.Cluster
	pids    []int // the servers', then its own
	clients []invoker
}

const (
	// callTimeout is the longest that one call may take, a view change included.
	callTimeout = 30 * time.Second
	// linkPoll is how often the clients look whether their links are up.
	linkPoll = 2 * time.Millisecond
)

func runLoad(ctx context.Context, c *console) error {
	var spec loadSpec
	if err := c.next(&spec); err != nil {
		return err
	}
	l, err := openLoad(ctx, &spec)
	if err != nil {
		return c.reply(nil, err)
	}
	defer l.close()
	if err := c.reply(struct{}{}, nil); err != nil {
		return err
	}
	for {
		var order loadOrder
		if err := c.next(&order); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		report, err := l.window(ctx, &order, func() error { return c.event(eventMeasuring) })
		if err := c.reply(report, err); err != nil {
			return err
		}
	}
}

// openLoad connects the clients and waits until all their links are up: with a replica out of reach, requests go other ways.
func openLoad(ctx context.Context, spec *loadSpec) (*load, error) {
	cluster, err := config.Load(spec.Config)
	if err != nil {
		return nil, err
	}
	l := &load{cluster: cluster, pids: append(spec.Pids, os.Getpid())}
	for _, path := range spec.Keys {
		keys, err := openKeys(cluster, path)
		if err != nil {
			l.close()
			return nil, err
		}
		c, err := dial(cluster, keys, spec.Plain)
		if err != nil {
			l.close()
			return nil, err
		}
		l.clients = append(l.clients, c)
	}
	if err := l.awaitLinks(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func dial(cluster *config.Cluster, keys *auth.Keyring, plain bool) (invoker, error) {
	if plain {
		return dialPlain(cluster, keys)
	}
	return client.Dial(cluster, keys, quiet())
}

func (l *load) close() {
	for _, c := range l.clients {
		c.Close()
	}
}

func (l *load) awaitLinks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	again := time.NewTicker(linkPoll)
	defer again.Stop()
	for !l.linked() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for links to all servers: %w", ctx.Err())
		}
	}
	return nil
}

func (l *load) linked() bool {
	for _, c := range l.clients {
		for _, p := range c.Transport().Stats().Peers {
			if !p.Connected {
				return false
			}
		}
	}
	return true
}

// cpu is the processor time used so far, by the servers and by this process.
func (l *load) cpu(wanted bool) (servers, own time.Duration, err error) {
	if !wanted {
		return 0, 0, nil
	}
	times, err := cpuTimes(l.pids)
	if err != nil {
		return 0, 0, err
	}
	for _, t := range times[:len(times)-1] {
		servers += t
	}
	return servers, times[len(times)-1], nil
}

// counts are what the clients of a group have counted; the unreplicated server's have nothing to count.
func (l *load) counts() (fallbacks, retransmissions uint64) {
	for _, c := range l.clients {
		if group, ok := c.(*client.Client); ok {
			s := group.Stats()
			fallbacks, retransmissions = fallbacks+s.Fallbacks, retransmissions+s.Retransmissions
		}
	}
	return fallbacks, retransmissions
}
