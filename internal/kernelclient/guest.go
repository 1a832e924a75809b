package kernelclient

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind says which kernel's NFS client a guest is.
type Kind string

// The kinds of guest.
const (
	Auto   Kind = ""       // Native where possible, else UserMode
	Native Kind = "native" // this machine's kernel
	UML    Kind = "uml"    // user-mode Linux
)

// GuestOptions shape a guest. The zero value is a good guest.
type GuestOptions struct {
	Kind Kind
	// MemoryMiB is a user-mode Linux guest's memory, its page cache included; 0 means 1024.
	MemoryMiB int
	// BootTimeout is how long the guest may take until it answers; 0 means one minute.
	BootTimeout time.Duration
	// Modules are kernel modules that user-mode Linux gets besides those of its NFS client: "nfsd".
	Modules []string
	// Disk is a file that user-mode Linux has as its disk /dev/ubda; empty: none. Nobody else may use it meanwhile.
	Disk string
	// HangGrace is how long a guest has to obey when a request's context ended, before it is taken for hung and killed;
	// 0 means ten seconds.
	HangGrace time.Duration
	// SilenceMax is how long a guest may answer nothing, not even a TCP keep-alive, before it is taken for frozen; 0 means one
	// minute, and less than four seconds is taken for that.
	SilenceMax time.Duration
}

const (
	defaultMemoryMiB   = 1024
	defaultBootTimeout = time.Minute
	defaultHangGrace   = 10 * time.Second
	consoleLinesInFail = 40
	queuedFrames       = 64
)

// Job is a program to run in the guest.
type Job struct {
	Args  []string `json:"args"`            // program and arguments
	Dir   string   `json:"dir,omitempty"`   // working directory; empty means /
	Env   []string `json:"env,omitempty"`   // added to the agent's
	Stdin []byte   `json:"stdin,omitempty"` // all of it
	// UID, GID and Groups are the credentials of the process, and so of its NFS calls; zero is root.
	UID    uint32   `json:"uid,omitempty"`
	GID    uint32   `json:"gid,omitempty"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Guest is a running NFS client machine. Its methods may be called from many goroutines.
type Guest struct {
	network *Network
	options GuestOptions
	number  int  // last byte of its address
	plugged bool // its wire is there
	cmd     *exec.Cmd
	console console
	conn    net.Conn
	frames  frameWriter
	exited  chan struct{} // the process has ended and been waited for
	dead    chan struct{} // no request will be answered any more; deadErr tells why
	ending  chan struct{} // it is to be powered off, and gets no more interrupts from outside

	mu      sync.Mutex
	lastID  uint64
	pending map[uint64]*pending
	mounts  int
	deadErr error
	killed  error     // why we killed it
	ends    sync.Once // closes ending
}

type pending struct {
	frames chan response
	gone   chan struct{} // nobody reads frames any more
}

// StartGuest boots a guest and waits until it answers.
func (n *Network) StartGuest(ctx context.Context, options GuestOptions) (*Guest, error) {
	options.MemoryMiB = orDefault(options.MemoryMiB, defaultMemoryMiB)
	if options.BootTimeout == 0 {
		options.BootTimeout = defaultBootTimeout
	}
	if options.HangGrace == 0 {
		options.HangGrace = defaultHangGrace
	}
	options.SilenceMax = max(cmp.Or(options.SilenceMax, defaultSilenceMax), keepAlives*time.Second)
	if options.Kind == Auto {
		options.Kind = UML
		if nativeNFS() {
			options.Kind = Native
		}
	}
	n.mu.Lock()
	if n.used == guestsMax {
		n.mu.Unlock()
		return nil, fmt.Errorf("start a guest: the network has had its %d guests", guestsMax)
	}
	n.used++
	number := n.used + 1
	n.mu.Unlock()
	return n.startGuest(ctx, options, number, false)
}

// startGuest boots guest number, whose wire may be there already.
func (n *Network) startGuest(ctx context.Context, options GuestOptions, number int, plugged bool) (*Guest, error) {
	g := &Guest{
		network: n, options: options, number: number, plugged: plugged,
		exited: make(chan struct{}), dead: make(chan struct{}), ending: make(chan struct{}), pending: map[uint64]*pending{},
	}
	n.mu.Lock()
	n.guests = append(n.guests, g)
	n.mu.Unlock()
	bootCtx, cancel := context.WithTimeout(ctx, options.BootTimeout)
	defer cancel()
	if err := g.boot(bootCtx); err != nil {
		return nil, errors.Join(fmt.Errorf("start guest %s: %w%s", g.Address(), err, g.consoleTail()), g.Close())
	}
	return g, nil
}

// Address is the guest's IP address, as servers see it. A native guest shares the bridge's.
func (g *Guest) Address() string {
	if g.options.Kind == Native {
		return Address
	}
	return strings.TrimSuffix(guestSubnet, "0/24") + strconv.Itoa(g.number)
}

// Kind tells which kernel's client this is.
func (g *Guest) Kind() Kind { return g.options.Kind }

// Console is the end of what the guest wrote to its console.
func (g *Guest) Console() string { return g.console.String() }

// wire is the interface that the guest has for its own; its peer is on the bridge.
func (g *Guest) wire() string { return "guest" + strconv.Itoa(g.number) }

// plug is what connects the guest to the bridge. The guest answers ARP itself: were the namespace to answer on the guest's
// end of the wire too, another guest would find the bridge at two places.
func (g *Guest) plug() []string {
	port := "port" + strconv.Itoa(g.number)
	return []string{
		"link add " + port + " type veth peer name " + g.wire(),
		"link set " + g.wire() + " arp off up",
		"link set " + port + " master " + Bridge + " up",
	}
}

func (g *Guest) consoleTail() string {
	if text := lastLines(g.console.String(), consoleLinesInFail); text != "" {
		return "\nits console:\n" + text
	}
	return ""
}

func (g *Guest) boot(ctx context.Context) error {
	listener, err := g.network.Listen(ctx, Address+":0")
	if err != nil {
		return err
	}
	defer listener.Close()
	agent := agentSettings{Kind: g.options.Kind, Address: g.Address(), Host: listener.Addr().String()}.String()
	var modules []string
	if g.options.Kind == UML {
		dir, err := umlModuleDir(ctx)
		if err != nil {
			return err
		}
		if modules, err = moduleFiles(dir, append([]string{"nfs", "nfsv3"}, g.options.Modules...)...); err != nil {
			return err
		}
		if !g.plugged {
			if err := g.network.ns.IP(ctx, g.plug()...); err != nil {
				return err
			}
			g.plugged = true
		}
		g.cmd, err = g.network.umlCommand(ctx, g, agent)
		if err != nil {
			return err
		}
	} else if g.cmd, err = g.network.nativeCommand(ctx, agent); err != nil {
		return err
	}
	g.cmd.Stdout, g.cmd.Stderr = &g.console, &g.console
	g.cmd.WaitDelay = time.Second
	if err := g.network.ns.Do(g.cmd.Start); err != nil {
		g.cmd = nil
		return fmt.Errorf("start its process: %w", err)
	}
	go g.wait()
	if g.options.Kind == UML {
		go repeatInterrupts(g.cmd.Process, g.ending)
	}
	if err := g.accept(ctx, listener); err != nil {
		return err
	}
	if len(modules) > 0 {
		if _, err := g.do(ctx, request{Op: opModules, Modules: modules}, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// wait reaps the guest's process.
func (g *Guest) wait() {
	err := g.cmd.Wait()
	close(g.exited)
	if err == nil {
		err = errors.New("it ended")
	}
	g.die(fmt.Errorf("its process ended (%w)", err))
}

// accept waits for the agent's connection.
func (g *Guest) accept(ctx context.Context, listener net.Listener) error {
	type accepted struct {
		conn net.Conn
		err  error
	}
	result := make(chan accepted, 1)
	go func() {
		conn, err := listener.Accept()
		result <- accepted{conn, err}
	}()
	select {
	case a := <-result:
		if a.err != nil {
			return fmt.Errorf("wait for its agent: %w", a.err)
		}
		if err := limitSilence(a.conn, g.options.SilenceMax); err != nil {
			return errors.Join(err, a.conn.Close())
		}
		g.conn = a.conn
		g.frames.w = a.conn
		go g.read()
		return nil
	case <-g.dead:
		return g.death()
	case <-ctx.Done():
		return fmt.Errorf("it did not answer in time: %w", ctx.Err())
	}
}

// read hands the agent's frames to the requests they belong to.
func (g *Guest) read() {
	in := bufio.NewReader(g.conn)
	for {
		var frame response
		if err := readFrame(in, &frame); err != nil {
			g.die(g.connectionLost(err))
			return
		}
		g.mu.Lock()
		p := g.pending[frame.ID]
		g.mu.Unlock()
		if p == nil {
			continue // the requester has given up
		}
		select {
		case p.frames <- frame:
		case <-p.gone:
		}
	}
}

// die fails everything in progress and to come.
func (g *Guest) die(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deadErr != nil {
		return
	}
	if g.killed != nil {
		err = g.killed
	}
	g.deadErr = err
	close(g.dead)
}

func (g *Guest) death() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deadErr
}

// kill ends a guest that does not obey.
func (g *Guest) kill(why error) {
	g.mu.Lock()
	if g.killed == nil {
		g.killed = why
	}
	g.mu.Unlock()
	_ = g.cmd.Process.Kill() // it may have ended by itself
}

// do sends a request and waits for its last frame; output goes to the writers as it comes. When ctx ends, the agent is told
// to end the request; when it does not obey, the guest is killed.
func (g *Guest) do(ctx context.Context, req request, stdout, stderr io.Writer) (response, error) {
	if err := ctx.Err(); err != nil {
		return response{}, err
	}
	p := &pending{frames: make(chan response, queuedFrames), gone: make(chan struct{})}
	g.mu.Lock()
	g.lastID++
	req.ID = g.lastID
	g.pending[req.ID] = p
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.pending, req.ID)
		g.mu.Unlock()
		close(p.gone)
	}()
	if err := g.frames.write(req); err != nil {
		return response{}, fmt.Errorf("guest %s: %s: %w", g.Address(), req.Op, err)
	}
	ended := ctx.Done()
	var hung <-chan time.Time
	var writeErr error
	for {
		select {
		case frame := <-p.frames:
			writeErr = errors.Join(writeErr, writeOutput(stdout, frame.Stdout), writeOutput(stderr, frame.Stderr))
			switch {
			case !frame.Done:
			case ctx.Err() != nil:
				return frame, fmt.Errorf("guest %s: %s: %w", g.Address(), req.Op, ctx.Err())
			case frame.Error != "":
				return frame, fmt.Errorf("guest %s: %s: %s", g.Address(), req.Op, frame.Error)
			default:
				return frame, writeErr
			}
		case <-g.dead:
			return response{}, fmt.Errorf("guest %s: %s: %w%s", g.Address(), req.Op, g.death(), g.consoleTail())
		case <-ended:
			ended = nil
			timer := time.NewTimer(g.options.HangGrace)
			defer timer.Stop()
			hung = timer.C
			_ = g.frames.write(request{Op: opCancel, Target: req.ID}) // a failure shows as g.dead or as a hang
		case <-hung:
			hung = nil
			g.kill(fmt.Errorf("it hung: %s was cancelled (%w) and did not end within %v, so the guest was killed%s",
				req.Op, ctx.Err(), g.options.HangGrace, g.processStates()))
		}
	}
}

func writeOutput(w io.Writer, p []byte) error {
	if w == nil || len(p) == 0 {
		return nil
	}
	_, err := w.Write(p)
	return err
}

// Close powers the guest off, or kills it when it does not obey. Unmount first what must be written.
func (g *Guest) Close() error {
	if g.cmd == nil || g.cmd.Process == nil {
		return nil
	}
	g.ends.Do(func() { close(g.ending) })
	ctx, cancel := context.WithTimeout(context.Background(), g.options.HangGrace)
	defer cancel()
	if g.conn != nil {
		select {
		case <-g.dead:
		default:
			_ = g.frames.write(request{Op: opPowerOff}) // the kill below is for when this fails
		}
		select {
		case <-g.exited:
		case <-ctx.Done():
		}
	}
	g.kill(errors.New("it was closed"))
	<-g.exited
	if g.conn != nil {
		_ = g.conn.Close() // the other side is gone
	}
	return nil
}
