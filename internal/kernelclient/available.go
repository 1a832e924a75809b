package kernelclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"bfsd/internal/netns"
)

// umlKernel and umlModuleRoot are where Debian's package user-mode-linux puts its kernel.
const (
	umlKernel     = "linux.uml"
	umlModuleRoot = "/usr/lib/uml/modules"
)

// Available tells why no guest can be made on this machine, naming what to install; nil when one can.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("a kernel NFS client needs root, for a network namespace: run as root")
	}
	missing := netns.MissingPackages()
	if !nativeNFS() {
		missing = append(missing, missingForUML()...)
	}
	if len(missing) > 0 {
		return fmt.Errorf("a kernel NFS client needs packages that are not installed: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

// UserModeLinux tells why no guest of the kind UML can be made on this machine, naming what to install; nil when one can.
func UserModeLinux() error {
	if os.Geteuid() != 0 {
		return errors.New("user-mode Linux on a network needs root, for a network namespace: run as root")
	}
	if missing := append(netns.MissingPackages(), missingForUML()...); len(missing) > 0 {
		return fmt.Errorf("user-mode Linux needs packages that are not installed: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

func missingForUML() (packages []string) {
	if _, err := exec.LookPath(umlKernel); err != nil {
		packages = append(packages, "user-mode-linux")
	}
	if needsXstateShim() {
		if _, err := compiler(); err != nil {
			packages = append(packages, "gcc")
		}
	}
	return packages
}

// nativeNFS reports whether this machine's own kernel has an NFS client, loading its modules if they are there.
func nativeNFS() bool {
	if hasFileSystem("nfs") {
		return true
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	release := unix.ByteSliceToString(name.Release[:])
	if _, err := readModuleOrder("/lib/modules/"+release+"/modules.dep", "nfs", "nfsv3"); err != nil {
		return false
	}
	// A container may see the modules and still not be allowed to load them; the list of file systems tells.
	_ = exec.CommandContext(context.Background(), "modprobe", "-a", "nfs", "nfsv3").Run()
	return hasFileSystem("nfs")
}

func hasFileSystem(name string) bool {
	list, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return false
	}
	for line := range bytes.Lines(list) {
		fields := strings.Fields(string(line))
		if len(fields) > 0 && fields[len(fields)-1] == name {
			return true
		}
	}
	return false
}
