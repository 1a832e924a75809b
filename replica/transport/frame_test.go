package transport

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestFrameReaderCutsWhatWriteFrameJoined(t *testing.T) {
	var buf bytes.Buffer
	w := bufio.NewWriterSize(&buf, 100)
	frames := [][]byte{[]byte("a"), {}, bytes.Repeat([]byte("b"), 99), bytes.Repeat([]byte("c"), 1000), {0, 0, 0, 0}}
	for _, f := range frames {
		if err := writeFrame(w, f); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(buf.Bytes()), "byte by byte": iotest.OneByteReader(bytes.NewReader(buf.Bytes())),
	} {
		fr := newFrameReader(r, 1000)
		for i, want := range frames {
			got, err := fr.next()
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: frame %d: got %q, %v, want %q", name, i, got, err, want)
			}
		}
		if _, err := fr.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("%s: after the last frame: %v, want EOF", name, err)
		}
	}
}

func TestFrameReaderTellsATornFrameFromTheEnd(t *testing.T) {
	for _, torn := range []string{"\x00", "\x00\x00\x00", "\x00\x00\x00\x05", "\x00\x00\x00\x05abcd"} {
		if _, err := newFrameReader(bytes.NewReader([]byte(torn)), 100).next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q gave %v, want an unexpected EOF", torn, err)
		}
	}
}

// FuzzFrameReader: no bytes make the reader panic or give more than the limit; joining the frames it gives again is the
// input, up to where it stopped.
func FuzzFrameReader(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02hi\x00\x00\x00\x00\x00\x00\x00\x01x"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x10\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 12
		fr := newFrameReader(bytes.NewReader(data), limit)
		var again bytes.Buffer
		w := bufio.NewWriter(&again)
		for {
			frame, err := fr.next()
			if err != nil {
				w.Flush()
				if !bytes.HasPrefix(data, again.Bytes()) {
					t.Fatalf("%x was cut into frames that join to %x", data, again.Bytes())
				}
				if errors.Is(err, io.EOF) && again.Len() != len(data) {
					t.Fatalf("%x ended cleanly after %d bytes", data, again.Len())
				}
				return
			}
			if len(frame) > limit {
				t.Fatalf("a frame of %d bytes", len(frame))
			}
			if err := writeFrame(w, frame); err != nil {
				t.Fatal(err)
			}
		}
	})
}
