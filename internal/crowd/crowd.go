// Package crowd knows how the processes of a cluster share a machine with fewer cores than there are processes. It does
// not know what they do.
package crowd

import (
	"fmt"
	"runtime"
)

// Environ is the environment of each of a cluster's processes where they share fewer cores than there are processes: one
// thread each for Go code spares the hand-overs between threads, a seventh of an ordered call's time on two cores, and a
// fifth of the Andrew benchmark's with a log on disk: the runtime's monitor thread, which internal/sysmon keeps awake, lends
// the thread's place to another while it waits for the disk. The user's own GOMAXPROCS wins, if it comes later.
func Environ(processes int) []string { return environ(processes, runtime.NumCPU()) }

func environ(processes, cores int) []string {
	if cores >= processes {
		return nil
	}
	return []string{fmt.Sprintf("GOMAXPROCS=%d", (2*cores+processes-1)/processes)}
}
