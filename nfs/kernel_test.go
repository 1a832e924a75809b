package nfs_test

import (
	"bytes"
	_ "embed"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"bfsd/fsstate"
	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
	"bfsd/nfs"
)

//go:embed testdata/posix.py
var posixScript string

// TestLinuxKernelClient mounts the server with the Linux kernel's NFS client and does there what programs do.
func TestLinuxKernelClient(t *testing.T) {
	network := kerneltest.Network(t)
	ctx := t.Context()
	l, err := network.Listen(ctx, kernelclient.Address+":2049")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	backend := nfs.NewLocal(fsstate.New(fsstate.Config{Seed: fsstate.Seed{1}}), ticker())
	s := nfs.NewServer(backend, nfs.Config{ClusterID: clusterID, Verifier: verifier, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() {
		s.Close()
		if err := <-ended; !errors.Is(err, nfs.ErrServerClosed) {
			t.Error(err)
		}
		if log.Len() > 0 {
			t.Errorf("the server was not quiet: %s", log.String())
		}
	}()
	guest, err := network.StartGuest(ctx, kernelclient.GuestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	dir, err := guest.Mount(ctx, kernelclient.MountOptions{Server: kernelclient.Address, Port: 2049})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	job := kernelclient.Job{Args: []string{"python3", "-c", posixScript, dir}}
	if exit, err := guest.Exec(ctx, job, &out, &out); err != nil || exit != 0 || !strings.HasSuffix(out.String(), "done\n") {
		t.Errorf("exit %d, %v:\n%s", exit, err, out.String())
	}
	if err := guest.Unmount(ctx, dir); err != nil {
		t.Error(err)
	}
}
