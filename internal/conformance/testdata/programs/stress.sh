# Random file I/O whose every block says what it is (fio), and the file system stressors of stress-ng, which check what they do.
cd "$dir"
for program in fio stress-ng; do
	command -v "$program" >/dev/null || { echo "install $program (make programs does)"; exit 1; }
done
for io in "psync randrw 512-64k" "psync randwrite 300-9000" "mmap randrw 4k" "libaio rw 128k"; do
	set -- $io
	fio --name=f --ioengine="$1" --rw="$2" --bsrange="${3%-*}-${3#*-}" --bs_unaligned=1 --size=8m --numjobs=2 --iodepth=4 --fsync=64 \
		--verify=crc32c --verify_fatal=1 --randrepeat=1 --allow_mounted_write=1 --output="$scratch/fio" >/dev/null || { cat "$scratch/fio"; exit 1; }
	rm -f f.*
	echo "fio $1 $2: read back"
done
for stressor in access chdir chmod chown dentry dir dirdeep fcntl filename flock fstat getdent hdd link locka lockf lockofd mmap open \
	readahead rename revio seek sendfile symlink sync-file touch utime; do
	stress-ng --temp-path "$dir" --verify --timeout 8 --quiet --"$stressor" 2 --"$stressor"-ops "$size" >"$scratch/stress" 2>&1 || {
		echo "$stressor: $?"
		cat "$scratch/stress"
	}
done
rm -f ./*-verify.state
ls "$dir"
