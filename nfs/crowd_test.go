package nfs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"

	"bfsd/internal/nfsclient"
	"bfsd/nfs"
	"bfsd/nfs/nfs3"
	"bfsd/nfs/rpc"

	"golang.org/x/sync/errgroup"
)

// A thousand clients with large calls in flight, some of which ask and do not read: the server holds what it may, and all
// the others are served.
func TestThousandClients(t *testing.T) {
	const (
		clients, slow = 1000, 20
		total, share  = 64 << 20, 64 << 10
		part          = 128 << 10
	)
	e := start(t, func(cfg *nfs.Config, _ *spy) {
		cfg.Limits = rpc.Limits{Conns: clients + 10, Total: total, Share: share, Stall: 2 * time.Second, Linger: 10 * time.Millisecond}
	})
	data := random(1 << 20)
	big := e.file("big", string(data))

	// Each of these asks for 64 MiB.
	args := []uint32{uint32(len(big))}
	for i := 0; i < len(big); i += 4 {
		args = append(args, binary.BigEndian.Uint32(big[i:]))
	}
	var ask []byte
	for xid := range uint32(64) {
		call := callTo(nfs3.Program, nfs3.Version, uint32(nfs3.ProcRead), append(args, 0, 0, 1<<20)...)
		binary.BigEndian.PutUint32(call[4:], xid)
		ask = append(ask, call...)
	}
	for range slow {
		nc := rawDial(t, e.addr)
		if err := nc.SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Write(ask); err != nil {
			t.Fatal(err)
		}
	}

	stop, watched := make(chan struct{}), make(chan struct{})
	mostBulk, mostSmall, mostConns := 0, 0, 0
	go func() {
		defer close(watched)
		for {
			st := e.server.Stats()
			mostBulk, mostSmall, mostConns = max(mostBulk, st.Bulk), max(mostSmall, st.Bytes-st.Bulk), max(mostConns, st.Conns)
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	begun := make([]*nfsclient.Client, clients-slow)
	for i := range begun {
		begun[i] = e.dial().As(1000, 100)
	}
	var all errgroup.Group
	for i, c := range begun {
		for k := range 2 {
			offset := (2*i + k) % 8 * part
			all.Go(func() error {
				res, err := c.Read(e.ctx, big, uint64(offset), part)
				if err == nil && !bytes.Equal(res.Data, data[offset:offset+part]) {
					err = errors.New("read other bytes")
				}
				return err
			})
		}
		all.Go(func() error {
			_, err := c.Write(e.ctx, big, uint64(i%8*part), data[i%8*part:(i%8+1)*part], nfs3.FileSync)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	close(stop)
	<-watched
	if mostBulk > total || mostSmall > (clients+10)*share {
		t.Errorf("up to %d bytes of large calls and %d of small ones were held", mostBulk, mostSmall)
	}
	if mostBulk < total/2 || mostConns < clients-slow {
		t.Errorf("%d bytes of large calls at most, %d connections: the test shows nothing", mostBulk, mostConns)
	}
	t.Logf("at most %d connections, %d KiB of large and %d KiB of small calls; %d cut off", mostConns, mostBulk>>10, mostSmall>>10, e.server.Count(rpc.EventStalled))
}
