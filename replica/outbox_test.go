package replica

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"bfsd/replica/pbft"
	"bfsd/replica/store"
	"bfsd/replica/wire"
)

// journal records what left, and what of the log was durable when it did.
type journal struct {
	t  *testing.T
	fs *vfs.MemFS

	mu   sync.Mutex
	sent []string
}

func (j *journal) send(_ wire.Principal, frame []byte) {
	durable := 0
	if j.fs != nil { // what a power cut at this very moment would leave
		s, err := store.Open(store.Options{Dir: "store", Durability: store.Disk, FS: j.fs.CrashClone(vfs.CrashCloneCfg{})})
		if err != nil {
			j.t.Error(err)
			return
		}
		defer s.Close()
		records, err := s.Records()
		if err != nil {
			j.t.Error(err)
		}
		durable = len(records)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sent = append(j.sent, fmt.Sprintf("%s with %d records durable", frame, durable))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.sent
}

func TestAFrameLeavesOnlyAfterTheRecordsBeforeItAreDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s, err := store.Open(store.Options{Dir: "store", Durability: store.Disk, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	j := &journal{t: t, fs: fs}
	o := newOutbox(s, j.send, func(err error) { t.Error(err) })
	for i := range 20 {
		if err := o.record(pbft.Persist{Seq: wire.Seq(i + 1), Record: []byte("record")}); err != nil {
			t.Fatal(err)
		}
		o.frame(sender(1), fmt.Appendf(nil, "frame %d", i+1))
		o.flush()
	}
	o.close()
	sent := j.all()
	if len(sent) != 20 {
		t.Fatalf("%d frames left, want 20", len(sent))
	}
	for i, what := range sent {
		var frame, durable int
		if _, err := fmt.Sscanf(what, "frame %d with %d records durable", &frame, &durable); err != nil {
			t.Fatal(err)
		}
		if frame != i+1 || durable < frame {
			t.Errorf("%s: want frame %d, with at least as many records", what, i+1)
		}
	}
}

func TestInMemoryFramesLeaveAtOnce(t *testing.T) {
	j := &journal{t: t}
	o := newOutbox(nil, j.send, func(err error) { t.Error(err) })
	if err := o.record(pbft.Persist{Seq: 1, Record: []byte("record")}); err != nil {
		t.Fatal(err)
	}
	o.frame(sender(1), []byte("frame"))
	if got := j.all(); len(got) != 1 {
		t.Errorf("before any flush %q left, want the frame", got)
	}
	o.close()
}

func TestNothingLeavesOnceTheLogCannotBeWritten(t *testing.T) {
	broken := errors.New("the disk is gone")
	var writes errorfs.Toggle
	writes.Injector = errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileWrite {
			return broken
		}
		return nil
	})
	j := &journal{t: t}
	failed := make(chan string, 1)
	fail := func(why string) {
		select {
		case failed <- why:
		default:
		}
	}
	stop := make(chan struct{})
	s, err := store.Open(store.Options{
		Dir: "store", Durability: store.Disk, FS: errorfs.Wrap(vfs.NewMem(), &writes),
		Fatal: func(err error) { fail(err.Error()); <-stop }, // must not return while the test runs: the process would have ended
	})
	if err != nil {
		t.Fatal(err)
	}
	o := newOutbox(s, j.send, func(err error) { fail(err.Error()) })
	writes.On()
	if err := o.record(pbft.Persist{Seq: 1, Record: []byte("record")}); err != nil {
		t.Fatal(err)
	}
	o.frame(sender(1), []byte("a promise that is not kept"))
	o.flush()
	if why := <-failed; why == "" {
		t.Error("the failure has no reason")
	}
	if got := j.all(); len(got) != 0 {
		t.Errorf("%q left although the log was not written", got)
	}
}
