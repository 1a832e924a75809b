package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopTimeout    = 20 * time.Second
	serverLogBytes = 64 << 10
	serverLogLines = 30
)

// process is a program that the benchmark runs, and will stop.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *serverLog
	done chan struct{}
	err  error // how it ended, once done
}

// startProcess starts a command that a launcher made.
func startProcess(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, log: &serverLog{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ended is an error if the process has ended.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended while it was in use: %w\nits output:\n%s", p.name, errOr(p.err, "exit status 0"), p.log.tail())
	default:
		return nil
	}
}

// stop ends the process with SIGTERM and reports one that did not end well.
func (p *process) stop() error {
	if err := p.ended(); err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s stopped badly: %w\nits output:\n%s", p.name, p.err, p.log.tail())
		}
		return nil
	case <-timer.C:
		_ = p.cmd.Process.Kill() // it may end this moment
		<-p.done
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed\nits output:\n%s", p.name, stopTimeout, p.log.tail())
	}
}

func errOr(err error, text string) error {
	if err == nil {
		return errors.New(text)
	}
	return err
}

// serverLog keeps the end of a server's output.
type serverLog struct {
	mu   sync.Mutex
	kept []byte
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, p...)
	if extra := len(l.kept) - serverLogBytes; extra > 0 {
		l.kept = bytes.Clone(l.kept[extra:])
	}
	return len(p), nil
}

func (l *serverLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	scan := bufio.NewScanner(bytes.NewReader(l.kept))
	scan.Buffer(nil, serverLogBytes+1)
	for scan.Scan() {
		lines = append(lines, "  "+scan.Text())
	}
	return strings.Join(lines[max(0, len(lines)-serverLogLines):], "\n")
}
