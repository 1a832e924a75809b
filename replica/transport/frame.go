package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
)

// A frame on a link is its length in four bytes, big-endian, and then that many bytes. Length zero is a keep-alive: it
// shows that the sender lives, and the receiver's handler never sees it.
const headerSize = 4

const readBuffer = 64 << 10

// frameReader cuts a link's bytes into frames.
type frameReader struct {
	r     *bufio.Reader
	max   int
	count atomic.Uint64
}

func newFrameReader(r io.Reader, maxFrame int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, readBuffer), max: maxFrame}
}

// next gives the next frame, empty for a keep-alive. The frame is the caller's to keep. The error is io.EOF only between
// frames.
func (f *frameReader) next() ([]byte, error) {
	header, err := f.r.Peek(headerSize)
	if err != nil {
		if err == io.EOF && len(header) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	size := binary.BigEndian.Uint32(header)
	if int64(size) > int64(f.max) {
		return nil, fmt.Errorf("a frame of %d bytes exceeds %d", size, f.max)
	}
	if _, err := f.r.Discard(headerSize); err != nil {
		return nil, err
	}
	f.count.Add(1)
	frame := make([]byte, size)
	if _, err := io.ReadFull(f.r, frame); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return frame, nil
}

// writeFrame appends a frame to a link's buffer, which passes it on as it fills.
func writeFrame(w *bufio.Writer, frame []byte) error {
	var header [headerSize]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(frame)))
	if _, err := w.Write(header[:]); err != nil {
		return err
	}
	_, err := w.Write(frame)
	return err
}
