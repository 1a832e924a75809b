# A history is cloned, checked, changed, merged, packed, pushed and cloned again.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@d
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' GIT_PAGER=cat

git init -q --bare -b main "$scratch/origin.git"
awk -v n="$size" 'BEGIN {
	for (c = 1; c <= n; c++) {
		print "commit refs/heads/main\nmark :" c "\ncommitter c <c@d> " 1600000000 + c " +0000\ndata <<END\ncommit " c "\nEND"
		for (f = c % 7; f < n; f += 7) {
			print "M 100644 inline dir" f % 5 "/file" f "\ndata <<END"
			for (l = 0; l < 20; l++) print "line " l " of file " f " in commit " (l % 3 ? f : c)
			print "END"
		}
	}
	print "reset refs/heads/side\nfrom :" int(n / 2)
}' | git -C "$scratch/origin.git" fast-import --quiet

git clone -q --no-local "$scratch/origin.git" "$dir/clone"
cd "$dir/clone"
git fsck --full --strict --no-progress
git status --porcelain
git rev-parse HEAD
git log --oneline | wc -l

git checkout -q -b side origin/side
echo changed >>dir1/file1
ln -s file1 dir1/link
chmod +x dir2/file2
git add -A
git commit -qm 'on the side'
git stash list
echo dirty >>dir2/file2
git stash -q
git checkout -q main
git merge -q -m merge -X ours side
git stash pop -q
git diff --stat
git checkout -q -- .
git mv dir3 moved
git rm -q dir4/file4
git commit -qm 'moved and removed'
git rev-parse HEAD
git gc -q
git fsck --full --strict --no-progress
git status --porcelain

git clone -q --bare . "$dir/bare.git"
git clone -q "$dir/bare.git" "$dir/again" # by hard links
cd "$dir/again"
echo more >more
git add more
git commit -qm more
git push -q origin main
git -C "$dir/bare.git" fsck --full --strict --no-progress
git -C "$dir/bare.git" rev-parse main
cd "$dir"
diff -r --exclude=.git clone again || true
git -C clone pull -q "$dir/bare.git" main
diff -r --exclude=.git clone again
