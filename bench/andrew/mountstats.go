package main

import (
	"bytes"
	"strconv"
)

// countRPCs adds up the operations of all procedures of one NFS mount in the text of /proc/self/mountstats. A mount's
// section starts with "device SOURCE mounted on DIR with fstype nfs ..."; after "per-op statistics" comes a line for each
// procedure, whose first number counts the operations.
func countRPCs(stats []byte, mountPoint string) (n uint64, ok bool) {
	ours, perOp := false, false
	for line := range bytes.Lines(stats) {
		fields := bytes.Fields(line)
		switch {
		case len(fields) >= 8 && string(fields[0]) == "device":
			ours = string(fields[2]) == "mounted" && string(fields[4]) == mountPoint && bytes.HasPrefix(fields[7], []byte("nfs"))
			perOp = false
		case !ours:
		case len(fields) == 2 && string(fields[0]) == "per-op":
			perOp, ok = true, true
			n = 0 // of mounts on top of each other, the last counts
		case perOp && len(fields) > 1 && bytes.HasSuffix(fields[0], []byte(":")):
			count, err := strconv.ParseUint(string(fields[1]), 10, 64)
			if err != nil {
				return 0, false
			}
			n += count
		}
	}
	return n, ok
}
