# A gateway in a network namespace of its own, at 10.111.0.2, and a mount of it with locks.
# BFSD is the program, CONFIG the cluster.toml, KEY the gateway's key.
ip netns add bfsd
ip link add bfsd-host type veth peer name bfsd netns bfsd
ip addr add 10.111.0.1/30 dev bfsd-host
ip link set bfsd-host up
ip -n bfsd addr add 10.111.0.2/30 dev bfsd
ip -n bfsd link set bfsd up
"$BFSD" gateway --config "$CONFIG" --key "$KEY" --netns bfsd --nfs 10.111.0.2:2049 --rpcbind serve >/mnt/gateway.log 2>&1 &
until grep -qx ready /mnt/gateway.log; do
  kill -0 $! || { cat /mnt/gateway.log; exit 1; }
  sleep 0.1
done
mkdir /mnt/gateway
mount -t nfs -o vers=3,proto=tcp,hard 10.111.0.2:/ /mnt/gateway
