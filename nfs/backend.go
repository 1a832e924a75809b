package nfs

import "context"

// Backend runs encoded fsstate operations. Invoke waits for the encoded fsstate result, whatever its status, as long as the
// context lasts; an error means that no result is known (the context ended, the backend is closed) and the operation may
// or may not have been executed. readOnly says the operation can change nothing, which lets the backend answer it without
// ordering it. Invoke does not keep op after it returns, and is safe for concurrent use.
type Backend interface {
	Invoke(ctx context.Context, op []byte, readOnly bool) ([]byte, error)
}
