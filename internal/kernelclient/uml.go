package kernelclient

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

//go:embed shim/xstate.c
var xstateSource []byte

// needsXstateShim reports whether user-mode Linux 6.1 needs shim/xstate.c on this processor.
func needsXstateShim() bool { return cpu.X86.HasAMXTile }

func compiler() (string, error) {
	for _, name := range []string{"cc", "gcc", "clang", "tcc"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no C compiler: install the Debian package gcc")
}

// buildXstateShim compiles shim/xstate.c into dir and returns the library.
func buildXstateShim(ctx context.Context, dir string) (string, error) {
	library := filepath.Join(dir, "xstate.so")
	if _, err := os.Stat(library); err == nil {
		return library, nil
	}
	cc, err := compiler()
	if err != nil {
		return "", err
	}
	source := filepath.Join(dir, "xstate.c")
	if err := os.WriteFile(source, xstateSource, 0o600); err != nil {
		return "", fmt.Errorf("write the source of the register-state shim: %w", err)
	}
	if out, err := exec.CommandContext(ctx, cc, "-O2", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the register-state shim for user-mode Linux: %w: %s", err, bytes.TrimSpace(out))
	}
	return library, nil
}

// umlModuleDir is the module directory of the installed user-mode Linux kernel.
func umlModuleDir(ctx context.Context) (string, error) {
	release, err := exec.CommandContext(ctx, umlKernel, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask user-mode Linux for its version: %w", err)
	}
	return filepath.Join(umlModuleRoot, strings.TrimSpace(string(release))), nil
}

// umlCommand is the user-mode Linux process of one guest. Its first process is this program, found through a symbolic link
// whose path has no white space, which the kernel command line could not carry.
func (n *Network) umlCommand(ctx context.Context, g *Guest, agent string) (*exec.Cmd, error) {
	init, err := n.agentLink()
	if err == nil && raceDetector {
		init, err = n.plainAgent(ctx)
	}
	if err != nil {
		return nil, err
	}
	mac := fmt.Sprintf("02:00:00:00:00:%02x", g.number)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), umlKernel, // it outlives its boot
		fmt.Sprintf("mem=%dM", g.options.MemoryMiB),
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init="+init,
		// A raw socket on one end of a veth pair, and no tap: on a busy host the guest misses the wake-up for about every
		// hundredth packet from a tap, and sees it when the server sends it again, 200 ms later. Without gro=1 large READs
		// stall and the log floods with messages about segmentation offload.
		"vec0:transport=raw,ifname="+g.wire()+",depth=128,gro=1,mac="+mac,
		"con=null", "con0=null,fd:1", "quiet", "loglevel=4", "uml_dir="+n.scratch+"/",
		agentVariable+"="+agent,
	)
	if g.options.Disk != "" {
		if strings.ContainsAny(g.options.Disk, " \t\n\",") {
			return nil, fmt.Errorf("the disk %q has white space or a comma in its path, which the command line of user-mode Linux cannot carry", g.options.Disk)
		}
		cmd.Args = append(cmd.Args, "ubd0="+g.options.Disk)
	}
	memory := memoryDir("/dev/shm", n.scratch, g.options.MemoryMiB)
	cmd.Env = append(os.Environ(), "HOME="+n.scratch, "TMPDIR="+memory, "TMP="+memory, "TEMP="+memory)
	if needsXstateShim() {
		shim, err := buildXstateShim(ctx, n.scratch)
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+shim)
	}
	// Processes of the guest are traced processes of the host. In a process namespace they all end with their tracer; were
	// they merely detached, they would go on as processes of the host, as root.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID, Setsid: true}
	return cmd, nil
}

// memoryDir is where user-mode Linux makes the file that is its memory: in shared memory, unless that is too small or lets
// nobody execute, as in a container it often does; then in the fallback, which is slower.
func memoryDir(shared, fallback string, mebibytes int) string {
	var st unix.Statfs_t
	if err := unix.Statfs(shared, &st); err != nil || st.Flags&unix.ST_NOEXEC != 0 {
		return fallback
	}
	if free := st.Bavail * uint64(st.Bsize); free>>20 < uint64(mebibytes) {
		return fallback
	}
	return shared
}

// nativeCommand is the agent as a process of this machine, with mounts and processes of its own.
func (n *Network) nativeCommand(ctx context.Context, agent string) (*exec.Cmd, error) {
	init, err := n.agentLink()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), init) // it outlives its boot
	cmd.Env = append(os.Environ(), agentVariable+"="+agent)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Setsid: true,
	}
	return cmd, nil
}

// agentLink is a path of this program without white space.
func (n *Network) agentLink() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program, which a guest runs: %w", err)
	}
	link := filepath.Join(n.scratch, "agent")
	if strings.ContainsAny(link, " \t\n\"") {
		return "", fmt.Errorf("the temporary directory %q has white space in its path, which the command line of user-mode Linux cannot carry: set TMPDIR", n.scratch)
	}
	if err := os.Symlink(self, link); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("link this program for the guest: %w", err)
	}
	return link, nil
}

// plainAgent builds this program once more without the race detector, whose shadow memory and system calls are too much for
// user-mode Linux.
func (n *Network) plainAgent(ctx context.Context) (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", errors.New("this program does not know its own package, and must be built again for the guest without the race detector")
	}
	agent := filepath.Join(n.scratch, "plain-agent")
	args := []string{"build", "-o", agent, info.Path}
	if testing.Testing() { // the path alone does not tell: that of a command's tests is the command's
		args = []string{"test", "-c", "-o", agent, strings.TrimSuffix(info.Path, ".test")}
	}
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s for the guest without the race detector: %w: %s", info.Path, err, bytes.TrimSpace(out))
	}
	return agent, nil
}
