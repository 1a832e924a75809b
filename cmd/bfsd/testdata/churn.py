"""Makes, renames, links and removes names under the directory given as the first argument, in as many threads as the second
says, until there is a file called "stop" in it. Every call must succeed, and every change must have happened just once: a
call that the server executes a second time fails with EEXIST or ENOENT. Prints how many rounds were made, then "done"."""

import os
import sys
import threading

top, threads = sys.argv[1], int(sys.argv[2])
rounds = [0] * threads
failures = []


def round_of(d, i):
    n = "%s/%d" % (d, i)
    os.mkdir(n)
    f = n + "/file"
    fd = os.open(f, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    data = (b"%d " % i) * 50
    os.write(fd, data)
    os.close(fd)
    os.link(f, n + "/link")
    os.rename(f, n + "/moved")
    os.symlink("moved", n + "/symlink")
    with open(n + "/symlink", "rb") as g:
        if g.read() != data:
            raise OSError("the data of %s are wrong" % n)
    names = sorted(os.listdir(n))
    if names != ["link", "moved", "symlink"]:
        raise OSError("in %s are %s" % (n, names))
    if os.stat(n + "/link").st_nlink != 2:
        raise OSError("%s/link has %d names" % (n, os.stat(n + "/link").st_nlink))
    for name in names:
        os.unlink(n + "/" + name)
    os.rmdir(n)


def work(k):
    d = "%s/thread%d" % (top, k)
    try:
        os.mkdir(d)
        while not failures and not os.path.exists(top + "/stop"):
            round_of(d, rounds[k])
            rounds[k] += 1
        os.rmdir(d)
    except OSError as e:
        failures.append("thread %d, round %d: %s" % (k, rounds[k], e))


workers = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
for w in workers:
    w.start()
for w in workers:
    w.join()
if failures:
    raise SystemExit("\n".join(failures))
print(sum(rounds))
print("done")
