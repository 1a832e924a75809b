package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bfsd/internal/sysmon"
)

// lifelineFD is the file descriptor on which a child holds the reading end of a pipe whose writing end its parent never
// writes to. It reads end-of-file when the parent ends, however it ends: no child outlives its bfsd up.
const lifelineFD = 3

// lifelineEnv tells a child that it has a lifeline.
const lifelineEnv = "BFSD_LIFELINE"

// child is one process of a cluster that bfsd up runs.
type child struct {
	name    string
	dir     string
	logPath string
	log     *childLog
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has ended
	err     error         // how it ended; set before done is closed
}

// startChild runs this same program with other arguments, and env besides this process's own environment. What it writes
// goes to dir/log.
func startChild(name, dir string, lifeline *os.File, env []string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting %s: finding this program: %w", name, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{name: name, dir: dir, logPath: filepath.Join(dir, "log"), done: make(chan struct{})}
	file, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: opening its log: %w", name, err)
	}
	c.log = &childLog{file: file}
	// The children's lives are ended by stop and by the lifeline, not by a context: a replica is told, then waited for.
	c.cmd = exec.Command(self, args...) //nolint:noctx // see above
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	c.cmd.ExtraFiles = []*os.File{lifeline}
	c.cmd.Env = append(sysmon.Environ(slices.Concat(env, os.Environ())), lifelineEnv+"=1")
	// A process group of its own: Ctrl-C reaches bfsd up alone, which then stops its children in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		file.Close()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	// The process writes its pid itself as soon as it has its directory; written here too, it is there before "ready" is.
	if err := os.WriteFile(filepath.Join(dir, "pid"), fmt.Appendln(nil, c.cmd.Process.Pid), 0o644); err != nil {
		fmt.Fprintf(os.Stderr, "bfsd: writing the pid of %s: %v\n", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		file.Close()
		close(c.done)
	}()
	return c, nil
}

// exited reports whether the process has ended.
func (c *child) exited() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// how tells how the process ended, in words.
func (c *child) how() string {
	var exit *exec.ExitError
	if errors.As(c.err, &exit) {
		return exit.String()
	}
	if c.err != nil {
		return c.err.Error()
	}
	return "exit status 0"
}

// childLog keeps what a process says: in its log file, and the end of it in memory, since the reason for which it ends may
// be that the disk is full.
type childLog struct {
	file *os.File

	mu  sync.Mutex
	end []byte
}

// Write never fails: a process must not die because its words cannot be kept.
func (l *childLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = append(l.end, p...)
	if extra := len(l.end) - 4096; extra > 0 {
		l.end = slices.Delete(l.end, 0, extra)
	}
	_, _ = l.file.Write(p)
	return len(p), nil
}

// lastWords returns the end of what the process said, for a message that has to say why it ended.
func (c *child) lastWords() string {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	lines := strings.Split(string(bytes.TrimSpace(c.log.end)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// stopChildren ends the processes: SIGTERM to all, then SIGKILL to those that have not ended within the grace period.
func stopChildren(children []*child, grace time.Duration) {
	for _, c := range children {
		if !c.exited() {
			_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile; done tells
		}
	}
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	for _, c := range children {
		select {
		case <-c.done:
		case <-deadline.C:
			deadline.Reset(0)
			_ = c.cmd.Process.Kill()
			<-c.done
		}
		c.removePid()
	}
}

// removePid removes the pid file, unless it is that of a process which somebody else started in place of this one.
func (c *child) removePid() {
	path := filepath.Join(c.dir, "pid")
	if text, err := os.ReadFile(path); err == nil && string(text) == fmt.Sprintln(c.cmd.Process.Pid) {
		_ = os.Remove(path) // a file that stays says nothing wrong: the pid is of no process of ours
	}
}

// withLifeline returns a context that ends when the parent process does, if it gave this one a lifeline.
func withLifeline(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if os.Getenv(lifelineEnv) == "" {
		return ctx, cancel
	}
	pipe := os.NewFile(lifelineFD, "lifeline")
	go func() {
		_, _ = io.Copy(io.Discard, pipe) // returns at end-of-file, or at once if there is no such descriptor
		cancel()
	}()
	return ctx, cancel
}
