# The first process of a peer's namespaces. $1: the root, which is mounted over itself, to be read alone.
root=$1
# /proc is still that of the outside, and so is the number in it.
read -r first rest </proc/self/stat
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"

# Folders that programs write to are copies in memory.
mount -t tmpfs -o mode=755 peer "$root/mnt"
for name in etc var; do
    cp -dR --preserve=mode,links "$root/$name" "$root/mnt/$name"
done
mkdir "$root/mnt/run"
mkdir -m 1777 "$root/mnt/tmp"
for name in etc run tmp var; do
    mount --bind "$root/mnt/$name" "$root/$name"
done
umount "$root/mnt"

mount -t tmpfs -o mode=755 peer "$root/dev"
for name in null zero full random urandom; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
# For network devices whose frames a program carries; a host without such devices has peers without ports.
if [ -c /dev/net/tun ]; then
    mkdir "$root/dev/net"
    : >"$root/dev/net/tun"
    mount --bind /dev/net/tun "$root/dev/net/tun"
fi
mkdir -m 1777 "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
mount -t sysfs peer "$root/sys"
mount -t proc peer "$root/proc"

# Whatever is orphaned in here is reaped by the kernel.
trap '' CHLD
echo "$first"
exec cat >/dev/null
