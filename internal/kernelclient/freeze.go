package kernelclient

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// defaultSilenceMax is how long a guest may answer nothing, not even a TCP keep-alive, before it is taken for frozen. Its kernel
	// answers them without any program's help.
	defaultSilenceMax = time.Minute
	keepAlives        = 4 // within that time
	// stateInterval is how long the processes of a frozen guest are watched: do they sleep or spin?
	stateInterval  = 200 * time.Millisecond
	processesShown = 40
)

// limitSilence makes reads from a guest's connection fail when it has answered nothing for so long.
func limitSilence(conn net.Conn, silence time.Duration) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("notice a frozen guest: its connection is a %T, no TCP connection", conn)
	}
	each := max(time.Second, silence/keepAlives)
	if err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: each, Interval: each, Count: keepAlives - 1}); err != nil {
		return fmt.Errorf("notice a frozen guest by keep-alives: %w", err)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return fmt.Errorf("notice a frozen guest by what it does not acknowledge: %w", err)
	}
	var setErr error
	err = raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	})
	if err := errors.Join(err, setErr); err != nil {
		return fmt.Errorf("notice a frozen guest by what it does not acknowledge: %w", err)
	}
	return nil
}

// connectionLost says why a guest's connection ended; of a guest that was silent, with all one needs to find out why.
func (g *Guest) connectionLost(err error) error {
	err = fmt.Errorf("connection to its agent: %w", err)
	if !errors.Is(err, unix.ETIMEDOUT) {
		return err
	}
	return fmt.Errorf("it froze: it answered nothing for %v: %w%s", g.options.SilenceMax, err, g.processStates())
}

// processStates tells what the processes of a guest are doing, as the host sees them. The first is its kernel, those that are
// traced are its programs'.
func (g *Guest) processStates() string {
	pids := descendants(g.cmd.Process.Pid)
	before := make([]uint64, len(pids))
	for i, pid := range pids {
		if s, err := readProcessState(pid); err == nil {
			before[i] = s.ticks
		}
	}
	time.Sleep(stateInterval) // what passes in it is measured
	var b strings.Builder
	for i, pid := range pids {
		s, err := readProcessState(pid)
		if err != nil {
			continue // it has ended
		}
		fmt.Fprintf(&b, "\n%d: %s, %d ms of processor time in %v, waits in %s, system call %s, signals pending %s blocked %s, host's stack: %s",
			pid, s.state, (s.ticks-before[i])*1000/clockTicks, stateInterval, s.waits, s.call, s.pending, s.blocked, s.stack)
	}
	if b.Len() == 0 {
		return ""
	}
	return "\nits processes, the kernel first:" + b.String()
}

// descendants returns a process and the first of all it has started, by what /proc knows.
func descendants(root int) []int {
	found := []int{root}
	for i := 0; i < len(found) && len(found) < processesShown; i++ {
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", found[i]))
		if err != nil {
			return found
		}
		for _, list := range lists {
			for field := range strings.FieldsSeq(readProc(list)) {
				if pid, err := strconv.Atoi(field); err == nil && !slices.Contains(found, pid) {
					found = append(found, pid)
				}
			}
		}
	}
	return found[:min(len(found), processesShown)]
}

// clockTicks are those of /proc/PID/stat in a second (USER_HZ).
const clockTicks = 100

type processState struct {
	state            string
	ticks            uint64 // of processor time
	waits, call      string // kernel function, number and arguments of the system call
	pending, blocked string // signal masks
	stack            string
}

// readProcessState reads what /proc tells about a process (proc(5)).
func readProcessState(pid int) (processState, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return processState{}, fmt.Errorf("look at a guest's process: %w", err)
	}
	s := processState{waits: orDash(readProc(dir + "/wchan")), call: orDash(readProc(dir + "/syscall"))}
	// The name, in parentheses, may have anything in it. After it: state, ten more, then user and system time.
	rest := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(rest) > 12 {
		for _, field := range rest[11:13] {
			if n, err := strconv.ParseUint(field, 10, 64); err == nil {
				s.ticks += n
			}
		}
	}
	for line := range strings.Lines(readProc(dir + "/status")) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "State":
			s.state = value
		case "ShdPnd":
			s.pending = value
		case "SigBlk":
			s.blocked = value
		}
	}
	s.stack = orDash(strings.Join(strings.Fields(strings.ReplaceAll(readProc(dir+"/stack"), "[<0>]", "")), " "))
	return s, nil
}

// readProc is what is in a file of /proc, without white space around it; nothing if it cannot be read.
func readProc(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
