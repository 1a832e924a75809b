# find(1) by everything it can ask of a file, and the programs that work on trees.
mkdir "$dir/t"
cd "$dir/t"
for d in $(seq "$size"); do
	mkdir -p "a$d/b/c"
	seq "$d" >"a$d/small"
	seq "$((d * 400))" >"a$d/b/big"
	: >"a$d/b/c/empty"
	ln "a$d/small" "a$d/b/second"
	ln -s ../b "a$d/b/up"
	chmod "$((d % 8))44" "a$d/small"
done
touch -d '2015-05-05' a1/small
chown 1001:2001 a2/small
q() { echo "$*:"; find . "$@" | sort; }
q -type d | wc -l
q -type l -lname '../b' | wc -l
q -size +3
q -empty | wc -l
q -links 2 -name second | wc -l
q -perm -u+w -type f | wc -l
q -perm 144
q -uid 1001
q -gid 2001
q -newermt '2016-01-01' -name small | wc -l
q ! -newermt '2016-01-01'
q -samefile a1/small
q -path '*/b/c/*' -prune -o -name big -print | wc -l
q -L -maxdepth 3 -type f | wc -l
find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
du --apparent-size -bc --exclude='*' . | tail -1
grep -rlx 3 . | sort | wc -l
find . -name empty -delete
find . -depth -type d -empty -print | sort | wc -l
ls -lR --time-style=+ . | awk 'NF > 6 { print $1, $2, $3, $4, $6 }' | grep -v '^d' | sort | sha256sum
find . -type f -exec chmod a+r {} +
find . -name 'big' -exec mv {} {}.moved \;
find . -name '*.moved' | wc -l
