package nsm

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"bfsd/nfs/rpc"
	"bfsd/nfs/xdr"

	"github.com/google/go-cmp/cmp"
)

func encode(f func(e *xdr.Encoder)) []byte {
	var e xdr.Encoder
	f(&e)
	return e.Bytes()
}

func TestProgram(t *testing.T) {
	me := MyID{"host", 100021, 4, 16}
	failAnswer := []byte{0, 0, 0, 1, 0, 0, 0, 9}
	state := []byte{0, 0, 0, 9}
	var told []StatChange
	var fail error
	p := NewProgram(9, func(_ context.Context, _ *rpc.Call, c StatChange) error {
		told = append(told, c)
		return fail
	})
	if !p.Datagrams || p.Number != 100024 || p.Low != 1 || p.High != 1 {
		t.Errorf("program %d version %d to %d, datagrams %v", p.Number, p.Low, p.High, p.Datagrams)
	}
	change := StatChange{"client", 5}
	for _, c := range []struct {
		name    string
		proc    Proc
		args    []byte
		outcome rpc.Outcome
		reply   []byte
	}{
		{"null", ProcNull, nil, rpc.Success, nil},
		{"stat", ProcStat, encode(func(e *xdr.Encoder) { e.String("x") }), rpc.Success, failAnswer},
		{"mon", ProcMon, encode(func(e *xdr.Encoder) { e.String("x"); me.Encode(e); e.Fixed(make([]byte, 16)) }), rpc.Success, failAnswer},
		{"unmon", ProcUnmon, encode(func(e *xdr.Encoder) { e.String("x"); me.Encode(e) }), rpc.Success, state},
		{"unmon all", ProcUnmonAll, encode(me.Encode), rpc.Success, state},
		{"simulated crash", ProcSimuCrash, nil, rpc.Success, nil},
		{"notify", ProcNotify, encode(change.Encode), rpc.Success, nil},
		{"notify and more", ProcNotify, encode(func(e *xdr.Encoder) { change.Encode(e); e.Uint32(1) }), rpc.GarbageArgs, nil},
		{"long name", ProcNotify, encode(func(e *xdr.Encoder) { e.Opaque(make([]byte, NameMax+1)); e.Uint32(1) }), rpc.GarbageArgs, nil},
		{"half of mon", ProcMon, encode(func(e *xdr.Encoder) { e.String("x") }), rpc.GarbageArgs, nil},
		{"procedure 7", 7, nil, rpc.ProcUnavail, nil},
	} {
		var e xdr.Encoder
		outcome := p.Serve(t.Context(), &rpc.Call{Proc: uint32(c.proc), Args: c.args}, &e)
		if outcome != c.outcome || outcome == rpc.Success && !bytes.Equal(e.Bytes(), c.reply) {
			t.Errorf("%s: %v %x, want %v %x", c.name, outcome, e.Bytes(), c.outcome, c.reply)
		}
	}
	if d := cmp.Diff([]StatChange{change}, told); d != "" {
		t.Errorf("told (-want +got):\n%s", d)
	}
	fail = errors.New("no cluster")
	if outcome := p.Serve(t.Context(), &rpc.Call{Proc: uint32(ProcNotify), Args: encode(change.Encode)}, new(xdr.Encoder)); outcome != rpc.Drop {
		t.Errorf("news that could not be passed on: %v", outcome)
	}
}

// FuzzProgram: whatever the bytes, every procedure has an outcome.
func FuzzProgram(f *testing.F) {
	f.Add(uint32(ProcNotify), encode((&StatChange{"client", 5}).Encode))
	f.Add(uint32(ProcUnmonAll), encode((&MyID{"host", 100021, 4, 16}).Encode))
	f.Fuzz(func(t *testing.T, proc uint32, b []byte) {
		p := NewProgram(1, func(_ context.Context, _ *rpc.Call, c StatChange) error {
			if len(c.Name) > NameMax {
				t.Errorf("name of %d bytes", len(c.Name))
			}
			return nil
		})
		p.Serve(t.Context(), &rpc.Call{Proc: proc, Args: b}, new(xdr.Encoder))
	})
}
