package fsservice

import (
	"errors"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/replica"
	"bfsd/replica/config"
	"bfsd/replica/wire"
)

func mkdir(s *Service, name string, now int64) fsstate.Status {
	root, _ := s.Query(1, fsstate.EncodeOp(&fsstate.Op{Args: &fsstate.Resolve{Path: "/"}}))
	found, err := fsstate.DecodeResult(fsstate.KindResolve, root)
	if err != nil {
		return fsstate.EIO
	}
	op := &fsstate.Op{Args: &fsstate.Mkdir{Dir: found.(*fsstate.LookupResult).Object, Name: name}}
	result, err := fsstate.DecodeResult(fsstate.KindMkdir, s.Execute(1, fsstate.EncodeOp(op), s.Propose(now)))
	if err != nil {
		return fsstate.EIO
	}
	return result.Code()
}

func TestAProposedTimeMustBeNearTheLocalClock(t *testing.T) {
	s := New(fsstate.New(fsstate.Config{}), time.Second)
	now := int64(1e18)
	for offset, good := range map[time.Duration]bool{0: true, time.Second: true, -time.Second: true, time.Second + 1: false, -time.Second - 1: false} {
		if err := s.Check(s.Propose(now+int64(offset)), now); (err == nil) != good {
			t.Errorf("a time %v off: %v", offset, err)
		}
	}
	if s.Check(nil, now) == nil || s.Check(s.Propose(-1), 0) == nil {
		t.Error("a choice that is no time was accepted")
	}
}

func TestAStateIsLoadedAndRestored(t *testing.T) {
	s := New(fsstate.New(fsstate.Config{}), time.Second)
	if got := mkdir(s, "d", 1); got != fsstate.OK {
		t.Fatalf("mkdir: %v", got)
	}
	s.SetReply(1, 2, 3, []byte("reply"))
	from := s.Snapshot()
	loaded, restored := New(fsstate.New(fsstate.Config{}), time.Second), New(fsstate.New(fsstate.Config{}), time.Second)
	broken := errors.New("the disk is gone")
	if err := loaded.Load(func(func(key, value []byte) error) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a failing disk gave %v", err)
	}
	if err := loaded.Load(func(yield func(key, value []byte) error) error { return from.Diff(nil, yield) }); err != nil {
		t.Fatal(err)
	}
	err := restored.Restore(from.Root(), func(more []wire.Digest) ([]replica.StateNode, error) {
		nodes := make([]replica.StateNode, len(more))
		for i, d := range more {
			encoding, _ := from.Node(d)
			nodes[i] = replica.StateNode{Digest: d, Encoding: encoding}
		}
		return nodes, nil
	}, func(bytes uint64) { t.Errorf("a state with nothing in common had %d bytes already", bytes) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := restored.Restore(from.Root(), nil, func(bytes uint64) {
		if bytes != from.Size() {
			t.Errorf("the state itself had %d bytes already, of %d", bytes, from.Size())
		}
	}, nil); err != nil {
		t.Error(err)
	}
	for _, other := range []*Service{loaded, restored} {
		replies := 0
		other.Replies(func(_ wire.ClientID, _ wire.Slot, number uint64, result []byte) bool {
			replies++
			return number == 3 && string(result) == "reply"
		})
		if other.Snapshot().Root() != from.Root() || replies != 1 || mkdir(other, "d", 2) != fsstate.EEXIST {
			t.Errorf("the state that came back is another one, with %d replies", replies)
		}
	}
}

// The file system and the cluster file must mean the same front ends by the same numbers.
func TestFrontEndsAreNumberedAlike(t *testing.T) {
	if uint32(fsstate.FirstGateway) != uint32(config.FirstGateway) {
		t.Errorf("gateways are numbered from %d and from %d", fsstate.FirstGateway, config.FirstGateway)
	}
	if config.DefaultLimits().Duplicates != fsstate.DuplicatesDefault {
		t.Errorf("%d and %d answers are kept", config.DefaultLimits().Duplicates, fsstate.DuplicatesDefault)
	}
	if fsstate.KeyNumberMax != wire.KeyNumberMax {
		t.Errorf("a client can have %d keys and %d", fsstate.KeyNumberMax, wire.KeyNumberMax)
	}
	s := New(fsstate.New(fsstate.Config{}), time.Second)
	root, _ := s.Query(1, fsstate.EncodeOp(&fsstate.Op{Args: &fsstate.Resolve{Path: "/"}}))
	found, err := fsstate.DecodeResult(fsstate.KindResolve, root)
	if err != nil {
		t.Fatal(err)
	}
	op := fsstate.EncodeOp(&fsstate.Op{
		Machine: "127.0.0.1", XID: 1, Args: &fsstate.Mkdir{Dir: found.(*fsstate.LookupResult).Object, Name: "d"},
	})
	for i, want := range []struct {
		client wire.ClientID
		status fsstate.Status
	}{{100, fsstate.OK}, {100, fsstate.OK}, {101, fsstate.EEXIST}} { // whose 127.0.0.1 is another machine
		r, err := fsstate.DecodeResult(fsstate.KindMkdir, s.Execute(want.client, op, s.Propose(int64(i+1))))
		if err != nil || r.Code() != want.status {
			t.Errorf("call %d, through gateway %d: %v, %v", i, want.client, r, err)
		}
	}
}
