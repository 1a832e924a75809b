package rpcbind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
)

// book is an rpcbind that takes registrations, at a socket.
type book struct {
	socket string
	refuse uint32 // the program that it does not take

	mu   sync.Mutex
	list []Entry
}

func newBook(t *testing.T) *book {
	t.Helper()
	b := &book{socket: filepath.Join(t.TempDir(), "rpcbind.sock")}
	l, err := net.Listen("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := rpc.NewServer(rpc.Limits{}, nil, rpc.Program{Number: Program, Low: 4, High: 4, Serve: b.serve})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { closed(t, s, served, 1) })
	return b
}

func (b *book) serve(_ context.Context, call *rpc.Call, reply *xdr.Encoder) rpc.Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	var r Entry
	if len(call.Args) > 0 {
		r.Decode(xdr.NewDecoder(call.Args))
	}
	same := func(h Entry) bool { return h.Prog == r.Prog && h.Vers == r.Vers && h.Netid == r.Netid }
	switch Proc(call.Proc) {
	case ProcSet:
		ok := !slices.ContainsFunc(b.list, func(h Entry) bool { return same(h) && h.Addr != r.Addr }) && r.Prog != b.refuse
		if ok && !slices.ContainsFunc(b.list, same) {
			b.list = append(b.list, r)
		}
		reply.Bool(ok)
	case ProcUnset:
		b.list = slices.DeleteFunc(b.list, same)
		reply.Bool(true)
	case ProcDump:
		encodeList(reply, b.list)
	default:
		return rpc.ProcUnavail
	}
	return rpc.Success
}

// hold makes the book begin with entries, and refuse a program.
func (b *book) hold(refuse uint32, list ...Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse, b.list = refuse, list
}

func (b *book) entries() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}

// another is a service of another server that runs.
func another(t *testing.T) Service {
	addr := serve(t, "127.0.0.1", rpc.Program{Number: 100021, Low: 1, High: 1, Serve: func(context.Context, *rpc.Call, *xdr.Encoder) rpc.Outcome {
		return rpc.Success
	}, Datagrams: true})
	return Service{100021, 4, TCP, addr.Port()}
}

func addrOf(s Service) string {
	return UniversalAddr(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.Port))
}

func TestRegister(t *testing.T) {
	b, ctx := newBook(t), within(t, 10*time.Second)
	r, err := Register(ctx, b.socket, netip.MustParseAddr("0.0.0.0"), services[:1])
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{{100003, 3, TCP, "0.0.0.0.8.1", "bfsd"}}
	if d := cmp.Diff(want, b.entries()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if _, err := Register(ctx, b.socket, netip.MustParseAddr("0.0.0.0"), services[:1]); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	if err := r.Close(ctx); err != nil || len(b.entries()) != 0 {
		t.Errorf("left after Close: %v, %v", b.entries(), err)
	}
}

func TestRegister_leavesOthersAlone(t *testing.T) {
	for _, netid := range []string{TCP, UDP} {
		b, ctx := newBook(t), within(t, 10*time.Second)
		other := another(t)
		other.Netid = netid
		held := Entry{100021, 4, netid, addrOf(other), "superuser"}
		b.hold(0, held)
		mine := []Service{{100003, 3, TCP, 2049}, {100021, 4, netid, 2049}}
		_, err := Register(ctx, b.socket, netip.MustParseAddr("127.0.0.1"), mine)
		var taken *TakenError
		if !errors.As(err, &taken) || taken.Entry != held {
			t.Errorf("%s: %v", netid, err)
		}
		if d := cmp.Diff([]Entry{taken.Entry}, b.entries()); d != "" {
			t.Errorf("%s: -want +got:\n%s", netid, d)
		}
	}
}

func TestRegister_replacesWhoIsGone(t *testing.T) {
	b, ctx := newBook(t), within(t, 10*time.Second)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := Service{100021, 4, TCP, uint16(l.Addr().(*net.TCPAddr).Port)}
	l.Close()
	b.hold(0, Entry{100021, 4, TCP, addrOf(gone), "superuser"}, Entry{7, 1, TCP, "127.0.0.1.1.1", "x"})
	if _, err := Register(ctx, b.socket, netip.MustParseAddr("127.0.0.1"), []Service{{100021, 4, TCP, 2049}}); err != nil {
		t.Fatal(err)
	}
	want := []Entry{{7, 1, TCP, "127.0.0.1.1.1", "x"}, {100021, 4, TCP, "127.0.0.1.8.1", "bfsd"}}
	if d := cmp.Diff(want, b.entries()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestRegister_takesBackWhatItDidWhenRefused(t *testing.T) {
	b, ctx := newBook(t), within(t, 10*time.Second)
	b.hold(100021) // its second
	if _, err := Register(ctx, b.socket, netip.MustParseAddr("127.0.0.1"), services); err == nil || len(b.entries()) != 0 {
		t.Errorf("%v, left: %v", err, b.entries())
	}
	if _, err := Register(ctx, filepath.Join(t.TempDir(), "none"), netip.MustParseAddr("127.0.0.1"), services); err == nil {
		t.Error("registered with nobody")
	}
}

// TestRegister_withRpcbind: with Debian's, in a network and mount namespace of its own, as the machine's may run too.
func TestRegister_withRpcbind(t *testing.T) {
	program, err := exec.LookPath("rpcbind")
	if err != nil || os.Geteuid() != 0 {
		if os.Getenv("BFSD_REQUIRE_KERNEL_CLIENT") != "" {
			t.Fatal("needs root and rpcbind: apt-get install rpcbind")
		}
		t.Skip("needs root and rpcbind")
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--mount", "sh", "-c", `ip link set lo up && mount -t tmpfs none /run; exec "$0" -f -w`, program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = cmd.Wait() // it was killed
		t.Log(out.String())
	}()
	socket := fmt.Sprintf("/proc/%d/root%s", cmd.Process.Pid, Socket)
	call := within(t, 20*time.Second)
	var r *Registration
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for r == nil { // until it listens
		if r, err = Register(call, socket, netip.MustParseAddr("0.0.0.0"), services); err != nil && call.Err() != nil {
			t.Fatal(err)
		}
		<-again.C
	}
	list := func() (mine []Entry) {
		t.Helper()
		err := r.with(call, func(c *rpc.Client) error {
			results, err := c.Call(call, rpc.Call{Prog: Program, Vers: VersionRpcb4, Proc: uint32(ProcDump)}, nil)
			d := xdr.NewDecoder(results)
			mine = slices.DeleteFunc(decodeList[Entry](d), func(h Entry) bool { return h.Prog == Program })
			return errors.Join(err, d.Finish())
		})
		if err != nil {
			t.Fatal(err)
		}
		return mine
	}
	got := list()
	for _, s := range services {
		host := map[bool]string{true: "0.0.0.0", false: "::"}[len(s.Netid) == len(TCP)]
		want := Entry{s.Prog, s.Vers, s.Netid, UniversalAddr(netip.AddrPortFrom(netip.MustParseAddr(host), s.Port)), "superuser"}
		if !slices.Contains(got, want) {
			t.Errorf("%+v is not registered: %+v", want, got)
		}
	}
	if err := r.Close(call); err != nil || len(list()) != 0 {
		t.Errorf("left after Close: %v, %v", list(), err)
	}
}
