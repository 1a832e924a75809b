package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// librarySession runs the phases over the client in this process.
type librarySession struct {
	address string
}

func newLibrarySession(s *server) *librarySession {
	return &librarySession{net.JoinHostPort(s.host, strconv.Itoa(s.port))}
}

func (s *librarySession) Run(ctx context.Context, w workload, tell func(mark)) (m *measurement, err error) {
	fs, err := newNFSFS(ctx, s.address)
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
	fs, err := newNFSFS(ctx, s.address)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, fs.client.Close()) }()
	return verify(ctx, fs, "/"+runDir, w)
}

func (s *librarySession) Close(context.Context) error { return nil }
