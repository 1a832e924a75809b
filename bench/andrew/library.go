package main

import (
	"context"
	"errors"
	"fmt"
)

// librarySession runs the phases over the client in this process.
type librarySession struct {
	server *server
}

func (s *librarySession) Run(ctx context.Context, w workload, tell func(mark)) (m *measurement, err error) {
	fs, err := newNFSFS(ctx, s.server)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fs.client.Close()) }()
	root := "/" + runDir
	if err := fs.Mkdir(root); err != nil {
		return nil, fmt.Errorf("make %s: %w", root, err)
	}
	return runPhases(ctx, fs, root, w, tell)
}

// Verify uses a new connection, and handles looked up again.
func (s *librarySession) Verify(ctx context.Context, w workload) (v verification, err error) {
	fs, err := newNFSFS(ctx, s.server)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, fs.client.Close()) }()
	return verify(ctx, fs, "/"+runDir, w)
}

func (s *librarySession) Close(context.Context) error { return nil }
