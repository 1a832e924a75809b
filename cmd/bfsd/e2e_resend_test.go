package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"bfsd/internal/nfsclient"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"
)

// cutWire passes a client's calls on to a server and keeps the replies for itself, as a connection does that breaks after
// the server has executed a call.
type cutWire struct {
	client  *nfsclient.Client
	front   net.Conn // to the client
	back    net.Conn // to the server
	wg      sync.WaitGroup
	calls   syncBuffer
	replies chan []byte
}

func newCutWire(t *testing.T, server string) *cutWire {
	t.Helper()
	back, err := net.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	client, front := net.Pipe()
	w := &cutWire{client: nfsclient.New(client).As(1000, 100), front: front, back: back, replies: make(chan []byte, 1)}
	w.wg.Go(func() {
		_, _ = io.Copy(io.MultiWriter(back, &w.calls), front) // ends with the connection
	})
	w.wg.Go(func() {
		if reply, err := readRecord(back); err == nil {
			w.replies <- reply
		}
		close(w.replies)
	})
	return w
}

// cut breaks the connection after the server has replied to the one call on it, and returns the call and the reply.
func (w *cutWire) cut(t *testing.T) (call, reply []byte) {
	t.Helper()
	reply, ok := <-w.replies
	if !ok {
		t.Fatal("the server did not reply")
	}
	w.front.Close()
	w.back.Close()
	w.client.Close()
	w.wg.Wait()
	return []byte(w.calls.String()), reply
}

// readRecord reads a record of one fragment, as our server sends them.
func readRecord(r io.Reader) ([]byte, error) {
	var mark [4]byte
	if _, err := io.ReadFull(r, mark[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(mark[:])
	if n>>31 == 0 || n&^(1<<31) > 1<<20 {
		return nil, errors.New("not one small fragment")
	}
	b := make([]byte, n&^(1<<31))
	_, err := io.ReadFull(r, b)
	return b, err
}

// exchange sends a call on a connection of its own and returns the reply.
func exchange(t *testing.T, server string, call []byte) []byte {
	t.Helper()
	nc, err := net.Dial("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write(call); err != nil {
		t.Fatal(err)
	}
	reply, err := readRecord(nc)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// status is the status of an NFS reply.
func replyStatus(t *testing.T, reply []byte) nfs3.Status {
	t.Helper()
	d := xdr.NewDecoder(reply)
	for range 5 { // transaction id, REPLY, accepted, no verifier
		d.Uint32()
	}
	if outcome := rpc.Outcome(d.Uint32()); outcome != rpc.Success {
		t.Fatalf("the call came to %v", outcome)
	}
	return nfs3.Status(d.Uint32())
}

// A client's connection breaks after its call was executed and before the reply arrived. It connects to another replica's
// front end, from another port, and sends the same call again: it gets its first answer, and nothing happens twice, though
// others have changed the same names meanwhile.
func TestACallSentAgainToAnotherReplicaGetsItsFirstAnswer(t *testing.T) {
	s := &site{t: t}
	dir := t.TempDir()
	gateway := net.JoinHostPort(s.host(), strconv.Itoa(freePort(t)))
	s.start("up", "--dir", dir, "--nfs", gateway, "--durability", "memory")
	at := func(replica int) string {
		return net.JoinHostPort(s.host(), strconv.Itoa(clusterReplicaNFS(t, dir, replica)))
	}
	ctx := t.Context()
	c, err := nfsclient.Dial(ctx, at(3))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c = c.As(1000, 100)
	root, err := c.As(0, 0).Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.As(0, 0).SetAttr(ctx, root, nfs3.Sattr{Mode: ptr(uint32(0o777))}, nil); err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) nfs3.Status {
		_, err := c.Lookup(ctx, root, name)
		status, ok := nfsclient.Status(err)
		if !ok {
			t.Fatal(err)
		}
		return status
	}
	file := func(name, data string) nfs3.FH {
		fh, err := c.WriteFile(ctx, root, name, []byte(data), 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return fh
	}
	must := func(_ any, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var victim nfs3.FH
	for i, tc := range []struct {
		name    string
		before  func()
		call    func(c *nfsclient.Client) // its outcome is lost with the connection
		between func()                    // by somebody else
		after   func() bool
		want    nfs3.Status
	}{
		{
			name:    "REMOVE",
			before:  func() { file("removed", "old") },
			call:    func(c *nfsclient.Client) { _, _ = c.Remove(ctx, root, "removed") },
			between: func() { file("removed", "new") },
			after:   func() bool { return lookup("removed") == nfs3.OK },
		},
		{
			name:    "CREATE/EXCLUSIVE",
			call:    func(c *nfsclient.Client) { _, _ = c.CreateExclusive(ctx, root, "excl", [8]byte{1, 2, 3}) },
			between: func() { must(c.Remove(ctx, root, "excl")) },
			after:   func() bool { return lookup("excl") == nfs3.ErrNoEnt },
		},
		{
			name:    "CREATE/GUARDED",
			call:    func(c *nfsclient.Client) { _, _ = c.Create(ctx, root, "guarded", nfs3.Guarded, nfs3.Sattr{}) },
			between: func() {},
			after:   func() bool { return lookup("guarded") == nfs3.OK },
		},
		{
			name:    "RENAME",
			before:  func() { file("from", "x") },
			call:    func(c *nfsclient.Client) { _, _ = c.Rename(ctx, root, "from", root, "to") },
			between: func() { file("from", "y") },
			after:   func() bool { return lookup("from") == nfs3.OK },
		},
		{
			name:    "LINK",
			before:  func() { victim = file("linked", "x") },
			call:    func(c *nfsclient.Client) { _, _ = c.Link(ctx, victim, root, "link") },
			between: func() { must(c.Remove(ctx, root, "link")) },
			after:   func() bool { return lookup("link") == nfs3.ErrNoEnt },
		},
		{
			name:    "MKDIR",
			call:    func(c *nfsclient.Client) { _, _ = c.Mkdir(ctx, root, "dir", nfs3.Sattr{}) },
			between: func() {},
			after:   func() bool { return lookup("dir") == nfs3.OK },
		},
		{
			name:    "RMDIR",
			before:  func() { must(c.Mkdir(ctx, root, "gone", nfs3.Sattr{})) },
			call:    func(c *nfsclient.Client) { _, _ = c.Rmdir(ctx, root, "gone") },
			between: func() { must(c.Mkdir(ctx, root, "gone", nfs3.Sattr{})) },
			after:   func() bool { return lookup("gone") == nfs3.OK },
		},
		{
			name:    "SYMLINK",
			call:    func(c *nfsclient.Client) { _, _ = c.Symlink(ctx, root, "symlink", "target", nfs3.Sattr{}) },
			between: func() {},
			after:   func() bool { return lookup("symlink") == nfs3.OK },
		},
		{
			name:    "WRITE",
			before:  func() { victim = file("written", "") },
			call:    func(c *nfsclient.Client) { _, _ = c.Write(ctx, victim, 0, []byte("old"), nfs3.FileSync) },
			between: func() { must(c.Write(ctx, victim, 0, []byte("new"), nfs3.FileSync)) },
			after: func() bool {
				got, err := c.ReadFile(ctx, victim)
				return err == nil && string(got) == "new"
			},
		},
		{
			name:    "REMOVE/failed",
			call:    func(c *nfsclient.Client) { _, _ = c.Remove(ctx, root, "absent") },
			between: func() { file("absent", "made since") },
			after:   func() bool { return lookup("absent") == nfs3.OK },
			want:    nfs3.ErrNoEnt,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.before != nil {
				tc.before()
			}
			w := newCutWire(t, at(i%3))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				tc.call(w.client)
			}()
			call, first := w.cut(t)
			<-ended
			if got := replyStatus(t, first); got != tc.want {
				t.Fatalf("the first answer, which got lost: %v, want %v", got, tc.want)
			}
			tc.between()
			for _, again := range []string{at((i + 1) % 3), at((i + 2) % 3)} {
				if second := exchange(t, again, call); !bytes.Equal(first, second) {
					t.Errorf("sent again it is answered with %v:\n%x\nthe first answer was\n%x", replyStatus(t, second), second, first)
				}
			}
			if !tc.after() {
				t.Error("the call was executed again")
			}
			// The same call from somebody else, under the same transaction id, is another.
			other := bytes.Replace(call, []byte("nfsclient"), []byte("elsewhere"), 1)
			if second := exchange(t, at((i+1)%3), other); bytes.Equal(first, second) {
				t.Errorf("another machine's call with the same transaction id got this one's answer, %v", replyStatus(t, second))
			}
		})
	}
	s.awaitEqualRoots(dir)
}

func ptr[T any](v T) *T { return &v }
