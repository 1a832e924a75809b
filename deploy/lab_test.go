package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
	"bfsd/internal/netlab"
)

// The lab is what the guide runs on: hosts with a network namespace, a process namespace and private copies of the
// directories that an administrator changes, and one with a kernel of its own, which mounts. Where the guide says ssh, scp and systemctl,
// stand-ins do what these do: the first two are this test's binary (see remote), the last is testdata/systemctl.

const (
	desk = "desk.example"
	// admin is where the guide's commands are typed.
	admin = "admin.example"
)

// private are the directories of which every host has its own copy or, with "", an empty one.
var private = map[string]string{"/etc": "/etc", "/usr/local": "", "/var/lib": "", "/root": ""}

type lab struct {
	t     *testing.T
	dir   string // of the hosts' files
	hosts map[string]*labHost
	guest *kernelclient.Guest // desk
	calls string              // the socket at which remote asks
}

// labHost is one host that is made of namespaces.
type labHost struct {
	*netlab.Host
	files  string // its private directories are below
	holder *exec.Cmd
	init   int // the host's first process, as this machine numbers it
}

func newLab(t *testing.T, names ...string) *lab {
	t.Helper()
	network := kerneltest.Network(t, kernelclient.UserModeLinux)
	net, err := netlab.On(t.Context(), network.Namespace(), kernelclient.Bridge, netip.MustParsePrefix(kernelclient.Address+"/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := net.Close(); err != nil {
			t.Error("closing the lab:", err)
		}
	})
	guest, err := network.StartGuest(t.Context(), kernelclient.GuestOptions{Kind: kernelclient.UML})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: t.TempDir(), hosts: map[string]*labHost{}, guest: guest}
	book := "127.0.0.1 localhost\n" + guest.Address() + " " + desk + "\n"
	octets := netip.MustParseAddr(kernelclient.Address).As4()
	names = append([]string{admin}, names...)
	for i, name := range names {
		octets[3] = byte(220 + i)
		book += netip.AddrFrom4(octets).String() + " " + name + "\n"
	}
	l.listen()
	for i, name := range names {
		octets[3] = byte(220 + i)
		host, err := net.AddHost(t.Context(), netip.AddrFrom4(octets))
		if err != nil {
			t.Fatal(err)
		}
		l.hosts[name] = l.boot(name, host, book)
	}
	l.prepareDesk(book)
	return l
}

// boot makes a host's files, and its first process, with which all its others end.
func (l *lab) boot(name string, host *netlab.Host, book string) *labHost {
	l.t.Helper()
	h := &labHost{Host: host, files: filepath.Join(l.dir, name)}
	script := "set -e\nmount --make-rprivate /\n"
	for _, dir := range slices.Sorted(maps.Keys(private)) {
		mine := filepath.Join(h.files, dir)
		if err := os.MkdirAll(mine, 0o755); err != nil {
			l.t.Fatal(err)
		}
		if from := private[dir]; from != "" {
			l.mustRun(exec.CommandContext(l.t.Context(), "cp", "-a", from+"/.", mine))
		}
		if dir != "/etc" && name == admin {
			continue // Go and its caches are there
		}
		script += fmt.Sprintf("mount --bind %s %s\n", mine, dir)
	}
	l.write(filepath.Join(h.files, "etc/hosts"), book, 0o644)
	l.write(filepath.Join(h.files, "etc/hostname"), name+"\n", 0o644)
	l.write(filepath.Join(h.files, "usr/local/sbin/systemctl"), read(l.t, "testdata/systemctl"), 0o755)
	script += "mkdir -p /usr/local/bin\necho booted\nwhile :; do sleep 1000 & wait; done\n"
	h.holder = host.Command(context.WithoutCancel(l.t.Context()), "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script)
	out, err := h.holder.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	var errs bytes.Buffer
	h.holder.Stderr = &errs
	if err := h.holder.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(h.die)
	said := make([]byte, len("booted\n"))
	if _, err := io.ReadFull(out, said); err != nil || string(said) != "booted\n" {
		h.die()
		l.t.Fatalf("%s does not boot: %v: %s%s", name, err, said, &errs)
	}
	children := fmt.Sprintf("/proc/%d/task/%d/children", h.holder.Process.Pid, h.holder.Process.Pid)
	if h.init, err = strconv.Atoi(strings.TrimSpace(read(l.t, children))); err != nil {
		l.t.Fatalf("the first process of %s: %v", name, err)
	}
	return h
}

// die ends all processes of the host at once, as the loss of the machine would.
func (h *labHost) die() {
	_ = h.holder.Process.Kill() // it may be dead
	_ = h.holder.Wait()         // as it was told
}

// prepareDesk gives the guest private directories. Its root is this machine's, read-only.
func (l *lab) prepareDesk(book string) {
	l.t.Helper()
	var script strings.Builder
	for _, dir := range slices.Sorted(maps.Keys(private)) {
		fmt.Fprintf(&script, "mkdir -p /run/lab%s\nmount -t tmpfs -o mode=755 tmpfs /run/lab%s\n", dir, dir)
		if from := private[dir]; from != "" {
			fmt.Fprintf(&script, "cp -a %s/. /run/lab%s/\n", from, dir)
		}
		fmt.Fprintf(&script, "mount --bind /run/lab%s %s\n", dir, dir)
	}
	script.WriteString("mkdir -p /usr/local/bin /usr/local/sbin\ncat > /usr/local/sbin/systemctl\nchmod 755 /usr/local/sbin/systemctl\n")
	fmt.Fprintf(&script, "cat > /etc/hosts <<'END'\n%sEND\n", book)
	var out bytes.Buffer
	exit, err := l.guest.Exec(l.t.Context(), kernelclient.Job{Args: []string{"sh", "-euc", script.String()}, Stdin: []byte(read(l.t, "testdata/systemctl"))}, &out, &out)
	if err != nil || exit != 0 {
		l.t.Fatalf("preparing %s: %v, exit code %d: %s", desk, err, exit, &out)
	}
}

// run runs a command line on a host, as root in its home directory, and gives what it prints and its exit code.
func (l *lab) run(ctx context.Context, host, command string, stdin []byte) (string, int, error) {
	var out bytes.Buffer
	command = "cd /root && " + command
	if host == desk {
		job := kernelclient.Job{Args: []string{"sh", "-c", command}, Env: []string{"HOME=/root"}}
		if len(stdin) > 0 { // too much to send, but the guest sees this machine's files
			f, err := os.CreateTemp(l.dir, "stdin-")
			if err != nil {
				return "", 0, err
			}
			defer os.Remove(f.Name())
			_, err = f.Write(stdin)
			if err := errors.Join(err, f.Close()); err != nil {
				return "", 0, err
			}
			job.Args = []string{"sh", "-c", "exec <" + f.Name() + "; " + command}
		}
		exit, err := l.guest.Exec(ctx, job, &out, &out)
		return out.String(), exit, err
	}
	h := l.hosts[host]
	if h == nil {
		return "ssh: Could not resolve hostname " + host + "\n", 255, nil
	}
	cmd := h.command(ctx, "sh", "-c", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out.String(), exit.ExitCode(), nil
	}
	return out.String(), 0, err
}

// command is a process on a host.
func (h *labHost) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(h.init), "--mount", "--pid", "--net", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	return cmd
}

func (l *lab) write(path, text string, mode os.FileMode) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) mustRun(cmd *exec.Cmd) {
	l.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// remoteVariable names the socket at which the stand-ins for ssh and scp ask the test.
const remoteVariable = "BFSD_LAB_SOCKET"

// remoteCall is what was typed, remoteAnswer what came of it.
type remoteCall struct {
	Args []string `json:"args"` // the program's name first
	Dir  string   `json:"dir"`
}

type remoteAnswer struct {
	Output string `json:"output"`
	Exit   int    `json:"exit"`
}

func TestMain(m *testing.M) {
	kernelclient.Agent(nil) // in a guest this never returns
	if socket := os.Getenv(remoteVariable); socket != "" {
		os.Exit(remote(socket))
	}
	os.Exit(m.Run())
}

// remote is ssh and scp in the lab.
func remote(socket string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "asking the lab:", err)
		return 255
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	dir, err := os.Getwd()
	if err != nil {
		return fail(err)
	}
	if err := json.NewEncoder(conn).Encode(remoteCall{append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), dir}); err != nil {
		return fail(err)
	}
	var a remoteAnswer
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return fail(err)
	}
	fmt.Print(a.Output)
	return a.Exit
}

// listen serves remote.
func (l *lab) listen() {
	l.t.Helper()
	l.calls = filepath.Join(l.dir, "calls")
	listener, err := net.Listen("unix", l.calls)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { listener.Close() })
	ctx := l.t.Context()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			go func() {
				defer conn.Close()
				var call remoteCall
				if err := json.NewDecoder(conn).Decode(&call); err != nil {
					return // the caller was killed
				}
				var a remoteAnswer
				switch call.Args[0] {
				case "ssh":
					a = l.ssh(ctx, call.Args[1:])
				case "scp":
					a = l.scp(ctx, call.Args[1:], call.Dir)
				default:
					a = remoteAnswer{"the lab has no " + call.Args[0] + "\n", 127}
				}
				_ = json.NewEncoder(conn).Encode(a) // the caller may have been killed
			}()
		}
	}()
}

// ssh runs a command on a host: ssh root@HOST COMMAND….
func (l *lab) ssh(ctx context.Context, args []string) remoteAnswer {
	host, isRoot := strings.CutPrefix(args[0], "root@")
	if !isRoot || len(args) < 2 {
		return remoteAnswer{"the lab's ssh takes root@HOST COMMAND\n", 255}
	}
	out, exit, err := l.run(ctx, host, strings.Join(args[1:], " "), nil)
	if err != nil {
		return remoteAnswer{out + err.Error() + "\n", 255}
	}
	return remoteAnswer{out, exit}
}

// scp copies files from the administrator's machine: scp [-r] FILE… root@HOST:DIR/.
func (l *lab) scp(ctx context.Context, args []string, dir string) remoteAnswer {
	args = slices.DeleteFunc(args, func(a string) bool { return a == "-r" })
	host, to, ok := strings.Cut(strings.TrimPrefix(args[len(args)-1], "root@"), ":")
	if !ok || !strings.HasSuffix(to, "/") || len(args) < 2 {
		return remoteAnswer{"the lab's scp takes [-r] FILE… root@HOST:DIR/\n", 255}
	}
	tar := []string{"--create", "--owner=0", "--group=0"}
	for _, file := range args[:len(args)-1] {
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		tar = append(tar, "-C", filepath.Dir(file), filepath.Base(file))
	}
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "tar", tar...)
	cmd.Stderr = &errs
	archive, err := cmd.Output()
	if err != nil {
		return remoteAnswer{fmt.Sprintf("scp: %v: %s", err, &errs), 1}
	}
	// As scp does, it wants the directory to be there.
	out, exit, err := l.run(ctx, host, fmt.Sprintf("cd '%s' && tar --extract --no-same-permissions", to), archive)
	if err != nil {
		return remoteAnswer{out + err.Error() + "\n", 255}
	}
	return remoteAnswer{out, exit}
}
