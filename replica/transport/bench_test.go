package transport

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"bfsd/replica/wire"
)

// BenchmarkEcho is the latency of one message there and one back, over loopback TLS, within the process, and for
// comparison over a bare TCP connection.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{200, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("tls/%dB", size), func(b *testing.B) {
			g := newGroup(b, 4, "gateway")
			var replica *Transport
			replica = g.make(b, replicaP(0), func(from wire.Principal, frame []byte) { replica.Send(from, frame) })
			replica.Start()
			echo(b, g, size, func(*Transport) {})
		})
	}
	b.Run("joined/200B", func(b *testing.B) {
		g := newGroup(b, 4)
		var replica *Transport
		replica = g.make(b, replicaP(0), func(from wire.Principal, frame []byte) { replica.Send(from, frame) })
		back := make(chan struct{}, 1)
		client := g.make(b, clientP(0), func(wire.Principal, []byte) { back <- struct{}{} })
		if err := Join(replica, client); err != nil {
			b.Fatal(err)
		}
		frame := make([]byte, 200)
		for b.Loop() {
			client.Send(replicaP(0), frame)
			<-back
		}
	})
	b.Run("bare-tcp/200B", bareEcho)
}

func echo(b *testing.B, g *group, size int, tune func(*Transport)) {
	back := make(chan struct{}, 1)
	client := g.make(b, clientP(100), func(wire.Principal, []byte) { back <- struct{}{} })
	tune(client)
	client.Start()
	eventually(b, "the link is up", connected(b, client, replicaP(0)))
	frame := make([]byte, size)
	b.SetBytes(int64(2 * size))
	for b.Loop() {
		client.Send(replicaP(0), frame)
		<-back
	}
}

func bareEcho(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 200)
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkThroughput is the rate of one-way messages on one link, with as many in flight as the queue takes.
func BenchmarkThroughput(b *testing.B) {
	for _, size := range []int{200, 4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("tls/%dB", size), func(b *testing.B) {
			g := newGroup(b, 4, "gateway")
			var received atomic.Int64
			window := make(chan struct{}, min(1024, 32<<20/size))
			g.start(b, replicaP(0), func(wire.Principal, []byte) {
				received.Add(1)
				<-window
			})
			client := g.start(b, clientP(100), ignore)
			eventually(b, "the link is up", connected(b, client, replicaP(0)))
			frame := make([]byte, size)
			b.SetBytes(int64(size))
			sent := int64(0)
			for b.Loop() {
				window <- struct{}{}
				if !client.Send(replicaP(0), frame) {
					b.Fatal("a frame within the window was dropped")
				}
				sent++
			}
			eventually(b, "everything arrives", func() bool { return received.Load() == sent })
		})
	}
}
