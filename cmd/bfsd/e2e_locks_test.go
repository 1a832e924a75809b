package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
	"bfsd/nfs/rpcbind"
)

// lockRequest asks a guest's agent to lock a file, or to unlock it. The agent is one process, and so one owner of locks in
// each guest.
type lockRequest struct {
	File   string
	Kind   string // "fcntl" or "flock"
	Type   int16  // unix.F_RDLCK, F_WRLCK or F_UNLCK
	Block  bool
	Start  int64
	Length int64
}

// lockAnswer is what came of it. Other is the type of the lock that is in the way, of a "fcntl" that fails (F_GETLK).
type lockAnswer struct {
	Held  bool
	Other int16
}

// lockFunction names what a guest's agent does for the tests of locks.
const lockFunction = "lock"

func newLockFunction() kernelclient.Handler {
	var mu sync.Mutex
	open := map[string]*os.File{}
	return func(_ context.Context, in json.RawMessage, _ io.Writer) (any, error) {
		var r lockRequest
		if err := json.Unmarshal(in, &r); err != nil {
			return nil, err
		}
		mu.Lock()
		f := open[r.Kind+r.File]
		if f == nil {
			var err error
			if f, err = os.OpenFile(r.File, os.O_RDWR|os.O_CREATE, 0o666); err != nil {
				mu.Unlock()
				return nil, err
			}
			open[r.Kind+r.File] = f
		}
		mu.Unlock()
		return r.do(int(f.Fd()))
	}
}

func (r *lockRequest) do(fd int) (lockAnswer, error) {
	err := r.call(fd)
	switch {
	case err == nil:
		return lockAnswer{Held: true}, nil
	case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES):
		return lockAnswer{}, err
	case r.Kind == "flock":
		return lockAnswer{}, nil
	}
	l := unix.Flock_t{Type: r.Type, Start: r.Start, Len: r.Length}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &l); err != nil {
		return lockAnswer{}, err
	}
	return lockAnswer{Other: l.Type}, nil
}

func (r *lockRequest) call(fd int) error {
	if r.Kind == "flock" {
		how := map[int16]int{unix.F_RDLCK: unix.LOCK_SH, unix.F_WRLCK: unix.LOCK_EX, unix.F_UNLCK: unix.LOCK_UN}[r.Type]
		if !r.Block {
			how |= unix.LOCK_NB
		}
		return unix.Flock(fd, how)
	}
	l := unix.Flock_t{Type: r.Type, Start: r.Start, Len: r.Length}
	return unix.FcntlFlock(uintptr(fd), map[bool]int{false: unix.F_SETLK, true: unix.F_SETLKW}[r.Block], &l)
}

// lockClient is a guest with a mount whose locks are the server's.
type lockClient struct {
	*kernelclient.Guest
	t     testing.TB
	state string // its disk, as far as locks are concerned
	mnt   string
}

// lockable skips the test where no client can take locks.
func lockable(t *testing.T) {
	t.Helper()
	kerneltest.Require(t, kernelclient.LockingAvailable())
}

// lockGuest boots a machine, and starts on it what locks need.
func (s *site) lockGuest(modules ...string) *lockClient {
	s.t.Helper()
	g, err := s.network.StartGuest(s.t.Context(), kernelclient.GuestOptions{Kind: kernelclient.UML, MemoryMiB: 512, Modules: modules})
	if err != nil {
		s.t.Fatal(err)
	}
	l := &lockClient{Guest: g, t: s.t, state: s.t.TempDir()}
	l.startLocking()
	return l
}

func (l *lockClient) startLocking() {
	l.t.Helper()
	if err := l.StartLocking(l.t.Context(), l.state); err != nil {
		l.t.Fatal(err)
	}
}

// use mounts a replica's own front end.
func (l *lockClient) use(c *labCluster, replica int) *lockClient {
	l.t.Helper()
	addr := netip.MustParseAddrPort(c.cluster.Replicas[replica].NFS)
	var err error
	l.mnt, err = l.Mount(l.t.Context(), kernelclient.MountOptions{Server: addr.Addr().String(), Port: int(addr.Port()), Locks: true})
	if err != nil {
		l.t.Fatal(err)
	}
	return l
}

func (l *lockClient) ask(t *testing.T, r lockRequest) lockAnswer {
	t.Helper()
	var a lockAnswer
	r.File = path.Join(l.mnt, r.File)
	if err := l.Call(t.Context(), lockFunction, r, &a, nil); err != nil {
		t.Fatal(err)
	}
	return a
}

// later is ask for what blocks.
func (l *lockClient) later(t *testing.T, r lockRequest) <-chan lockAnswer {
	t.Helper()
	done := make(chan lockAnswer, 1)
	r.File, r.Block = path.Join(l.mnt, r.File), true
	go func() {
		var a lockAnswer
		if err := l.Call(t.Context(), lockFunction, r, &a, nil); err != nil {
			a = lockAnswer{Other: -1}
		}
		done <- a
	}()
	return done
}

// waits verifies that a lock is not granted for a while.
func waits(t *testing.T, done <-chan lockAnswer) {
	t.Helper()
	select {
	case a := <-done:
		t.Fatalf("the lock was granted, or failed, while another had it: %+v", a)
	case <-time.After(time.Second):
	}
}

// granted waits until a lock is granted, and tells how long that took.
func granted(t *testing.T, done <-chan lockAnswer, within time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	select {
	case a := <-done:
		if !a.Held {
			t.Fatalf("the lock was not granted: %+v", a)
		}
	case <-time.After(within):
		t.Fatalf("the lock was not granted within %v", within)
	}
	return time.Since(began)
}

// free unlocks all of a file.
func (l *lockClient) free(t *testing.T, kind, file string) {
	t.Helper()
	l.ask(t, lockRequest{File: file, Kind: kind, Type: unix.F_UNLCK})
}

// TestLocksOfTwoMachinesExcludeEachOther: two Linux machines mount two replicas' front ends, with locks.
func TestLocksOfTwoMachinesExcludeEachOther(t *testing.T) {
	lockable(t)
	c := newLabCluster(t, 4, "--rpcbind", "serve")
	a, b := c.lockGuest().use(c, 0), c.lockGuest().use(c, 1)
	for _, kind := range []string{"fcntl", "flock"} {
		ex := lockRequest{File: kind, Kind: kind, Type: unix.F_WRLCK}
		sh := lockRequest{File: kind, Kind: kind, Type: unix.F_RDLCK}
		t.Run(kind+"/exclusive", func(t *testing.T) {
			if got := a.ask(t, ex); !got.Held {
				t.Fatalf("nobody has it: %+v", got)
			}
			for _, r := range []lockRequest{ex, sh} {
				if got := b.ask(t, r); got.Held || kind == "fcntl" && got.Other != unix.F_WRLCK {
					t.Errorf("type %d while another has it exclusively: %+v", r.Type, got)
				}
			}
			a.free(t, kind, kind)
			if got := b.ask(t, ex); !got.Held {
				t.Errorf("after it was given up: %+v", got)
			}
			if got := a.ask(t, sh); got.Held {
				t.Error("granted to both")
			}
			b.free(t, kind, kind)
		})
		t.Run(kind+"/shared", func(t *testing.T) {
			if !a.ask(t, sh).Held || !b.ask(t, sh).Held {
				t.Error("shared locks exclude each other")
			}
			if a.ask(t, ex).Held {
				t.Error("upgraded while another reads")
			}
			a.free(t, kind, kind)
			b.free(t, kind, kind)
		})
		t.Run(kind+"/blocking", func(t *testing.T) {
			var took []time.Duration
			for range 5 {
				if !a.ask(t, ex).Held {
					t.Fatal("nobody has it")
				}
				done := b.later(t, ex)
				waits(t, done)
				a.free(t, kind, kind)
				took = append(took, granted(t, done, 10*time.Second)) // by a call: the client itself asks again after 30 s
				b.free(t, kind, kind)
			}
			t.Logf("granted %v after it was freed through the other front end", took)
			if slices.Sort(took); took[len(took)/2] > time.Second {
				t.Error("half of the time that was later than a second")
			}
		})
	}
	t.Run("ranges", func(t *testing.T) {
		part := func(start, length int64) lockRequest {
			return lockRequest{File: "ranges", Kind: "fcntl", Type: unix.F_WRLCK, Start: start, Length: length}
		}
		for i, s := range []struct {
			who  *lockClient
			r    lockRequest
			want bool
		}{
			{a, part(0, 10), true},
			{b, part(10, 10), true},
			{a, part(5, 10), false},
			{b, part(9, 1), false},
			{a, part(20, 0), true},
			{b, part(1<<40, 1), false},
			{b, part(1<<62, 0), false},
			{a, part(4, 2), true},
		} {
			if got := s.who.ask(t, s.r); got.Held != s.want {
				t.Errorf("step %d: %+v", i, got)
			}
		}
		un := part(0, 5)
		un.Type = unix.F_UNLCK
		a.ask(t, un)
		if !b.ask(t, part(2, 3)).Held || b.ask(t, part(5, 1)).Held {
			t.Error("unlocking the first half of a range did not free just that")
		}
		a.free(t, "fcntl", "ranges")
		b.free(t, "fcntl", "ranges")
	})
	t.Run("the holder's process dies", func(t *testing.T) {
		holder := kernelclient.Job{Args: []string{"python3", "-c", `
import fcntl, sys, os, time
f = open(sys.argv[1], "w")
fcntl.lockf(f, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(1000)`, path.Join(a.mnt, "dies")}}
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		held := &lineWatch{line: "held", seen: make(chan struct{})}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = a.Exec(ctx, holder, held, os.Stderr)
		}()
		<-held.seen
		done := b.later(t, lockRequest{File: "dies", Kind: "fcntl", Type: unix.F_WRLCK})
		waits(t, done)
		kill()
		<-ended
		t.Logf("granted %v after the process was gone", granted(t, done, 2*time.Second))
		b.free(t, "fcntl", "dies")
	})
	t.Run("the waiter's front end dies", func(t *testing.T) {
		ex := lockRequest{File: "front", Kind: "fcntl", Type: unix.F_WRLCK}
		a.ask(t, ex)
		done := b.later(t, ex)
		waits(t, done)
		c.running[1].kill()
		a.free(t, "fcntl", "front")
		c.running[1] = c.runReplica(1)
		t.Logf("granted %v after the front end was started again", granted(t, done, time.Minute))
		if a.ask(t, ex).Held {
			t.Error("granted to both")
		}
		b.free(t, "fcntl", "front")
	})
	t.Run("the holder's machine loses power", func(t *testing.T) {
		ex := lockRequest{File: "power", Kind: "fcntl", Type: unix.F_WRLCK}
		a.ask(t, ex)
		done := b.later(t, ex)
		waits(t, done)
		a.Kill()
		waits(t, done) // it may come back, or not be dead at all: nobody can tell
		again, err := a.Restart(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a.Guest = again
		a.startLocking()
		t.Logf("granted %v after statd was started on the machine that restarted", granted(t, done, time.Minute))
		a.use(c, 0)
		if a.ask(t, ex).Held {
			t.Error("granted to both")
		}
	})
	t.Run("counting", func(t *testing.T) { c.count(t, a, b) })
}

// count has processes on both machines add to a number in a file, each under a lock, and verifies that no addition is lost.
func (c *labCluster) count(t *testing.T, guests ...*lockClient) {
	const processes, rounds = 3, 20
	script := `
import fcntl, sys
name, rounds = sys.argv[1], int(sys.argv[2])
for _ in range(rounds):
    with open(name, "a+") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        f.seek(0)
        n = int(f.read() or 0)
        f.seek(0)
        f.truncate()
        f.write(str(n + 1))
        f.flush()
        fcntl.lockf(f, fcntl.LOCK_UN)
`
	began := time.Now()
	failed := make(chan error, processes*len(guests))
	for _, g := range guests {
		for range processes {
			go func() {
				job := kernelclient.Job{Args: []string{"python3", "-c", script, path.Join(g.mnt, "number"), strconv.Itoa(rounds)}}
				exit, err := g.Exec(t.Context(), job, os.Stderr, os.Stderr)
				if err == nil && exit != 0 {
					err = fmt.Errorf("it ended with %d", exit)
				}
				failed <- err
			}()
		}
	}
	for range processes * len(guests) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	want := strconv.Itoa(processes * rounds * len(guests))
	if got := runScript(t, guests[0].Guest, "cat "+path.Join(guests[0].mnt, "number")); got != want {
		t.Errorf("the number is %s, want %s", got, want)
	}
	t.Logf("%s additions took %v", want, time.Since(began))
}

// TestTheMachinesOwnRpcbindLeadsToTheLocks: --rpcbind register, with Debian's rpcbind; and the mount command that is printed.
func TestTheMachinesOwnRpcbindLeadsToTheLocks(t *testing.T) {
	lockable(t)
	s := newSite(t)
	binary, err := bfsdBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	// rpcbind's socket is in /run, where the machine may have one of its own.
	daemon := s.network.Command(ctx, "unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run; exec rpcbind -f -w")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill() // ends it, in whatever state it is
		_ = daemon.Wait()
	})
	root := fmt.Sprintf("/proc/%d/root", daemon.Process.Pid)
	awaitCondition(t, "rpcbind", func() bool {
		_, err := os.Stat(root + rpcbind.Socket)
		return err == nil
	}, func() string { return "not there" })
	srv := s.launch(s.network.Command(ctx, "nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", daemon.Process.Pid), "--",
		binary, "plain", "--nfs", net.JoinHostPort(s.host(), "12049"), "--rpcbind", "register"))
	select {
	case <-srv.ready:
	case <-srv.ended:
		t.Fatalf("it ended: %v\n%s", srv.err, srv.output)
	}
	g := s.lockGuest()
	g.mnt = "/mnt/by-hand"
	command := regexp.MustCompile(`mount -t nfs .* /mnt\n`).FindString(srv.output.String())
	runScript(t, g.Guest, "mkdir "+g.mnt+"; "+strings.Replace(command, " /mnt\n", " "+g.mnt, 1))
	runScript(t, g.Guest, "python3 -c 'import fcntl; f = open(\""+g.mnt+"/f\", \"w\"); fcntl.lockf(f, fcntl.LOCK_EX)'")
	ask := func(prog, vers uint32, network string) (uint16, error) {
		return rpcbind.Port(t.Context(), siteDialer{s}, netip.MustParseAddr(s.host()), prog, vers, network)
	}
	for _, c := range []struct {
		prog, vers uint32
		network    string
	}{{100003, 3, "tcp"}, {100005, 3, "udp"}, {100021, 4, "tcp"}, {100021, 4, "udp"}, {100024, 1, "udp"}} {
		if port, err := ask(c.prog, c.vers, c.network); err != nil || port != 12049 {
			t.Errorf("program %d by %s: port %d, %v", c.prog, c.network, port, err)
		}
	}
	runScript(t, g.Guest, "umount "+g.mnt)
	srv.stop()
	if port, err := ask(100021, 4, "tcp"); !errors.Is(err, rpcbind.ErrNotRegistered) {
		t.Errorf("after the server has stopped: port %d, %v", port, err)
	}
}

// siteDialer dials from inside the site's network.
type siteDialer struct{ *site }

func (d siteDialer) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = d.network.Namespace().Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}
