// Package crowd knows how the processes of a cluster share a machine with fewer cores than there are processes. It does
// not know what they do.
package crowd

import (
	"fmt"
	"runtime"

	"bfsd/replica/config"
)

// Environ is the environment of each of a cluster's processes where they share fewer cores than there are processes: one
// thread each for Go code spares the hand-overs between threads, a seventh of an ordered call's time on two cores. Not
// with a log on disk, where the thread would wait for the disk. The user's own GOMAXPROCS wins, if it comes later.
func Environ(processes int, durability config.Durability) []string {
	return environ(processes, runtime.NumCPU(), durability)
}

func environ(processes, cores int, durability config.Durability) []string {
	if durability != config.Memory || cores >= processes {
		return nil
	}
	return []string{fmt.Sprintf("GOMAXPROCS=%d", (2*cores+processes-1)/processes)}
}
