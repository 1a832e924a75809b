"""What programs do on a POSIX file system, tried in the directory given as an argument. Run as root; parts of it change to
other users. Every check raises; the last line printed is "done"."""

import errno
import os
import random
import stat
import sys
import time

os.chdir(sys.argv[1])
os.umask(0o022)


def check(condition, what):
    if not condition:
        raise SystemExit("failed: " + what)


def fails(code, what, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OSError as e:
        check(e.errno == code, "%s: %s, want %s" % (what, errno.errorcode[e.errno], errno.errorcode[code]))
    else:
        raise SystemExit("failed: %s succeeded, want %s" % (what, errno.errorcode[code]))


def as_user(uid, gid, groups, f):
    """Runs f in a process of another user."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            f()
            status = 0
        except BaseException as e:
            print("as user %d: %r" % (uid, e), flush=True)
        os._exit(status)
    check(os.waitpid(pid, 0)[1] == 0, "the part as user %d" % uid)


def write(name, data, flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode=0o644):
    fd = os.open(name, flags, mode)
    try:
        while data:
            data = data[os.write(fd, data):]
        os.fsync(fd)
    finally:
        os.close(fd)


def read(name):
    with open(name, "rb") as f:
        return f.read()


# files
write("f", b"hello")
check(read("f") == b"hello", "reading back")
write("f", b" world", os.O_WRONLY | os.O_APPEND)
check(read("f") == b"hello world", "O_APPEND")
fails(errno.EEXIST, "O_EXCL", os.open, "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
write("exclusive", b"x", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
check(stat.S_IMODE(os.stat("exclusive").st_mode) == 0o600, "mode of an exclusive create")
write("f", b"new")
check(read("f") == b"new", "O_TRUNC")
os.truncate("f", 100)
check(read("f") == b"new" + bytes(97), "extending")
fd = os.open("hole", os.O_CREAT | os.O_RDWR)
os.pwrite(fd, b"end", 1 << 40)
check(os.fstat(fd).st_size == (1 << 40) + 3 and os.pread(fd, 10, (1 << 40) - 4) == b"\0\0\0\0end", "a hole of 1 TiB")
os.close(fd)
os.unlink("hole")

big = random.Random(1).randbytes(5_000_001)
write("big", big)
check(read("big") == big, "5 MB")
fd = os.open("big", os.O_RDWR)
rnd = random.Random(2)
for _ in range(100):
    at, n = rnd.randrange(len(big)), rnd.randrange(20000)
    piece = rnd.randbytes(min(n, len(big) - at))
    os.pwrite(fd, piece, at)
    big = big[:at] + piece + big[at + len(piece):]
os.close(fd)
check(read("big") == big, "random writes")
os.unlink("big")

# open files outlive their names (the client renames instead of removing), and renames do not turn handles stale
fd = os.open("open", os.O_CREAT | os.O_RDWR)
os.write(fd, b"still here")
os.unlink("open")
check(os.pread(fd, 100, 0) == b"still here", "an open file after unlink")
os.close(fd)
deadline = time.monotonic() + 30  # the client removes them after close has returned
while [n for n in os.listdir(".") if n.startswith(".nfs")]:
    check(time.monotonic() < deadline, "silly-renamed files are left")
os.mkdir("a")
write("a/f", b"1")
fd = os.open("a/f", os.O_RDWR)
os.rename("a", "b")
os.rename("b/f", "g")
os.write(fd, b"2")
os.close(fd)
check(read("g") == b"2", "writing through a rename")
os.rmdir("b")

# names
for name in ["n" * 255, "ä", "\udcff\udcfe", " ", "a\nb", "..."]:
    write(name, b"x")
    check(name in os.listdir("."), "the name %r" % name)
    os.unlink(name)
fails(errno.ENAMETOOLONG, "a name of 256 bytes", write, "n" * 256, b"")
fails(errno.ENOENT, "opening nothing", os.open, "none", os.O_RDONLY)
fails(errno.ENOTDIR, "a path through a file", os.stat, "f/x")
fails(errno.EISDIR, "writing to a directory", os.open, ".", os.O_WRONLY)

# directories
os.mkdir("d", 0o750)
check(stat.S_IMODE(os.stat("d").st_mode) == 0o750, "mode of a directory")
fails(errno.EEXIST, "mkdir twice", os.mkdir, "d")
write("d/f", b"")
fails(errno.ENOTEMPTY, "rmdir of what is not empty", os.rmdir, "d")
fails(errno.ENOTDIR, "rmdir of a file", os.rmdir, "f")
fails(errno.EISDIR, "unlink of a directory", os.unlink, "d")
os.mkdir("d/e")
check(os.stat("d").st_nlink == 3, "links of a directory")
fails(errno.EINVAL, "rename into itself", os.rename, "d", "d/e/x")
os.rename("d/f", "d/e/f")
check(os.listdir("d") == ["e"] and os.listdir("d/e") == ["f"], "rename across directories")
write("over", b"old")
os.rename("d/e/f", "over")
check(read("over") == b"", "rename over a file")
os.rmdir("d/e")
os.rmdir("d")
os.mkdir("many")
names = {"entry %d %s" % (i, "x" * (i % 200)) for i in range(1500)}
for n in names:
    os.close(os.open("many/" + n, os.O_CREAT | os.O_WRONLY))
check(set(os.listdir("many")) == names, "listing 1500 entries")
with os.scandir("many") as entries:
    for i, e in enumerate(entries):
        check(e.is_file(), "type of %r" % e.name)
        os.unlink(e.path)  # removing while listing
os.rmdir("many")

# links
os.link("f", "hard")
check(os.stat("f").st_nlink == 2 and os.path.samefile("f", "hard"), "hard link")
fails(errno.EEXIST, "link over a name", os.link, "f", "hard")
fails(errno.EPERM, "link of a directory", os.link, ".", "x")
os.unlink("hard")
for n in [1, 100, 4000]:
    os.symlink("t" * n, "sym")
    check(os.readlink("sym") == "t" * n and os.lstat("sym").st_size == n, "symbolic link of %d bytes" % n)
    os.unlink("sym")
os.symlink("f", "sym")
check(read("sym") == read("f"), "through a symbolic link")
os.unlink("sym")

# special files
os.mkfifo("fifo")
check(stat.S_ISFIFO(os.stat("fifo").st_mode), "FIFO")
os.mknod("dev", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
check(os.stat("dev").st_rdev == os.makedev(1, 3), "device number")
os.unlink("fifo")
os.unlink("dev")

# times
os.utime("f", ns=(1_000_000_001, 2_000_000_003))
s = os.stat("f")
check((s.st_atime_ns, s.st_mtime_ns) == (1_000_000_001, 2_000_000_003), "times to the nanosecond")
before = os.stat("f").st_ctime_ns
os.chmod("f", 0o640)
check(os.stat("f").st_ctime_ns > before, "ctime after chmod")

# users: 1000 is in groups 100 and 24
os.chown("f", 1000, 24)
os.chmod("f", 0o4755)
os.mkdir("sticky")
os.chmod("sticky", 0o1777)
os.mkdir("setgid")
os.chown("setgid", 1000, 24)
os.chmod("setgid", 0o2775)
write("roots", b"secret", mode=0o600)


def user():
    os.chmod("f", 0o600)
    fails(errno.EPERM, "giving a file away", os.chown, "f", 1001, -1)
    os.chown("f", -1, 100)
    fails(errno.EPERM, "a group one is not in", os.chown, "f", -1, 4242)
    fails(errno.EACCES, "reading another's secret", os.open, "roots", os.O_RDONLY)
    fails(errno.EPERM, "chmod of another's file", os.chmod, "roots", 0o666)
    check(os.access("f", os.R_OK | os.W_OK) and not os.access("f", os.X_OK), "access(2)")
    fd = os.open("sticky/mine", os.O_CREAT | os.O_RDWR, 0o000)
    os.write(fd, b"writable while open")  # though its mode is 0
    os.fsync(fd)
    os.close(fd)
    write("setgid/f", b"")
    check(os.stat("setgid/f").st_gid == 24, "the group of a set-group-id directory")


def other():
    fails(errno.EPERM, "removing from a sticky directory", os.unlink, "sticky/mine")
    fails(errno.EACCES, "another's file of mode 0", os.open, "sticky/mine", os.O_RDONLY)
    fails(errno.EACCES, "creating where one may not", write, "setgid/x", b"")


def suid():
    write("s", b"x", mode=0o755)
    os.chmod("s", 0o6755)
    fd = os.open("s", os.O_WRONLY)
    os.write(fd, b"y")
    os.close(fd)
    check(os.stat("s").st_mode & 0o6000 == 0, "set-id bits after a write")


as_user(1000, 100, [100, 24], user)
as_user(1001, 101, [], other)
check(os.stat("f").st_gid == 100, "group after chown")
os.chmod(".", 0o777)
as_user(1001, 101, [], suid)
check(os.statvfs(".").f_namemax == 255, "statvfs")

for top, dirs, files in os.walk(".", topdown=False):
    for n in files:
        os.unlink(os.path.join(top, n))
    for n in dirs:
        os.rmdir(os.path.join(top, n))
check(os.listdir(".") == [], "something is left")
print("done")
