// virtctl against the API server over HTTPS and WebSockets: only the node is played.
import { Duplex, PassThrough } from 'node:stream';
import {
  bundledCustomResourceDefinitions,
  EventKind,
  NamespaceKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineKind,
} from '@slipway/api';
import {
  type ApiServer,
  createApiServer,
  createAuthority,
  issueCertificate,
  type Listener,
  simpleDefinition,
} from '@slipway/apiserver';
import { runVirtctl, type VirtctlIo } from '@slipway/cli';
import type { Client } from '@slipway/client';
import { virtualMachineSubresources } from '@slipway/controllers';
import { memoryStoreFs, openStore } from '@slipway/store';
import { fakeNodeConnector } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const TOKEN = 'only-for-this-test';
const VERSION = {
  gitVersion: 'v1.9.0',
  gitCommit: '',
  gitTreeState: '',
  buildDate: '',
  goVersion: '',
  compiler: '',
  platform: '',
};
const nodes = fakeNodeConnector();
let server: ApiServer;
let listener: Listener;
let client: Client;

beforeAll(async () => {
  const notBefore = new Date(Date.now() - 60_000);
  const notAfter = new Date(Date.now() + 3_600_000);
  const authority = await createAuthority({ commonName: 'test', notBefore, notAfter });
  const tls = await issueCertificate(authority, {
    commonName: 'server',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    notBefore,
    notAfter,
  });
  const late: { client?: Client } = {};
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: [simpleDefinition(NamespaceKind), simpleDefinition(EventKind)],
    bundledCrds: bundledCustomResourceDefinitions(),
    tokens: new Map([[TOKEN, { username: 'jane', groups: ['system:masters'] }]]),
    aggregatedApis: [
      virtualMachineSubresources({
        get client() {
          if (late.client === undefined) throw new Error('Not started');
          return late.client;
        },
        nodes,
        version: VERSION,
        config: () => clusterConfig({}),
        expandVm: async (vm) => vm,
      }),
    ],
  });
  client = late.client = server.client({ username: 'virt-api', groups: ['system:masters'] });
  listener = await server.listen({ host: '127.0.0.1', port: 0, tls: { ...tls, clientCa: authority.cert } });
  await client.create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
});
afterAll(async () => {
  await listener.close();
  await server.close();
});
beforeEach(async () => {
  await client.deleteCollection(VirtualMachineKind, { namespace: 'shop' });
  await client.deleteCollection(VirtualMachineInstanceKind, { namespace: 'shop' });
  await client.deleteCollection(VirtualMachineInstanceMigrationKind, { namespace: 'shop' });
});

const KEY = { namespace: 'shop', name: 'web' };
const domain = { devices: {} };

async function withVm(runStrategy: string): Promise<void> {
  const vm: VirtualMachine = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { ...KEY },
    spec: { runStrategy, template: { spec: { domain } } },
  };
  await client.create(VirtualMachineKind, vm);
}

async function withGuest(status: VirtualMachineInstance['status'] = {}): Promise<void> {
  await client.create(VirtualMachineInstanceKind, {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { ...KEY },
    spec: { domain },
    status: { phase: 'Running', nodeName: 'node-a', interfaces: [{ ipAddress: '10.0.0.2' }], ...status },
  });
}

async function virtctl(line: string, stdin?: string): Promise<{ status: number; out: string; err: string }> {
  const texts = { out: '', err: '' };
  const sink = (to: 'out' | 'err') => new PassThrough().on('data', (data: Buffer) => (texts[to] += data.toString()));
  const input = new PassThrough();
  if (stdin !== undefined) input.write(stdin);
  const io: VirtctlIo = {
    stdin: input,
    stdout: sink('out'),
    stderr: sink('err'),
    env: {},
    home: '/nowhere',
    self: ['virtctl'],
    runProgram: async () => 0,
    hasProgram: async () => false,
    sleep: async () => {},
    now: () => 0,
    interrupted: () => new Promise(() => {}),
    onResize: () => () => {},
    exchange: async () => {
      throw new Error('No exchange here');
    },
    randomName: (length) => 'x'.repeat(length),
    version: VERSION,
  };
  const where = ['--server', `https://127.0.0.1:${listener.port}`, '--token', TOKEN, '--insecure-skip-tls-verify', '-n', 'shop'];
  const status = await runVirtctl([...line.split(' '), ...where], io);
  return { status, ...texts };
}

describe('power', () => {
  it('start sets the run strategy; a second start is refused once the guest is there', async () => {
    await withVm('Halted');
    expect(await virtctl('start web')).toEqual({ status: 0, out: 'VM web was scheduled to start\n', err: '' });
    expect((await client.get(VirtualMachineKind, KEY)).spec.runStrategy).toBe('Always');
    await withGuest();
    const again = await virtctl('start web');
    expect(again.status).toBe(1);
    expect(again.err).toContain('Operation cannot be fulfilled on virtualmachine.kubevirt.io "web": VM is already running');
  });

  it('a dry run changes nothing', async () => {
    await withVm('Halted');
    expect((await virtctl('start web --dry-run')).out).toBe('Dry Run execution\nVM web was scheduled to start\n');
    expect((await client.get(VirtualMachineKind, KEY)).spec.runStrategy).toBe('Halted');
  });

  it('restart and stop of a Manual VM are queued with the uid of the instance', async () => {
    await withVm('Manual');
    await withGuest();
    const uid = (await client.get(VirtualMachineInstanceKind, KEY)).metadata.uid;
    await virtctl('restart web');
    const queue = async () => (await client.get(VirtualMachineKind, KEY)).status?.stateChangeRequests;
    expect(await queue()).toEqual([{ action: 'Stop', uid }, { action: 'Start' }]);
    await virtctl('stop web --force --grace-period 0');
    expect(await queue()).toEqual([{ action: 'Stop', uid }]);
    expect((await client.get(VirtualMachineInstanceKind, KEY)).spec.terminationGracePeriodSeconds).toBe(0);
  });

  it('migrate makes a migration that migrate-cancel removes', async () => {
    await withVm('Always');
    await withGuest();
    expect((await virtctl('migrate web')).status).toBe(0);
    const { items } = await client.list(VirtualMachineInstanceMigrationKind, { namespace: 'shop' });
    expect(items.map(({ spec }) => spec)).toEqual([{ vmiName: 'web' }]);
  });

  it('a VM that does not exist is named', async () => {
    expect((await virtctl('start web')).err).toBe('Error starting VirtualMachine: virtualmachine.kubevirt.io "web" not found\n');
  });
});

describe('the guest', () => {
  it('is paused on its node', async () => {
    await withGuest();
    const before = nodes.calls.length;
    nodes.onCall('pause', () => ({}));
    expect((await virtctl('pause vmi web')).out).toBe('VMI web was scheduled to pause\n');
    expect(nodes.calls.slice(before)).toEqual(['node-a pause']);
  });

  it('tells about itself', async () => {
    await withGuest({ conditions: [{ type: 'AgentConnected', status: 'True' }] });
    nodes.onCall('guestosinfo', () => ({ hostname: 'web' }));
    expect((await virtctl('guestosinfo web')).out).toBe('{\n  "hostname": "web"\n}\n');
  });

  it('without agent says why not', async () => {
    await withGuest();
    const { status, err } = await virtctl('userlist web');
    expect(status).toBe(1);
    expect(err).toContain('VMI does not have guest agent connected');
  });
});

describe('streams', () => {
  /** A guest that answers each line with its echo and hangs up after `bye`. */
  function echo(): Duplex {
    const out = new PassThrough();
    const into = new PassThrough();
    into.on('data', (data: Buffer) => {
      out.write(`you said ${data.toString()}`);
      if (data.includes('bye')) out.end();
    });
    return Duplex.from({ readable: out, writable: into });
  }

  it('the console carries bytes both ways', async () => {
    await withGuest();
    nodes.onOpen('console', echo);
    const { status, out } = await virtctl('console web', 'bye\n');
    expect(status).toBe(0);
    expect(out).toBe('Successfully connected to web console. The escape sequence is ^]\nyou said bye\n');
  });

  it('port-forward --stdio reaches the port that was asked for', async () => {
    await withGuest();
    let asked: unknown;
    nodes.onOpen('portforward', (params) => {
      asked = { port: params['port'], protocol: params['protocol'] };
      return echo();
    });
    expect((await virtctl('port-forward --stdio vmi/web 22', 'bye')).out).toBe('you said bye');
    expect(asked).toEqual({ port: 22, protocol: 'tcp' });
  });

  it('a refusal before the upgrade is readable', async () => {
    await withGuest({ phase: 'Failed' });
    const { status, err } = await virtctl('console web');
    expect(status).toBe(1);
    expect(err).toContain('VMI is in failed status');
  });
});

describe('versions', () => {
  it('of both sides are printed', async () => {
    expect((await virtctl('version')).out).toMatch(
      /^Client Version: version.Info\{GitVersion:"v1.9.0".*\nServer Version: version.Info\{GitVersion:"v1.9.0"/,
    );
  });
});
