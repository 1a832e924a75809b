package wire

import (
	"bytes"
	"testing"
)

// Whatever size it is given, MarshalKind writes the same bytes.
func TestMarshalKindWithAnySize(t *testing.T) {
	v := &signedFrame{Content: bytes.Repeat([]byte{7}, 300), Signature: []byte{1, 2, 3}}
	want := MarshalKind(9, v, 1000)
	if want[0] != 9 || !bytes.Equal(want[1:], marshal(v, 0)) {
		t.Fatalf("got % x…, want 9 and the encoding", want[:8])
	}
	for size := range len(want) + 4 {
		if got := MarshalKind(9, v, size); !bytes.Equal(got, want) {
			t.Fatalf("size %d: % x…, want % x…", size, got[:8], want[:8])
		}
	}
}

func BenchmarkMarshalKindOfOneMiB(b *testing.B) {
	v := &signedFrame{Content: make([]byte, 1<<20), Signature: make([]byte, 64)}
	b.SetBytes(1 << 20)
	for b.Loop() {
		MarshalKind(9, v, 1<<20+128)
	}
}
