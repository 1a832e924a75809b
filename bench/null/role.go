package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"bfsd/replica/auth"
	"bfsd/replica/config"
)

// The processes of a measurement are this program in other roles. Each is told what to be by its first line of standard
// input, and what to do by the next ones; it answers each with a line on standard output. Lines are JSON. At the end of
// its input, however that comes about, it ends: none outlives the benchmark.
const (
	roleVariable = "BFSD_BENCH_NULL_ROLE"

	roleReplica = "replica" // one replica of a group
	rolePlain   = "plain"   // the unreplicated server
	roleLoad    = "load"    // the clients
)

// listenerFD is the file descriptor on which a server inherits the socket it listens on, so that its port is known, and
// nobody else's, before it starts.
const listenerFD = 3

// memberSpec says which member of a cluster to be.
type memberSpec struct {
	Config string `json:"config"` // cluster.toml
	Key    string `json:"key"`    // the member's private key
	Store  string `json:"store"`  // where a replica's log goes, unless durability is memory
	State  int64  `json:"state"`  // bytes of files in the state
}

// answer is a line of output: an error, or a value.
type answer struct {
	Error string          `json:"error,omitempty"`
	Event string          `json:"event,omitempty"` // something that happened before the answer
	Value json.RawMessage `json:"value,omitempty"`
}

// console is a role's end of the pipes to the benchmark.
type console struct {
	orders chan json.RawMessage // closed at the end of the input
	err    error                // why that came about; set before orders is closed
	out    *json.Encoder
}

// openConsole gives the console, and a context that ends with the input: whatever goes on then is of no use to anybody.
func openConsole(ctx context.Context, in io.Reader, out io.Writer) (*console, context.Context) {
	c := &console{orders: make(chan json.RawMessage), out: json.NewEncoder(out)}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		defer close(c.orders)
		lines := json.NewDecoder(in)
		for {
			var order json.RawMessage
			if c.err = lines.Decode(&order); c.err != nil {
				return
			}
			c.orders <- order
		}
	}()
	return c, ctx
}

// next reads the next line; io.EOF when it is time to end.
func (c *console) next(v any) error {
	order, ok := <-c.orders
	if !ok && errors.Is(c.err, io.EOF) {
		return io.EOF
	}
	if !ok {
		return fmt.Errorf("reading an order of the benchmark: %w", c.err)
	}
	if err := json.Unmarshal(order, v); err != nil {
		return fmt.Errorf("reading an order of the benchmark: %w", err)
	}
	return nil
}

func (c *console) event(what string) error { return c.out.Encode(answer{Event: what}) }

// reply answers an order with a value, or with why there is none.
func (c *console) reply(v any, err error) error {
	if err != nil {
		return c.out.Encode(answer{Error: err.Error()})
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding an answer: %w", err)
	}
	return c.out.Encode(answer{Value: text})
}

// runRole is the whole process in another role.
func runRole(ctx context.Context, role string, in io.Reader, out io.Writer) error {
	c, ctx := openConsole(ctx, in, out)
	switch role {
	case roleReplica:
		return runReplica(ctx, c)
	case rolePlain:
		return runPlain(c)
	case roleLoad:
		return runLoad(ctx, c)
	}
	return fmt.Errorf("%s is %q: this program has no such role; it sets that variable itself", roleVariable, role)
}

// quiet is the log of a process that is measured: what a production replica would say by default.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// member opens what every member needs: the cluster file and its keys.
func (s *memberSpec) open() (*config.Cluster, *auth.Keyring, error) {
	cluster, err := config.Load(s.Config)
	if err != nil {
		return nil, nil, err
	}
	keys, err := openKeys(cluster, s.Key)
	return cluster, keys, err
}

func openKeys(cluster *config.Cluster, path string) (*auth.Keyring, error) {
	identity, err := auth.ReadKeyFile(path, func() ([]byte, error) { return nil, nil })
	if err != nil {
		return nil, err
	}
	return cluster.Keyring(identity)
}

func inheritedListener() (net.Listener, error) {
	file := os.NewFile(listenerFD, "listener")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("taking over the listening socket: %w", err)
	}
	return l, nil
}
