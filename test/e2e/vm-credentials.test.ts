import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal, type Terminal } from './src/terminal.ts';

/** `SLIPWAY_E2E_LONG=1`: a second boot, with a config drive. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const SOON_MS = 120_000;
const BOOT_MS = 240_000;

interface Vmi {
  metadata: { uid: string };
  status?: { phase?: string; conditions?: { type: string; status: string; message?: string }[] };
}
interface VmSpec {
  template: { spec: { accessCredentials?: object[]; volumes: Record<string, unknown>[] } };
}
const condition = ({ status }: Vmi, type: string) => status?.conditions?.find((entry) => entry.type === type);
const isTrue = (vmi: Vmi, type: string): boolean => condition(vmi, type)?.status === 'True';

const secret = (name: string, stringData: Record<string, string>): object => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: 'default' },
  stringData,
});
const keysFrom = (secretName: string, propagationMethod: object): object => ({
  sshPublicKey: { source: { secret: { secretName } }, propagationMethod },
});

/** Who may log in to a guest, by every way that a manifest has for saying so, and the guest's own restart. */
describe('access credentials', () => {
  let platform: Platform;
  let images: ImageServer;
  const terminals: Terminal[] = [];

  const identity = (name: string): string => join(platform.dataDir, `key-${name}`);
  const publicKey = (name: string): string => {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', identity(name)]);
    return readFileSync(`${identity(name)}.pub`, 'utf8');
  };
  const ssh = (user: string, vm: string, key: string, command: string) =>
    platform.slipway(
      ...['virt', 'ssh', `${user}@vmi/${vm}`, '--identity-file', identity(key), '--known-hosts', '/dev/null'],
      ...[
        '-t',
        '-oStrictHostKeyChecking=no',
        '-t',
        '-oBatchMode=yes',
        '-t',
        '-oIdentitiesOnly=yes',
        '-t',
        '-oConnectTimeout=10',
        '--command',
        command,
      ],
    );
  /** Output of a command in the guest, once its SSH server lets us in. */
  const inGuest = async (user: string, vm: string, key: string, command: string): Promise<string> => {
    for (const deadline = Date.now() + SOON_MS; ; ) {
      const { code, stdout, stderr } = await ssh(user, vm, key, command);
      if (code === 0) return stdout.trim();
      if (Date.now() > deadline) throw new Error(`No way in for ${user} with key ${key}: ${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    await platform.apply(secret('boot-keys', { first: publicKey('boot') }));
    await platform.apply(secret('agent-keys', { first: publicKey('agent') }));
    await platform.apply(secret('passwords', { ann: 'changed-by-agent' }));
    const vm = importedVm('box', `${images.url}/tiny.qcow2`) as { spec: VmSpec };
    vm.spec.template.spec.accessCredentials = [
      keysFrom('boot-keys', { noCloud: {} }),
      keysFrom('agent-keys', { qemuGuestAgent: { users: ['ann'] } }),
      { userPassword: { source: { secret: { secretName: 'passwords' } }, propagationMethod: { qemuGuestAgent: {} } } },
    ];
    const seed = { userData: '#cloud-config\nuser: demo\nusers:\n- name: ann\n' };
    vm.spec.template.spec.volumes = vm.spec.template.spec.volumes.map((volume) =>
      volume['cloudInitNoCloud'] === undefined ? volume : { ...volume, cloudInitNoCloud: seed },
    );
    await platform.apply(vm);
    await platform.until<Vmi>('vmi box', (vmi) => isTrue(vmi, 'AgentConnected'), BOOT_MS);
  });
  afterAll(async () => {
    for (const terminal of terminals) terminal.close();
    await images?.close();
    await platform?.destroy();
  });

  it('come with the seed of the first boot, and by the agent into the running guest', async () => {
    await platform.until<Vmi>('vmi box', (vmi) => isTrue(vmi, 'AccessCredentialsSynchronized'), SOON_MS);
    expect(await inGuest('demo', 'box', 'boot', 'id -un')).toBe('demo');
    expect(await inGuest('ann', 'box', 'agent', 'id -un')).toBe('ann');
    expect((await ssh('ann', 'box', 'boot', 'true')).code).not.toBe(0);
  });

  it('are a password, too', async () => {
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'box'], {
      ...process.env,
      KUBECONFIG: platform.kubeconfig,
    });
    terminals.push(terminal);
    await terminal.expect(/Successfully connected/);
    terminal.type('\n');
    await terminal.expect(/login: $/, SOON_MS);
    await terminal.answer('ann', /[Pp]assword: $/);
    expect(await terminal.answer('changed-by-agent', /[Ii]ncorrect|[$#] /)).not.toMatch(/[Ii]ncorrect/);
    terminal.close();
  });

  it('outlive a soft reboot, in which the guest restarts and the instance stays', async () => {
    const bootId = 'cat /proc/sys/kernel/random/boot_id';
    const before = await inGuest('demo', 'box', 'boot', bootId);
    const { uid } = (await platform.until<Vmi>('vmi box', () => true)).metadata;
    const { code, stderr } = await platform.slipway('virt', 'soft-reboot', 'box');
    expect(code, stderr).toBe(0);
    // the shut-down of the guest may still be under way when the first answers come
    let after = before;
    for (const deadline = Date.now() + SOON_MS; after === before && Date.now() < deadline; )
      after = await inGuest('demo', 'box', 'boot', bootId);
    expect(after).not.toBe(before);
    expect((await platform.until<Vmi>('vmi box', ({ status }) => status?.phase === 'Running')).metadata.uid).toBe(uid);
  });

  describe.runIf(isLong)('also', () => {
    it('follow their Secret while the guest runs, and say what is missing', async () => {
      await platform.until<Vmi>('vmi box', (vmi) => isTrue(vmi, 'AgentConnected'), BOOT_MS);
      await platform.apply(secret('agent-keys', { first: publicKey('second') }));
      expect(await inGuest('ann', 'box', 'second', 'id -un')).toBe('ann');
      expect((await ssh('ann', 'box', 'agent', 'true')).code).not.toBe(0);
      await platform.kubectl('delete', 'secret', 'passwords');
      const vmi = await platform.until<Vmi>(
        'vmi box',
        (object) => condition(object, 'AccessCredentialsSynchronized')?.status === 'False',
        SOON_MS,
      );
      expect(condition(vmi, 'AccessCredentialsSynchronized')?.message).toBe('Secret passwords does not exist');
    }, 400_000);

    it('come by a config drive', async () => {
      const vm = importedVm('drive', `${images.url}/tiny.qcow2`) as { spec: VmSpec };
      const { spec } = vm.spec.template;
      spec.accessCredentials = [keysFrom('boot-keys', { configDrive: {} })];
      spec.volumes = spec.volumes.map(({ cloudInitNoCloud, ...volume }) =>
        cloudInitNoCloud === undefined ? volume : { ...volume, cloudInitConfigDrive: cloudInitNoCloud },
      );
      await platform.kubectl('delete', 'vm', 'box', '--timeout=90s');
      await platform.apply(vm);
      await platform.until<Vmi>('vmi drive', (vmi) => isTrue(vmi, 'AgentConnected'), BOOT_MS);
      expect(await inGuest('demo', 'drive', 'boot', 'id -un; hostname')).toBe('demo\ndrive');
    }, 600_000);
  });
});
