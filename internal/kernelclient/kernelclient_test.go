package kernelclient

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestModuleOrder(t *testing.T) {
	const dep = "fs/nfs.ko: net/sunrpc.ko fs/lockd.ko\nfs/nfsv3.ko.xz: fs/nfs.ko fs/lockd.ko net/sunrpc.ko\nfs/lockd.ko: net/sunrpc.ko\nnet/sunrpc.ko:\n"
	for _, test := range []struct {
		name, dep string
		modules   []string
		want      []string
		err       string
	}{
		{"dependencies first, each once", dep, []string{"nfs", "nfsv3"}, []string{"net/sunrpc.ko", "fs/lockd.ko", "fs/nfs.ko", "fs/nfsv3.ko.xz"}, ""},
		{"no dependencies", dep, []string{"sunrpc"}, []string{"net/sunrpc.ko"}, ""},
		{"unknown module", dep, []string{"ext4"}, nil, "no module named ext4"},
		{"circle", "a.ko: b.ko\nb.ko: a.ko\n", []string{"a"}, nil, "depends on itself"},
		{"garbage", "no colon here\n", []string{"a"}, nil, "no colon"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := moduleOrder(strings.NewReader(test.dep), test.modules...)
			if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func FuzzModuleOrder(f *testing.F) {
	f.Add("a.ko: b.ko\nb.ko:\n", "a")
	f.Add("a.ko: a.ko\n", "a")
	f.Fuzz(func(t *testing.T, dep, name string) {
		order, err := moduleOrder(strings.NewReader(dep), name)
		if err == nil && moduleName(order[len(order)-1]) != name {
			t.Errorf("the last of %q is not the module asked for, %q", order, name)
		}
	})
}

func TestMountOptionsData(t *testing.T) {
	data, err := MountOptions{Server: "10.0.0.1", Port: 2049, MountPort: 635, Extra: []string{"noac"}}.data()
	const want = "vers=3,proto=tcp,nolock,addr=10.0.0.1,port=2049,mountvers=3,mountproto=tcp,mountaddr=10.0.0.1,mountport=635,rsize=1048576,wsize=1048576,hard,noac"
	if err != nil || data != want {
		t.Errorf("got  %s, %v\nwant %s", data, err, want)
	}
	data, err = MountOptions{Server: "10.0.0.1", Port: 99, ReadBytes: 4096, WriteBytes: 8192, Soft: true}.data()
	if err != nil || !strings.HasSuffix(data, "mountport=99,rsize=4096,wsize=8192,soft") {
		t.Errorf("got %s, %v", data, err)
	}
	for _, bad := range []MountOptions{{Server: "host", Port: 1}, {Server: "10.0.0.1"}, {Server: "10.0.0.1", Port: 70000}, {Server: "10.0.0.1", Port: 1, MountPort: -1}} {
		if data, err := bad.data(); err == nil {
			t.Errorf("%+v gave %s", bad, data)
		}
	}
}

func TestReadFrame(t *testing.T) {
	var wire bytes.Buffer
	w := frameWriter{w: &wire}
	sent := response{ID: 7, Stdout: bytes.Repeat([]byte{0, '\n', 255}, 100000), Done: true, Exit: 3}
	if err := w.write(sent); err != nil {
		t.Fatal(err)
	}
	var got response
	if err := readFrame(bufio.NewReader(&wire), &got); err != nil || got.ID != 7 || got.Exit != 3 || !got.Done || !bytes.Equal(got.Stdout, sent.Stdout) {
		t.Errorf("got id %d, exit %d, %d bytes, %v", got.ID, got.Exit, len(got.Stdout), err)
	}
	for name, line := range map[string]string{
		"too long": `{"id":1,"error":"` + strings.Repeat("x", frameBytesMax) + "\"}\n",
		"cut off":  `{"id":1`,
		"not JSON": "hello\n",
	} {
		if err := readFrame(bufio.NewReader(strings.NewReader(line)), &got); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := w.write(response{Stdout: make([]byte, frameBytesMax)}); err == nil {
		t.Error("wrote a frame that the other side refuses")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte(`{"id":1,"op":"exec","exec":{"args":["true"]}}` + "\n"))
	f.Add([]byte(`{"id":1,"done":true,"stdout":"AAAA"}` + "\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var req request
		if err := readFrame(bufio.NewReader(bytes.NewReader(line)), &req); err == nil && !bytes.ContainsRune(line, '\n') {
			t.Error("a line without an end was accepted")
		}
		var resp response
		_ = readFrame(bufio.NewReader(bytes.NewReader(line)), &resp) // any outcome but a panic
	})
}

func TestAgentSettings(t *testing.T) {
	want := agentSettings{Kind: UML, Address: "10.99.0.2", Host: "10.99.0.1:4000"}
	if got, err := parseAgentSettings(want.String()); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "uml,10.99.0.2", "vm,10.99.0.2,10.99.0.1:1", "uml,there,10.99.0.1:1", "uml,::1,10.99.0.1:1"} {
		if got, err := parseAgentSettings(bad); err == nil {
			t.Errorf("%q gave %+v", bad, got)
		}
	}
}

func TestConsoleKeepsTheEnd(t *testing.T) {
	var c console
	for i := range 20000 {
		if _, err := c.Write([]byte("line " + strconv.Itoa(i) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if text := c.String(); len(text) > consoleBytesMax || !strings.HasSuffix(text, "line 19999") {
		t.Errorf("kept %d bytes ending in %q", len(text), text[len(text)-20:])
	}
	if got := lastLines(c.String(), 2); got != "line 19998\nline 19999" {
		t.Errorf("last two lines: %q", got)
	}
	if got := lastLines("one\ntwo", 5); got != "one\ntwo" {
		t.Errorf("more lines than there are: %q", got)
	}
	if got := lastLines("", 5); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

func TestStaleScratchIsRemoved(t *testing.T) {
	dir := t.TempDir()
	// The largest process id that Linux allows is 4194304, so the first of these never lives.
	stale := filepath.Join(dir, scratchPrefix+"4194305-1")
	mine := filepath.Join(dir, scratchPrefix+strconv.Itoa(os.Getpid())+"-1")
	other := filepath.Join(dir, scratchPrefix+"name-1")
	for _, path := range []string{stale, mine, other} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeStaleScratch(dir)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || !slices.Equal(left, []string{mine, other}) {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestAvailableNamesWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Available()
	if err == nil {
		t.Fatal("a guest can be made without any program")
	}
	wants := []string{"apt-get install", "iproute2", "util-linux"}
	if !nativeNFS() {
		wants = append(wants, "user-mode-linux")
	}
	if os.Geteuid() != 0 {
		wants = []string{"root"}
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestMemoryDir(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		shared    string
		mebibytes int
		want      string
	}{
		{dir, 1, dir},
		{dir, 1 << 40, "fallback"}, // no disk has an exbibyte
		{filepath.Join(dir, "missing"), 1, "fallback"},
		{"/proc", 1, "fallback"}, // has no room at all
	} {
		if got := memoryDir(test.shared, "fallback", test.mebibytes); got != test.want {
			t.Errorf("%d MiB in %s: %s, want %s", test.mebibytes, test.shared, got, test.want)
		}
	}
}
