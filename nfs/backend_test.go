package nfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/nfsclient"
	"bfsd/nfs"
	"bfsd/nfs/nfs3"

	"github.com/google/go-cmp/cmp"
)

// listenAndServe serves s until the test ends.
func listenAndServe(t testing.TB, s *nfs.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, nfs.ErrServerClosed) {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return l.Addr().String()
}

// serve serves s until the test ends and returns a client of it.
func serve(t testing.TB, s *nfs.Server) *nfsclient.Client {
	t.Helper()
	c, err := nfsclient.Dial(context.Background(), listenAndServe(t, s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// What is asked of the backend carries who asked, from where, and the call's transaction id.
func TestInvoke_operationSaysWhoAsks(t *testing.T) {
	var mu sync.Mutex
	var ops []*fsstate.Op
	e := start(t, func(_ *nfs.Config, s *spy) {
		s.before = func(_ context.Context, op *fsstate.Op, readOnly bool) error {
			mu.Lock()
			defer mu.Unlock()
			ops = append(ops, op)
			if readOnly != op.Args.ReadOnly() {
				t.Errorf("%T was sent with readOnly = %t", op.Args, readOnly)
			}
			return nil
		}
	})
	e.attr(e.root)
	e.file("f", "")
	ok[*nfs3.GetAttrRes](t)(e.c.Anonymous().GetAttr(e.ctx, e.root))
	want := []fsstate.Cred{{}, {}, {UID: 1000, GID: 100, GIDs: []uint32{4, 24}}, {UID: 65534, GID: 65534}}
	mu.Lock()
	defer mu.Unlock()
	var got []fsstate.Cred
	xids := map[uint32]bool{}
	for _, op := range ops {
		got = append(got, op.Cred)
		xids[op.XID] = true
		if op.Machine != "127.0.0.1" {
			t.Errorf("machine %q, want 127.0.0.1", op.Machine)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
	if len(xids) != len(ops) {
		t.Errorf("%d transaction ids in %d calls", len(xids), len(ops))
	}
}

// When no result is known, what can have changed nothing is to be tried again later, and what may have, or an earlier copy
// of which may have, is left unanswered, on a connection that ends so that the client resends.
func TestInvoke_fails(t *testing.T) {
	var failure atomic.Pointer[error]
	fail := func(_ *nfs.Config, s *spy) {
		s.before = func(_ context.Context, op *fsstate.Op, _ bool) error {
			if op.Args.Kind() == fsstate.KindResolve {
				return nil // for Mount
			}
			return *failure.Load()
		}
	}
	unreachable := errors.New("cluster is unreachable")
	getAttr := func(e *env, c *nfsclient.Client) error { _, err := c.GetAttr(e.ctx, e.root); return err }
	mkdir := func(e *env, c *nfsclient.Client) error {
		_, err := c.Mkdir(e.ctx, e.root, "d", mode(0o755))
		return err
	}
	for _, tc := range []struct {
		name    string
		call    func(*env, *nfsclient.Client) error
		jukebox bool
	}{
		{"JUKEBOX/read-only", getAttr, true},
		{"dropped/a change", mkdir, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := start(t, fail)
			failure.Store(&unreachable)
			c := e.dial()
			err := tc.call(e, c)
			if tc.jukebox {
				want(t, err, nfs3.ErrJukebox)
				failure.Store(new(error))
				if err := tc.call(e, c); err != nil {
					t.Errorf("tried again: %v", err)
				}
				return
			}
			if !errors.Is(err, io.EOF) {
				t.Fatalf("%v, want a closed connection", err)
			}
			failure.Store(new(error))
			if err := tc.call(e, e.dial()); err != nil {
				t.Errorf("resent on a new connection: %v", err)
			}
		})
	}
}

// While the backend cannot answer, reading is put off after a while, changes block until it can, and the connection lives
// on all the while.
func TestInvoke_blocks(t *testing.T) {
	healed := make(chan struct{})
	changes := make(chan struct{}, 1)
	e := start(t, func(cfg *nfs.Config, s *spy) {
		cfg.ReadTimeout = 20 * time.Millisecond
		s.before = func(ctx context.Context, op *fsstate.Op, readOnly bool) error {
			if op.Args.Kind() == fsstate.KindResolve {
				return nil
			}
			if !readOnly {
				if _, limited := ctx.Deadline(); limited {
					t.Error("a change is given up after some time")
				}
				changes <- struct{}{}
			}
			select {
			case <-healed:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	made := make(chan error, 1)
	go func() {
		_, err := e.c.Mkdir(e.ctx, e.root, "d", mode(0o755))
		made <- err
	}()
	<-changes
	for range 5 { // a hundred milliseconds: five times what reading waits
		_, err := e.c.GetAttr(e.ctx, e.root)
		want(t, err, nfs3.ErrJukebox)
	}
	select {
	case err := <-made:
		t.Fatalf("the change was answered: %v", err)
	default:
	}
	close(healed)
	if err := <-made; err != nil {
		t.Error(err)
	}
	e.attr(e.root)
}

// MOUNT has no word for "later", so MNT is dropped.
func TestInvoke_failsForMount(t *testing.T) {
	fs := fsstate.New(fsstate.Config{})
	s := &spy{Backend: nfs.NewLocal(fs, ticker()), before: func(context.Context, *fsstate.Op, bool) error { return io.ErrNoProgress }}
	c := serve(t, nfs.NewServer(s, nfs.Config{Log: slog.New(slog.DiscardHandler)}))
	if _, err := c.Mount(t.Context(), "/"); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want a closed connection", err)
	}
}

type garbage struct{}

func (garbage) Invoke(context.Context, []byte, bool) ([]byte, error) { return []byte("garbage"), nil }

func TestInvoke_returnsGarbage(t *testing.T) {
	e := start(t)
	c := serve(t, nfs.NewServer(garbage{}, nfs.Config{ClusterID: clusterID, Log: slog.New(slog.DiscardHandler)}))
	_, err := c.GetAttr(e.ctx, e.root)
	want(t, err, nfs3.ErrServerFault)
	_, err = c.Remove(e.ctx, e.root, "f")
	want(t, err, nfs3.ErrServerFault)
}

// One slow operation delays nobody: many calls are in flight on one connection, and replies go out as they finish.
func TestPipelining(t *testing.T) {
	block := make(chan struct{})
	blocked := make(chan struct{}, 100)
	e := start(t, func(_ *nfs.Config, s *spy) {
		s.before = func(ctx context.Context, op *fsstate.Op, _ bool) error {
			if l, isLookup := op.Args.(*fsstate.Lookup); isLookup && l.Name == "slow" {
				blocked <- struct{}{}
				select {
				case <-block:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}
	})
	e.file("slow", "x")
	slow := make(chan error, 10)
	for range cap(slow) {
		go func() {
			_, err := e.c.Lookup(e.ctx, e.root, "slow")
			slow <- err
		}()
	}
	for range cap(slow) {
		<-blocked
	}
	for i := range 50 {
		e.file(fmt.Sprint(i), "fast")
	}
	select {
	case err := <-slow:
		t.Fatalf("a blocked call returned: %v", err)
	default:
	}
	close(block)
	for range cap(slow) {
		if err := <-slow; err != nil {
			t.Error(err)
		}
	}
}

func TestShutdown_answersCallsInFlight(t *testing.T) {
	block := make(chan struct{})
	blocked := make(chan struct{}, 1)
	e := start(t, func(_ *nfs.Config, s *spy) {
		s.before = func(_ context.Context, op *fsstate.Op, _ bool) error {
			if op.Args.Kind() == fsstate.KindMkdir {
				blocked <- struct{}{}
				<-block
			}
			return nil
		}
	})
	made := make(chan error, 1)
	go func() {
		_, err := e.c.Mkdir(e.ctx, e.root, "d", mode(0o755))
		made <- err
	}()
	<-blocked
	down := make(chan error, 1)
	go func() { down <- e.server.Shutdown(e.ctx) }()
	for { // the listener closes first
		nc, err := net.Dial("tcp", e.addr)
		if err != nil {
			break
		}
		nc.Close()
	}
	close(block)
	if err := <-made; err != nil {
		t.Errorf("call in flight: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := e.server.Conns(); n != 0 {
		t.Errorf("%d connections after Shutdown", n)
	}
}

func TestObserve(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	e := start(t, func(cfg *nfs.Config, _ *spy) {
		cfg.Observe = func(i nfs.CallInfo) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, i.Procedure+" "+i.Status)
			if i.Duration <= 0 || i.Duration > time.Minute {
				t.Errorf("%s took %v", i.Procedure, i.Duration)
			}
		}
	})
	e.attr(e.root)
	_, err := e.c.Lookup(e.ctx, e.root, "none")
	want(t, err, nfs3.ErrNoEnt)
	_, err = e.c.Mount(e.ctx, "/none")
	if err == nil {
		t.Error("/none was mounted")
	}
	if err := e.c.Call(e.ctx, nfs3.ProcGetAttr, &nfs3.Void{}, &nfs3.GetAttrRes{}); err == nil {
		t.Error("GETATTR without arguments succeeded")
	}
	mu.Lock()
	defer mu.Unlock()
	wanted := []string{
		"MOUNT/MNT MNT3_OK", "GETATTR NFS3_OK", "LOOKUP NFS3ERR_NOENT", "MOUNT/MNT MNT3ERR_NOENT", "GETATTR GARBAGE_ARGS",
	}
	if !slices.Equal(seen, wanted) {
		t.Errorf("observed %q, want %q", seen, wanted)
	}
}

func TestLocal_concurrentUse(t *testing.T) {
	e := start(t)
	var wg sync.WaitGroup
	for i := range 8 {
		c := e.dial().As(1000, 100)
		wg.Go(func() {
			for j := range 30 {
				name := fmt.Sprintf("%d %d", i, j)
				data := random(5000 * (j%3 + 1))
				fh, err := c.WriteFile(e.ctx, e.root, name, data, 0o600)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := c.ReadFile(e.ctx, fh); err != nil || string(got) != string(data) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
				if _, err := c.ReadDirAll(e.ctx, e.root); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(ok[[]nfs3.Entry](t)(e.c.ReadDirAll(e.ctx, e.root))); n != 8*30+2 {
		t.Errorf("%d entries, want %d", n, 8*30+2)
	}
}

func TestLocal_endedContextExecutesNothing(t *testing.T) {
	l := nfs.NewLocal(fsstate.New(fsstate.Config{}), ticker())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Invoke(ctx, nil, false); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A clock that panics stands for a defect in the file system: what it may have left half done is not served.
func TestLocal_servesNothingAfterAPanic(t *testing.T) {
	l := nfs.NewLocal(fsstate.New(fsstate.Config{}), func() time.Time { panic("broken") })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = l.Invoke(context.Background(), nil, false) // panics
	}()
	for _, readOnly := range []bool{true, false} {
		if b, err := l.Invoke(context.Background(), nil, readOnly); err == nil {
			t.Errorf("readOnly %t: answered % x", readOnly, b)
		}
	}
}

// cannedBackend answers everything with the same result.
type cannedBackend []byte

func (c cannedBackend) Invoke(context.Context, []byte, bool) ([]byte, error) { return c, nil }
