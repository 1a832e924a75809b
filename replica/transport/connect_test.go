package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mutePort is a port of 127.0.0.1 at which connection requests are lost without a word: nobody accepts, and the queue for
// those who wait is full. open lets the waiting ones in.
func mutePort(t *testing.T) (addr string, open func() net.Conn) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	full, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { full.Close() })
	return addr, func() net.Conn {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// Where nobody answers, an attempt ends when its own time is over, long before the time for a name server and a handshake
// is: TCP by itself asks again after 1, 2, 4 … seconds.
func TestAnAttemptToConnectEndsSoonWhereNobodyAnswers(t *testing.T) {
	g := newGroup(t, 1, "gateway")
	g.quick = func(c *Config) { c.ConnectTimeout = 50 * time.Millisecond }
	client := g.make(t, clientP(100), ignore)
	addr, open := mutePort(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var timeout net.Error
	if c, err := client.connect(ctx, addr); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("connecting gave %v, %v; want a timeout", c, err)
	}
	if ctx.Err() != nil {
		t.Fatal("it waited as long as it was allowed to")
	}
	open().Close()
	eventually(t, "an attempt succeeds", func() bool {
		c, err := client.connect(ctx, addr)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

func TestConnectTriesEveryAddressOfAName(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := newGroup(t, 1, "gateway").make(t, clientP(100), ignore)
	c, err := client.connect(t.Context(), net.JoinHostPort("localhost", port)) // where it has an IPv6 address, nobody listens there
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := client.connect(t.Context(), "127.0.0.1"); err == nil {
		t.Error("an address without a port was dialed")
	}
}
