# Programs that write files in the ways programs do: in place, by renaming, by mapping, in pieces, backwards.
cd "$dir"
seq "$size" >numbers
sort -R --random-source=/usr/bin/env numbers >shuffled
sort -n -S 64K -T . shuffled | cmp - numbers
split -l 100 -a 4 numbers part-
cat part-* | cmp - numbers
rm part-*
sed -i 's/9$/nine/' numbers
grep -c nine numbers || true
dd if=/dev/zero of=d bs=1000 count=50 conv=notrunc 2>/dev/null
dd if=numbers of=d bs=777 seek=100 conv=notrunc 2>/dev/null
dd if=numbers of=d bs=4k oflag=append conv=notrunc 2>/dev/null
sha256sum d
cp --sparse=always d s
cmp d s
cp -l d l
echo more >>l
cmp d l
stat -c '%h %s' d
install -m 4751 -o 1001 -g 2001 d i
stat -c '%a %u %g' i
gzip -c d >d.gz
gzip -t d.gz
zcat d.gz | cmp - d
printf 'a\nb\nc\n' >old
printf 'a\nB\nc\nd\n' >new
diff old new || true
tee x y z <numbers >/dev/null
cmp x z
mkdir from
mv x y z from
mv from to
ls to
truncate -s 3 to/x
cat to/x
ln -sfn to here
readlink -f here | sed 's|.*/||'
python3 - <<'PY'
import mmap, os, tempfile, fcntl
with tempfile.NamedTemporaryFile(dir=".") as f:
    f.truncate(100000)
    with mmap.mmap(f.fileno(), 0) as m:
        m[99990:] = b"0123456789"
        m.flush()
    f.seek(99990)
    print(f.read())
fd = os.open("t", os.O_CREAT | os.O_RDWR)
os.unlink("t")
os.writev(fd, [b"one ", b"two ", b"three"])
os.lseek(fd, 4, os.SEEK_SET)
print(os.read(fd, 3), os.fstat(fd).st_size)
fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.close(fd)
print(sorted(e.name for e in os.scandir(".") if e.is_file() and not e.name.startswith(".nfs")))
PY
