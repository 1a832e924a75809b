package fsservice

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"bfsd/fsstate"
	"bfsd/internal/loopback"
	"bfsd/replica"
	"bfsd/replica/auth"
	"bfsd/replica/config"
)

// benchmarkSize is how many MiB of files the benchmarks of recovery have: BFSD_REJOIN_MIB, or few.
func benchmarkSize(b *testing.B) int {
	b.Helper()
	mib := 64
	if more := os.Getenv("BFSD_REJOIN_MIB"); more != "" {
		var err error
		if mib, err = strconv.Atoi(more); err != nil {
			b.Fatal(err)
		}
	}
	return mib
}

// filled is a file system with files of random bytes, 8 MiB each.
func filled(b *testing.B, config fsstate.Config, mib int) *Service {
	b.Helper()
	s := New(fsstate.New(config), time.Hour)
	now := int64(1e18)
	execute := func(kind fsstate.Kind, args fsstate.Args) fsstate.Result {
		b.Helper()
		now++
		result, err := fsstate.DecodeResult(kind, s.Execute(1, fsstate.EncodeOp(&fsstate.Op{Args: args}), binary.BigEndian.AppendUint64(nil, uint64(now))))
		if err != nil || result.Code() != fsstate.OK {
			b.Fatalf("filling the file system: %v, %+v", err, result)
		}
		return result
	}
	reply, _ := s.Query(1, fsstate.EncodeOp(&fsstate.Op{Args: &fsstate.Resolve{Path: "/"}}))
	found, err := fsstate.DecodeResult(fsstate.KindResolve, reply)
	if err != nil {
		b.Fatal(err)
	}
	root := found.(*fsstate.LookupResult).Object
	noise := rand.NewChaCha8([32]byte{1})
	data := make([]byte, 64<<10)
	for i := 0; i < mib; i += 8 {
		made := execute(fsstate.KindCreate, &fsstate.Create{Dir: root, Name: fmt.Sprint("file ", i)}).(*fsstate.CreateResult)
		for at := range min(8, mib-i) << 4 {
			_, _ = noise.Read(data)
			execute(fsstate.KindWrite, &fsstate.Write{Object: made.Object, Offset: uint64(at * len(data)), Data: data})
		}
	}
	return s
}

// group is four replicas in this process that begin with a state.
type group struct {
	b       *testing.B
	cluster *config.Cluster
	ids     []auth.Identity
	genesis string
}

func newGroup(b *testing.B, mib int) *group {
	b.Helper()
	port, err := loopback.Ports(4)
	if err != nil {
		b.Fatal(err)
	}
	addrs := make([]config.Addresses, 4)
	for i := range addrs {
		addrs[i].Peer = net.JoinHostPort(loopback.Host(), strconv.Itoa(port+i))
	}
	g := &group{b: b, genesis: filepath.Join(b.TempDir(), "genesis")}
	if g.cluster, g.ids, err = config.Generate(config.Options{Replicas: addrs, Durability: config.Disk, Tunables: config.DefaultTunables()}); err != nil {
		b.Fatal(err)
	}
	s := filled(b, fsstate.Config{Seed: fsstate.Seed(g.cluster.Seed)}, mib).Snapshot()
	at := replica.GenesisRef(g.cluster, s.Root())
	proof, err := replica.SignGenesis(g.cluster, g.ids, at)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(g.genesis)
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(replica.WriteGenesis(f, proof, s), f.Close()); err != nil {
		b.Fatal(err)
	}
	g.cluster.Genesis = &config.Genesis{Sequence: uint64(at.Seq), Root: config.Root(at.Root)}
	return g
}

// open makes a replica of what is in dir, or of the group's first state.
func (g *group) open(i int, dir, genesis string) *replica.Node {
	g.b.Helper()
	keys, err := g.cluster.Keyring(g.ids[i])
	if err != nil {
		g.b.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(g.b.Context(), "tcp", g.cluster.Replicas[i].Peer)
	if err != nil {
		g.b.Fatal(err)
	}
	n, err := replica.Open(replica.Options{
		Cluster: g.cluster, Keys: keys, Service: New(fsstate.New(fsstate.Config{Seed: fsstate.Seed(g.cluster.Seed)}), time.Hour),
		StoreDir: dir, Genesis: genesis, Listener: l, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		g.b.Fatal(err)
	}
	return n
}

// run runs a replica until the function that it returns is called.
func (g *group) run(n *replica.Node) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			g.b.Error(err)
		}
	}
}

// reportCPU reports how many seconds of processor time a GiB takes, all replicas together: on a machine that others use, too,
// that says more than the time by the clock.
func reportCPU(b *testing.B, mib int) (end func()) {
	used := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	before := used()
	return func() { b.ReportMetric((used()-before)*1024/float64(mib*b.N), "cpu-s/GiB") }
}

// BenchmarkLoad opens a replica whose checkpoint holds a state: what a restart takes before there is anything to catch up with.
func BenchmarkLoad(b *testing.B) {
	mib := benchmarkSize(b)
	g := newGroup(b, mib)
	dir := filepath.Join(b.TempDir(), "store")
	g.open(0, dir, g.genesis).Close()
	b.SetBytes(int64(mib) << 20)
	defer reportCPU(b, mib)()
	for b.Loop() {
		n := g.open(0, dir, g.genesis)
		b.StopTimer()
		n.Close()
		b.StartTimer()
	}
}

// BenchmarkStateTransfer lets a replica that has nothing get a state from three others, all in this process, and write it
// to its disk.
func BenchmarkStateTransfer(b *testing.B) {
	mib := benchmarkSize(b)
	g := newGroup(b, mib)
	for i := range 3 {
		defer g.run(g.open(i, filepath.Join(b.TempDir(), "store"), g.genesis))()
	}
	b.SetBytes(int64(mib) << 20)
	defer reportCPU(b, mib)()
	for b.Loop() {
		n := g.open(3, filepath.Join(b.TempDir(), "store"), filepath.Join(b.TempDir(), "none"))
		stop := g.run(n)
		for {
			s, err := n.Status(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if s.Rejoin.Transfers > 0 && !s.Fetching {
				break
			}
			select { // the node tells nobody
			case <-time.After(5 * time.Millisecond):
			case <-b.Context().Done():
			}
		}
		b.StopTimer()
		stop()
		b.StartTimer()
	}
}
