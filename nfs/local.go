package nfs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bfsd/fsstate"
)

// Local is the backend of an unreplicated server: one file system behind a lock. Read-only operations run side by side.
type Local struct {
	clock func() time.Time

	mu     sync.RWMutex
	fs     *fsstate.FS
	broken bool
}

var errBroken = errors.New("nfs: the file system panicked during an earlier operation and may be damaged")

// NewLocal returns a backend that runs operations on fs, which it owns from then on, at the times that clock tells.
func NewLocal(fs *fsstate.FS, clock func() time.Time) *Local {
	return &Local{fs: fs, clock: clock}
}

// Invoke implements Backend.
func (l *Local) Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("operation was not executed: %w", err)
	}
	if readOnly {
		result, ok, err := l.query(op)
		if ok || err != nil {
			return result, err
		}
	}
	return l.execute(op)
}

func (l *Local) query(op []byte) (result []byte, ok bool, err error) {
	l.mu.RLock() // FS.Query changes nothing, so queries may run at once; Execute excludes them
	defer l.mu.RUnlock()
	if l.broken {
		return nil, false, errBroken
	}
	result, ok = l.fs.Query(op)
	return result, ok, nil
}

func (l *Local) execute(op []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return nil, errBroken
	}
	l.broken = true // a panic leaves it so: what is half done must not be served
	result := l.fs.Execute(op, fsstate.Time(l.clock().UnixNano()))
	l.broken = false
	return result, nil
}
