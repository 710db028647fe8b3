import { request } from 'node:https';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal, type Terminal } from './src/terminal.ts';

/** `SLIPWAY_E2E_LONG=1` boots the guest after every step; the short form boots it at the beginning and at the end. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const BOOT_MS = 240_000;
const NAME = 'trip';

interface Template {
  spec: {
    domain: { cpu: object; devices: { disks: object[]; interfaces: { name: string; macAddress?: string }[] }; firmware?: object };
    volumes: object[];
  };
}
interface Vm {
  metadata: { uid: string; labels: Record<string, string>; annotations?: Record<string, string> };
  spec: { runStrategy: string; template: Template };
  status?: { snapshotInProgress?: string; restoreInProgress?: string };
}
interface Vmi {
  metadata: { uid: string; name: string };
  spec: { domain: { firmware?: { uuid?: string }; devices: { interfaces?: { name: string; macAddress?: string }[] } } };
  status?: {
    phase?: string;
    conditions?: { type: string; status: string }[];
    volumeStatus?: { name: string; phase?: string }[];
    interfaces?: { mac?: string }[];
  };
}
interface Conditioned {
  status?: { conditions?: { type: string; status: string }[]; complete?: boolean; phase?: string; indications?: string[] };
}

const has =
  (type: string) =>
  ({ status }: Conditioned): boolean =>
    status?.conditions?.some((condition) => condition.type === type && condition.status === 'True') === true;

/** What has to stay. */
interface Identity {
  readonly name: string;
  readonly mac: string | undefined;
  readonly uuid: string | undefined;
}

/** Content of the disks, as the guest reads it. */
interface Contents {
  readonly file: string;
  readonly disk: string;
}

const sourceVm = { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: NAME };

describe('a VM that goes through everything', () => {
  let platform: Platform;
  let images: ImageServer;
  let manifest: Vm;
  let identity: Identity;
  let contents: Contents;
  const terminals: Terminal[] = [];

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    manifest = importedVm(NAME, `${images.url}/tiny.qcow2`) as Vm;
    await platform.apply(manifest);
    await platform.apply({
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'DataVolume',
      metadata: { name: `${NAME}-data`, namespace: 'default' },
      spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '16Mi' } } } },
    });
  }, 480_000);

  afterAll(async () => {
    for (const terminal of terminals) terminal.close();
    await images?.close();
    await platform?.destroy();
  });

  /** A shell in a guest that has booted. */
  async function shellIn(vm: string): Promise<Terminal> {
    await platform.until<Vmi>(`vmi ${vm}`, has('AgentConnected'), BOOT_MS);
    const environment = { ...process.env, KUBECONFIG: platform.kubeconfig };
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', vm], environment);
    terminals.push(terminal);
    await terminal.expect(/login:/, BOOT_MS);
    await terminal.answer('demo', /[Pp]assword:/, BOOT_MS);
    await terminal.answer('secret', /[$#] /, BOOT_MS);
    // a login may come before the data partition
    await terminal.answer("until grep -q ' /data ' /proc/mounts; do sleep 1; done; echo is there | rev", /ereht si/, BOOT_MS);
    return terminal;
  }

  /** The plugged disk is /dev/sda: the others are on virtio. */
  async function contentsIn(shell: Terminal): Promise<Contents> {
    const line =
      'until [ -b /dev/sda ]; do sleep 0.2; done; sync; echo file:$(sha256sum < /data/blob); echo disk:$(sudo cat /dev/sda | sha256sum); echo over-$((40+2))';
    const printed = await shell.answer(line, /over-42/, BOOT_MS);
    const hash = (of: string): string => {
      const found = new RegExp(`${of}:([0-9a-f]{64})`).exec(printed)?.[1];
      if (found === undefined) throw new Error(`No hash of the ${of} in:\n${printed}`);
      return found;
    };
    return { file: hash('file'), disk: hash('disk') };
  }

  async function identityOf(vm: string): Promise<Identity> {
    const { metadata, spec, status } = await platform.until<Vmi>(
      `vmi ${vm}`,
      ({ status: now }) => now?.phase === 'Running',
      BOOT_MS,
    );
    const mac = spec.domain.devices.interfaces?.[0]?.macAddress;
    expect(status?.interfaces?.[0]?.mac).toBe(mac);
    return { name: metadata.name, mac, uuid: spec.domain.firmware?.uuid };
  }

  async function expectNoDrift(objects: object): Promise<void> {
    expect(await platform.diff(objects)).toBe('');
  }

  const power = async (vm: string, runStrategy: 'Always' | 'Halted'): Promise<void> => {
    await platform.kubectl('patch', 'vm', vm, '--type=merge', '-p', JSON.stringify({ spec: { runStrategy } }));
    if (runStrategy === 'Halted') await platform.kubectl('wait', 'vmi', vm, '--for=delete', '--timeout=240s');
  };
  const apply = async (change: (vm: Vm) => void): Promise<void> => {
    change(manifest);
    await platform.apply(manifest);
  };

  /** Everything is as it was, seen from inside the guest. A guest is logged into once per boot. */
  async function expectTheSame(andThen = async (_shell: Terminal): Promise<void> => {}): Promise<void> {
    const shell = await shellIn(NAME);
    expect(await contentsIn(shell)).toEqual(contents);
    await andThen(shell);
    shell.close();
    expect(await identityOf(NAME)).toEqual(identity);
  }

  it('takes a disk while it runs', async () => {
    const shell = await shellIn(NAME);
    identity = await identityOf(NAME);
    expect(identity).toEqual({ name: NAME, mac: expect.stringMatching(/^02(:[0-9a-f]{2}){5}$/), uuid: expect.any(String) });
    await apply(({ spec: { template } }) => {
      template.spec.domain.devices.disks.push({ name: 'data', disk: { bus: 'scsi' } });
      template.spec.volumes.push({ name: 'data', dataVolume: { name: `${NAME}-data`, hotpluggable: true } });
    });
    const isReady = ({ status }: Vmi): boolean => status?.volumeStatus?.find(({ name }) => name === 'data')?.phase === 'Ready';
    await platform.until<Vmi>(`vmi ${NAME}`, isReady, BOOT_MS);
    const fill = 'head -c 3000000 /dev/urandom | sudo tee /data/blob > /dev/null; until [ -b /dev/sda ]; do sleep 0.2; done';
    await shell.answer(`${fill}; head -c 2000000 /dev/urandom | sudo dd of=/dev/sda; sync; echo done | rev`, /enod/, BOOT_MS);
    contents = await contentsIn(shell);
    shell.close();
    await expectNoDrift(manifest);
  }, 600_000);

  it('has a snapshot while it runs', async () => {
    await platform.apply({
      apiVersion: 'snapshot.kubevirt.io/v1beta1',
      kind: 'VirtualMachineSnapshot',
      metadata: { name: 'kept', namespace: 'default' },
      spec: { source: sourceVm },
    });
    const taken = await platform.until<Conditioned>('vmsnapshot kept', has('Ready'), 120_000);
    expect(taken.status?.indications).toEqual(['Online', 'GuestAgent']);
    await expectNoDrift(manifest);
  }, 180_000);

  it('is stopped, and edited', async () => {
    await power(NAME, 'Halted');
    await apply(({ metadata, spec }) => {
      spec.runStrategy = 'Halted';
      metadata.labels['example.com/edited'] = 'yes';
      spec.template.spec.domain.cpu = { cores: 2 };
    });
    await expectNoDrift(manifest);
    if (!isLong) return;
    await apply(({ spec }) => {
      spec.runStrategy = 'Always';
    });
    await expectTheSame(async (shell) => {
      const spoil = 'sudo rm /data/blob; sudo dd if=/dev/zero of=/dev/sda bs=1M count=1; sync; echo gone | rev';
      await shell.answer(spoil, /enog/, BOOT_MS);
    });
    await power(NAME, 'Halted');
    await apply(({ spec }) => {
      spec.runStrategy = 'Halted';
    });
  }, 900_000);

  it('is put back by a restore in place', async () => {
    await platform.apply({
      apiVersion: 'snapshot.kubevirt.io/v1beta1',
      kind: 'VirtualMachineRestore',
      metadata: { name: 'back', namespace: 'default' },
      spec: { target: sourceVm, virtualMachineSnapshotName: 'kept', volumeRestorePolicy: 'InPlace' },
    });
    await platform.until<Conditioned>('vmrestore back', ({ status }) => status?.complete === true, 120_000);
    manifest.spec.template.spec.domain.cpu = { cores: 1 }; // as it was at the snapshot
    await expectNoDrift(manifest);
    if (!isLong) return;
    await apply(({ spec }) => {
      spec.runStrategy = 'Always';
    });
    await expectTheSame();
    await power(NAME, 'Halted');
    await apply(({ spec }) => {
      spec.runStrategy = 'Halted';
    });
  }, 900_000);

  it('is cloned, and the clone is another machine with the same data', async () => {
    await platform.apply({
      apiVersion: 'clone.kubevirt.io/v1beta1',
      kind: 'VirtualMachineClone',
      metadata: { name: 'twin', namespace: 'default' },
      spec: {
        source: sourceVm,
        target: { ...sourceVm, name: 'twin' },
        patches: ['{"op":"replace","path":"/spec/template/spec/domain/memory/guest","value":"160Mi"}'],
      },
    });
    await platform.until<Conditioned>('vmclone twin', ({ status }) => status?.phase === 'Succeeded', 120_000);
    await expectNoDrift(manifest);
    await power('twin', 'Always');
    const twin = await identityOf('twin');
    expect(twin.name).toBe('twin');
    expect(twin.mac).not.toBe(identity.mac);
    expect(twin.uuid).not.toBe(identity.uuid);
    if (isLong) {
      const shell = await shellIn('twin');
      expect(await contentsIn(shell)).toEqual(contents);
      shell.close();
    }
    await platform.kubectl('delete', 'vm', 'twin', '--timeout=120s');
  }, 600_000);

  it('is exported, deleted, and imported again as what it was', async () => {
    await platform.apply({
      apiVersion: 'export.kubevirt.io/v1',
      kind: 'VirtualMachineExport',
      metadata: { name: 'out', namespace: 'default' },
      spec: { source: { apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot', name: 'kept' } },
    });
    const { items } = await exported(platform, 'out');
    await platform.kubectl('delete', 'vm', NAME, '--timeout=120s');
    await platform.kubectl('delete', 'datavolume', `${NAME}-data`, '--ignore-not-found', '--timeout=120s');
    await platform.kubectl('wait', 'pvc', `${NAME}-data`, `${NAME}-root`, '--for=delete', '--timeout=120s');
    const list = { apiVersion: 'v1', kind: 'List', items };
    await platform.apply(list);
    await expectTheSame();
    await expectNoDrift(list);
  }, 900_000);
});

interface Export {
  status?: {
    tokenSecretRef?: string;
    links?: { external?: { cert: string; manifests: { type: string; url: string }[] } };
  };
}

/** The manifests that an export offers, with the secret that its importers need. */
async function exported(platform: Platform, name: string): Promise<{ items: object[] }> {
  const { status } = await platform.until<Export & Conditioned>(`vmexport ${name}`, has('Ready'), 120_000);
  const secret = JSON.parse(await platform.kubectl('get', 'secret', status?.tokenSecretRef ?? '', '-o', 'json')) as {
    data: { token: string };
  };
  const { cert = '', manifests = [] } = status?.links?.external ?? {};
  const headers = {
    accept: 'application/json',
    'x-kubevirt-export-token': Buffer.from(secret.data.token, 'base64').toString(),
  };
  const lists = await Promise.all(manifests.map(({ url }) => get(url, { ca: cert, headers })));
  return { items: lists.flatMap((text) => (JSON.parse(text) as { items: object[] }).items) };
}

function get(url: string, options: { readonly ca: string; readonly headers: Record<string, string> }): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request(url, options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () =>
        response.statusCode === 200 ? resolve(text) : reject(new Error(`${url} answered ${response.statusCode}: ${text}`)),
      );
    });
    call.on('error', reject);
    call.end();
  });
}
