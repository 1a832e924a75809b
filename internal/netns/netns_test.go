package netns

import (
	"bytes"
	"os"
	"testing"
)

func newNamespace(t *testing.T) *Namespace {
	t.Helper()
	if err := Available(); err != nil {
		if os.Getenv("BFSD_REQUIRE_KERNEL_CLIENT") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	n, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error("closing the namespace:", err)
		}
	})
	return n
}

func TestNamespacesDoNotSeeEachOther(t *testing.T) {
	a, b := newNamespace(t), newNamespace(t)
	const address = "127.0.0.1:7"
	for _, n := range []*Namespace{a, b} {
		l, err := n.Listen(t.Context(), address)
		if err != nil {
			t.Fatal(err) // the second would find the address taken, were they one
		}
		defer l.Close()
	}
	if c, err := a.Dial(t.Context(), address); err != nil {
		t.Error("dialing what listens in the namespace:", err)
	} else {
		c.Close()
	}
	if err := a.IP(t.Context(), "link add bridge7 type bridge"); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[*Namespace]bool{a: true, b: false} {
		out, err := n.Command(t.Context(), "ip", "link").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := bytes.Contains(out, []byte("bridge7")); got != want {
			t.Errorf("sees the first one's bridge: %v, want %v:\n%s", got, want, out)
		}
	}
	if c, err := a.Dial(t.Context(), "localhost:7"); err == nil {
		c.Close()
		t.Error("a name was dialed; its lookup would have left the namespace's thread")
	}
}

func TestAClosedNamespaceSaysSo(t *testing.T) {
	n := newNamespace(t)
	if err := n.Close(); err != nil || !n.Closed() {
		t.Fatalf("closing: %v, closed: %v", err, n.Closed())
	}
	if err := n.Close(); err != nil {
		t.Error("closing it again:", err)
	}
	if _, err := n.Listen(t.Context(), "127.0.0.1:0"); err == nil {
		t.Error("it listens all the same")
	}
}

func TestAFailingCommandSaysWhatFailed(t *testing.T) {
	if err := newNamespace(t).IP(t.Context(), "link set nothing up"); err == nil {
		t.Error("no error")
	}
}
