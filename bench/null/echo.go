package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// echoBytes is what the echo sends back and forth, about a null operation with its frame.
const echoBytes = 200

// tcpEcho measures what any exchange costs here: some bytes to another goroutine and back, over plain TCP on loopback.
func tcpEcho(ctx context.Context, duration time.Duration) (latency, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return latency{}, fmt.Errorf("listening for the echo: %w", err)
	}
	defer l.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return // the dialer says why
		}
		defer conn.Close()
		_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}, make([]byte, echoBytes)) // until it closes
	}()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return latency{}, fmt.Errorf("dialing the echo: %w", err)
	}
	h := histogram()
	buf := make([]byte, echoBytes)
	for begun := time.Now(); time.Since(begun) < duration && ctx.Err() == nil; {
		sent := time.Now()
		if _, err = conn.Write(buf); err == nil {
			_, err = io.ReadFull(conn, buf)
		}
		if err == nil {
			err = h.RecordValue(int64(time.Since(sent)))
		}
		if err != nil {
			err = fmt.Errorf("talking to the echo: %w", err)
			break
		}
	}
	conn.Close()
	<-served
	return latencyOf(h), err
}
