package kernelclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// agentVariable makes a program that calls Agent into a guest's agent. In user-mode Linux it comes from the kernel command
// line, whose unknown settings become the first process's environment.
const agentVariable = "BFSD_KERNELCLIENT_AGENT"

// mountRoot is where a guest has a file system of its own, in memory, and its NFS mounts.
const mountRoot = "/mnt"

const (
	dialTimeout        = 30 * time.Second
	kernelLogBytesMax  = 256 << 10
	kernelLinesInError = 10
)

// Handler is a function of the program that its tests or benchmarks call inside a guest. in is JSON, and so is what the
// result becomes; what is written to stdout reaches the caller at once. ctx ends when the caller's does.
type Handler func(ctx context.Context, in json.RawMessage, stdout io.Writer) (any, error)

// Agent must be called first in main and in TestMain of a program that starts guests. In an ordinary process it returns at
// once; in a guest it serves the host until the guest is powered off, and never returns.
func Agent(handlers map[string]Handler) {
	text, ok := os.LookupEnv(agentVariable)
	if !ok {
		return
	}
	settings, err := parseAgentSettings(text)
	if err == nil {
		err = runAgent(settings, handlers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernelclient agent:", err) // the guest's console, which the host shows on failure
	}
	settings.powerOff()
}

func runAgent(settings agentSettings, handlers map[string]Handler) error {
	if err := os.Unsetenv(agentVariable); err != nil {
		return err
	}
	if err := settings.prepare(); err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(context.Background(), "tcp", settings.Host)
	if err != nil {
		return fmt.Errorf("connect to the host: %w", err)
	}
	a := &agent{handlers: handlers, frames: frameWriter{w: conn}, running: map[uint64]context.CancelFunc{}}
	return a.serve(bufio.NewReader(conn))
}

// agent is the guest's side: it carries out the host's requests, each in a goroutine of its own.
type agent struct {
	handlers map[string]Handler
	frames   frameWriter

	mu      sync.Mutex
	running map[uint64]context.CancelFunc
}

// serve returns when the host asks for it or is gone.
func (a *agent) serve(in *bufio.Reader) error {
	for {
		var req request
		if err := readFrame(in, &req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		switch req.Op {
		case opPowerOff:
			return nil
		case opCancel:
			a.mu.Lock()
			if cancel := a.running[req.Target]; cancel != nil {
				cancel()
			}
			a.mu.Unlock()
		default:
			ctx, cancel := context.WithCancel(context.Background())
			a.mu.Lock()
			a.running[req.ID] = cancel
			a.mu.Unlock()
			go a.answer(ctx, req)
		}
	}
}

func (a *agent) answer(ctx context.Context, req request) {
	last := response{ID: req.ID, Done: true}
	if err := a.carryOut(ctx, req, &last); err != nil {
		last.Error = err.Error()
	}
	a.mu.Lock()
	a.running[req.ID]()
	delete(a.running, req.ID)
	a.mu.Unlock()
	if err := a.frames.write(last); err != nil {
		// The result may be too long for a frame; then the host must still hear of the end.
		_ = a.frames.write(response{ID: req.ID, Done: true, Error: err.Error()})
	}
}

func (a *agent) carryOut(ctx context.Context, req request, last *response) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the guest: %v\n%s", p, debug.Stack())
		}
	}()
	stdout := outputWriter{frames: &a.frames, id: req.ID}
	stderr := outputWriter{frames: &a.frames, id: req.ID, stderr: true}
	switch {
	case req.Op == opModules:
		return insertModules(req.Modules)
	case req.Op == opMount && req.Mount != nil:
		return mountNFS(*req.Mount)
	case req.Op == opUnmount && req.Unmount != nil:
		return unmount(*req.Unmount)
	case req.Op == opKernelLog:
		log, err := kernelLog()
		if err == nil {
			_, err = stdout.Write(log)
		}
		return err
	case req.Op == opExec && req.Exec != nil:
		last.Exit, err = execute(ctx, *req.Exec, stdout, stderr)
		return err
	case req.Op == opCall && req.Call != nil:
		handler, ok := a.handlers[req.Call.Name]
		if !ok {
			return fmt.Errorf("this program has no guest function %q", req.Call.Name)
		}
		result, err := handler(ctx, req.Call.In, stdout)
		if err != nil {
			return err
		}
		last.Result, err = json.Marshal(result)
		return err
	}
	return fmt.Errorf("the agent does not know the request %q", req.Op)
}

// execute runs a job in a process group of its own, which is killed as a whole when ctx ends.
func execute(ctx context.Context, job Job, stdout, stderr io.Writer) (exit int, err error) {
	if len(job.Args) == 0 {
		return -1, errors.New("a job without a program")
	}
	cmd := exec.CommandContext(ctx, job.Args[0], job.Args[1:]...)
	cmd.Dir = job.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Env = append(os.Environ(), job.Env...)
	cmd.Stdin = bytes.NewReader(job.Stdin)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if job.UID != 0 || job.GID != 0 || len(job.Groups) > 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: job.UID, Gid: job.GID, Groups: job.Groups}
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return 0, err
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return failed.ExitCode(), nil
}

func mountNFS(m mountRequest) error {
	if err := os.MkdirAll(m.Dir, 0o755); err != nil {
		return fmt.Errorf("make the mount point: %w", err)
	}
	if err := unix.Mount(m.Source, m.Dir, "nfs", uintptr(m.Flags), m.Data); err != nil {
		message := ""
		if log, logErr := kernelLog(); logErr == nil && os.Getpid() == 1 {
			message = "\nend of the kernel's log:\n" + lastLines(string(log), kernelLinesInError)
		}
		return fmt.Errorf("%w%s", err, message)
	}
	return nil
}

func unmount(u unmountRequest) error {
	flags := 0
	if u.Force {
		flags = unix.MNT_FORCE | unix.MNT_DETACH
	}
	if err := unix.Unmount(u.Dir, flags); err != nil {
		return err
	}
	return os.Remove(u.Dir)
}

// insertModules inserts the kernel modules in these files, in this order; one that is there already is no error.
func insertModules(files []string) error {
	for _, file := range files {
		if err := insertModule(file); err != nil {
			return fmt.Errorf("insert kernel module %s: %w", file, err)
		}
	}
	return nil
}

func insertModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if filepath.Ext(file) != ".ko" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

func kernelLog() ([]byte, error) {
	const readAll = 3 // SYSLOG_ACTION_READ_ALL, syslog(2)
	log := make([]byte, kernelLogBytesMax)
	n, err := unix.Klogctl(readAll, log)
	if err != nil {
		return nil, fmt.Errorf("read the kernel's log: %w", err)
	}
	return log[:n], nil
}

// agentSettings tell an agent where it is; they travel in agentVariable as "kind,address,host:port".
type agentSettings struct {
	Kind    Kind
	Address string // the guest's own
	Host    string // where the host listens for the agent
}

func (s agentSettings) String() string { return string(s.Kind) + "," + s.Address + "," + s.Host }

func parseAgentSettings(text string) (agentSettings, error) {
	parts := strings.Split(text, ",")
	if len(parts) != 3 || (parts[0] != string(UML) && parts[0] != string(Native)) || net.ParseIP(parts[1]).To4() == nil {
		return agentSettings{}, fmt.Errorf("%s=%q is not kind,address,host:port", agentVariable, text)
	}
	return agentSettings{Kind: Kind(parts[0]), Address: parts[1], Host: parts[2]}, nil
}
