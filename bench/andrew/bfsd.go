package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// startBfsd starts one of the targets that bfsd is.
func startBfsd(ctx context.Context, b *benchmark, l launcher, t trial) (*server, error) {
	s, err := b.newServer(ctx, l, t.target.name)
	if err != nil {
		return nil, err
	}
	binary, args := b.bfsd, []string{"plain", "--nfs", s.address()}
	switch t.target.name {
	case targetBFS:
		if err := b.makeDir(s); err != nil {
			return nil, err
		}
		args = []string{
			"up", "--dir", s.clusterDir(), "--nfs", s.address(),
			"--replicas", strconv.Itoa(b.options.Replicas), "--durability", b.options.Durability,
		}
		if t.fault.byzantine != nil {
			binary = b.byzantine
		}
	case targetGoNFS:
		args = append(args, "--frontend", "go-nfs")
	}
	// The run's context must not kill the server before the client has let go of it: stop does.
	cmd := l.command(context.WithoutCancel(ctx), binary, args...)
	if t.fault.byzantine != nil {
		cmd.Env = append(os.Environ(), "BFSD_BYZANTINE="+t.fault.byzantine(b.options))
	}
	if s.process, err = startProcess(t.target.name, cmd); err != nil {
		return nil, errors.Join(err, s.clean())
	}
	s.halt = s.process.stop
	return s, nil
}

// buildBfsd builds the server once for all runs; tags are build tags.
func buildBfsd(ctx context.Context, dir, tags string, log io.Writer) (string, error) {
	binary := filepath.Join(dir, "bfsd"+tags)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", binary, "bfsd/cmd/bfsd")
	cmd.Stderr = log
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build bfsd (or give a built one with --bfsd): %w", err)
	}
	return binary, nil
}
