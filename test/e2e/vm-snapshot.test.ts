import { createHash } from 'node:crypto';
import { request } from 'node:https';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal, type Terminal } from './src/terminal.ts';

interface Conditioned {
  status?: { conditions?: { type: string; status: string }[]; phase?: string; indications?: string[]; complete?: boolean };
}
const has =
  (type: string) =>
  ({ status }: Conditioned): boolean =>
    status?.conditions?.some((condition) => condition.type === type && condition.status === 'True') === true;

const BOOT_MS = 240_000;
const TEXT = 'what the snapshot shall hold';
const HASH = createHash('sha256').update(`${TEXT}\n`).digest('hex');

describe('a VM with a snapshot', () => {
  let platform: Platform;
  let images: ImageServer;
  const terminals: Terminal[] = [];

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    await platform.apply(importedVm('box', `${images.url}/tiny.qcow2`));
    await platform.until<Conditioned>('vmi box', has('AgentConnected'), BOOT_MS);
  }, 480_000);

  afterAll(async () => {
    for (const terminal of terminals) terminal.close();
    await images?.close();
    await platform?.destroy();
  });

  /** A shell in the guest, on the console that it has had since it was started. */
  async function shellIn(vm: string): Promise<Terminal> {
    const environment = { ...process.env, KUBECONFIG: platform.kubeconfig };
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', vm], environment);
    terminals.push(terminal);
    await terminal.expect(/login:/, BOOT_MS);
    await terminal.answer('demo', /[Pp]assword:/, BOOT_MS);
    await terminal.answer('secret', /[$#] /, BOOT_MS);
    // a login may come before the data disk
    await terminal.answer("until grep -q ' /data ' /proc/mounts; do sleep 1; done; echo is there | rev", /ereht si/, BOOT_MS);
    return terminal;
  }

  const snapshot = {
    apiVersion: 'snapshot.kubevirt.io/v1beta1',
    kind: 'VirtualMachineSnapshot',
    metadata: { name: 'before', namespace: 'default' },
    spec: { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'box' } },
  };

  it('is put back by a restore to what its disk held, and its disk can be downloaded meanwhile', async () => {
    const shell = await shellIn('box');
    await shell.answer(`echo '${TEXT}' | sudo tee /data/text; sync; sha256sum /data/text`, new RegExp(HASH), BOOT_MS);
    await platform.apply(snapshot);
    const taken = await platform.until<Conditioned>('vmsnapshot before', has('Ready'), 60_000);
    expect(taken.status?.indications).toEqual(['Online', 'GuestAgent']);
    await shell.answer('echo lost | sudo tee /data/text; sync; sudo cat /data/text | rev', /tsol/, BOOT_MS);
    shell.close();

    await platform.apply({
      apiVersion: 'snapshot.kubevirt.io/v1beta1',
      kind: 'VirtualMachineRestore',
      metadata: { name: 'back', namespace: 'default' },
      spec: {
        target: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'box' },
        virtualMachineSnapshotName: 'before',
        targetReadinessPolicy: 'StopTarget',
      },
    });
    await platform.until<Conditioned>('vmrestore back', ({ status }) => status?.complete === true, 120_000);
    await platform.kubectl('patch', 'vm', 'box', '--type', 'merge', '-p', '{"spec":{"runStrategy":"Always"}}');
    const exported = await download(platform);
    expect(exported.includes(Buffer.from(TEXT))).toBe(true);
    await platform.until<Conditioned>('vmi box', has('AgentConnected'), BOOT_MS);
    const again = await shellIn('box');
    await again.answer('sha256sum /data/text', new RegExp(HASH), BOOT_MS);
  }, 600_000);
});

/** The disk of the snapshot, through the links of an export. */
async function download(platform: Platform): Promise<Buffer> {
  await platform.apply({
    apiVersion: 'export.kubevirt.io/v1',
    kind: 'VirtualMachineExport',
    metadata: { name: 'out', namespace: 'default' },
    spec: { source: { apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot', name: 'before' } },
  });
  interface Exported {
    status?: {
      phase?: string;
      tokenSecretRef?: string;
      links?: { external?: { cert: string; volumes: { formats: { format: string; url: string }[] }[] } };
    };
  }
  const { status } = await platform.until<Exported>('vmexport out', ({ status: now }) => now?.phase === 'Ready', 120_000);
  const secret = JSON.parse(await platform.kubectl('get', 'secret', status?.tokenSecretRef ?? '', '-o', 'json')) as {
    data: { token: string };
  };
  const url = status?.links?.external?.volumes[0]?.formats.find(({ format }) => format === 'raw')?.url ?? '';
  const headers = { 'x-kubevirt-export-token': Buffer.from(secret.data.token, 'base64').toString() };
  return get(url, { ca: status?.links?.external?.cert ?? '', headers });
}

function get(url: string, options: { readonly ca: string; readonly headers: Record<string, string> }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200 && response.complete
          ? resolve(Buffer.concat(chunks))
          : reject(new Error(`${url} answered ${response.statusCode}`)),
      );
    });
    call.on('error', reject);
    call.end();
  });
}
