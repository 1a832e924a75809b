// Package sysmon keeps the Go runtime's monitor thread from falling asleep in processes that answer one small message after
// another.
//
// The runtime puts that thread (runtime.sysmon) to deep sleep whenever no goroutine runs, and the next system call wakes it
// through a futex: a second thread gets a core, polls for a millisecond, and sleeps again. A replica has nothing to do
// between any two messages, so it pays that for nearly each of them. Measured on two cores, four replicas and a gateway: a
// third of the processor time of an ordered call, and of a read. Where the thread is told not to sleep deeply it wakes a
// hundred times a second instead, whatever happens.
//
// The runtime has one switch for that: it does not sleep deeply while it traces the scheduler (GODEBUG=schedtrace=MS, see
// the documentation of package runtime). We ask for a trace every 24 days, the longest period there is; what the process
// prints to its standard error then is one line that begins with SCHED. Who sets schedtrace himself, to 0 or to anything
// else, has it his way.
package sysmon

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

const (
	variable = "GODEBUG"
	awake    = "schedtrace=2147483647" // milliseconds, an int32 in the runtime
)

// Environ is env with the setting that keeps the monitor thread of a Go process awake, unless env has one. Of a variable
// that is there twice the last counts, as for os/exec; it is the only one in what is returned.
func Environ(env []string) []string {
	var value string
	without := make([]string, 0, len(env)+1)
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, variable+"="); ok {
			value = v
		} else {
			without = append(without, e)
		}
	}
	switch {
	case isSet(value):
		return append(without, variable+"="+value)
	case value == "":
		return append(without, variable+"="+awake)
	default:
		return append(without, variable+"="+value+","+awake)
	}
}

func isSet(godebug string) bool {
	return slices.ContainsFunc(strings.Split(godebug, ","), func(s string) bool { return strings.HasPrefix(s, "schedtrace=") })
}

// Restart replaces this process by itself with the setting, which the runtime reads only when it starts: the process keeps
// its id, its arguments and its open files. It returns nil if there is nothing to do. Call it before anything else.
func Restart() error {
	if runtime.GOOS != "linux" || isSet(os.Getenv(variable)) {
		return nil
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, os.Args, Environ(os.Environ()))
	}
	return fmt.Errorf("starting this program again with %s=%s: %w", variable, awake, err)
}
