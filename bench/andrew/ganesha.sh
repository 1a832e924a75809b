mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 nfs /var/lib/nfs
mkdir -p /run/rpcbind /var/lib/nfs/ganesha
rpcbind -f &
until [ -S /run/rpcbind.sock ]; do
	kill -0 $!
	sleep 0.02
done
ganesha.nfsd -F -f "$1" -L /dev/stderr -N WARN -p /run/ganesha.pid &
server=$!
trap 'kill "$server"' TERM
code=0
while kill -0 "$server" 2>/dev/null; do
	code=0
	wait "$server" || code=$?
done
exit "$code"
