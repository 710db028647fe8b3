/** Where the sandbox sees its private directory: short, because libvirt puts sockets with long names below it. */
export const INSIDE = '/run/vm';

/** Logs of libvirt and QEMU: in memory and small, because a guest can make QEMU complain without end. */
export const LOG_DIRECTORY = 'cache/libvirt/qemu/log';

/** Directories of the node's state that hold disks. Their entries are root's, and each can be entered by its user alone. */
export const DISK_DIRECTORIES = ['volumes', 'podvolumes'] as const;

/**
 * Runs as root and PID 1 inside new mount, pid, ipc and uts namespaces and the pod's network namespace; arguments: private
 * directory, uid, host name, 1 when /dev/kvm works, path of the daemon, its configuration file, state directory of the node, further
 * directories of disks between spaces, devices of the host between spaces, and files of the control groups to join.
 *
 * It builds a root of its own: programs and configuration of the host to read, a small /dev, the private directory and
 * the disks, and nothing else of the host. Then it drops every privilege and is the reaping init that keeps the daemon
 * running: one shell, 0.3 MiB. A daemon that dies leaves QEMU alone and is started again.
 */
export const ENTER_SCRIPT = `
set -eu
umask 022
dir=$1 uid=$2 host=$3 kvm=$4 daemon=$5 config=$6 state=$7 pools=$8 devices=$9
shift 9
for group; do echo 0 > "$group" || :; done
echo "$host" > /proc/sys/kernel/hostname
root=$dir/root
mount -t tmpfs -o nosuid,mode=755,size=1m tmpfs "$root"
cd "$root"
mkdir -p dev/pts dev/shm dev/net etc host proc sys tmp usr var .${INSIDE}
mount -o rbind,ro /usr usr
mount -o bind,ro /etc etc
for file in passwd group hosts; do mount --bind "$dir/etc-$file" "etc/$file"; done
links=
for name in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$name" ]; then links="$links /$name"
  elif [ -d "/$name" ]; then mkdir "$name"; mount -o rbind,ro "/$name" "$name"; fi
done
[ -z "$links" ] || cp -P $links .
ln -s ../tmp var/tmp; ln -s ../tmp var/run; ln -s tmp/disk disk
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs sys
node() { mknod -m "$2" "dev/$1" c "$3" "$4"; }
node null 666 1 3; node zero 666 1 5; node full 666 1 7; node random 666 1 8; node urandom 666 1 9; node tty 666 5 0
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs dev/shm
node net/tun 666 10 200
[ ! -e /dev/vhost-vsock ] || node vhost-vsock 666 10 241
if [ "$kvm" = 1 ]; then node kvm 600 10 232; chown "$uid" dev/kvm; fi
for device in $devices; do
  mkdir -p "dev/\${device%/*}"
  # the same device, but for this user alone
  cp -R "/dev/$device" "dev/$device" && chown "$uid:$uid" "dev/$device" && chmod 600 "dev/$device"
done
# devices of the host reach all memory of the guest, which must stay where it is
[ -z "$devices" ] || ulimit -l unlimited
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs tmp
mount -o bind,nosuid,nodev,noexec "$dir" .${INSIDE}
mounts=
for pages in 2048 1048576; do
  reserved=0
  { read -r reserved < /sys/kernel/mm/hugepages/hugepages-"$pages"kB/nr_hugepages; } 2>/dev/null || :
  [ "$reserved" != 0 ] || continue
  mkdir -p dev/hugepages-"$pages"
  mount -t hugetlbfs -o nosuid,nodev,mode=700,uid="$uid",gid="$uid",pagesize="$pages"K hugetlbfs dev/hugepages-"$pages" || continue
  mounts="$mounts \\"/dev/hugepages-$pages\\","
done
[ -z "$mounts" ] || echo "hugetlbfs_mount=[ \${mounts%,} ]" >> .${INSIDE}/etc/libvirt/qemu.conf
mount -t tmpfs -o nosuid,nodev,noexec,mode=700,uid="$uid",gid="$uid",size=1m tmpfs .${INSIDE}/${LOG_DIRECTORY}
for name in ${DISK_DIRECTORIES.join(' ')}; do
  mkdir -p "./$state/$name"
  mount -o bind,nosuid,nodev,noexec "$state/$name" "./$state/$name"
done
for pool in $pools; do
  # a pool that has just gone is missed by the guest that needs it, and by no other
  { mkdir -p "./$pool" && mount -o bind,nosuid,nodev,noexec "$pool" "./$pool"; } || :
done
pivot_root . host
cd ${INSIDE}
umount -l /host
mount -o remount,bind,ro,nosuid /
umask 077
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=${INSIDE} \\
  XDG_RUNTIME_DIR=${INSIDE}/run XDG_CONFIG_HOME=${INSIDE}/etc XDG_CACHE_HOME=${INSIDE}/cache XDG_DATA_HOME=${INSIDE}/data \\
  LIBVIRT_DRIVER_DIR=${INSIDE}/drivers \\
  setpriv --reuid="$uid" --regid="$uid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \\
  sh -c 'echo ready >&3; exec 3>&-
    while :; do "$1" -f "$2" & wait $!; sleep 0.2; done' init "$daemon" "$config"
`;
