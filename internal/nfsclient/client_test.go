package nfsclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/nfsclient"
	"bfsd/nfs"
	"bfsd/nfs/mount"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect starts a server of an empty file system and returns a client of it, and the root.
func connect(t *testing.T) (context.Context, *nfsclient.Client, nfs3.FH) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	fs := fsstate.New(fsstate.Config{Mode: 0o777})
	s := nfs.NewServer(nfs.NewLocal(fs, time.Now), nfs.Config{Log: slog.New(slog.DiscardHandler)})
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
	c, err := nfsclient.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	root, err := c.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	return ctx, c, root
}

func TestWriteFile_ReadFile_everySize(t *testing.T) {
	ctx, c, root := connect(t)
	for _, n := range []int{0, 1, 4095, nfsclient.IOSize - 1, nfsclient.IOSize, nfsclient.IOSize + 1, 20*nfsclient.IOSize + 12345} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			data := bytes.Repeat([]byte("0123456789abcdefghi"), n/19+1)[:n]
			before := c.Calls()
			fh, err := c.WriteFile(ctx, root, "f", data, 0o640)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.ReadFile(ctx, fh)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%d bytes came back, other than the %d written", len(got), len(data))
			}
			chunks := uint64((n + nfsclient.IOSize - 1) / nfsclient.IOSize)
			if calls := c.Calls() - before; calls != 2+2*chunks {
				t.Errorf("%d calls, want CREATE, GETATTR and %d WRITEs and READs each", calls, chunks)
			}
			attr, err := c.GetAttr(ctx, fh)
			if err != nil || attr.Attr.Size != uint64(n) || attr.Attr.Mode != 0o640 {
				t.Errorf("%+v, %v", attr, err)
			}
		})
	}
}

func TestReadDirAll_listsWhatManyCallsReturn(t *testing.T) {
	ctx, c, root := connect(t)
	want := map[string]bool{".": true, "..": true}
	for i := range 1500 {
		name := fmt.Sprintf("an entry with a name of some length %d", i)
		if _, err := c.Create(ctx, root, name, nfs3.Guarded, nfs3.Sattr{}); err != nil {
			t.Fatal(err)
		}
		want[name] = true
	}
	before := c.Calls()
	entries, err := c.ReadDirAll(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !want[e.Name] {
			t.Errorf("%q is listed twice, or not there", e.Name)
		}
		delete(want, e.Name)
	}
	if len(want) != 0 || c.Calls()-before < 2 {
		t.Errorf("%d entries are missing after %d calls", len(want), c.Calls()-before)
	}
}

func TestErrors(t *testing.T) {
	ctx, c, root := connect(t)
	_, err := c.Walk(ctx, root, "a/b")
	if s, ok := nfsclient.Status(err); !ok || s != nfs3.ErrNoEnt {
		t.Errorf("Walk: %v", err)
	}
	var status *nfsclient.StatusError
	if !errors.As(err, &status) || status.Proc != nfs3.ProcLookup {
		t.Errorf("Walk: %v", err)
	}
	if _, err := c.ReadDirAll(ctx, nfs3.FH("foreign")); err == nil {
		t.Error("a foreign handle was listed")
	}
	var mountErr *nfsclient.MountError
	if _, err := c.Mount(ctx, "/none"); !errors.As(err, &mountErr) || mountErr.Status != mount.ErrNoEnt {
		t.Errorf("Mount: %v", err)
	}
	if s, ok := nfsclient.Status(nil); !ok || s != nfs3.OK {
		t.Errorf("Status(nil) = %v, %t", s, ok)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = c.GetAttr(ended, root)
	if _, ok := nfsclient.Status(err); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("GetAttr with an ended context: %v", err)
	}
	c.Close()
	if err := c.Null(ctx); !errors.Is(err, rpc.ErrClientClosed) {
		t.Errorf("Null after Close: %v", err)
	}
}

func TestAs_changesTheCredential(t *testing.T) {
	ctx, c, root := connect(t)
	for _, tc := range []struct {
		name     string
		c        *nfsclient.Client
		uid, gid uint32
	}{
		{"user", c.As(7, 8), 7, 8},
		{"anonymous", c.Anonymous(), 65534, 65534},
	} {
		res, err := tc.c.Mkdir(ctx, root, tc.name, nfs3.Sattr{})
		if err != nil || res.Attr.UID != tc.uid || res.Attr.GID != tc.gid {
			t.Errorf("%s made %+v, %v", tc.name, res.Attr, err)
		}
	}
}
