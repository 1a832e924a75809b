package xdr

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncoder_writesWhatRFC4506Draws(t *testing.T) {
	var e Encoder
	e.Uint32(0x01020304)
	e.Uint64(0x0102030405060708)
	e.Bool(true)
	e.Bool(false)
	e.Fixed([]byte{9, 8})
	e.Opaque([]byte{1, 2, 3, 4, 5})
	e.String("abc")
	e.String("")
	want := []byte{
		1, 2, 3, 4,
		1, 2, 3, 4, 5, 6, 7, 8,
		0, 0, 0, 1,
		0, 0, 0, 0,
		9, 8, 0, 0,
		0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0,
		0, 0, 0, 3, 'a', 'b', 'c', 0,
		0, 0, 0, 0,
	}
	if diff := cmp.Diff(want, e.Bytes()); diff != "" {
		t.Errorf("encoding differs (-want +got):\n%s", diff)
	}
}

func TestDecoder_readsWhatEncoderWrote(t *testing.T) {
	var e Encoder
	e.Uint32(7)
	e.Uint64(1 << 40)
	e.Bool(true)
	e.Uint32(2)
	e.Fixed([]byte{1, 2, 3})
	e.Opaque([]byte{4, 5})
	e.String("naïve")
	e.Uint32(2)
	e.Uint64(1)
	e.Uint64(2)
	d := NewDecoder(e.Bytes())
	if v := d.Uint32(); v != 7 {
		t.Errorf("Uint32 = %d, want 7", v)
	}
	if v := d.Uint64(); v != 1<<40 {
		t.Errorf("Uint64 = %d, want 2^40", v)
	}
	if !d.Bool() {
		t.Error("Bool = false, want true")
	}
	if v := d.Enum(3); v != 2 {
		t.Errorf("Enum = %d, want 2", v)
	}
	if b := d.Fixed(3); !bytes.Equal(b, []byte{1, 2, 3}) {
		t.Errorf("Fixed = %v", b)
	}
	if b := d.Opaque(2); !bytes.Equal(b, []byte{4, 5}) {
		t.Errorf("Opaque = %v", b)
	}
	if s := d.String(6); s != "naïve" {
		t.Errorf("String = %q", s)
	}
	if n := d.ArrayLen(2, 8); n != 2 {
		t.Errorf("ArrayLen = %d, want 2", n)
	}
	if n := d.Remaining(); n != 16 {
		t.Errorf("Remaining = %d, want 16", n)
	}
	if b := d.Rest(); len(b) != 16 {
		t.Errorf("Rest has %d bytes, want 16", len(b))
	}
	if err := d.Finish(); err != nil {
		t.Error(err)
	}
}

func TestDecoder_refuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
		read func(*Decoder)
		want error
	}{
		{"an integer cut short", []byte{0, 0, 0}, func(d *Decoder) { d.Uint32() }, ErrShort},
		{"a hyper cut short", []byte{0, 0, 0, 0, 0, 0, 0}, func(d *Decoder) { d.Uint64() }, ErrShort},
		{"a boolean of 2", []byte{0, 0, 0, 2}, func(d *Decoder) { d.Bool() }, ErrInvalid},
		{"an enumeration past its end", []byte{0, 0, 0, 3}, func(d *Decoder) { d.Enum(3) }, ErrInvalid},
		{"opaque data over its limit", []byte{0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0}, func(d *Decoder) { d.Opaque(4) }, ErrTooLong},
		{"opaque data longer than the input", []byte{0, 0, 0, 5, 1, 2, 3, 4}, func(d *Decoder) { d.Opaque(9) }, ErrShort},
		{"opaque data of 4 GiB", []byte{255, 255, 255, 255}, func(d *Decoder) { d.Opaque(1 << 40) }, ErrShort},
		{"opaque data without its padding", []byte{0, 0, 0, 1, 7}, func(d *Decoder) { d.Opaque(4) }, ErrShort},
		{"any length under a negative limit", []byte{0, 0, 0, 1, 7, 0, 0, 0}, func(d *Decoder) { d.Opaque(-1) }, ErrTooLong},
		{"an array over its limit", []byte{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}, func(d *Decoder) { d.ArrayLen(1, 4) }, ErrTooLong},
		{"an array longer than the input", []byte{0, 0, 0, 2, 0, 0, 0, 0}, func(d *Decoder) { d.ArrayLen(9, 4) }, ErrShort},
		{"bytes left over", []byte{0, 0, 0, 2, 0}, func(d *Decoder) { d.Uint32() }, ErrTrailing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := NewDecoder(tc.in)
			tc.read(d)
			if err := d.Finish(); !errors.Is(err, tc.want) {
				t.Errorf("Finish = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestDecoder_firstErrorSticks(t *testing.T) {
	d := NewDecoder([]byte{0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 65, 0, 0, 0})
	d.Bool()
	first := d.Err()
	if first == nil {
		t.Fatal("a boolean of 2 was accepted")
	}
	if v := d.Uint32(); v != 0 {
		t.Errorf("Uint32 after an error = %d, want 0", v)
	}
	if s := d.String(9); s != "" {
		t.Errorf("String after an error = %q, want none", s)
	}
	if n := d.Remaining(); n != 0 {
		t.Errorf("Remaining after an error = %d, want 0", n)
	}
	d.Fail(ErrTrailing)
	if err := d.Finish(); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrTrailing) {
		t.Errorf("Finish = %v, want the first error %v", err, first)
	}
}

func TestEncoder_referencedDataIsSplicedInPlace(t *testing.T) {
	data := []byte{1, 2, 3, 4, 5}
	build := func(opaque func(*Encoder, []byte)) *Encoder {
		e := NewEncoder([]byte{0xff, 0xff, 0xff, 0xff})
		e.Uint32(1)
		opaque(e, data)
		opaque(e, nil)
		e.Uint32(2)
		opaque(e, data[:4])
		return e
	}
	want, got := build((*Encoder).Opaque), build((*Encoder).OpaqueRef)
	if diff := cmp.Diff(want.Bytes(), got.Bytes()); diff != "" {
		t.Errorf("OpaqueRef encodes differently from Opaque (-want +got):\n%s", diff)
	}
	if want.Len() != got.Len() || got.Len() != len(got.Bytes()) {
		t.Errorf("Len = %d and %d, want both %d", want.Len(), got.Len(), len(got.Bytes()))
	}
	pieces := got.Pieces(nil)
	if &pieces[1][0] != &data[0] {
		t.Error("the referenced data was copied")
	}
	got.PutUint32(0, 5)
	got.Truncate(4)
	if diff := cmp.Diff([]byte{0, 0, 0, 5}, got.Bytes()); diff != "" {
		t.Errorf("after PutUint32 and Truncate (-want +got):\n%s", diff)
	}
}

// FuzzDecoder lets the input choose what is decoded from it: whatever it holds, the decoder stays inside it, and what it
// accepted encodes to the same length.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6}, []byte{0, 0, 0, 1, 0, 0, 0, 4, 1, 2, 3, 4})
	f.Add([]byte{4, 4, 5}, []byte{0, 0, 0, 1, 65, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, script, in []byte) {
		d := NewDecoder(in)
		var e Encoder
		for _, step := range script {
			switch limit := int(step >> 3); step & 7 {
			case 0:
				e.Uint32(d.Uint32())
			case 1:
				e.Uint64(d.Uint64())
			case 2:
				e.Bool(d.Bool())
			case 3:
				e.Uint32(d.Enum(uint32(limit) + 1))
			case 4:
				b := d.Opaque(limit)
				if len(b) > limit {
					t.Fatalf("opaque data of %d bytes under a limit of %d", len(b), limit)
				}
				e.OpaqueRef(b)
			case 5:
				e.String(d.String(limit))
			case 6:
				if b := d.Fixed(limit); d.Err() == nil {
					e.Fixed(b)
				}
			case 7:
				n := d.ArrayLen(limit, 4)
				if 4*n > d.Remaining() {
					t.Fatalf("array of %d elements with %d bytes left", n, d.Remaining())
				}
				e.Uint32(uint32(n))
			}
		}
		if d.Err() != nil {
			if d.Remaining() != 0 {
				t.Fatalf("%d bytes remain after %v", d.Remaining(), d.Err())
			}
			return
		}
		if got, want := e.Len(), len(in)-d.Remaining(); got != want {
			t.Fatalf("decoded %d bytes, which encode to %d", want, got)
		}
		if got := len(e.Bytes()); got != e.Len() {
			t.Fatalf("Len = %d, but %d bytes", e.Len(), got)
		}
	})
}
