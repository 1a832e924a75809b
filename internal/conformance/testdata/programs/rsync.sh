# A tree is copied, copied again by checksum with nothing to do, and followed through changes; then it goes back.
mkdir "$scratch/src"
cd "$scratch/src"
for d in $(seq "$size"); do
	mkdir "d$d"
	for f in 1 2 3 4; do seq "$((d + f * 1000))" >"d$d/f$f"; done
	ln "d$d/f1" "d$d/hard"
	ln -s f2 "d$d/soft"
done
copy() { rsync -aHi --checksum --delete "$@" | sort; }
copy ./ "$dir/r/" | wc -l
echo "again: $(copy ./ "$dir/r/")"
echo changed >>d1/f1
chmod 600 d1/f2
rm d1/f3
mv d1/f4 d1/f5
touch -d '2001-01-01' d1/f2
truncate -s 100 d2/f1
mkdir d1/new
copy ./ "$dir/r/"
echo "again: $(copy ./ "$dir/r/")"
diff -r "$scratch/src" "$dir/r"
rsync -aH --inplace --no-whole-file ./ "$dir/r/"
echo appended >>d2/f2
rsync -aH --inplace --no-whole-file --append ./ "$dir/r/"
diff -r "$scratch/src" "$dir/r"
copy "$dir/r/" "$scratch/back/" | wc -l
diff -r "$scratch/src" "$scratch/back"
