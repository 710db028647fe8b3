/** Files of the tiny guest that are text: path without leading slash, permissions, content. */
export interface GuestScript {
  readonly path: string;
  readonly mode: number;
  readonly content: string;
}

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/pts /dev/shm
/bin/busybox mount -t devpts devpts /dev/pts
/bin/busybox mount -t tmpfs tmp /tmp
exec /sbin/init
`;

// The consoles start when sysinit is done, so it does only what a login needs: drivers, seed, accounts.
const INITTAB = `::sysinit:/etc/rc.sysinit
::once:/etc/rc.boot
ttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100
tty1::respawn:/sbin/getty 38400 tty1 linux
::ctrlaltdel:/sbin/shutdown -r
::shutdown:/etc/rc.shutdown
`;

// "boot" is loaded at once; the rest when a device asks for it by its modalias (second round: buses found by the first).
const RC_SYSINIT = `#!/bin/sh
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
hostname tiny
modprobe -a $(cat /etc/modules.boot) 2>/dev/null
if [ -s /etc/modules.demand ]; then
  for round in 1 2; do
    cat /sys/bus/pci/devices/*/modalias /sys/bus/usb/devices/*/modalias /sys/bus/virtio/devices/*/modalias \\
      /sys/bus/acpi/devices/*/modalias 2>/dev/null | sort -u | xargs modprobe -ab 2>/dev/null
  done
fi
touch /run/utmp
echo 0 > /proc/sys/kernel/dmesg_restrict
acpid
/etc/rc.seed
ip link set lo up
exit 0
`;

const RC_BOOT = `#!/bin/sh
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
for port in /sys/class/virtio-ports/*; do
  [ -e "$port/name" ] || continue
  mkdir -p /dev/virtio-ports
  ln -sf "/dev/$(basename "$port")" "/dev/virtio-ports/$(cat "$port/name")"
done
[ -e /dev/virtio-ports/org.qemu.guest_agent.0 ] && qemu-ga -d -t /run -f /run/qemu-ga.pid -l /run/qemu-ga.log
for link in /sys/class/net/*; do
  name=$(basename "$link")
  [ "$name" = lo ] || ifup-auto "$name"
done
httpd -p '[::]:80' -h /www
/etc/rc.data
mkdir -p /etc/dropbear
[ -d /data ] && mkdir -p /data/dropbear && rm -rf /etc/dropbear && ln -s /data/dropbear /etc/dropbear
dropbear -R
/etc/rc.seed-commands
`;

// A whole second of "init" asking processes to end is saved: there is nothing to save but the data partition.
const RC_SHUTDOWN = `#!/bin/sh
sync
umount /data 2>/dev/null
`;

const SHUTDOWN = `#!/bin/sh
# Understands what the guest agent and people type: shutdown [-h|-P|-H|-r] [+0] [message]
/etc/rc.shutdown
case " $* " in
  *" -r "*) exec reboot -f ;;
  *" -H "*) exec halt -f ;;
esac
exec poweroff -f
`;

const IFUP_AUTO = `#!/bin/sh
# Brings one interface up: the kernel listens to router advertisements, udhcpc asks for IPv4 and keeps asking.
ip link set "$1" up
udhcpc -b -q -i "$1" -t 8 -T 1 -A 5 -s /etc/udhcpc.script -x "hostname:$(hostname)" \\
  -O search -O mtu -O staticroutes >/dev/null 2>&1 &
[ -x /sbin/dhcpcd ] && dhcpcd -6 -q -b --noipv4 "$1" >/dev/null 2>&1 &
exit 0
`;

const UDHCPC_SCRIPT = `#!/bin/sh
case "$1" in
  bound|renew)
    ip addr flush dev "$interface" scope global 2>/dev/null
    ip addr add "$ip/$mask" dev "$interface"
    [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
    set -- $staticroutes
    [ $# -eq 0 ] && for gateway in $router; do ip route replace default via "$gateway" dev "$interface"; break; done
    while [ $# -ge 2 ]; do
      if [ "$2" = 0.0.0.0 ]; then ip route replace "$1" dev "$interface"; else ip route replace "$1" via "$2" dev "$interface" onlink; fi
      shift 2
    done
    { [ -n "$search$domain" ] && echo "search \${search:-$domain}"; for server in $dns; do echo "nameserver $server"; done; } > /etc/resolv.conf
    if [ -n "$hostname" ] && [ "$(hostname)" = tiny ]; then set-hostname "$hostname"; fi
    ;;
esac
`;

const SET_HOSTNAME = `#!/bin/sh
hostname "$1"
echo "$1" > /etc/hostname
echo "$1" > /www/index.html
echo "127.0.0.1 localhost $1" > /etc/hosts
echo "::1 localhost" >> /etc/hosts
`;

const CHPASSWD = `#!/bin/sh
# Reads user:password lines as chpasswd(8) does; -e: the password is already encrypted. The guest agent uses it.
while IFS= read -r line; do
  user=$(echo "$line" | cut -d: -f1)
  password=$(echo "$line" | cut -d: -f2-)
  if [ "$1" != -e ]; then password=$(mkpasswd -m sha512 "$password"); fi
  awk -F: -v OFS=: -v user="$user" -v hash="$password" '$1 == user { $2 = hash; $3 = 19000; $5 = 99999 } { print }' /etc/shadow > /etc/shadow.new
  chmod 600 /etc/shadow.new
  mv /etc/shadow.new /etc/shadow
done
`;

const ADD_USER = `#!/bin/sh
# add-user NAME: an account that can log in and, like in cloud images, become root by sudo without a password.
grep -q "^$1:" /etc/passwd && exit 0
id=$(awk -F: '$3 >= 1000 && $3 >= next_id { next_id = $3 + 1 } END { print next_id + 0 < 1000 ? 1000 : next_id }' /etc/passwd)
echo "$1:x:$id:$id::/home/$1:/bin/sh" >> /etc/passwd
echo "$1:x:$id:" >> /etc/group
echo "$1:!:19000:0:99999:7:::" >> /etc/shadow
mkdir -p "/home/$1"
chown "$id:$id" "/home/$1"
`;

const SUDO = `#!/bin/sh
# busybox su is set-uid; root has no password but cannot log in with none (/etc/securetty is empty, dropbear refuses).
while case "$1" in -*) true ;; *) false ;; esac; do shift; done
[ $# -eq 0 ] && exec su root
command=
for word in "$@"; do command="$command '$(printf %s "$word" | sed "s/'/'\\\\\\\\''/g")'"; done
exec su root -c "$command"
`;

const POWER_BUTTON = `#!/bin/sh
exec /sbin/shutdown -P
`;

const DATA = `#!/bin/sh
# Mounts the partition with the ext4 label "data", if a disk has one.
for part in /sys/class/block/*/partition; do
  [ -e "$part" ] || continue
  name=$(basename "$(dirname "$part")")
  label=$(dd if="/dev/$name" bs=1 skip=1144 count=4 2>/dev/null | tr -d '\\0')
  [ "$label" = data ] || continue
  mkdir -p /data
  mount -t ext4 "/dev/$name" /data 2>/dev/null && echo boot >> /data/boots && exit 0
done
`;

/** Everything but the cloud-init seed handling. */
export const GUEST_SCRIPTS: readonly GuestScript[] = [
  { path: 'init', mode: 0o755, content: INIT },
  { path: 'etc/inittab', mode: 0o644, content: INITTAB },
  { path: 'etc/rc.sysinit', mode: 0o755, content: RC_SYSINIT },
  { path: 'etc/rc.boot', mode: 0o755, content: RC_BOOT },
  { path: 'etc/rc.data', mode: 0o755, content: DATA },
  { path: 'etc/rc.shutdown', mode: 0o755, content: RC_SHUTDOWN },
  { path: 'sbin/shutdown', mode: 0o755, content: SHUTDOWN },
  { path: 'sbin/ifup-auto', mode: 0o755, content: IFUP_AUTO },
  { path: 'sbin/set-hostname', mode: 0o755, content: SET_HOSTNAME },
  { path: 'usr/sbin/chpasswd', mode: 0o755, content: CHPASSWD },
  { path: 'sbin/add-user', mode: 0o755, content: ADD_USER },
  { path: 'usr/bin/sudo', mode: 0o755, content: SUDO },
  { path: 'etc/udhcpc.script', mode: 0o755, content: UDHCPC_SCRIPT },
  { path: 'etc/acpi/PWRF/00000080', mode: 0o755, content: POWER_BUTTON },
  { path: 'etc/passwd', mode: 0o644, content: 'root:x:0:0:root:/root:/bin/sh\n' },
  { path: 'etc/group', mode: 0o644, content: 'root:x:0:\ntty:x:5:\n' },
  { path: 'etc/shadow', mode: 0o600, content: 'root::19000:0:99999:7:::\n' },
  { path: 'etc/securetty', mode: 0o644, content: '' },
  { path: 'etc/shells', mode: 0o644, content: '/bin/sh\n' },
  { path: 'etc/profile', mode: 0o644, content: 'export PATH=/sbin:/usr/sbin:/bin:/usr/bin\n' },
  { path: 'etc/hosts', mode: 0o644, content: '127.0.0.1 localhost\n::1 localhost\n' },
  { path: 'etc/nsswitch.conf', mode: 0o644, content: 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n' },
  { path: 'etc/resolv.conf', mode: 0o644, content: '' },
  { path: 'www/index.html', mode: 0o644, content: 'tiny\n' },
  {
    path: 'etc/issue',
    mode: 0o644,
    content: '\nSlipway tiny guest \\r on \\l (user "slipway", password "slipway" unless cloud-init says otherwise)\n\n',
  },
  {
    path: 'etc/os-release',
    mode: 0o644,
    content: 'ID=slipway-tiny\nNAME="Slipway Tiny Guest"\nPRETTY_NAME="Slipway Tiny Guest 1"\nVERSION="1"\nVERSION_ID="1"\n',
  },
];
