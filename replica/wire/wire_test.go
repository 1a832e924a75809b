package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/golden.txt")

// sign is a stand-in: the encoding does not care what a signature says.
func sign(b []byte) []byte { return bytes.Repeat([]byte{byte(len(b))}, SignatureSize) }

func digest(b byte) Digest { return Digest(bytes.Repeat([]byte{b}, 32)) }

func sampleRequest(op string) *Request {
	r := NewRequest(100, 3, 77, FlagReadOnly|FlagFullReply, 2, []byte(op))
	r.Auth = []MAC{{1}, {2}, {3}, {4}}
	return r
}

// samples holds one message of each kind, with every field set.
func samples() []Message {
	large := NewRequest(101, 0, 1, 0, 0, bytes.Repeat([]byte("x"), 300))
	pp := NewPrePrepare(4, 500, 1, []byte("choice"), []*Request{sampleRequest("a"), large}, []bool{true, false})
	pp.Commits = []SlotVote{{499, digest(9)}}
	cp := &Checkpoint{Seq: 128, Root: digest(7), Replica: 3}
	vc := &ViewChange{
		View: 5, Stable: 128, Checkpoints: []CheckpointRef{{128, digest(7)}, {256, digest(8)}},
		Prepared:    []PreparedEntry{{130, digest(1), 4, false}, {131, NullDigest, 3, true}},
		PrePrepared: []PreparedEntry{{130, digest(1), 4, false}, {130, digest(2), 2, false}}, Replica: 2,
	}
	Sign(cp, sign)
	Sign(vc, sign)
	vc2 := &ViewChange{View: 5, Replica: 3}
	Sign(vc2, sign)
	nv := &NewView{
		View: 5, ViewChanges: []*ViewChange{vc, vc2}, Start: CheckpointRef{128, digest(7)},
		Plan: []Digest{digest(1), NullDigest}, Replica: 1,
	}
	Sign(nv, sign)
	return []Message{
		sampleRequest("op"), pp, &Prepare{4, 500, digest(5), 2, []SlotVote{{499, digest(9)}}}, &Commit{4, 500, digest(5), 2},
		&Reply{4, 40, 100, 3, 77, 2, true, true, ResultDigest([]byte("result")), true, []byte("result")},
		cp, vc, nv, &Status{1, 4, true, 128, 140, []byte{0xff}, []byte{0x0f}, []byte{1}, 5},
		&Fetch{1, digest(7), []Digest{digest(1), digest(2)}}, &MetaData{1, digest(7), CheckpointRef{256, digest(8)}},
		&Data{1, digest(7), [][]byte{[]byte("node")}, 4096}, &FetchRequest{1, []Digest{digest(4)}},
		NewRequestBody(2, []*Request{sampleRequest("op")}, [][]byte{pp.Content()}), &Decided{1, []SlotVote{{7, digest(6)}}},
		&Abandon{4, 500, digest(5), 2, []Digest{digest(3)}}, &Vouch{2, 100, 3, 77, digest(3)},
		&ClientFetch{101, digest(7), []Digest{digest(1), digest(2)}},
		&QueryStable{2, 1 << 60, true, 512}, &ReplyStable{1, 1 << 60, true, true, 4, 500},
	}
}

// Every message has the bytes it always had: replicas of different builds must understand each other.
func TestEncodingIsGolden(t *testing.T) {
	var b strings.Builder
	for _, m := range samples() {
		fmt.Fprintf(&b, "%v %s\n", m.Kind(), hex.EncodeToString(Encode(m)))
	}
	const file = "testdata/golden.txt"
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("the encoding changed (-golden +now); if that is meant, run with -rewrite:\n%s", diff)
	}
}

func TestEveryKindHasASample(t *testing.T) {
	seen := map[Kind]bool{}
	for _, m := range samples() {
		seen[m.Kind()] = true
	}
	for k := Kind(1); k.String() != "unknown kind"; k++ {
		if !seen[k] {
			t.Errorf("no sample, hence no golden encoding, of %v", k)
		}
	}
}

func TestDecodeIsTheInverseOfEncode(t *testing.T) {
	for _, m := range samples() {
		got, err := Decode(Encode(m))
		if err != nil {
			t.Errorf("%v: %v", m.Kind(), err)
			continue
		}
		if diff := cmp.Diff(m, got, cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%v changed on its way (-sent +received):\n%s", m.Kind(), diff)
		}
	}
}

// What is relayed must be what was received, else signatures and MACs break on the way.
func TestRelayedMessagesKeepTheirBytes(t *testing.T) {
	for _, m := range samples() {
		frame := Encode(m)
		got, err := Decode(frame)
		if err != nil {
			t.Fatalf("%v: %v", m.Kind(), err)
		}
		if again := Encode(got); !bytes.Equal(frame, again) {
			t.Errorf("%v: received %x, relayed %x", m.Kind(), frame, again)
		}
	}
}

// A request whose body is not encoded the way we would encode it still has the digest of its own bytes.
func TestDigestCoversTheBytesReceived(t *testing.T) {
	r := sampleRequest("op")
	b := r.Body().Bytes
	if b[1] != 100 {
		t.Fatalf("body %x: expected the client's number after the array header", b)
	}
	longer := append([]byte{b[0], 0xcc, 100}, b[2:]...) // the same client number, in two bytes
	got, err := DecodeRequest(Body{Bytes: longer})
	if err != nil {
		t.Fatal(err)
	}
	if got.Client != 100 || got.Digest() == r.Digest() {
		t.Errorf("client %d, digest %v: want client 100 and a digest other than %v", got.Client, got.Digest(), r.Digest())
	}
}

func TestBatchDigestDoesNotDependOnTheViewOrOnHowBodiesTravel(t *testing.T) {
	r := sampleRequest("op")
	a := NewPrePrepare(1, 7, 1, []byte("c"), []*Request{r}, []bool{true})
	b := NewPrePrepare(2, 7, 2, []byte("c"), []*Request{r}, []bool{false})
	c := NewPrePrepare(2, 7, 2, []byte("d"), []*Request{r}, []bool{false})
	if a.BatchDigest() != b.BatchDigest() || a.BatchDigest() == c.BatchDigest() {
		t.Errorf("digests %v, %v, %v: want the first two equal and the third different", a.BatchDigest(), b.BatchDigest(), c.BatchDigest())
	}
}

func TestDecodeRefuses(t *testing.T) {
	pp := NewPrePrepare(4, 500, 1, []byte("choice"), []*Request{sampleRequest("a")}, []bool{true})
	with := func(m Message, change func()) []byte { change(); return Encode(m) }
	vc := &ViewChange{View: 2, Prepared: []PreparedEntry{{5, digest(1), 1, false}, {5, digest(2), 1, false}}}
	late := &ViewChange{View: 2, Prepared: []PreparedEntry{{5, digest(1), 2, false}}}
	Sign(vc, sign)
	Sign(late, sign)
	unsigned := &Checkpoint{Seq: 1}
	reply := &Reply{Full: true, Result: []byte("lie"), Digest: digest(1)}
	nested := append([]byte{byte(KindCommit)}, bytes.Repeat([]byte{0x91}, 1<<20)...)
	for _, tc := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"an empty frame", nil, "empty frame"},
		{"an unknown kind", []byte{200, 0x90}, "kind 200"},
		{"trailing bytes", append(Encode(&Commit{}), 0), "bytes after the message"},
		{"a short array", []byte{byte(KindCommit), 0x91, 0x01}, "not an array of 4"},
		{"a huge array in few bytes", []byte{byte(KindPrePrepare), 0xdd, 0, 0xff, 0xff, 0xff}, "array of 16777215 elements in 0 bytes"},
		{"deep nesting", nested, "not an array of 4"},
		{"deep nesting inside", append([]byte{byte(KindDecided), 0x92, 1}, bytes.Repeat([]byte{0x91}, 1<<20)...), "nested deeper"},
		{"a map", []byte{byte(KindCommit), 0x94, 0x80, 0, 0, 0}, "unexpected msgpack type 0x80"},
		{"an entry that is inline and a digest", with(pp, func() { pp.Entries[0].Digest = digest(1) }), "both inline and a digest"},
		{"an empty entry", with(pp, func() { pp.Entries[0] = Entry{} }), "entry 0 is empty"},
		{"request number 0", Encode(NewRequest(1, 0, 0, 0, 0, nil)), "request number 0"},
		{"unknown flags", Encode(NewRequest(1, 0, 1, 0x80, 0, nil)), "unknown request flags"},
		{"an unsigned checkpoint", Encode(unsigned), "signature of 0 bytes"},
		{"two votes for one number", Encode(vc), "do not ascend"},
		{"a vote from the future", Encode(late), "outside of the view change's window or views"},
		{"a result that is not its digest's", Encode(reply), "does not match its digest"},
		{"a long choice", Encode(NewPrePrepare(1, 1, 1, make([]byte, MaxChoice+1), []*Request{sampleRequest("a")}, []bool{true})), "choice of 65 bytes"},
		{"too many digests", Encode(&FetchRequest{Digests: make([]Digest, MaxDigests+1)}), "257 digests exceed 256"},
	} {
		m, err := Decode(tc.frame)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, %v; want an error with %q", tc.name, m, err, tc.want)
		}
	}
}

// byReflection gives the encoding of a message by go-msgpack.
func byReflection(m Message) []byte {
	if r, ok := m.(*Request); ok {
		return append([]byte{byte(KindRequest)}, marshal(&struct {
			Bytes []byte
			Auth  []MAC
		}{r.body, r.Auth}, 64)...)
	}
	return append([]byte{byte(m.Kind())}, marshal(m, 64)...)
}

// The hand-written encoding of the normal case's messages is go-msgpack's, and so is its reading.
func TestHandWrittenEncoding(t *testing.T) {
	messages := samples()
	for _, n := range []uint64{0, 1, 127, 128, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
		messages = append(messages, &Prepare{View: View(n), Seq: Seq(n), Commits: []SlotVote{}}, &Commit{View: View(n)})
		messages = append(messages, &Reply{Number: n, Full: true, Result: make([]byte, min(n, 70_000))})
		messages = append(messages, &Prepare{Commits: make([]SlotVote, min(n, MaxVotes))})
	}
	for _, m := range messages {
		if _, signed := m.(SignedMessage); signed {
			continue
		}
		if got, want := Encode(m), byReflection(m); !bytes.Equal(got, want) {
			t.Errorf("%v: by hand %x, by go-msgpack %x", m.Kind(), got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		f.Add(Encode(m))
	}
	f.Add([]byte{byte(KindPrePrepare), 0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(frame)
		if err != nil {
			return
		}
		again, err := Decode(Encode(m))
		if err != nil {
			t.Fatalf("%v decodes once, but not after encoding: %v", m.Kind(), err)
		}
		if !reflect.DeepEqual(Encode(m), Encode(again)) {
			t.Fatalf("%v changes its bytes when relayed twice", m.Kind())
		}
	})
}

func BenchmarkPrepare(b *testing.B) {
	m := &Prepare{4, 500, digest(5), 2, nil}
	frame := Encode(m)
	b.Run("Encode", func(b *testing.B) {
		for b.Loop() {
			Encode(m)
		}
	})
	b.Run("Decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := Decode(frame); err != nil {
				b.Fatal(err)
			}
		}
	})
}
