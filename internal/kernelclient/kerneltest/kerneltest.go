// Package kerneltest gives a test the network for a real Linux NFS mount, or skips the test where none can be had.
package kerneltest

import (
	"os"
	"testing"

	"bfsd/internal/kernelclient"
)

// Network makes a network that lasts as long as the test. Where something is missing the test is skipped, and says what to
// install; BFSD_REQUIRE_KERNEL_CLIENT, which make test sets, makes that a failure. More is what else has to be there.
func Network(t testing.TB, more ...func() error) *kernelclient.Network {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a kernel mount; run without -short")
	}
	for _, available := range append([]func() error{kernelclient.Available}, more...) {
		Require(t, available())
	}
	n, err := kernelclient.NewNetwork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error("closing the network:", err)
		}
	})
	return n
}

// Require skips the test for what is missing, or fails it with BFSD_REQUIRE_KERNEL_CLIENT.
func Require(t testing.TB, missing error) {
	t.Helper()
	if missing == nil {
		return
	}
	if os.Getenv("BFSD_REQUIRE_KERNEL_CLIENT") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}
