package kernelclient

import (
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// prepare turns what the kernel gave the agent into a machine to work on: fresh file systems where programs write, its own
// view of processes, and, in user-mode Linux, the network.
func (s agentSettings) prepare() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("%s is set, but this process is not the first of its guest", agentVariable)
	}
	if s.Kind == Native {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make the mounts private: %w", err)
		}
	}
	mounts := []struct{ what, dir, data string }{{"proc", "/proc", ""}, {"tmpfs", mountRoot, "mode=755"}}
	if s.Kind == UML {
		mounts = append(mounts, struct{ what, dir, data string }{"sysfs", "/sys", ""}, struct{ what, dir, data string }{"tmpfs", "/run", "mode=755"})
	}
	for _, m := range mounts {
		if err := unix.Mount(m.what, m.dir, m.what, 0, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.what, m.dir, err)
		}
	}
	if err := prepareEnvironment(); err != nil {
		return err
	}
	if s.Kind == Native {
		return nil
	}
	// The name goes into the AUTH_SYS credentials of every call, and tells one client from another.
	if err := unix.Sethostname([]byte("guest-" + strings.ReplaceAll(s.Address, ".", "-"))); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := interfaceUp("lo", "127.0.0.1", "255.0.0.0"); err != nil {
		return err
	}
	return interfaceUp("vec0", s.Address, "255.255.255.0")
}

// prepareEnvironment gives programs a writable temporary directory and a search path.
func prepareEnvironment() error {
	temp := mountRoot + "/tmp"
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o777|os.ModeSticky); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"TMPDIR": temp, "HOME": temp,
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// interfaceUp gives a network interface its IPv4 address and turns it on (netdevice(7)).
func interfaceUp(name, address, mask string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	defer unix.Close(socket)
	ifreq, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	for _, set := range []struct {
		ioctl uint
		ip    string
	}{{unix.SIOCSIFADDR, address}, {unix.SIOCSIFNETMASK, mask}} {
		if err := ifreq.SetInet4Addr(net.ParseIP(set.ip).To4()); err != nil {
			return fmt.Errorf("address %s of %s: %w", set.ip, name, err)
		}
		if err := unix.IoctlIfreq(socket, set.ioctl, ifreq); err != nil {
			return fmt.Errorf("set %s on %s: %w", set.ip, name, err)
		}
	}
	ifreq.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, ifreq); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	return nil
}

// powerOff ends the guest. What its mounts had not written is lost: the host unmounts first what it wants kept. In a
// process namespace without a kernel of its own, the end of the first process ends all others and the mounts.
func (s agentSettings) powerOff() {
	if s.Kind == UML {
		err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		fmt.Fprintln(os.Stderr, "kernelclient agent: power off:", err)
	}
	os.Exit(0)
}
