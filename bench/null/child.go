package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bfsd/internal/sysmon"
)

// stopGrace is how long a process gets to end when its input does.
const stopGrace = 10 * time.Second

// child is a process in another role, as the benchmark sees it.
type child struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan answer // closed at the end of its output
	stderr  *tail
	killed  atomic.Bool // by kill
	done    chan struct{}
	err     error // how it ended; set before done is closed
}

// startChild starts this program in a role, with environment variables besides this process's, and hands it a file as
// its descriptor listenerFD unless that is nil.
func startChild(name, role string, env []string, inherited *os.File) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting %s: finding this program: %w", name, err)
	}
	c := &child{name: name, answers: make(chan answer, 1), stderr: &tail{}, done: make(chan struct{})}
	c.cmd = exec.Command(self) //nolint:noctx // its life ends with its input, or by stop
	c.cmd.Env = append(sysmon.Environ(slices.Concat(env, os.Environ())), roleVariable+"="+role)
	c.cmd.Stderr = c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the benchmark alone
	if inherited != nil {
		c.cmd.ExtraFiles = []*os.File{inherited}
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go c.read(out)
	return c, nil
}

// read takes the process's answers until it ends.
func (c *child) read(out io.Reader) {
	lines := json.NewDecoder(out)
	for {
		var a answer
		if lines.Decode(&a) != nil {
			break
		}
		c.answers <- a
	}
	close(c.answers)
	c.err = c.cmd.Wait()
	close(c.done)
}

// send gives an order, to be answered on answers.
func (c *child) send(order any) error {
	if err := json.NewEncoder(c.in).Encode(order); err != nil {
		return fmt.Errorf("ordering %s: %w", c.name, errors.Join(err, c.lastWords()))
	}
	return nil
}

// receive waits for the answer to an order, or an event before it.
func (c *child) receive(ctx context.Context, value any) (event string, err error) {
	select {
	case a, ok := <-c.answers:
		switch {
		case !ok:
			return "", fmt.Errorf("%s has ended: %w", c.name, c.lastWords())
		case a.Error != "":
			return "", fmt.Errorf("%s: %s", c.name, a.Error)
		case a.Event != "":
			return a.Event, nil
		}
		if err := json.Unmarshal(a.Value, value); err != nil {
			return "", fmt.Errorf("reading the answer of %s: %w", c.name, err)
		}
		return "", nil
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for %s: %w", c.name, context.Cause(ctx))
	}
}

// ask gives an order and waits for its answer.
func (c *child) ask(ctx context.Context, order, value any) error {
	if err := c.send(order); err != nil {
		return err
	}
	event, err := c.receive(ctx, value)
	if err == nil && event != "" {
		return fmt.Errorf("%s answered with the event %q", c.name, event)
	}
	return err
}

// kill ends the process as a crash would.
func (c *child) kill() error {
	c.killed.Store(true)
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("killing %s: %w", c.name, err)
	}
	return nil
}

// stop ends the process by ending its input, and reports one that did not end well. What it still says is dropped.
func (c *child) stop() error {
	c.in.Close()
	go func() {
		for a := range c.answers {
			_ = a
		}
	}()
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-c.done:
		if c.err != nil && !c.killed.Load() {
			return fmt.Errorf("%s ended badly: %w", c.name, c.lastWords())
		}
		return nil
	case <-timer.C:
		_ = c.cmd.Process.Kill() // it may end this moment
		<-c.done
		return fmt.Errorf("%s did not end within %v and was killed: %w", c.name, stopGrace, c.lastWords())
	}
}

// lastWords is what the process said last, as an error.
func (c *child) lastWords() error {
	if words := c.stderr.String(); words != "" {
		return errors.New(words)
	}
	return errors.New("it said nothing")
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4096

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailBytes; extra > 0 {
		t.text = slices.Delete(t.text, 0, extra)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
