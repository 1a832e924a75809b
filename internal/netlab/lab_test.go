package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"bfsd/internal/netns"
)

// lost is how long a packet is waited for before it counts as lost. Within one machine they arrive at once.
const lost = 150 * time.Millisecond

// newLab makes a lab of a hub and some hosts, which all listen to the radio.
func newLab(t *testing.T, hosts int) (*Lab, []*Host) {
	t.Helper()
	if testing.Short() {
		t.Skip("makes network namespaces; run without -short")
	}
	if err := netns.Available(); err != nil {
		if os.Getenv("BFSD_REQUIRE_KERNEL_CLIENT") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	l, err := New(t.Context(), netip.MustParsePrefix("10.7.0.1/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error("closing the lab:", err)
		}
	})
	all := []*Host{l.Hub()}
	for i := range hosts {
		h, err := l.AddHost(t.Context(), netip.AddrFrom4([4]byte{10, 7, 0, byte(11 + i)}))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	return l, all
}

// radio is a UDP socket on every host.
type radio struct {
	t       *testing.T
	sockets map[*Host]net.PacketConn
	sent    int
}

func newRadio(t *testing.T, hosts []*Host) *radio {
	t.Helper()
	r := &radio{t: t, sockets: map[*Host]net.PacketConn{}}
	for _, h := range hosts {
		if err := h.Do(func() (err error) {
			r.sockets[h], err = new(net.ListenConfig).ListenPacket(t.Context(), "udp", netip.AddrPortFrom(h.Address, 7).String())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.sockets[h].Close() })
	}
	return r
}

// hears sends a packet and says whether it arrived. Sending must not fail: a cut is silent.
func (r *radio) hears(to, from *Host) bool {
	r.t.Helper()
	r.sent++
	word := fmt.Sprintf("word %d", r.sent)
	if _, err := r.sockets[from].WriteTo([]byte(word), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Address, 7))); err != nil {
		r.t.Fatalf("%v sends to %v: %v", from.Address, to.Address, err)
	}
	if err := r.sockets[to].SetReadDeadline(time.Now().Add(lost)); err != nil {
		r.t.Fatal(err)
	}
	buf := make([]byte, 64)
	for {
		n, _, err := r.sockets[to].ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if string(buf[:n]) == word {
			return true
		}
	}
}

// want compares who hears whom with a table: row hears column, by place in hosts.
func (r *radio) want(what string, hosts []*Host, table ...string) {
	r.t.Helper()
	for i, row := range table {
		got := []byte(strings.Repeat("-", len(hosts)))
		for j := range hosts {
			if i != j && r.hears(hosts[i], hosts[j]) {
				got[j] = 'x'
			}
		}
		if string(got) != row {
			r.t.Errorf("%s: host %d hears %s, want %s", what, i, got, row)
		}
	}
}

func TestCutsLoseWhatTheySayAndNothingElse(t *testing.T) {
	l, hosts := newLab(t, 3)
	hub, a, b, c := hosts[0], hosts[1], hosts[2], hosts[3]
	r := newRadio(t, hosts)
	whole := []string{"-xxx", "x-xx", "xx-x", "xxx-"}
	for _, test := range []struct {
		what string
		cut  func(context.Context) error
		want []string
	}{
		{"one direction of one pair", func(ctx context.Context) error { return l.Cut(ctx, a, b) }, []string{"-xxx", "x-xx", "x--x", "xxx-"}},
		{"a host alone", func(ctx context.Context) error { return l.Isolate(ctx, b) }, []string{"-x-x", "x--x", "----", "xx--"}},
		{"two hosts together", func(ctx context.Context) error { return l.Isolate(ctx, a, b) }, []string{"---x", "--x-", "-x--", "x---"}},
		{"the hub alone", func(ctx context.Context) error { return l.Isolate(ctx, hub) }, []string{"----", "--xx", "-x-x", "-xx-"}},
		{"a deaf host", func(ctx context.Context) error { return l.Deafen(ctx, c) }, []string{"-xxx", "x-xx", "xx-x", "----"}},
		{"two groups, and the hub in touch with both", func(ctx context.Context) error {
			return l.Partition(ctx, []*Host{a}, []*Host{b, c})
		}, []string{"-xxx", "x---", "x--x", "x-x-"}},
	} {
		r.want("before", hosts, whole...)
		if err := test.cut(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.want(test.what, hosts, test.want...)
		if err := l.Heal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.want("healed", hosts, whole...)
}

// A TCP connection across a cut stays open and silent, and goes on when the cut is healed; a new one gets no answer, and
// no refusal either.
func TestACutIsSilentToTCP(t *testing.T) {
	l, hosts := newLab(t, 1)
	hub, a := hosts[0], hosts[1]
	listener, err := a.Listen(t.Context(), netip.AddrPortFrom(a.Address, 7).String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	echoed := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err == nil {
			_, err = io.Copy(c, c)
			c.Close()
		}
		echoed <- err
	}()
	c, err := hub.Dial(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(word string) {
		t.Helper()
		if _, err := c.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(word string, within time.Duration) error {
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, len(word))
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
		if string(buf) != word {
			t.Fatalf("heard %q, said %q", buf, word)
		}
		return nil
	}
	say("before")
	if err := hear("before", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := l.Isolate(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	say("during")
	if err := hear("during", lost); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("across a cut: %v, want no answer", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lost)
	defer cancel()
	var timeout net.Error
	if _, err := hub.Dial(ctx, listener.Addr().String()); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("dialing across a cut: %v, want a timeout", err)
	}
	if err := l.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := hear("during", time.Minute); err != nil {
		t.Fatalf("after the cut was healed: %v", err)
	}
	c.Close()
	if err := <-echoed; err != nil {
		t.Errorf("the other end: %v", err)
	}
}

func TestTwoHostsCannotShareAnAddress(t *testing.T) {
	l, hosts := newLab(t, 1)
	if _, err := l.AddHost(t.Context(), hosts[1].Address); err == nil {
		t.Error("a second host got the address of the first")
	}
}
