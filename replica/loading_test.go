package replica

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"bfsd/replica/config"
	"bfsd/replica/wire"
)

// slowService stops after it has got the state that it loads.
type slowService struct {
	*toyService
	loaded, goOn chan struct{}
}

func (s *slowService) Load(pairs func(func(key, value []byte) error) error) error {
	err := s.toyService.Load(pairs)
	close(s.loaded)
	<-s.goOn
	return err
}

// A replica that loads its checkpoint tells how far it is, before it can be asked for anything else.
func TestAReplicaThatLoadsItsCheckpointTellsHowFarItIs(t *testing.T) {
	g := newGroup(t, config.OS, 4)
	c := g.client()
	g.append(c, "before", 50)
	g.awaitEqual()
	before := g.nodes[2].node
	g.stop(2)
	pinned := before.snaps.pinned
	state := pinned[len(pinned)-1].state.Size()
	slow := &slowService{newToyService(), make(chan struct{}), make(chan struct{})}
	g.service = func() Service { return slow }
	g.loading = new(Loading)
	if r := g.loading.Status(2, "os").Rejoin; r.How != RejoinOpening || !r.How.Starting() || r.LeftMs != -1 {
		t.Errorf("before the start: %+v", r)
	}
	reg := prometheus.NewRegistry()
	if err := g.loading.register(reg); err != nil {
		t.Fatal(err)
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		g.start(2)
	}()
	<-slow.loaded
	s := g.loading.Status(2, "os")
	r := s.Rejoin
	if r.How != RejoinLoading || !r.How.Starting() || r.LoadedBytes < state || r.StateBytes < state || r.LeftMs != 0 || r.Rate <= 0 || s.ID != 2 || s.PID == 0 {
		t.Errorf("while it loads a state of more than %d bytes: %+v", state, s)
	}
	if !strings.Contains(r.String(), "loads its checkpoint, 0.0 MiB of 0.0 MiB") {
		t.Errorf("it says of itself that it %v", r)
	}
	if got := gathered(t, reg, "bfsd_loading"); got != 1 {
		t.Errorf("bfsd_loading is %v while it loads", got)
	}
	close(slow.goOn)
	<-opened
	g.awaitEqual()
	s, err := g.nodes[2].node.Status(t.Context())
	if err != nil || s.Rejoin.How.Starting() || s.Rejoin.LoadedBytes < state || s.Rejoin.LoadMs <= 0 && s.UptimeMs > 5 {
		t.Errorf("afterwards: %+v (%v)", s, err)
	}
	if got := gathered(t, reg, "bfsd_loading"); got != 0 {
		t.Errorf("bfsd_loading is %v afterwards", got)
	}
}

func gathered(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// What a disk says of the size of a checkpoint is not believed.
func TestAWrongSizeOfACheckpointDoesNoHarm(t *testing.T) {
	for _, said := range []uint64{0, 1, 1 << 63, ^uint64(0)} {
		var l Loading
		l.begin(RejoinLoading, said)
		l.add(5000)
		r := l.Status(wire.ReplicaID(0), "disk").Rejoin
		if r.LoadedBytes != 5000 || r.LeftMs < -1 || said == 1 && r.LeftMs != 0 {
			t.Errorf("%d: %+v", said, r)
		}
		_ = r.String()
	}
}
