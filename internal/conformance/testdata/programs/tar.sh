# A tree with everything that a tree may have goes into an archive and out of it, here and elsewhere.
show() { (cd "$1" && find . -mindepth 1 \( -type d -printf '%P %y %m %U:%G %n %T@\n' -o -printf '%P %y %m %U:%G %n %T@ %s %l\n' \) | sort); }
mkdir "$scratch/src"
cd "$scratch/src"
for d in $(seq "$size"); do
	mkdir -p "dir$d/sub dir"
	for f in 1 2 3 4 5; do seq "$((d * f * 50))" >"dir$d/sub dir/file$f"; done
	ln "dir$d/sub dir/file1" "dir$d/hard"
	ln -s "sub dir/file2" "dir$d/soft"
	ln -s nowhere/at/all "dir$d/dangling"
	mkfifo "dir$d/fifo"
	chmod "$((d % 8))$((d * 3 % 8))$((d * 5 % 8))" "dir$d/sub dir/file3"
	chmod 4755 "dir$d/sub dir/file4"
	chmod 2775 "dir$d/sub dir"
done
chown -R 1001:2001 dir1
chmod 4711 'dir1/sub dir/file4'
truncate -s 5M sparse
printf end >>sparse
printf odd >"$(printf 'odd \001\377 name')"
printf long >"$(printf 'n%.0s' $(seq 255))"
find . -depth -exec touch -h -d '2020-02-02 02:02:02.123456789' {} +

tar --format=posix -S -cf "$scratch/a.tar" .
mkdir "$dir/out"
tar -C "$dir/out" -xpf "$scratch/a.tar"
tar -C "$dir/out" --compare -f "$scratch/a.tar"
show "$dir/out" >"$scratch/listed"
show "$scratch/src" | diff - "$scratch/listed"
diff -r --no-dereference -x fifo "$scratch/src" "$dir/out"
tar -C "$dir/out" --sort=name --format=posix --pax-option=delete=atime,delete=ctime -cf "$dir/b.tar" .
mkdir "$scratch/back"
tar -C "$scratch/back" -xpf "$dir/b.tar"
show "$scratch/back" | diff "$scratch/listed" -
cp -a "$dir/out" "$dir/copy"
show "$dir/copy" | diff "$scratch/listed" -
wc -l <"$scratch/listed"
sha256sum <"$scratch/listed"
