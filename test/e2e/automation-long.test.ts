import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shellVm } from './src/guest-shell.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: the Ansible of Debian with a guest that runs. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const PACKAGES = ['ansible', 'python3-kubernetes', 'jq'];
const PLAYBOOKS = join(ROOT, 'test/e2e/fixtures/automation');
const NAME = 'automated';
const run = promisify(execFile);

/** Why the tests cannot run; installs what is missing where that may be done. */
function whyNot(): string | undefined {
  if (!isLong) return 'SLIPWAY_E2E_LONG is not set';
  const hasAnsible = (): boolean =>
    spawnSync('ansible-doc', ['-t', 'module', 'kubernetes.core.k8s']).status === 0 && spawnSync('jq', ['--version']).status === 0;
  if (hasAnsible()) return undefined;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const installed = spawnSync('apt-get', ['install', '-y', '--no-install-recommends', ...PACKAGES], { env, encoding: 'utf8' });
  if (installed.status === 0 && hasAnsible()) return undefined;
  return `no Ansible with kubernetes.core, and apt-get install ${PACKAGES.join(' ')} failed: ${installed.stderr?.trim() ?? ''}`;
}

const reason = whyNot();

describe.skipIf(reason !== undefined)(`Ansible${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  const scratch = mkdtempSync('/tmp/sw-e2e-ansible-');
  let platform: Platform;
  let images: ImageServer;

  /** A program of Ansible with nothing of the user's configuration; the output when it fails. */
  const ansible = async (program: string, ...args: string[]): Promise<string> => {
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: scratch,
      LC_ALL: 'C.UTF-8',
      KUBECONFIG: platform.kubeconfig,
      K8S_AUTH_KUBECONFIG: platform.kubeconfig,
      ANSIBLE_HOME: scratch,
      ANSIBLE_LOCALHOST_WARNING: 'false',
      ANSIBLE_NOCOLOR: '1',
    };
    try {
      return (await run(program, args, { env, maxBuffer: 64 * 1024 * 1024 })).stdout;
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }; // of a program that failed
      throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error });
    }
  };
  const play = (playbook: string, vars: object): Promise<string> =>
    ansible('ansible-playbook', join(PLAYBOOKS, playbook), '--extra-vars', JSON.stringify(vars));

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny-generic');
    images = await serveImages({ '/disk.qcow2': qcow2Path });
    platform = await startPlatform();
  }, 480_000);
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  });

  it('creates a machine, waits for it, works in its guest, changes and halts it', async () => {
    const output = await play('machine.yaml', { machine: shellVm(NAME, `${images.url}/disk.qcow2`) });
    expect(output).toMatch(/localhost +: ok=\d+ +changed=\d+ +unreachable=0 +failed=0/);
    expect(output).toMatch(new RegExp(`${NAME} +: ok=1 +changed=0 +unreachable=0 +failed=0`));
  }, 1_200_000);

  it('finds the guests that run by an inventory, and works in them', async () => {
    const patch = { spec: { runStrategy: 'Always', template: { metadata: { labels: { role: 'build' } } } } };
    await platform.kubectl('patch', 'vm', NAME, '--type=merge', '-p', JSON.stringify(patch));
    await platform.kubectl('wait', `vm/${NAME}`, '--for=condition=Ready', '--timeout=480s');
    const hasAddress = ({ status }: { status?: { interfaces?: { ipAddress?: string }[] } }): boolean =>
      status?.interfaces?.[0]?.ipAddress !== undefined;
    await platform.until(`vmi ${NAME}`, hasAddress, 240_000);
    const inventory = join(PLAYBOOKS, 'machines.sh');
    const listed: Record<string, unknown> = JSON.parse(await ansible('ansible-inventory', '-i', inventory, '--list'));
    const host = `${NAME}.default`;
    expect(listed).toMatchObject({ namespace_default: { hosts: [host] }, role_build: { hosts: [host] } });
    const output = await ansible('ansible-playbook', '-i', inventory, join(PLAYBOOKS, 'guests.yaml'));
    expect(output).toMatch(new RegExp(`${NAME}\\.default +: ok=1 +changed=0 +unreachable=0 +failed=0`));
  }, 1_200_000);

  it('deletes the machine with all that it had', async () => {
    await play('delete.yaml', { vm: NAME });
    for (const kind of ['vm', 'vmi', 'dv', 'pvc'])
      expect(await platform.kubectl('get', kind, '-n', 'default', '-o', 'name'), kind).toBe('');
  }, 600_000);
});
