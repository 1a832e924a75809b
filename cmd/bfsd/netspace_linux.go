package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// do makes sockets in the namespace: it runs f on a thread that is in it.
func (n netspace) do(f func() error) error {
	if n == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine, and nobody else gets it
		done <- n.enter(f)
	}()
	return <-done
}

func (n netspace) enter(f func() error) error {
	path := string(n)
	if !strings.Contains(path, "/") {
		path = filepath.Join("/run/netns", path)
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the network namespace %s: %w; ip netns list shows what there is", n, err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network namespace %s: %w; it takes root, or CAP_SYS_ADMIN", n, err)
	}
	return f()
}
