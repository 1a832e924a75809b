package rpc

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"bfsd/nfs/xdr"
)

func TestClient_contextEndsACall(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	ctx, cancel := context.WithCancel(testContext(t))
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	cancel()
	if err := <-slow; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	ts.release <- struct{}{}
	if err := echo(testContext(t), c, []byte("still good")); err != nil {
		t.Errorf("the connection suffered: %v", err)
	}
}

func TestClient_doReusesMemoryOnlyAfterUse(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			want := bytes.Repeat([]byte{byte(i)}, 100_000)
			for range 50 {
				err := c.Do(ctx, Call{Prog: testProg, Vers: 3, Proc: procEcho}, func(e *xdr.Encoder) { e.OpaqueRef(want) }, func(results []byte) error {
					if got := xdr.NewDecoder(results).Opaque(1 << 20); !bytes.Equal(got, want) {
						return errors.New("results are another call's")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	failure := errors.New("use failed")
	if err := c.Do(ctx, Call{Prog: testProg, Vers: 3}, nil, func([]byte) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("Do = %v, want what use returned", err)
	}
}

func TestClient_closeEndsCalls(t *testing.T) {
	ts := startServer(t, Limits{})
	c := dialClient(t, ts.addr)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(testContext(t), Call{Prog: testProg, Vers: 3, Proc: procBlock}, nil)
		slow <- err
	}()
	<-ts.started
	c.Close()
	if err := <-slow; !errors.Is(err, ErrClientClosed) {
		t.Errorf("error %v, want ErrClientClosed", err)
	}
	if err := echo(testContext(t), c, nil); !errors.Is(err, ErrClientClosed) {
		t.Errorf("after Close: %v, want ErrClientClosed", err)
	}
}
