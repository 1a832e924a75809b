package loopback

import (
	"net"
	"strconv"
	"testing"
)

func TestPortsAreHandedOutOnceAndAreFree(t *testing.T) {
	seen := map[int]bool{}
	for range 20 {
		first, err := Ports(7)
		if err != nil {
			t.Fatal(err)
		}
		for port := first; port < first+7; port++ {
			if seen[port] {
				t.Fatalf("port %d was handed out twice", port)
			}
			seen[port] = true
		}
	}
	// The next ones are taken by somebody: they are passed over.
	next := firstPort + int(handedOut.Load())%(lastPort-firstPort-7)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(Host(), strconv.Itoa(next+3)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if first, err := Ports(7); err != nil || first <= next+3 {
		t.Errorf("Ports(7) = %d, %v with port %d taken", first, err, next+3)
	}
}
