package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"bfsd/internal/kernelclient"
)

// knfsdScript makes a guest an NFS server.
//
//go:embed knfsd.sh
var knfsdScript string

const (
	knfsdExport    = "/mnt/export"
	knfsdMountPort = 20048
	knfsdDiskBytes = 8 << 30 // what is not written takes no room
)

func missingKnfsd(options) error {
	if _, err := exec.LookPath("rpc.nfsd"); err != nil {
		return notInstalled("nfs-kernel-server")
	}
	if _, err := exec.LookPath("rpcbind"); err != nil {
		return notInstalled("rpcbind")
	}
	return kernelclient.UserModeLinux()
}

func startKnfsd(ctx context.Context, b *benchmark, l launcher, _ trial) (*server, error) {
	return b.startKnfsd(ctx, l, targetKnfsd, "")
}

func startKnfsdExt4(ctx context.Context, b *benchmark, l launcher, _ trial) (*server, error) {
	return b.startKnfsd(ctx, l, targetKnfsdExt4, "disk")
}

// startKnfsd boots a guest in the launcher's network that serves a tmpfs, or its disk if it gets one.
func (b *benchmark) startKnfsd(ctx context.Context, l launcher, name, disk string) (*server, error) {
	s, err := b.newServer(ctx, l, name)
	if err != nil {
		return nil, err
	}
	s.mountPort, s.export = knfsdMountPort, knfsdExport
	options := kernelclient.GuestOptions{Kind: kernelclient.UML, MemoryMiB: b.options.MemoryMiB, Modules: []string{"nfsd"}}
	if disk != "" {
		if err := b.makeDir(s); err != nil {
			return nil, err
		}
		options.Disk = filepath.Join(s.dir, disk)
		if err := makeExt4(ctx, options.Disk); err != nil {
			return nil, errors.Join(err, s.clean())
		}
	}
	guest, err := l.network.StartGuest(ctx, options)
	if err != nil {
		return nil, errors.Join(err, s.clean())
	}
	s.halt, s.host = guest.Close, guest.Address()
	var out bytes.Buffer
	exit, err := guest.Exec(ctx, kernelclient.Job{
		Args: []string{"sh", "-euc", knfsdScript},
		Env:  []string{"EXPORT=" + knfsdExport, fmt.Sprintf("MOUNT_PORT=%d", knfsdMountPort), "DISK=" + disk},
	}, &out, &out)
	if err == nil && exit != 0 {
		err = fmt.Errorf("the server's set-up ended with %d: %s", exit, bytes.TrimSpace(out.Bytes()))
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func makeExt4(ctx context.Context, file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(knfsdDiskBytes), f.Close())
	}
	if err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", file).CombinedOutput(); err != nil {
		return fmt.Errorf("make a file system on a disk: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
