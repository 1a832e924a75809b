package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	clientKernel  = "kernel"
	clientLibrary = "library"
)

// session is a client's view of one server, or of a mounted directory. Phases work in a directory made for the run.
type session interface {
	Run(ctx context.Context, w workload, tell func(mark)) (*measurement, error)
	// Verify compares what is on the server with what was written, past the client's caches.
	Verify(ctx context.Context, w workload) (verification, error)
	Close(ctx context.Context) error
}

// runDir is the directory of a run below the root of an export.
const runDir = "andrew"

// pathSession works on a directory that somebody mounted on this machine.
type pathSession struct {
	dir  string
	keep bool
	fs   *osFS
}

func newPathSession(dir string, keep bool) (*pathSession, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", dir, err)
	}
	run, err := os.MkdirTemp(absolute, runDir+"-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the run: %w", err)
	}
	mountPoint, err := mountPointOf(run)
	if err != nil {
		return nil, err
	}
	return &pathSession{dir: run, keep: keep, fs: newOSFS(mountPoint)}, nil
}

func (s *pathSession) Run(ctx context.Context, w workload, tell func(mark)) (*measurement, error) {
	return runPhases(ctx, s.fs, s.dir, w, tell)
}

func (s *pathSession) Verify(ctx context.Context, w workload) (verification, error) {
	if err := dropCaches(); err != nil && !errors.Is(err, os.ErrPermission) {
		return verification{}, err // without root the caches stay, and the comparison is all there is
	}
	return verify(ctx, s.fs, s.dir, w)
}

func (s *pathSession) Close(context.Context) error {
	if s.keep {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// mountPointOf is the nearest ancestor of dir on whose mount it is.
func mountPointOf(dir string) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find the mount of %s: %w", dir, err)
	}
	points := map[string]bool{}
	for line := range bytes.Lines(mounts) {
		if fields := bytes.Fields(line); len(fields) > 4 {
			points[string(fields[4])] = true
		}
	}
	for !points[dir] && dir != "/" {
		dir = filepath.Dir(dir)
	}
	return dir, nil
}
