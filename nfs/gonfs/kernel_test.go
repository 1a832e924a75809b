package gonfs

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"bfsd/internal/kernelclient"
	"bfsd/internal/kernelclient/kerneltest"
)

// kernelScript is what users do, each line checked; the first that fails ends it and is named.
const kernelScript = `
set -e
trap 'echo "failed: $BASH_COMMAND"' ERR
cd "$1"
mkdir dir dir/sub
echo hello > dir/file
test "$(cat dir/file)" = hello
cp dir/file dir/copy
cmp dir/file dir/copy
ls -la dir > /dev/null
test "$(ls dir)" = "copy
file
sub"
mv dir/copy dir/sub/moved
test ! -e dir/copy
test -f dir/sub/moved
chmod 640 dir/file
test "$(stat -c %a dir/file)" = 640
chown 12:34 dir/file
test "$(stat -c %u:%g dir/file)" = 12:34
ln -s file dir/link
test "$(readlink dir/link)" = file
test "$(cat dir/link)" = hello
if ln dir/file dir/hard 2> /dev/null; then echo "go-nfs learned LINK: let it"; false; fi
test ! -e dir/hard
truncate -s 3 dir/file
test "$(cat dir/file)" = hel
truncate -s 100000 dir/file
test "$(stat -c %s dir/file)" = 100000
echo appended >> dir/file
tail -c 9 dir/file | grep -q appended
dd if=/dev/urandom of=big bs=1M count=8 status=none
cp big big2
cmp big big2
dd if=big of=big2 bs=1000 seek=3 skip=3 count=5 conv=notrunc status=none
cmp big big2
mkfifo pipe
test -p pipe
mknod disk b 7 9
test -b disk
touch -d '2001-02-03 04:05:06' dir/file
test "$(date -r dir/file +%Y)" = 2001
mkdir many
python3 - many <<'END'
import os, sys
d = sys.argv[1]
names = ["entry-%04d" % i for i in range(1000)]
for n in names:
    with open(os.path.join(d, n), "x") as f:
        f.write(n)
assert sorted(os.listdir(d)) == names, "listing differs"
for n in names:
    assert open(os.path.join(d, n)).read() == n, n
os.rename(d, d + "-renamed")
f = open(os.path.join(d + "-renamed", names[0]), "r+")
os.rename(os.path.join(d + "-renamed", names[0]), "elsewhere")
f.write("written after the rename")
f.close()
assert open("elsewhere").read() == "written after the rename"
assert len(os.listdir(d + "-renamed")) == 999
try:
    os.open("elsewhere", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    raise SystemExit("exclusive creation of what exists succeeded")
except FileExistsError:
    pass
END
if rmdir many-renamed 2> /dev/null; then echo "a full directory was removed" >&2; false; fi
rm -r dir many-renamed big big2 pipe disk elsewhere
test -z "$(ls -A)"
df . > /dev/null
echo done
`

// TestLinuxKernelClient mounts the server with the Linux kernel's NFS client.
func TestLinuxKernelClient(t *testing.T) {
	network := kerneltest.Network(t)
	l, err := network.Listen(t.Context(), kernelclient.Address+":2049")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := New(newBackend(), Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() {
		s.Close()
		if err := <-ended; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		if log.Len() > 0 {
			t.Logf("server: %s", log.String())
		}
	}()
	guest, err := network.StartGuest(t.Context(), kernelclient.GuestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	dir, err := guest.Mount(t.Context(), kernelclient.MountOptions{Server: kernelclient.Address, Port: 2049})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	job := kernelclient.Job{Args: []string{"bash", "-c", kernelScript, "script", dir}}
	if exit, err := guest.Exec(t.Context(), job, &out, &out); err != nil || exit != 0 || !strings.HasSuffix(out.String(), "done\n") {
		t.Errorf("exit %d, %v:\n%s", exit, err, out.String())
	}
	if err := guest.Unmount(t.Context(), dir); err != nil {
		t.Error(err)
	}
}
