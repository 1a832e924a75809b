// Command bfsd is a Byzantine-fault-tolerant NFS file server, and everything needed to run it: each process of a cluster
// is one of its subcommands. This package wires and holds process life; what a process does is in nfs, replica and
// fsstate. Start reading at up.go for how a cluster comes up, replica.go for what a replica is made of.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"

	"bfsd/internal/sysmon"
)

// Exit codes, so that scripts can tell what to do next.
const (
	exitOK       = 0
	exitFailure  = 1 // it was tried and failed; the message says what
	exitUsage    = 2 // the command line is wrong
	exitPortBusy = 3 // an address it should listen on is taken
	exitNoQuorum = 4 // status, export: fewer than 2f+1 replicas answer, so the file system does not
	exitDamaged  = 5 // import: the backup is damaged, or not what was signed
	exitUnwell   = 6 // doctor: something is wrong
)

type cli struct {
	Up           upCmd           `cmd:"" help:"Bring up a whole cluster on this machine and a gateway to mount it through."`
	Init         initCmd         `cmd:"" help:"Make a cluster's configuration and one private key file per node."`
	Replica      replicaCmd      `cmd:"" help:"Run one replica."`
	Gateway      gatewayCmd      `cmd:"" help:"Run the NFS front end alone, on the machine that mounts it."`
	Plain        plainCmd        `cmd:"" help:"Run the same NFS server and file system unreplicated: the baseline."`
	Status       statusCmd       `cmd:"" help:"Show what each replica of a cluster says of itself."`
	Doctor       doctorCmd       `cmd:"" help:"Look for what is wrong with a cluster or with this machine's part of it, and say what to do."`
	Wait         waitCmd         `cmd:"" help:"Wait until replicas are up and have caught up, for scripts that restart them one by one."`
	Export       exportCmd       `cmd:"" help:"Back a running cluster up into a tar archive that proves itself."`
	Import       importCmd       `cmd:"" help:"Check a backup, and make a new cluster that begins with it."`
	ExportPolicy exportPolicyCmd `cmd:"" help:"Show or change which directories are exported, to whom, and how."`
	Key          keyCmd          `cmd:"" help:"Show or replace the keys of gateways, backups and operators."`
	Fsck         fsckCmd         `cmd:"" help:"Check the file system in a stopped replica's last checkpoint."`
	Sim          simCmd          `cmd:"" help:"Run simulated clusters under faults, from seeds, and check them."`
	Version      versionCmd      `cmd:"" help:"Print the version and the build it comes from."`

	ShowVersion versionFlag `name:"version" help:"Print what bfsd version prints."`
	LogLevel    slog.Level  `default:"WARN" env:"BFSD_LOG_LEVEL" placeholder:"LEVEL" help:"Log from this level on: DEBUG, INFO, WARN (default) or ERROR."`
}

// process is what a subcommand gets of the world around it, so that tests can give it another one.
type process struct {
	ctx    context.Context // ends at SIGINT or SIGTERM
	stdout io.Writer
	stderr io.Writer
	log    *slog.Logger
	level  slog.Level // of log, for the processes that this one starts
}

// exitError carries an exit code with the error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() {
	if slices.ContainsFunc(os.Args[1:], func(arg string) bool { return arg == "replica" || arg == "gateway" || arg == "plain" }) {
		if err := sysmon.Restart(); err != nil {
			fmt.Fprintf(os.Stderr, "bfsd: %v; going on without it, slower\n", err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its world as arguments: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("bfsd"),
		kong.Description("bfsd serves one NFS file system from 3f+1 replicas. Up to f of them may crash, lie or be owned by an attacker, and users notice nothing.\n\nStart here: bfsd up"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.UsageOnError(),
	)
	if err != nil {
		panic(fmt.Sprintf("bfsd: the command line's definition is wrong: %v", err))
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 { // --help was printed
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "bfsd: %v\nRun bfsd --help, or bfsd COMMAND --help, to see what it takes.\n", err)
		return exitUsage
	}
	p := &process{
		ctx: ctx, stdout: stdout, stderr: stderr, level: c.LogLevel,
		log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: c.LogLevel})),
	}
	if err := kctx.Run(p); err != nil {
		fmt.Fprintf(stderr, "bfsd %s: %v\n", kctx.Command(), err)
		var coded *exitError
		if errors.As(err, &coded) {
			return coded.code
		}
		return exitFailure
	}
	return exitOK
}

type versionCmd struct{}

func (versionCmd) Run(p *process) error {
	return printVersion(p.stdout)
}
