package nfs

import (
	"context"
	"errors"
)

// Backend runs encoded fsstate operations. Invoke returns the encoded fsstate result, whatever its status; an error
// means that no result is known (the context ended, the cluster is unreachable, the backend is closed) and the operation
// may or may not have been executed. readOnly says the operation can change nothing, which lets the backend answer it
// without ordering it. Invoke does not keep op after it returns, and is safe for concurrent use.
type Backend interface {
	Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error)
}

// ErrNotExecuted is wrapped by an Invoke error that is certain: the operation was not executed and never will be, for
// instance because a queue was full. The server then asks the client to try again (NFS3ERR_JUKEBOX).
var ErrNotExecuted = errors.New("operation was not executed")
