package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the processor time that a process has used so far, in user and system mode, all threads, those that ended too
// (clock_getcpuclockid(3); the clock of a process is made from its number in this way by Linux).
func cpuTime(pid int) (time.Duration, error) {
	const schedClock, pidMax = 2, 1 << 22
	if pid < 1 || pid > pidMax {
		return 0, fmt.Errorf("reading the processor time of process %d: there is no such process", pid)
	}
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// cpuTimes is cpuTime of several.
func cpuTimes(pids []int) ([]time.Duration, error) {
	times := make([]time.Duration, len(pids))
	for i, pid := range pids {
		var err error
		if times[i], err = cpuTime(pid); err != nil {
			return nil, err
		}
	}
	return times, nil
}
