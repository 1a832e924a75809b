# Many files in few directories are made and removed.
cd "$dir"
for d in 0 1 2 3 4 5 6 7 8 9; do
	mkdir -p "many/$d"
	(cd "many/$d" && seq "$((size / 10))" | xargs touch)
done
find many | wc -l
find many -name '*7' | wc -l
rm -r many
ls -A
