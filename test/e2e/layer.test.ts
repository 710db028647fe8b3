// The virtualization layer from a file of variables, to a guest that runs where the layer wants it, and what is misplaced.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { guestShell, shellVm } from './src/guest-shell.ts';
import { idleVm } from './src/manifests.ts';
import { type CommandResult, guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';

const PATIENCE_MS = 240_000;
const CHECKS = 30;
const FIXTURES = join(ROOT, 'test/e2e/fixtures');
const TFVARS = join(FIXTURES, 'ocpvirtualization.tfvars');
const VIRTUALIZATION = 'node-role.kubernetes.io/virtualization';

interface Vmi {
  status?: { phase?: string; nodeName?: string };
}
interface Nodes {
  items: { metadata: { name: string; labels: Record<string, string> }; spec: { taints?: { key: string; effect: string }[] } }[];
}
interface Document {
  metadata: { name: string };
  spec: { template: { spec: Record<string, unknown> } };
}

describe('the virtualization layer', () => {
  let platform: Platform;
  let images: ImageServer;
  const scratch = mkdtempSync('/tmp/sw-e2e-layer-');
  /** The same file with the taint that keeps everything else away. */
  const strict = join(scratch, 'strict.tfvars');

  beforeAll(async () => {
    writeFileSync(strict, readFileSync(TFVARS, 'utf8').replaceAll('"PreferNoSchedule"', '"NoSchedule"'));
    const { qcow2Path } = await guestImage('tiny');
    platform = await startPlatform({ nodes: 3 });
    // a node does not see the loopback of this machine
    const { link } = JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8'));
    images = await serveImages({ '/tiny.qcow2': qcow2Path }, link.hostV4);
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true, force: true });
    await images?.close();
    await platform?.destroy();
  });

  const layer = (verb: string, file: string, ...args: string[]) => platform.slipway('layer', verb, '-var-file', file, ...args);
  /** Nodes of a busy machine may be late for a moment. */
  const untilContent = async (file: string): Promise<CommandResult> => {
    for (let attempts = 1; ; attempts++) {
      const result = await layer('check', file);
      if (result.code === 0 || attempts === CHECKS) return result;
    }
  };
  const nodes = async (): Promise<Nodes> => JSON.parse(await platform.kubectl('get', 'nodes', '-o', 'json'));
  const tainted = async (): Promise<string[]> =>
    (await nodes()).items.map(({ spec }) => (spec.taints ?? []).map(({ key, effect }) => `${key}:${effect}`).join());
  const virtNodes = async (): Promise<string[]> =>
    (await nodes()).items.filter(({ metadata }) => metadata.labels[VIRTUALIZATION] === '').map(({ metadata }) => metadata.name);

  it('is missing before it is applied, and check says what', async () => {
    const { code, stdout } = await layer('check', TFVARS);
    expect([code, stdout]).toEqual([3, expect.stringContaining('there is no Subscription in openshift-cnv')]);
  });

  it('is installed from the variables as they are', { timeout: PATIENCE_MS }, async () => {
    const applied = await layer('apply', TFVARS, '--timeout', '200s');
    expect([applied.code, applied.stdout]).toEqual([0, 'The layer is ready.\n']);
    expect(await virtNodes()).toHaveLength(2);
    expect((await tainted()).sort()).toEqual(['', 'virtualization:PreferNoSchedule', 'virtualization:PreferNoSchedule']);
    const placement = await platform.kubectl(
      ...['get', 'kubevirt', '-n', 'openshift-cnv', '-o', 'jsonpath={.items[0].spec.workloads.nodePlacement.nodeSelector}'],
    );
    expect(JSON.parse(placement)).toEqual({ [VIRTUALIZATION]: '' });
    const csv = await platform.kubectl('get', 'csv', '-n', 'openshift-cnv', '-o', 'jsonpath={.items[*].status.phase}');
    expect(csv).toBe('Succeeded');
    const again = await layer('apply', TFVARS, '--timeout', '200s');
    expect(again.stderr).not.toMatch(/configured|created/);
    expect(await untilContent(TFVARS)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Everything is where it belongs.'),
    });
  });

  it('can be rendered, and says the same', async () => {
    const { code, stdout } = await layer('render', TFVARS);
    expect(code).toBe(0);
    expect(await platform.apply(stdout, '--server-side', '--dry-run=server', '--field-manager=slipway-layer')).toContain(
      'hyperconverged.hco.kubevirt.io/kubevirt-hyperconverged serverside-applied',
    );
  });

  it('isolates guests strictly where the taint says so', { timeout: 2 * PATIENCE_MS }, async () => {
    // the toleration of the platform goes with the taint
    const applied = await layer('apply', strict, '--timeout', '200s');
    expect([applied.code, applied.stdout]).toEqual([0, 'The layer is ready.\n']);
    expect((await tainted()).sort()).toEqual(['', 'virtualization:NoSchedule', 'virtualization:NoSchedule']);

    // all of the document, whose domain is left to the reader
    const { metadata, spec } = parse(readFileSync(join(FIXTURES, 'vm-noschedule.yaml'), 'utf8')) as Document;
    const { domain: _, ...placement } = spec.template.spec;
    await platform.apply(shellVm(metadata.name, `${images.url}/tiny.qcow2`, { memory: '128Mi', spec: placement }));
    await platform.apply(idleVm('intolerant'));
    const shell = await guestShell(platform, 'my-vm', '', PATIENCE_MS);
    expect(await shell.run('echo here')).toContain('here');
    const vmi = await platform.until<Vmi>('vmi my-vm', ({ status }) => status?.phase === 'Running', PATIENCE_MS);
    expect(await virtNodes()).toContain(vmi.status?.nodeName);
    await platform.until<{ status?: { printableStatus?: string } }>(
      'vm intolerant',
      ({ status }) => status?.printableStatus === 'ErrorUnschedulable',
      PATIENCE_MS,
    );
    const checked = await untilContent(strict);
    expect(checked).toMatchObject({ code: 0, stdout: expect.stringMatching(/guest +default\/virt-launcher-my-vm-/) });
  });

  it('says which pod does not belong where it is', async () => {
    const [node = ''] = await virtNodes();
    const containers = [{ name: 'web', image: 'example.org/web' }];
    await platform.apply({
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'stranger', namespace: 'default' } },
      spec: { nodeName: node, containers, tolerations: [{ operator: 'Exists' }] },
    });
    const { code, stdout } = await layer('check', strict, '-o', 'json');
    expect(code).toBe(3);
    expect(JSON.parse(stdout).findings).toContainEqual(
      expect.stringMatching(
        new RegExp(`^pod default/stranger on ${node} does not belong there: it is no part of virtualization; it tol`),
      ),
    );
  });
});
