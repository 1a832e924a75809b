// Package loopback gives the servers of a test addresses that nothing else on the machine takes.
//
// A test that must know an address before the server listens on it cannot ask the kernel for a free port and let it go
// again: between the two, a client's outgoing connection or another test's server may get it, and the kernel may hand it
// out twice. On Linux all of 127.0.0.0/8 is the machine's own, so each process has an address of its own there, and
// outgoing connections come from 127.0.0.1.
package loopback

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
)

// Ports are handed out from firstPort up to lastPort, and then again.
const (
	firstPort = 10000
	lastPort  = 65000
)

var handedOut atomic.Uint32

// Host is this process's own loopback address; on systems where only one is configured, 127.0.0.1.
func Host() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	pid := os.Getpid() // below 2^22
	return net.IPv4(127, byte(64|pid>>16), byte(pid>>8), byte(pid)).String()
}

// Ports finds n ports in a row on Host that nobody listens on, and hands them out to nobody else in this process.
func Ports(n int) (first int, err error) {
	for range 1000 {
		first = firstPort + int(handedOut.Add(uint32(n))-uint32(n))%(lastPort-firstPort-n)
		if free(first, n) {
			return first, nil
		}
	}
	return 0, fmt.Errorf("finding %d free ports in a row on %s: none in 1000 tries", n, Host())
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort(Host(), strconv.Itoa(port))) //nolint:noctx // an address, no name to look up
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
