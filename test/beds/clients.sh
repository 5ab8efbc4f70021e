# To be sourced inside the UML: machines that are nothing but a network
# namespace each, on one bridge with the server, which is the first namespace:
#   server 10.99.0.1, clients 10.99.0.11, 10.99.0.12, ...
# To the kernel each is an NFS or SMB client of its own, with its own caches.

die() {
	echo "bed: $*" >&2
	exit 99
}

# modules NAME... loads kernel modules.
modules() {
	local name
	for name in "$@"; do /run/modprobe "$name" || die "no module $name"; done
}

# clients_up NAME... makes the machines.
clients_up() {
	local name last=10
	modules veth bridge
	mkdir -p /run/netns
	ip link add br0 type bridge
	ip addr add 10.99.0.1/24 dev br0
	ip link set br0 up
	for name in "$@"; do
		last=$((last + 1))
		ip netns add "$name"
		ip link add "v$name" type veth peer name eth0 netns "$name"
		ip link set "v$name" master br0 up
		ip -n "$name" link set lo up
		ip -n "$name" link set eth0 up
		ip -n "$name" addr add "10.99.0.$last/24" dev eth0
	done
	mount --make-shared /mnt
}

# on NAME COMMAND... runs a command on a client.
on() {
	local name=$1
	shift
	nsenter --net="/run/netns/$name" "$@"
}

# host NAME 'SCRIPT' runs a script on a client that has a host name, a /run and a
# state of NFS of its own, while what it mounts below /mnt is mounted for all.
# Its lockd registers with the rpcbind behind /run/rpcbind.sock: with a common one
# the last client's ports would stand for the server's, and locks hang for ever.
host() {
	on "$1" unshare --mount --uts --propagation unchanged sh -c "hostname client-$1
		mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib/nfs || exit
		mkdir -p /run/sendsigs.omit.d /run/rpcbind /var/lib/nfs/sm /var/lib/nfs/sm.bak
		$2"
}

# serve_tests NAME... runs the command that follows -- with what it needs to know
# of the mounts at /mnt/NAME.
serve_tests() {
	local mounts= spaces= hosts= last=10
	while [ "$1" != -- ]; do
		last=$((last + 1))
		mounts+=:/mnt/$1 spaces+=:/run/netns/$1 hosts+=:10.99.0.$last
		shift
	done
	shift
	export SHOAL_TEST_MOUNTS=${mounts#:} SHOAL_TEST_NETNS=${spaces#:} SHOAL_TEST_HOSTS=${hosts#:}
	"$@"
}
