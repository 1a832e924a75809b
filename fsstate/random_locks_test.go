package fsstate

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// lockFile is a handle for operations on locks: mostly one of two files, so that locks meet.
func (h *history) lockFile() Handle {
	if h.intn("any file", 8) == 0 {
		return h.file()
	}
	n := 0
	return h.handleOf(func(m *mnode) bool {
		if m.attr.Type == TypeRegular {
			n++
		}
		return m.attr.Type == TypeRegular && n < 3 || len(h.model.nodes) < 3
	})
}

func (h *history) lockRange() LockRange {
	if h.intn("odd range", 30) == 0 {
		return pick(h, "range", LockRange{1 << 63, 0}, LockRange{0, 1<<63 + 1}, LockRange{5, 1<<64 - 1}, LockRange{1<<64 - 1, 1})
	}
	r := LockRange{Offset: uint64(h.intn("offset", mcells-2))}
	if h.intn("to the end", 4) > 0 {
		r.Length = 1 + uint64(h.intn("length", mcells-1-int(r.Offset)))
	}
	return r
}

func (h *history) lockClient() LockClient {
	return LockClient{Name: pick(h, "client", "a", "b"), Via: pick(h, "via", "", "", "", "gateway")}
}

func (h *history) lockOwner() LockOwner {
	return LockOwner{Client: h.lockClient(), SVID: uint32(h.intn("svid", 2)), OH: pick(h, "oh", "x", "x", "y")}
}

func (h *history) front() string { return pick(h, "front", "replica 0", "replica 1") }

func (h *history) lockArgs() Args {
	exclusive := h.intn("exclusive", 2) == 0
	state := uint32(pick(h, "state", 3, 3, 3, 3, 3, 3, 3, 5, 0))
	switch h.intn("lock operation", 16) {
	case 0, 1, 2, 3, 4, 5:
		return &Lock{
			Object: h.lockFile(), Owner: h.lockOwner(), Range: h.lockRange(), Exclusive: exclusive, Block: h.intn("block", 3) > 0,
			Reclaim: h.intn("reclaim", 10) == 0, State: state, Front: h.front(), Server: pick(h, "server", "10.0.0.9", "10.0.0.8"),
		}
	case 6:
		return &LockTest{h.lockFile(), h.lockOwner(), h.lockRange(), exclusive}
	case 7:
		if all := h.model.requests(); len(all) > 0 {
			r := all[h.intn("request", len(all))]
			return &LockCancel{handleOf(h.model.nodes[r.ino]), h.ownerOf(r.mrequest), unspan(r.first, r.last), r.kind == 'x'}
		}
		return &LockCancel{h.lockFile(), h.lockOwner(), h.lockRange(), exclusive}
	case 8, 9, 10:
		return &Unlock{h.lockFile(), h.lockOwner(), h.lockRange()}
	case 11:
		return &Share{h.lockFile(), h.lockOwner(), uint32(h.intn("access", 4)), uint32(h.intn("deny", 4)), state}
	case 12:
		return &Unshare{h.lockFile(), h.lockOwner()}
	case 13:
		return pick[Args](h, "client operation", &LockRelease{h.lockClient(), state, h.intn("all", 10) == 0},
			&LockRenew{[]uint64{1, 2, 3, uint64(h.intn("number", 50))}}, &LockClients{uint64(h.intn("after", 3))})
	default:
		return &LockGrants{h.front()}
	}
}

func (h *history) ownerOf(r *mrequest) LockOwner {
	return LockOwner{h.model.clientByNumber(r.owner.client).name, r.owner.svid, r.owner.oh}
}

// grants compares what a front end has to tell its clients, and tells one of them.
func (h *history) grants(a *LockGrants) {
	got := h.fs.Apply(&Op{Args: a}, h.now).(*LockGrantsResult)
	want, waiting := h.model.grants(a.Front)
	if len(got.Grants) != len(want) || got.Waiting != waiting || got.More {
		h.fatalf("%d grants, waiting %v, more %v; want %d, %v", len(got.Grants), got.Waiting, got.More, len(want), waiting)
	}
	for i, w := range want {
		g := got.Grants[i]
		d := cmp.Diff(LockGrant{
			ID: g.ID, Object: handleOf(h.model.nodes[w.ino]), Machine: h.model.clientByNumber(w.owner.client).machine, Owner: h.ownerOf(w.mrequest),
			Range: LockRange{uint64(w.first), w.length}, Exclusive: w.kind == 'x', Server: w.server, Since: w.since,
		}, g)
		if d != "" {
			h.fatalf("grant (-model +file system):\n%s", d)
		}
	}
	h.counts["*fsstate.LockGrants 0"]++
	if len(want) == 0 {
		return
	}
	i := h.intn("grant", len(want))
	answer := pick(h, "answer", GrantSending, GrantSending, GrantAccepted, GrantRefused, GrantUndelivered)
	op := &Op{Args: &LockAnswer{got.Grants[i].Object, got.Grants[i].ID, answer}}
	result := h.fs.Apply(op, h.now)
	h.model.last = max(h.model.last+1, h.now)
	h.model.answer(want[i].ino, want[i].mrequest, answer)
	if d := cmp.Diff(Result(&LockResult{Wake: h.model.woke}), result, cmpopts.EquateEmpty()); d != "" {
		h.fatalf("answer %d (-model +file system):\n%s", answer, d)
	}
	h.counts[fmt.Sprintf("answer %d", answer)]++
	if h.model.woke {
		h.counts["answer wakes"]++
	}
}

// newLockHistory is a history with a few files, one of which not everybody may lock.
func newLockHistory(c chooser) *history {
	h := newHistory(c)
	for _, name := range []string{"a", "b", "c"} {
		h.run(superuser, &Create{Dir: h.handles[0], Name: name, Set: SetAttrs{Mode: ptr(uint32(0o666))}})
	}
	h.run(superuser, &Create{Dir: h.handles[0], Name: "secret", Set: SetAttrs{Mode: ptr(uint32(0o600))}})
	return h
}

// churn removes a file or makes one.
func (h *history) churn() {
	name := pick(h, "name", "a", "b", "c")
	h.run(superuser, pick[Args](h, "churn", &Remove{h.handles[0], name}, &Create{Dir: h.handles[0], Name: name, Set: SetAttrs{Mode: ptr(uint32(0o666))}}))
}

// countLock counts what the tests want to have seen of a lock's results besides its status.
func (h *history) countLock(args Args, r *LockResult) {
	if r.Blocked {
		h.counts["blocked"]++
	}
	if r.Wake {
		h.counts["wakes"]++
	}
	if a, ok := args.(*Lock); ok && a.Reclaim && r.Status == OK {
		h.counts["reclaimed"]++
	}
}

// TestRandomLocks is TestRandomHistories for locks on few files, which meet more often there.
func TestRandomLocks(t *testing.T) {
	steps := 60_000
	if testing.Short() {
		steps = 10_000
	}
	const histories = 20
	counts := map[string]int{}
	for seed := range uint64(histories) {
		h := newLockHistory(randChooser{rand.New(rand.NewPCG(seed, 1)), t})
		h.counts = counts
		for i := range steps / histories {
			h.run(h.cred(), h.lockArgs())
			if i%89 == 0 {
				h.churn()
			}
			switch {
			case i%97 == 0:
				h.save()
				if len(h.saved) > 4 {
					h.saved[0].snap.Release()
					h.saved = h.saved[1:]
				}
			case i%211 == 0:
				h.rollback()
			case i%101 == 0:
				h.audit()
			}
		}
		h.audit()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, outcome := range []string{
		"answer 0", "answer 1", "answer 2", "answer 3", "answer wakes", fmt.Sprintf("*fsstate.Lock %d", EDEADLK), "blocked", "wakes",
		fmt.Sprintf("*fsstate.Share %d", EAGAIN), fmt.Sprintf("*fsstate.LockCancel %d", OK), fmt.Sprintf("*fsstate.LockTest %d", EAGAIN),
		fmt.Sprintf("*fsstate.Lock %d", EFBIG), fmt.Sprintf("*fsstate.Lock %d", EACCES), "reclaimed",
	} {
		if counts[outcome] == 0 {
			t.Errorf("%q did not occur: %v", outcome, counts)
		}
	}
}

// TestRapidLocks is TestRandomLocks for histories that rapid can shrink.
func TestRapidLocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newLockHistory(rapidChooser{t})
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch h.intn("what", 50) {
			case 0:
				h.save()
			case 1:
				h.rollback()
			case 2:
				h.churn()
			default:
				h.run(h.cred(), h.lockArgs())
			}
		}
		h.audit()
	})
}
