package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"bfsd/nfs/xdr"
)

// packetRetry is how long CallPacket waits for a reply before it sends the call again, at first; then twice that.
const packetRetry = 500 * time.Millisecond

// CallPacket makes one call by UDP over a connected socket, again and again under one transaction id until a reply comes or
// ctx ends. The results are the caller's to keep. A ctx without end is given none: the call is then made for ever.
func CallPacket(ctx context.Context, nc net.Conn, call Call, args func(*xdr.Encoder)) ([]byte, error) {
	call.XID = rand.Uint32()
	var e xdr.Encoder
	encodeCall(&e, &call)
	if args != nil {
		args(&e)
	}
	message := e.Bytes()
	if len(message) > datagramMax {
		return nil, fmt.Errorf("send call: %d bytes, a datagram takes %d", len(message), datagramMax)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, datagramMax)
	for wait := packetRetry; ; wait *= 2 {
		if _, err := nc.Write(message); err != nil {
			return nil, fmt.Errorf("send call: %w", err)
		}
		if err := nc.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return nil, fmt.Errorf("wait for reply: %w", err)
		}
		if err := ctx.Err(); err != nil { // it may have ended before the deadline was set anew
			return nil, fmt.Errorf("wait for reply: %w", err)
		}
		results, err := awaitPacket(nc, buf, call.XID)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return results, err
		}
	}
}

// awaitPacket reads datagrams until one is the reply to a call.
func awaitPacket(nc net.Conn, buf []byte, xid uint32) ([]byte, error) {
	for {
		n, err := nc.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("wait for reply: %w", err)
		}
		d := xdr.NewDecoder(buf[:n])
		got, failure, bad := decodeReply(d)
		if bad != nil || got != xid {
			continue // not ours, or not a reply
		}
		if failure != nil {
			return nil, failure
		}
		return d.Rest(), nil
	}
}
