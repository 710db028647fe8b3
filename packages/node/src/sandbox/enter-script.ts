/** Where the sandbox sees its private directory: short, because libvirt puts sockets with long names below it. */
export const INSIDE = '/run/vm';

/**
 * Runs as root and PID 1 inside new mount, pid, ipc and uts namespaces and the pod's network namespace; arguments: private
 * directory, uid, host name, 1 when /dev/kvm works, path of the daemon, its configuration file, state directory of the node, and files
 * of the control groups to join.
 *
 * It builds a small /dev, hides /run and /tmp of the host, drops every privilege and then is the reaping init that keeps
 * the daemon running: one shell, 0.3 MiB. A daemon that dies leaves QEMU alone and is started again.
 */
export const ENTER_SCRIPT = `
set -eu
dir=$1 uid=$2 host=$3 kvm=$4 daemon=$5 config=$6 state=$7
shift 7
for group; do echo 0 > "$group" || :; done
echo "$host" > /proc/sys/kernel/hostname
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs /sys
d=$dir/dev
mount -t tmpfs -o nosuid,noexec,mode=755,size=64k tmpfs "$d"
node() { mknod -m "$2" "$d/$1" c "$3" "$4"; }
node null 666 1 3; node zero 666 1 5; node full 666 1 7; node random 666 1 8; node urandom 666 1 9; node tty 666 5 0
mkdir "$d/pts" "$d/shm" "$d/net"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$d/pts"
ln -s pts/ptmx "$d/ptmx"; ln -s /proc/self/fd "$d/fd"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$d/shm"
node net/tun 666 10 200
if [ "$kvm" = 1 ]; then node kvm 600 10 232; chown "$uid" "$d/kvm"; fi
mount --move "$d" /dev
for file in passwd group hosts; do mount --bind "$dir/etc-$file" "/etc/$file"; done
# disks stay where they are when the data directory itself is in a place that is hidden below
hidden=; case $state in /tmp/* | /run/*) hidden=1; mkdir /dev/state; mount --bind "$state" /dev/state ;; esac
cd "$dir"
mount -t tmpfs -o nosuid,nodev,mode=755,size=1m tmpfs /run
mkdir ${INSIDE}
mount --bind . ${INSIDE}
cd ${INSIDE}
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /tmp
if [ -n "$hidden" ]; then mkdir -p "$state"; mount --move /dev/state "$state"; rmdir /dev/state; fi
umask 077
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=${INSIDE} \\
  XDG_RUNTIME_DIR=${INSIDE}/run XDG_CONFIG_HOME=${INSIDE}/etc XDG_CACHE_HOME=${INSIDE}/cache XDG_DATA_HOME=${INSIDE}/data \\
  LIBVIRT_DRIVER_DIR=${INSIDE}/drivers \\
  setpriv --reuid="$uid" --regid="$uid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \\
  sh -c 'echo ready >&3; exec 3>&-
    while :; do "$1" -f "$2" & wait $!; sleep 0.2; done' init "$daemon" "$config"
`;
