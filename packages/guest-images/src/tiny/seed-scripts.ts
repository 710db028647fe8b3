import type { GuestScript } from './guest-scripts.ts';

/**
 * Flattens YAML or JSON into lines "path<TAB>value" (`users.0.name<TAB>ann`); newlines in a value become `\\n`.
 * Understands what user-data is made of: block maps and lists, flow maps and lists, quoted and block scalars.
 */
const FLATTEN = String.raw`#!/usr/bin/awk -f
{ sub(/\r$/, ""); line[NR] = $0 }
END { at = 1; skip(); block("", indentation(line[at])) }
function indentation(text) { match(text, /^ */); return RLENGTH }
function skip() { while (at <= NR && (line[at] ~ /^ *(#|$)/ || line[at] ~ /^(---|\.\.\.)/)) at++ }
function spaces(count,  out) { out = ""; while (length(out) < count) out = out " "; return out }
function join(path, key) { return path == "" ? key : path "." key }
function emit(path, value) { gsub(/\\/, "\\\\", value); gsub(/\n/, "\\n", value); gsub(/\t/, "\\t", value); print path "\t" value }
function plain(text) {
  sub(/^ +/, "", text); sub(/ +$/, "", text)
  if (text ~ /^"/) { sub(/^"/, "", text); sub(/" *(#.*)?$/, "", text); return unescape(text) }
  if (text ~ /^'/) { sub(/^'/, "", text); sub(/' *(#.*)?$/, "", text); gsub(/''/, "'", text); return text }
  sub(/ +#.*$/, "", text); return text
}
function unescape(text,  out, i, c) {
  out = ""
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (c != "\\") { out = out c; continue }
    i++; c = substr(text, i, 1)
    out = out (c == "n" ? "\n" : c == "t" ? "\t" : c)
  }
  return out
}
function block(path, indent,  count, text, item, key, list, deeper) {
  count = 0; list = 0
  for (skip(); at <= NR; skip()) {
    deeper = indentation(line[at])
    if (deeper < indent) return
    text = substr(line[at], deeper + 1)
    if (text ~ /^[[{]/) { at++; collection(path, text); continue }
    if (text ~ /^-( |$)/) {
      list = 1; item = text; sub(/^- */, "", item)
      if (item == "") { at++; skip(); block(join(path, count), indentation(line[at])) }
      else if (item ~ /^- / || item ~ /^("[^"]*"|'[^']*'|[A-Za-z0-9_.-]+) *:( |$)/) {
        line[at] = spaces(deeper + length(text) - length(item)) item
        block(join(path, count), deeper + 1)
      } else { at++; value(join(path, count), item, deeper) }
      count++; continue
    }
    if (list || !match(text, /^("[^"]*"|'[^']*'|[^ :]+) *:( |$)/)) { if (list) return; at++; continue }
    key = substr(text, 1, RLENGTH); text = substr(text, RLENGTH + 1); sub(/ *: *$/, "", key); key = plain(key)
    at++
    if (text ~ /^ *(#.*)?$/) {
      skip(); item = indentation(line[at])
      if (at <= NR && (item > deeper || (item == deeper && line[at] ~ /^ *-( |$)/))) block(join(path, key), item)
      else emit(join(path, key), "")
    } else { sub(/^ +/, "", text); value(join(path, key), text, deeper) }
  }
}
function value(path, text, indent,  fold, keep, out, inner, first) {
  if (text ~ /^[[{]/) { collection(path, text); return }
  if (text !~ /^[|>][+-]?[0-9]* *(#.*)?$/) { emit(path, plain(text)); return }
  fold = text ~ /^>/; keep = text !~ /^.-/; out = ""; inner = -1; first = 1
  while (at <= NR && (line[at] ~ /^ *$/ || indentation(line[at]) > indent)) {
    if (inner < 0 && line[at] !~ /^ *$/) inner = indentation(line[at])
    out = out (first ? "" : fold ? " " : "\n") substr(line[at], inner + 1); first = 0; at++
  }
  sub(/\n+$/, "", out); emit(path, out (keep ? "\n" : ""))
}
function collection(path, text) {
  flow = text
  while (at <= NR && open_brackets(flow) > 0) flow = flow " " line[at++]
  pos = 1; flow_value(path)
}
function open_brackets(text,  copy, opened, closed) {
  copy = text; gsub(/\\./, "", copy); gsub(/"[^"]*"/, "", copy)
  opened = gsub(/[[{]/, "", copy); closed = gsub(/[]}]/, "", copy)
  return opened - closed
}
function blanks() { while (substr(flow, pos, 1) ~ /[ \t]/) pos++ }
function word(stop,  start, quote, c) {
  blanks(); start = pos; quote = substr(flow, pos, 1)
  if (quote == "\"" || quote == "'") {
    for (pos++; pos <= length(flow); pos++) {
      c = substr(flow, pos, 1)
      if (c == "\\" && quote == "\"") pos++
      else if (c == quote) break
    }
    pos++
  } else while (pos <= length(flow) && index(stop, substr(flow, pos, 1)) == 0) pos++
  return plain(substr(flow, start, pos - start))
}
function flow_value(path,  c, count, key) {
  blanks(); c = substr(flow, pos, 1)
  if (c != "{" && c != "[") { emit(path, word(",]}")); return }
  pos++; count = 0
  for (blanks(); pos <= length(flow) && index("]}", substr(flow, pos, 1)) == 0; blanks()) {
    if (substr(flow, pos, 1) == ",") { pos++; continue }
    if (c == "[") flow_value(join(path, count++))
    else { key = word(":"); blanks(); pos++; flow_value(join(path, key)) }
  }
  pos++
}
`;

/** Finds the seed, keeps a copy under /run/seed and prepares what a login needs: host name, accounts, keys. */
const SEED = `#!/bin/sh
# Labels are read from the media because busybox has no blkid: ISO 9660 at 32808, FAT16 at 43, FAT32 at 71.
label() { dd if="$1" bs=1 skip="$2" count=8 2>/dev/null | tr 'A-Z\\0' 'a-z ' ; }
find_seed() {
  for block in /sys/class/block/*; do
    device=/dev/$(basename "$block")
    case "$device" in /dev/loop*|/dev/ram*) continue ;; esac
    for offset in 32808 43 71; do
      case "$(label "$device" $offset)" in
        cidata*) kind=nocloud; return 0 ;;
        config-2*) kind=configdrive; return 0 ;;
      esac
    done
  done
  return 1
}
adopt_account() {
  add-user "$1"
  home=$(awk -F: -v user="$1" '$1 == user { print $6 }' /etc/passwd)
  mkdir -p "$home/.ssh"
  chmod 700 "$home/.ssh"
  echo "$home/.ssh/authorized_keys"
}
authorize() {
  file=$(adopt_account "$1")
  printf '%s\\n' "$2" >> "$file"
  chmod 600 "$file"
  chown -R "$(id -u "$1"):$(id -g "$1")" "$(dirname "$file")"
}
get() { awk -F'\\t' -v key="$1" '$1 == key { print $2; exit }' "$2"; }

mkdir -p /run/seed /mnt
tries=0
# SATA, SCSI and USB disks appear some time after their driver.
until find_seed; do
  tries=$((tries + 1))
  [ -e /sys/class/scsi_host/host0 ] && [ $tries -lt 8 ] || break
  [ $tries -gt 3 ] && ls /sys/class/block | grep -qE '^(sd|sr|vd)' && break
  sleep 0.2
done
if [ -n "$kind" ] && { mount -o ro -t iso9660 "$device" /mnt || mount -o ro -t vfat "$device" /mnt; } 2>/dev/null; then
  case $kind in
    nocloud) cp /mnt/user-data /mnt/meta-data /mnt/network-config /run/seed/ 2>/dev/null ;;
    configdrive)
      cp /mnt/openstack/latest/user_data /run/seed/user-data 2>/dev/null
      cp /mnt/openstack/latest/meta_data.json /run/seed/meta-data 2>/dev/null ;;
  esac
  umount /mnt
fi
cd /run/seed
touch user-data meta-data
[ "$(dd if=user-data bs=1 count=2 2>/dev/null | xxd -p)" = 1f8b ] && zcat user-data > plain && mv plain user-data
flatten meta-data > meta 2>/dev/null
case "$(head -n 1 user-data)" in "#cloud-config"*) flatten user-data > user ;; *) : > user ;; esac

name=$(get hostname user)
[ -n "$name" ] || name=$(get local-hostname meta)
[ -n "$name" ] || name=$(get hostname meta)
[ -n "$name" ] && set-hostname "$name"

user=$(get user user)
[ -n "$user" ] || user=$(get user.name user)
[ -n "$user" ] || user=slipway
add-user "$user"
password=$(get password user)
if [ -n "$password" ]; then
  case "$password" in '$'[0-9a-z]*'$'*) echo "$user:$password" | chpasswd -e ;; *) echo "$user:$password" | chpasswd ;; esac
elif [ "$user" = slipway ]; then
  echo 'slipway:slipway' | chpasswd
fi

tab=$(printf '\\t')
while IFS="$tab" read -r key value; do
  case "$key" in
    ssh_authorized_keys.*) authorize "$user" "$value" ;;
    users.*.name) account=$value; add-user "$account" ;;
    users.*.plain_text_passwd) echo "$account:$value" | chpasswd ;;
    users.*.passwd|users.*.hashed_passwd) echo "$account:$value" | chpasswd -e ;;
    users.*.ssh_authorized_keys.*) authorize "$account" "$value" ;;
    chpasswd.list) printf '%b' "$value" | chpasswd ;;
    chpasswd.list.*) echo "$value" | chpasswd ;;
    chpasswd.users.*.name) account=$value ;;
    chpasswd.users.*.password) echo "$account:$value" | chpasswd ;;
  esac
done < user
while IFS="$tab" read -r key value; do
  case "$key" in public_keys.*|public-keys.*) authorize "$user" "$value" ;; esac
done < meta
exit 0
`;

/** write_files, runcmd and scripts: once per instance id when there is a data partition to remember it, else each boot. */
const SEED_COMMANDS = `#!/bin/sh
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
cd /run/seed
instance=$(awk -F'\\t' '$1 == "instance-id" || $1 == "instance_id" || $1 == "uuid" { print $2; exit }' meta)
if [ -n "$instance" ] && [ -d /data ]; then
  [ "$(cat /data/instance-id 2>/dev/null)" = "$instance" ] && exit 0
  echo "$instance" > /data/instance-id
fi
tab=$(printf '\\t')
quote() { printf "'%s' " "$(printf '%b' "$1" | sed "s/'/'\\\\\\\\''/g")"; }
get() { awk -F'\\t' -v key="$1" '$1 == key { print $2; exit }' user; }
n=0
while path=$(get write_files.$n.path) && [ -n "$path" ]; do
  mkdir -p "$(dirname "$path")"
  printf '%b' "$(get write_files.$n.content)" > "$path"
  mode=$(get write_files.$n.permissions)
  [ -n "$mode" ] && chmod "$mode" "$path"
  n=$((n + 1))
done
: > commands
item=
while IFS="$tab" read -r key value; do
  case "$key" in
    bootcmd.*.*|runcmd.*.*)
      this=$(echo "$key" | cut -d. -f1-2)
      [ "$this" = "$item" ] || printf '\\n' >> commands
      item=$this
      quote "$value" >> commands ;;
    bootcmd.*|runcmd.*) item=; printf '\\n%b\\n' "$value" >> commands ;;
  esac
done < user
printf '\\n' >> commands
sh ./commands > /run/seed/output.log 2>&1
if [ "$(head -c 2 user-data)" = '#!' ]; then
  chmod +x user-data
  ./user-data >> /run/seed/output.log 2>&1
fi
`;

/** cloud-init for the tiny guest: NoCloud and ConfigDrive seeds, the parts of user-data that tests and demos use. */
export const SEED_SCRIPTS: readonly GuestScript[] = [
  { path: 'usr/bin/flatten', mode: 0o755, content: FLATTEN },
  { path: 'etc/rc.seed', mode: 0o755, content: SEED },
  { path: 'etc/rc.seed-commands', mode: 0o755, content: SEED_COMMANDS },
];
