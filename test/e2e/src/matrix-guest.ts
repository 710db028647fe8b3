import { createHash, randomBytes } from 'node:crypto';
import { type GuestShell, guestShell, shellVm } from './guest-shell.ts';
import type { GuestKind, Load } from './migration-rows.ts';
import { blankVolume, type MoverWorld, PICTURE_MIB } from './mover-world.ts';
import { checkWritten, countWritten, type MovingVmi, startWriting } from './moving-guest.ts';

/** Network that the nodes have in common besides their own, and the address there of the first of them. */
export const LAB = { bridge: 'br-lab', host: '10.199.77.1', guest: '10.199.77.2' } as const;

const PATIENCE_MS = 240_000;
const KIB = 1024;
/** What is written once and stays: behind the entries. */
const SEAL = { bytes: 64 * KIB, blocks: 8 * KIB } as const;
const DIRTY_MIB = 8;

/** Volumes of each guest by the class of their storage; those of `plugged` come while it runs. */
const VOLUMES: Readonly<Record<GuestKind, { readonly disks: readonly string[]; readonly plugged: readonly string[] }>> = {
  masquerade: { disks: ['local', 'shared'], plugged: ['local', 'shared'] },
  bridge: { disks: ['local', 'shared'], plugged: ['local', 'shared'] },
  // no disk of it is copied: who may write it changes, and that is all
  lean: { disks: ['shared'], plugged: ['shared'] },
};

/** One guest of the matrix: its devices, and what it holds. */
export interface MatrixGuest {
  readonly name: string;
  shell(): GuestShell;
  /** Lets it do something; entries that it writes bear the mark. */
  begin(load: Load, mark: string): Promise<void>;
  /** It is the guest that it was: throws when memory, disks or networks are not what they were. */
  checkAlive(load: Load, mark: string): Promise<void>;
  /** How many entries it has written for sure. */
  written(): Promise<number>;
  /** It was lost and started anew: throws when a volume lacks what it had written by then. */
  checkReborn(mark: string, atLeast: number): Promise<void>;
  delete(): Promise<void>;
}

/** Boots the guest and plugs the disks that come later. */
export async function startMatrixGuest(world: MoverWorld, kind: GuestKind): Promise<MatrixGuest> {
  const { platform } = world;
  const name = kind;
  const { disks, plugged } = VOLUMES[kind];
  const fixed = disks.map((storageClass) => ({ name: `${kind}-${storageClass}`, storageClass }));
  const later = plugged.map((storageClass) => ({ name: `${kind}-plug-${storageClass}`, storageClass }));
  const volumes = [...fixed, ...later];
  for (const volume of volumes) await platform.apply(blankVolume(volume.name, volume.storageClass));
  await world.pace(name);
  await platform.apply(vmOf(world, kind, fixed));
  let shell = await guestShell(platform, name);
  for (const volume of later) {
    const { code, stderr } = await platform.slipway(
      'virt',
      'addvolume',
      name,
      `--volume-name=${volume.name}`,
      ...busOf(volume.name),
    );
    if (code !== 0) throw new Error(stderr);
  }
  let state = await settle(world, kind, shell, volumes);
  const { seal } = await sealDisks(shell, state.devices);
  return {
    name,
    shell: () => shell,
    async begin(load, mark) {
      if (load === 'writing') await shell.run(startWriting([...state.devices, ...state.ephemeral], mark));
      if (load === 'dirtying') await shell.run(START_DIRTYING);
    },
    written: async () => Number((await shell.run('cat /tmp/counter 2>/dev/null || echo 0')).trim()),
    async checkAlive(load, mark) {
      const asked = Date.now();
      while ((await shell.run('echo here').catch(String)) !== 'here\n')
        if (Date.now() - asked > PATIENCE_MS) throw new Error('The guest does not answer');
      if (load === 'writing') await checkWritten(shell, [...state.devices, ...state.ephemeral], mark);
      if (load === 'dirtying') await checkDirtying(shell);
      await checkSealed(world, shell, { ...state, seal });
      const memory = await shell.run('md5sum < /tmp/keep');
      if (memory.trim() !== state.memory) throw new Error(`The guest's memory is not what it was: ${memory}`);
      if (kind === 'lean') return;
      const lab = await shell.run(`ping -c 3 -W 20 -q ${LAB.host}`);
      if (!/[1-3] packets received/.test(lab)) throw new Error(`Its second network is gone: ${lab}`);
    },
    async checkReborn(mark, atLeast) {
      shell = await guestShell(platform, name, shell.instanceUid);
      state = await settle(world, kind, shell, volumes);
      await checkSealed(world, shell, { ...state, seal });
      for (const device of state.devices) {
        const found = await countWritten(shell, device, mark);
        if (found < atLeast) throw new Error(`/dev/${device} has ${found} entries of ${mark}, and ${atLeast} were written`);
      }
    },
    async delete() {
      await platform.kubectl('delete', 'vm', name, '--timeout=120s');
      await platform.kubectl('delete', 'dv', ...volumes.map((volume) => volume.name), '--timeout=120s');
    },
  };
}

const busOf = (volume: string): readonly string[] =>
  volume.endsWith('-local') ? [] : ['--bus=virtio', `--serial=${volume.slice(-20)}`];

function vmOf({ imageUrl, picture }: MoverWorld, kind: GuestKind, fixed: readonly { readonly name: string }[]): object {
  const hasLab = kind !== 'lean';
  const disk = (name: string): object => ({ name, serial: name.slice(-20), disk: { bus: 'virtio' } });
  return shellVm(kind, imageUrl, {
    memory: '128Mi',
    rootClass: kind === 'lean' ? 'shared' : 'local',
    disks: [...fixed.map(({ name }) => disk(name)), ...(hasLab ? [disk('picture')] : [])],
    volumes: [
      ...fixed.map(({ name }) => ({ name, dataVolume: { name } })),
      ...(hasLab ? [{ name: 'picture', containerDisk: { image: picture.image } }] : []),
    ],
    network: {
      interfaces: [
        { name: 'default', ...(kind === 'bridge' ? { bridge: {} } : { masquerade: {} }) },
        ...(hasLab ? [{ name: 'lab', bridge: {} }] : []),
      ],
      networks: [{ name: 'default', pod: {} }, ...(hasLab ? [{ name: 'lab', multus: { networkName: 'lab' } }] : [])],
    },
    ...(kind === 'bridge' && { annotations: { 'kubevirt.io/allow-pod-bridge-network-live-migration': '' } }),
  });
}

interface GuestState {
  /** Of the volumes. */
  readonly devices: readonly string[];
  /** Disks that end with their guest. */
  readonly ephemeral: readonly string[];
  /** Sum of what is in its memory only. */
  readonly memory: string;
}

/** Waits for the plugged disks, joins the second network and fills some memory. */
async function settle(
  { platform }: MoverWorld,
  kind: GuestKind,
  shell: GuestShell,
  volumes: readonly { readonly name: string }[],
): Promise<GuestState> {
  interface Volumes {
    status?: { volumeStatus?: { name: string; phase?: string }[] };
  }
  const plugged = volumes.filter(({ name }) => name.includes('-plug-'));
  await platform.until<Volumes>(
    `vmi ${kind}`,
    ({ status }) =>
      plugged.every(({ name }) => status?.volumeStatus?.some((one) => one.name === name && one.phase === 'Ready') === true),
    PATIENCE_MS,
  );
  const find = (name: string): Promise<string> => shell.run(deviceOf(name));
  const devices: string[] = [];
  for (const { name } of volumes) devices.push((await find(name)).trim());
  const ephemeral = kind === 'lean' ? [] : [(await find('picture')).trim()];
  if ([...devices, ...ephemeral].some((device) => !/^(vd|sd)[a-z]$/.test(device)))
    throw new Error(`The guest has the disks ${devices.join(' ')} ${ephemeral.join(' ')}`);
  if (kind !== 'lean') await shell.run(`ip link set eth1 up; ip addr add ${LAB.guest}/24 dev eth1`);
  const memory = await shell.run('dd if=/dev/urandom of=/tmp/keep bs=1M count=4 2>/dev/null; md5sum < /tmp/keep');
  return { devices, ephemeral, memory: memory.trim() };
}

/** A plugged disk of the usual bus is the only one of its kind. */
const deviceOf = (name: string): string =>
  name.endsWith('-plug-local')
    ? 'for i in $(seq 300); do [ -e /sys/block/sda ] && break; usleep 100000; done; ls /sys/block | grep sd'
    : `for i in $(seq 300); do for b in /sys/block/vd*; do [ "$(cat $b/serial)" = "${name.slice(-20)}" ] && echo \${b##*/} && exit; done; usleep 100000; done`;

/** Writes what must be there whatever happens; the same to each. */
async function sealDisks(shell: GuestShell, devices: readonly string[]): Promise<{ readonly seal: string }> {
  const text = randomBytes(SEAL.bytes / 2).toString('hex');
  const { stdin } = { stdin: text.match(/.{1,8192}/g) ?? [] };
  await shell.run('rm -f /tmp/seal');
  for (const part of stdin) await shell.run(`printf %s ${part} >> /tmp/seal`);
  for (const device of devices)
    await shell.run(`dd if=/tmp/seal of=/dev/${device} bs=1024 seek=${SEAL.blocks} conv=notrunc,fsync 2>/dev/null`);
  return { seal: createHash('md5').update(text).digest('hex') };
}

async function checkSealed(
  { picture }: MoverWorld,
  shell: GuestShell,
  { devices, ephemeral, seal }: Pick<GuestState, 'devices' | 'ephemeral'> & { readonly seal: string },
): Promise<void> {
  const sum = async (device: string, blocks: string): Promise<string> =>
    (await shell.run(`echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/${device} ${blocks} 2>/dev/null | md5sum`)).slice(0, 32);
  for (const device of devices) {
    const found = await sum(device, `bs=1024 skip=${SEAL.blocks} count=${SEAL.bytes / KIB}`);
    if (found !== seal) throw new Error(`/dev/${device} does not hold what was written before: ${found}`);
  }
  for (const device of ephemeral) {
    const found = await sum(device, `bs=1048576 skip=${PICTURE_MIB} count=1`);
    if (found !== picture.md5) throw new Error(`/dev/${device} is not the disk of its image: ${found}`);
  }
}

/** Goes over the same memory again and again, with another content each time. */
const START_DIRTYING = `
rm -f /tmp/stop-dirtying /tmp/dirtied
dd if=/dev/urandom of=/tmp/round bs=64k count=1 2>/dev/null
(
  n=0
  while [ ! -e /tmp/stop-dirtying ]; do
    n=$((n+1))
    { echo $n; cat /tmp/round; } | head -c 65536 > /tmp/next; mv /tmp/next /tmp/round
    for i in $(seq ${DIRTY_MIB * 16}); do cat /tmp/round; done > /tmp/ballast
    echo $n > /tmp/dirty-counter
  done
  mv /tmp/dirty-counter /tmp/dirtied
) > /dev/null 2>&1 &`;

/** Ends it; throws when the memory is not what was written there. */
async function checkDirtying(shell: GuestShell): Promise<void> {
  const ended = 'touch /tmp/stop-dirtying; while [ ! -e /tmp/dirtied ]; do usleep 20000; done; cat /tmp/dirtied';
  const rounds = Number(await shell.run(ended));
  if (!(rounds > 0)) throw new Error(`The guest's memory was written ${rounds} times`);
  const sums = await shell.run(`md5sum < /tmp/ballast; for i in $(seq ${DIRTY_MIB * 16}); do cat /tmp/round; done | md5sum`);
  const [found, expected] = sums.trim().split('\n');
  if (found !== expected || found === undefined) throw new Error(`The guest's memory is not what it wrote: ${sums}`);
}

/** Whether somebody has paused it. */
export const isPausedByUser = ({ status }: MovingVmi): boolean =>
  status?.conditions?.some(({ type, status: is, reason }) => type === 'Paused' && is === 'True' && reason === 'PausedByUser') ===
  true;
