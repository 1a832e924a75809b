// Command wan estimates what a call costs when the replicas are in different regions of the world: it runs the protocol's core
// in the simulator, in virtual time, with round-trip times that were measured between regions.
//
// It is an estimate: a message's delay is half of the round-trip time and does not vary, nothing is lost, computing and disks
// cost nothing, and a client calls once at a time. A gateway in each replica's region is the client.
//
// Start reading at main.go; regions.go has the round-trip times and where they are from, measure.go runs and counts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"bfsd/bench/internal/measure"
)

// options are the flags.
type options struct {
	F       []int         `help:"Faults to tolerate: groups of 3F+1 replicas, each in a region of its own (${default})." name:"f" default:"1,2,3,4" placeholder:"LIST"`
	Calls   int           `help:"Calls of each client (${default})." default:"100" placeholder:"N"`
	Primary string        `help:"Where the primary is (${default})." default:"East US" placeholder:"REGION"`
	Timeout time.Duration `help:"View-change timeout and time after which a client asks all replicas, in simulated time (${default}): well above what calls take, so that nothing is sent twice." default:"3s"`
	Seed    uint64        `help:"Seed of the clients' choices." default:"1"`
	Out     string        `help:"Where to write observations.jsonl and summary.json. Old ones there are replaced. Default: ${default}." default:"observations/wan" placeholder:"DIR"`
}

const callsMax = 100_000

func main() {
	var o options
	kong.Parse(&o, kong.Name("wan"), kong.Description("Estimates the latency of ordered and read-only operations from each region when the replicas are in different regions of the world, in the simulator."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wan:", err)
		os.Exit(1)
	}
}

func (o options) check() error {
	for _, f := range o.F {
		if f < 1 || 3*f+1 > len(regions) {
			return fmt.Errorf("--f %d: 1 to %d are possible with %d regions", f, (len(regions)-1)/3, len(regions))
		}
	}
	switch {
	case len(o.F) == 0:
		return errors.New("--f names no group")
	case o.Calls < 1 || o.Calls > callsMax:
		return fmt.Errorf("--calls must be between 1 and %d", callsMax)
	case o.Timeout <= 0 || o.Timeout > time.Hour:
		return errors.New("--timeout must be positive, and at most an hour")
	}
	return nil
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	record, err := measure.NewRecorder[observation](o.Out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	s := &summary{
		Date: time.Now().UTC().Truncate(time.Second), Command: measure.Command("./bench/wan"), Machine: measure.ThisMachine(ctx),
		Source: source, Regions: regions,
	}
	for _, f := range o.F {
		g, err := o.measure(ctx, f)
		if err != nil {
			return err
		}
		for _, e := range g.Entries {
			if err := record.Record(observation{Date: s.Date, F: f, Replicas: g.Replicas, Primary: g.Primary, entry: e}); err != nil {
				return err
			}
		}
		s.Groups = append(s.Groups, g)
		if err := g.print(out); err != nil {
			return err
		}
	}
	return measure.WriteSummary(o.Out, s)
}
