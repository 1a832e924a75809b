package kernelclient

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MountOptions say what to mount and how. Only Server and Port are required.
type MountOptions struct {
	Server string // IP address of the server
	Port   int    // TCP port of the NFS program
	// MountPort is the TCP port of the MOUNT program; 0 means Port.
	MountPort int
	Export    string // path on the server; empty means "/"
	// ReadBytes and WriteBytes are rsize and wsize; 0 means 1 MiB.
	ReadBytes, WriteBytes int
	// Soft gives calls up after a few retries instead of waiting for the server for ever.
	Soft bool
	// Locks takes locks from the server (NLM), which needs Guest.StartLocking first. Without it they hold in the guest alone.
	Locks bool
	// ReadOnly mounts for reading only; the client then refuses what would change something.
	ReadOnly bool
	// Extra options are appended as they are: "noac", "actimeo=0", "timeo=50".
	Extra []string
}

// defaultTransferBytes is the largest READ and WRITE of the Linux client.
const defaultTransferBytes = 1 << 20

// source is the device of the mount: server and path.
func (o MountOptions) source() string {
	export := o.Export
	if export == "" {
		export = "/"
	}
	return o.Server + ":" + export
}

// data is the option string that the kernel's NFS client parses itself (Documentation: nfs(5)); no mount.nfs is needed.
func (o MountOptions) data() (string, error) {
	if _, err := netip.ParseAddr(o.Server); err != nil {
		return "", fmt.Errorf("mount from %q: the server must be an IP address: %w", o.Server, err)
	}
	for _, port := range []int{o.Port, o.mountPort()} {
		if port < 1 || port > 65535 {
			return "", fmt.Errorf("mount from %s: %d is no TCP port", o.Server, port)
		}
	}
	options := []string{
		"vers=3", "proto=tcp", "nolock", "addr=" + o.Server, "port=" + strconv.Itoa(o.Port),
		"mountvers=3", "mountproto=tcp", "mountaddr=" + o.Server, "mountport=" + strconv.Itoa(o.mountPort()),
		"rsize=" + strconv.Itoa(orDefault(o.ReadBytes, defaultTransferBytes)),
		"wsize=" + strconv.Itoa(orDefault(o.WriteBytes, defaultTransferBytes)),
	}
	if o.Locks {
		options[2] = "lock"
	}
	if o.Soft {
		options = append(options, "soft")
	} else {
		options = append(options, "hard")
	}
	return strings.Join(append(options, o.Extra...), ","), nil
}

func (o MountOptions) mountPort() int { return orDefault(o.MountPort, o.Port) }

func orDefault(value, fallback int) int {
	if value == 0 {
		return fallback
	}
	return value
}
