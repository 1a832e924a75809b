package kernelclient

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startUserModeLinux starts a small guest of that kind, or skips the test.
func startUserModeLinux(t *testing.T, options GuestOptions) *Guest {
	t.Helper()
	n := newNetwork(t)
	if err := UserModeLinux(); err != nil {
		t.Skip(err)
	}
	options.Kind, options.MemoryMiB = UML, 256
	return startGuest(t, n, options)
}

// A timer interrupt that a guest loses, as its kernel does now and then, costs it a moment and not its life.
func TestAGuestThatLosesTimerInterruptsGoesOn(t *testing.T) {
	t.Parallel()
	g := startUserModeLinux(t, GuestOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var naps, losing error
	var both sync.WaitGroup
	both.Go(func() { naps = g.Call(ctx, "naps", 1000, nil, nil) }) // some seconds, which nothing but the timer ends
	both.Go(func() {
		// A process of its own, because this one waits for the guest's end, and would be told of each of its stops.
		debugger := exec.CommandContext(ctx, os.Args[0])
		debugger.Env = append(os.Environ(), fmt.Sprintf("%s=%d", loseVariable, g.cmd.Process.Pid))
		if out, err := debugger.CombinedOutput(); err != nil {
			losing = fmt.Errorf("take %d timer interrupts from the guest: %w: %s", lostInterrupts, err, out)
		}
	})
	both.Wait()
	if err := errors.Join(naps, losing); err != nil {
		t.Error(err)
	}
}

// loseVariable makes the test binary a program that takes lostInterrupts timer interrupts from the user-mode Linux process
// with this number.
const (
	loseVariable   = "KERNELCLIENT_TEST_LOSE_INTERRUPTS_OF"
	lostInterrupts = 5
)

// loseTimerInterrupts takes so many signals of its timer from a user-mode Linux process, as its debugger.
func loseTimerInterrupts(number string, count int) error {
	pid, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // a debugger is a thread
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return fmt.Errorf("debug the guest: %w", err)
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return fmt.Errorf("stop the guest: %w", err)
	}
	const timer = -2 // SI_TIMER, sigaction(2)
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			return fmt.Errorf("wait for the guest to stop: %w", err)
		}
		if !status.Stopped() {
			return fmt.Errorf("the guest ended: status %#x", uint32(status))
		}
		pass := int(status.StopSignal())
		switch {
		case status.TrapCause() > 0: // stopped by this debugger
			pass = 0
		case status.StopSignal() == unix.SIGALRM:
			code, err := signalCode(pid)
			if err != nil {
				return err
			}
			if code == timer {
				pass = 0
				count--
			}
		}
		if count == 0 {
			if err := unix.PtraceDetach(pid); err != nil { // in place of this signal
				return fmt.Errorf("let the guest go: %w", err)
			}
			return nil
		}
		if err := unix.PtraceCont(pid, pass); err != nil {
			return fmt.Errorf("continue the guest: %w", err)
		}
	}
}

// signalCode is who sent the signal that a debugged process has stopped for (si_code).
func signalCode(pid int) (int32, error) {
	var info unix.Siginfo
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GETSIGINFO, uintptr(pid), 0, uintptr(unsafe.Pointer(&info)), 0, 0); errno != 0 {
		return 0, fmt.Errorf("ask where a signal of the guest comes from: %w", errno)
	}
	return info.Code, nil
}

func TestAFrozenGuestIsReportedWithWhatItsProcessesDo(t *testing.T) {
	t.Parallel()
	g := startUserModeLinux(t, GuestOptions{SilenceMax: 4 * time.Second, HangGrace: time.Second})
	if err := unix.Kill(g.cmd.Process.Pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err := g.Call(t.Context(), "wait", nil, nil, nil)
	if err == nil {
		t.Fatal("a stopped guest answered")
	}
	if !errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("not told as a time-out: %v", err)
	}
	for _, want := range []string{"it froze: it answered nothing for 4s", "T (stopped), 0 ms of processor time in 200ms", "t (tracing stop)", "its console:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %q in the report", want)
		}
	}
	t.Log(err)
}
