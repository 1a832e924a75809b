package pbft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"bfsd/replica/wire"
)

// TestScripts runs the interaction scripts in testdata: commands in, the full trace of messages and effects out. A line
// "1 ← 0 PREPARE …" is a delivery; indented lines are the effects of the Step it caused. Run with -rewrite after a
// change that is meant, and read the difference.
//
//	cluster [k=8] [window=4] [notentative] [nopiggyback]   a new group of four
//	request op=a [client=100] [slot=0] [number=1] [to=(0)] [full] [read-only] [bad=(1,2)] [size=…]
//	settle                          deliver everything
//	pass ms=100                     let time pass, in ticks of 5 ms
//	quiet ms=100                    the same, printing nothing
//	hold [kind=COMMIT] [from=(0)] [to=(3)]   keep such messages back
//	drop [kind=…] [from=…] [to=…]   lose such messages
//	hide kind=STATUS                print nothing about such messages
//	release                         deliver what was held, and stop holding and dropping
//	crash / restart replica=0       a replica's disk survives
//	forget replica=0 [all] [knows-view]   it does not: the log is lost, or the checkpoint too; the view is known all the same
//	state                           how far everybody is
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.run(d)
			if s.out.Len() == 0 {
				return "ok\n"
			}
			return s.out.String()
		})
	})
}

type script struct {
	t     *testing.T
	c     *cluster
	out   strings.Builder
	rules []rule
	held  []envelope
	mute  bool

	hidden []string
}

// rule says which messages are held or dropped.
type rule struct {
	kind     string
	from, to []int
	drop     bool
}

func (r rule) matches(e envelope) bool {
	in := func(list []int, id uint32) bool { return list == nil || slices.Contains(list, int(id)) }
	return (r.kind == "" || r.kind == e.msg.Kind().String()) && in(r.from, e.from.ID) && in(r.to, e.to.ID)
}

func (s *script) run(d *datadriven.TestData) {
	switch d.Cmd {
	case "cluster":
		s.cluster(d)
	case "request":
		s.request(d)
	case "settle":
		s.settle()
	case "pass", "quiet":
		s.mute = d.Cmd == "quiet"
		s.pass(int64(intArg(d, "ms", 0)))
		s.mute = false
	case "hold", "drop":
		r := rule{drop: d.Cmd == "drop", from: listArg(d, "from"), to: listArg(d, "to")}
		d.MaybeScanArgs(s.t, "kind", &r.kind)
		s.rules = append(s.rules, r)
	case "hide":
		var kind string
		d.ScanArgs(s.t, "kind", &kind)
		s.hidden = append(s.hidden, kind)
	case "release":
		s.c.net = append(s.c.net, s.held...)
		s.rules, s.held = nil, nil
		s.settle()
	case "crash":
		s.c.nodes[intArg(d, "replica", 0)].crash()
	case "forget":
		s.c.nodes[intArg(d, "replica", 0)].forget(d.HasArg("all"), d.HasArg("knows-view"))
	case "restart":
		n := s.c.nodes[intArg(d, "replica", 0)]
		fmt.Fprintf(&s.out, "%d restarts with %d records\n", n.id, len(n.log))
		n.start()
	case "state":
		s.state()
	default:
		d.Fatalf(s.t, "unknown command %q", d.Cmd)
	}
}

func (s *script) cluster(d *datadriven.TestData) {
	s.rules, s.held, s.hidden = nil, nil, nil
	s.c = newCluster(s.t, 1, func(cfg *Config) {
		cfg.CheckpointInterval = intArg(d, "k", 8)
		cfg.BatchWindow = intArg(d, "window", 4)
		cfg.NoTentative = d.HasArg("notentative")
		cfg.NoPiggyback = d.HasArg("nopiggyback")
		cfg.Slots = 16
	}, 100, 101)
	s.c.settle()
	s.c.trace = s.effect
	s.c.route = func(e envelope) []int64 {
		for _, r := range s.rules {
			if r.matches(e) {
				if !r.drop {
					s.held = append(s.held, e)
				}
				return nil
			}
		}
		return []int64{0}
	}
}

func (s *script) request(d *datadriven.TestData) {
	var op string
	d.ScanArgs(s.t, "op", &op)
	var flags wire.Flags
	if d.HasArg("full") {
		flags |= wire.FlagFullReply
	}
	if d.HasArg("read-only") {
		flags |= wire.FlagReadOnly
	}
	body := []byte(op)
	if size := intArg(d, "size", 0); size > 0 {
		body = large(op, size)
	}
	to := listArg(d, "to")
	if to == nil {
		to = []int{0}
	}
	r := s.c.keys.Request(wire.ClientID(intArg(d, "client", 100)), wire.Slot(intArg(d, "slot", 0)),
		uint64(intArg(d, "number", 1)), flags, wire.ReplicaID(intArg(d, "replier", 0)), body)
	for _, victim := range listArg(d, "bad") {
		r.Auth[victim][0] ^= 1
	}
	s.c.request(r, to...)
}

func (s *script) settle() {
	for s.deliverNext() {
		continue
	}
}

// deliverNext is cluster.deliver with a line of trace.
func (s *script) deliverNext() bool {
	if len(s.c.net) == 0 {
		return false
	}
	e := s.c.net[0]
	to := strconv.Itoa(int(e.to.ID))
	if e.to.Role == wire.RoleClient {
		to = "c" + to
	} else if !s.c.nodes[e.to.ID].up {
		s.c.net = s.c.net[1:]
		return true
	}
	from := strconv.Itoa(int(e.from.ID))
	if e.from.Role == wire.RoleClient {
		from = "c" + from
	}
	if !s.hides(e.msg) {
		s.print("%s ← %s %s\n", to, from, describe(e.msg))
	}
	return s.c.deliver()
}

func (s *script) pass(d int64) {
	for end := s.c.now + d*millisecond; s.c.now < end; {
		s.c.now += 5 * millisecond
		for _, n := range s.c.nodes {
			if n.up {
				n.step(Tick{})
			}
		}
		s.settle()
	}
}

func (s *script) state() {
	for _, n := range s.c.nodes {
		if !n.up {
			fmt.Fprintf(&s.out, "%d is down\n", n.id)
			continue
		}
		i := n.core.Info()
		fmt.Fprintf(&s.out, "%d view=%d active=%t executed=%d committed=%d stable=%d window=(%d,%d] operations=%d root=%v\n",
			n.id, i.View, i.Active, i.Executed, i.Committed, i.Stable.Seq, i.Low, i.High, len(n.state.ops), n.state.root())
	}
}

func (s *script) hides(m wire.Message) bool { return slices.Contains(s.hidden, m.Kind().String()) }

func (s *script) print(format string, args ...any) {
	if !s.mute {
		fmt.Fprintf(&s.out, format, args...)
	}
}

// effect prints one effect.
func (s *script) effect(n *node, e Effect) {
	switch e := e.(type) {
	case Persist:
		s.print("    %d: persist %s\n", n.id, describeRecord(e.Record))
	case Send:
		s.print("    %d: send to %v: %s\n", n.id, e.To, describe(e.Msg))
	case Broadcast:
		if s.hides(e.Msg) {
			return
		}
		s.print("    %d: broadcast %s\n", n.id, describe(e.Msg))
	case Execute:
		kind := ""
		if e.Tentative {
			kind = " tentatively"
		}
		var ops []string
		for _, r := range e.Requests {
			ops = append(ops, fmt.Sprintf("%q", clip(r.Op)))
		}
		s.print("    %d: execute n%d%s: %s\n", n.id, e.Seq, kind, strings.Join(ops, " "))
	case Committed:
		s.print("    %d: committed up to n%d\n", n.id, e.Seq)
	case Rollback:
		s.print("    %d: roll back to n%d\n", n.id, e.ToSeq)
	case Query:
		s.print("    %d: query %q\n", n.id, clip(e.Request.Op))
	case TakeSnapshot:
		s.print("    %d: take snapshot %d of n%d\n", n.id, e.ID, e.Seq)
	case ReleaseSnapshot:
		s.print("    %d: release snapshot %d\n", n.id, e.ID)
	case StableCheckpoint:
		s.print("    %d: stable checkpoint n%d %v, %d signatures\n", n.id, e.Seq, e.Root, len(e.Proof))
	case FetchState:
		s.print("    %d: fetch state n%d %v from %v\n", n.id, e.Seq, e.Root, e.Sources)
	case Reply:
		s.print("    %d: reply to c%d: %s\n", n.id, e.Client, describe(e.Reply))
	case Rejoined:
		s.print("    %d: nothing is in doubt any more\n", n.id)
	case Trace:
		s.print("    %d: * %v v%d n%d\n", n.id, e.Event, e.View, e.Seq)
	}
}

func describeRecord(b []byte) string {
	_, fields, err := decodeRecord(b)
	if err != nil {
		return err.Error()
	}
	switch f := fields.(type) {
	case *acceptedFields:
		if b[0] == recordContent {
			return fmt.Sprintf("content of n%d with %d bodies", f.Seq, len(f.Bodies))
		}
		return fmt.Sprintf("accepted v%d n%d%s with %d bodies", f.View, f.Seq, null(f.Digest), len(f.Bodies))
	case *wire.PreparedEntry:
		what := "prepared"
		if b[0] == recordVoid {
			what = "void ballot"
		}
		return fmt.Sprintf("%s v%d n%d%s", what, f.View, f.Seq, null(f.Digest))
	case *abandonFields:
		return fmt.Sprintf("abandon v%d n%d", f.View, f.Seq)
	case *decidedFields:
		return fmt.Sprintf("decided n%d to n%d", f.First, recordSeq(f))
	case *executedFields:
		return fmt.Sprintf("executed n%d", f.Seq)
	case *viewFields:
		return fmt.Sprintf("view %d active=%t", f.View, f.Active)
	}
	return "?"
}

func intArg(d *datadriven.TestData, name string, value int) int {
	for _, a := range d.CmdArgs {
		if a.Key == name && len(a.Vals) == 1 {
			n, err := strconv.Atoi(a.Vals[0])
			if err != nil {
				panic(err)
			}
			return n
		}
	}
	return value
}

func listArg(d *datadriven.TestData, name string) []int {
	var list []int
	for _, a := range d.CmdArgs {
		if a.Key != name {
			continue
		}
		for _, v := range a.Vals {
			n, err := strconv.Atoi(v)
			if err != nil {
				panic(err)
			}
			list = append(list, n)
		}
	}
	return list
}
