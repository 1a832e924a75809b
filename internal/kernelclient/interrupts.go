package kernelclient

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// interruptInterval is how long a guest may go without the interrupts it has lost.
const interruptInterval = 100 * time.Millisecond

// repeatInterrupts sends a user-mode Linux process, until stop is closed, the signals that are its timer and device interrupts,
// and so makes up for those it has lost.
//
// It does lose some. Where interrupts are enabled again (unblock_signals, arch/um/os-Linux/signal.c of Linux 6.1), those that
// came meanwhile are taken off a list: signals_pending is read and cleared, then signals_enabled is cleared. The compiler has
// turned the two stores round, for nothing forbids it: a signal between them finds interrupts disabled, joins the list, and
// is cleared with it. A lost packet's interrupt delays what the next packet brings along. A lost timer interrupt stops the
// guest's time: its timer fires once, is set again when it has fired, and is not set for anything later than what it already
// waits for. Whoever sleeps in the guest then sleeps for ever, its coarse clock and jiffies stand, it idles at full speed, and
// since it measures by jiffies how often it may answer a TCP keep-alive, it answers one of them, and no more.
//
// Both handlers look for what there is to do, and find nothing when nothing was lost. The process is the first of its namespace:
// before it has handlers the signals do nothing.
func repeatInterrupts(guest *os.Process, stop <-chan struct{}) {
	ticker := time.NewTicker(interruptInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			for _, interrupt := range []os.Signal{unix.SIGALRM, unix.SIGIO} {
				if err := guest.Signal(interrupt); err != nil {
					return // the process has ended
				}
			}
		}
	}
}
