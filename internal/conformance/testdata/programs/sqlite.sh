# Several processes write to one database at once, in every way that SQLite keeps a journal; one is killed.
cd "$dir"
for mode in delete truncate persist wal; do
	db=$mode.db
	sqlite3 "$db" "pragma journal_mode=$mode; create table t (writer int, n int, primary key (writer, n)); create table sums (writer int primary key, total int);" </dev/null
	for writer in 1 2 3; do
		{
			echo '.timeout 60000'
			echo "insert into sums values ($writer, 0);"
			for n in $(seq "$size"); do
				echo "begin immediate; insert into t values ($writer, $n); update sums set total = total + $n where writer = $writer; commit;"
			done
		} | sqlite3 -bail "$db" &
	done
	wait
	# A writer dies in the middle of a transaction that has reached the file.
	(
		echo 'pragma cache_size=1; begin immediate; update t set n = n + 1000000; create table junk (b); insert into junk values (randomblob(300000));'
		echo ".shell kill -9 \$PPID"
	) | sqlite3 "$db" >/dev/null 2>&1 || true
	sqlite3 "$db" '.timeout 60000' 'pragma integrity_check; select writer, count(*), sum(n), max(n) from t group by writer; select count(*) from sqlite_master; select * from sums order by writer; vacuum; pragma integrity_check;'
	rm -f "$db" "$db-wal" "$db-shm" "$db-journal"
	ls
done
