mkdir "$EXPORT"
if [ -n "$DISK" ]; then
	mount -t ext4 -o noatime /dev/ubda "$EXPORT"
else
	mount -t tmpfs -o size=90%,mode=755 export "$EXPORT"
fi
mount -t tmpfs nfs /var/lib/nfs
mkdir /var/lib/nfs/sm /var/lib/nfs/v4recovery /run/rpcbind
touch /var/lib/nfs/etab /var/lib/nfs/rmtab /var/lib/nfs/state
mount -t nfsd nfsd /proc/fs/nfsd
echo 1048576 >/proc/fs/nfsd/max_block_size # as large as the other servers'; else the size of memory decides
rpcbind
exportfs -o rw,sync,insecure,no_root_squash,no_subtree_check,fsid=0 "10.99.0.0/24:$EXPORT"
rpc.mountd --no-nfs-version 4 --port "$MOUNT_PORT"
rpc.nfsd --no-nfs-version 4 --nfs-version 3 8
