import { EventEmitter, once } from 'node:events';
import { Duplex, PassThrough } from 'node:stream';
import {
  type kubevirt,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineKind,
} from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import type { AggregatedRoute, RouteRequest, RouteResponse } from '@slipway/runtime';
import { testWorld, vm, vmi } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { datagramFrames, frameDatagram } from './datagrams.ts';
import { virtualMachineSubresources } from './index.ts';

const VERSION = { gitVersion: 'v1', gitCommit: '', gitTreeState: '', buildDate: '', goVersion: '', compiler: '', platform: '' };
let configuration: kubevirt.KubeVirtConfiguration = {};
let world = testWorld({ controllers: [] });
const api = () =>
  virtualMachineSubresources({
    client: world.client,
    nodes: world.nodes,
    version: VERSION,
    config: () => clusterConfig(configuration),
    expandVm: async (object) => object,
  });

beforeEach(() => {
  world = testWorld({ controllers: [] });
});
afterEach(() => world.close());

function routeOf(resource: string, subresource: string): AggregatedRoute {
  const found = api().routes.find((route) => route.resource === resource && route.subresource === subresource);
  if (found === undefined) throw new Error(`No route ${resource}/${subresource}`);
  return found;
}
const requestOf = (method: string, parts: Partial<RouteRequest> = {}): RouteRequest => ({
  user: { username: 'jane', groups: [] },
  method,
  version: 'v1',
  namespace: 'default',
  name: 'web',
  rest: [],
  query: new URLSearchParams(),
  body: undefined,
  signal: new AbortController().signal,
  ...parts,
});
async function call(resource: string, subresource: string, parts: Partial<RouteRequest> = {}): Promise<RouteResponse | string> {
  const [[method, handle] = []] = Object.entries(routeOf(resource, subresource).methods);
  if (method === undefined || handle === undefined) throw new Error('No method');
  return handle(requestOf(method, parts)).catch((error: unknown) => {
    if (error instanceof StatusError) return `${error.code} ${error.message}`;
    throw error;
  });
}
const running = (parts: Partial<VirtualMachineInstance> = {}) =>
  vmi('web', {
    spec: { ...parts.spec },
    status: { phase: 'Running', nodeName: 'node-a', interfaces: [{ ipAddress: '10.0.0.2' }], ...parts.status },
  });

describe('virtualmachines', () => {
  it('starts a halted VM by its run strategy and says 202', async () => {
    await world.with(vm('web', { spec: { runStrategy: 'Halted' } }));
    expect(await call('virtualmachines', 'start')).toEqual({ status: 202 });
    expect((await world.get(VirtualMachineKind, 'web')).spec.runStrategy).toBe('Always');
  });

  it('queues a restart, and gives the instance one second when forced', async () => {
    await world.with(vm('web'), running());
    expect(await call('virtualmachines', 'restart', { body: { gracePeriodSeconds: 0 } })).toEqual({ status: 202 });
    const requests = (await world.get(VirtualMachineKind, 'web')).status?.stateChangeRequests;
    expect(requests?.map(({ action }) => action)).toEqual(['Stop', 'Start']);
    expect((await world.get(VirtualMachineInstanceKind, 'web')).spec.terminationGracePeriodSeconds).toBe(1);
  });

  it('creates a migration of a running guest', async () => {
    await world.with(vm('web'), running());
    expect(await call('virtualmachines', 'migrate', { body: { addedNodeSelector: { zone: 'b' } } })).toEqual({ status: 202 });
    const [migration] = await world.list(VirtualMachineInstanceMigrationKind);
    expect(migration?.metadata.name).toMatch(/^kubevirt-migrate-vm-/);
    expect(migration?.spec).toEqual({ vmiName: 'web', addedNodeSelector: { zone: 'b' } });
  });

  it.each([
    ['start', undefined, '404 virtualmachine.kubevirt.io "web" not found'],
    ['stop', 'nonsense', '400 Can not unmarshal Request body to struct, error: expected an object, got string'],
    [
      'restart',
      { gracePeriodSeconds: 'x' },
      '400 Can not unmarshal Request body to struct, error: gracePeriodSeconds must be an integer',
    ],
    ['stop', { dryRun: ['Some'] }, '400 Can not unmarshal Request body to struct, error: dryRun must be ["All"]'],
  ])('%s with body %j is refused', async (subresource, body, expected) => {
    expect(await call('virtualmachines', subresource, { body })).toBe(expected);
  });

  it('does not pretend to hot-plug volumes', async () => {
    await world.with(vm('web'));
    configuration = { developerConfiguration: { disabledFeatureGates: ['DeclarativeHotplugVolumes'] } };
    expect(await call('virtualmachines', 'addvolume', { body: { name: 'x' } })).toMatch(/^400 .*HotplugVolumes/);
    configuration = {};
  });
});

describe('virtualmachineinstances', () => {
  const paused = { conditions: [{ type: 'Paused', status: 'True' }], phase: 'Running', nodeName: 'node-a' };
  const vmiRefusal = (message: string): string =>
    `409 Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io "web": ${message}`;

  it('passes actions to the node of the guest, with the uid', async () => {
    await world.with(running());
    const seen: unknown[] = [];
    world.nodes.onCall('pause', (params, node) => void seen.push({ node, ...params }));
    expect(await call('virtualmachineinstances', 'pause')).toEqual({ status: 200 });
    expect(seen).toEqual([{ node: 'node-a', namespace: 'default', name: 'web', uid: expect.stringMatching(/^[\w-]+$/) }]);
    expect(await call('virtualmachineinstances', 'pause', { body: { dryRun: ['All'] } })).toEqual({ status: 200 });
    expect(seen).toHaveLength(1);
  });

  it.each([
    ['pause', { phase: 'Scheduling' }, vmiRefusal('VMI is not running')],
    ['pause', paused, vmiRefusal('VMI is already paused')],
    ['unpause', { phase: 'Running', nodeName: 'node-a' }, vmiRefusal('VMI is not paused')],
    ['softreboot', paused, vmiRefusal('VMI is paused')],
    ['freeze', { phase: 'Succeeded' }, vmiRefusal('VMI is not running')],
    [
      'reset',
      { phase: 'Pending' },
      '400 Failed to reset VMI: Unable to connect to VirtualMachineInstance because phase is Pending instead of Running',
    ],
  ])('%s of a guest in %j is refused', async (subresource, status, expected) => {
    await world.with(vmi('web', { status }));
    expect(await call('virtualmachineinstances', subresource)).toBe(expected);
  });

  it('answers questions to the guest agent, and plain 500 for whatever goes wrong', async () => {
    await world.with(running({ status: { conditions: [{ type: 'AgentConnected', status: 'True' }] } }));
    world.nodes.onCall('guestosinfo', () => ({ hostname: 'web' }));
    expect(await call('virtualmachineinstances', 'guestosinfo')).toEqual({ status: 200, body: { hostname: 'web' } });
    expect(await call('virtualmachineinstances', 'userlist')).toEqual({
      status: 500,
      body: 'Node "node-a" is not connected',
      contentType: 'text/plain',
    });
  });

  it('hands freeze its timeout in seconds', async () => {
    await world.with(running());
    let seconds: unknown;
    world.nodes.onCall('freeze', (params) => void (seconds = params['unfreezeTimeoutSeconds']));
    await call('virtualmachineinstances', 'freeze', { body: { unfreezeTimeout: '1m30s' } });
    expect(seconds).toBe(90);
  });
});

describe('streams', () => {
  const dial = async (subresource: string, parts: Partial<RouteRequest> = {}) => {
    const connect = routeOf('virtualmachineinstances', subresource).connect;
    if (connect === undefined) throw new Error('Not a stream');
    return connect(requestOf('GET', parts)).catch((error: unknown) => {
      if (error instanceof StatusError) return `${error.code} ${error.message}`;
      throw error;
    });
  };

  it('joins the client and the console both ways and closes with the guest', async () => {
    await world.with(running());
    const [fromGuest, toGuest] = [new PassThrough(), new PassThrough()];
    world.nodes.onOpen('console', () => Duplex.from({ readable: fromGuest, writable: toGuest }));
    const acceptor = await dial('console');
    if (typeof acceptor === 'string') throw new Error(acceptor);
    expect(acceptor.protocols).toEqual(['plain.kubevirt.io']);
    const sent: string[] = [];
    let closed: number | undefined;
    const client: MessageStream = {
      protocol: 'plain.kubevirt.io',
      send: async (data) => void sent.push(Buffer.from(data).toString()),
      messages: (async function* () {
        yield Buffer.from('root\n');
        await new Promise(() => {}); // the viewer stays
      })(),
      close: (code) => void (closed ??= code),
    };
    const typed = new Promise((resolve) => toGuest.once('data', (data: Buffer) => resolve(data.toString())));
    const joined = acceptor.run(client);
    expect(await typed).toBe('root\n');
    fromGuest.end('login: ');
    await joined;
    expect(sent.join('')).toBe('login: ');
    expect(closed).toBe(1000);
  });

  it('goes on with the console of the next node when the guest moves', async () => {
    const migrationState = { startTimestamp: '2026-01-01T00:00:00Z' };
    await world.with(running({ status: { phase: 'Running', nodeName: 'a', migrationState } }));
    const [readA, readB] = [new PassThrough(), new PassThrough()];
    const [writeA, writeB] = [new PassThrough(), new PassThrough()];
    const sides: Record<string, Duplex> = {
      a: Duplex.from({ readable: readA, writable: writeA }),
      b: Duplex.from({ readable: readB, writable: writeB }),
    };
    world.nodes.onOpen('console', (_, node) => sides[node] ?? new PassThrough());
    const acceptor = await dial('console');
    if (typeof acceptor === 'string') throw new Error(acceptor);
    const sent: string[] = [];
    const seen = new EventEmitter();
    const keys = new PassThrough({ objectMode: true });
    const closed = new Promise<number | undefined>((resolve) => {
      const client: MessageStream = {
        protocol: 'plain.kubevirt.io',
        send: async (data) => {
          sent.push(Buffer.from(data).toString());
          seen.emit(sent.join(''));
        },
        messages: keys,
        close: resolve,
      };
      acceptor.run(client).catch(() => {});
    });
    const first = once(seen, 'one ');
    readA.write('one ');
    await first;
    const second = once(seen, 'one two');
    readA.end();
    keys.write(Buffer.from('typed'));
    const key = { namespace: 'default', name: 'web' };
    const moved = { status: { nodeName: 'b', migrationState: { completed: true } } };
    await world.client.patch(VirtualMachineInstanceKind, key, moved, { type: 'merge' });
    readB.write('two');
    await second;
    // what was typed while the guest moved is in one of the two, and nothing is in both
    keys.write(Buffer.from('!'));
    await once(writeB, 'readable');
    expect(world.nodes.calls).toEqual(['a console', 'b console']);
    readB.end();
    expect(await closed).toBe(1000);
  });

  it('asks the next node for a guest that has just left the one that is known', async () => {
    const migrationState = { startTimestamp: '2026-01-01T00:00:00Z' };
    await world.with(
      running({ status: { phase: 'Running', nodeName: 'a', migrationState, interfaces: [{ ipAddress: '10.0.0.2' }] } }),
    );
    const refused = new StatusError({
      code: 409,
      reason: 'Conflict',
      message: 'The virtual machine is not running on this node',
    });
    world.nodes.onOpen('portforward', (_, node) => {
      if (node === 'a') throw refused;
      return new PassThrough();
    });
    const acceptor = dial('portforward', { rest: ['22'] });
    const moved = { status: { nodeName: 'b', migrationState: { completed: true } } };
    await world.client.patch(VirtualMachineInstanceKind, { namespace: 'default', name: 'web' }, moved, { type: 'merge' });
    expect(await acceptor).toMatchObject({ protocols: ['plain.kubevirt.io'] });
    expect(world.nodes.calls).toEqual(['a portforward', 'b portforward']);
    // without a migration the refusal is the answer
    world.nodes.onOpen('portforward', () => {
      throw refused;
    });
    expect(await dial('portforward', { rest: ['22'] })).toBe('409 The virtual machine is not running on this node');
  });

  it.each([
    ['console', { status: { phase: 'Failed' } }, [], vmiRefused('VMI is in failed status')],
    [
      'console',
      { status: { phase: 'Scheduling' } },
      [],
      '400 Unable to connect to VirtualMachineInstance because phase is Scheduling instead of Running',
    ],
    ['console', { spec: { domain: { devices: { autoattachSerialConsole: false } } } }, [], '400 No serial consoles are present.'],
    ['vnc', { spec: { domain: { devices: { autoattachGraphicsDevice: false } } } }, [], '400 No graphics devices are present.'],
    [
      'portforward',
      { status: { phase: 'Running', nodeName: 'a' } },
      ['22'],
      '400 No network interfaces are present on virtual machine default/web',
    ],
    ['portforward', {}, ['0'], '400 Port must be a number from 1 to 65535, not "0"'],
    ['portforward', {}, ['22', 'sctp'], '400 Protocol must be tcp or udp, not "sctp"'],
  ])('%s of %j with %j is refused before the upgrade', async (subresource, parts, rest, expected) => {
    await world.with(vmi('web', parts));
    expect(await dial(subresource, { rest })).toBe(expected);
  });
});

function vmiRefused(message: string): string {
  return `409 Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io "web": ${message}`;
}

describe('datagrams', () => {
  it('survive any cut of the byte stream', async () => {
    const bytes = Buffer.concat([
      frameDatagram(Buffer.from('hello')),
      frameDatagram(new Uint8Array(0)),
      frameDatagram(Buffer.alloc(300, 7)),
    ]);
    async function* pieces() {
      for (let at = 0; at < bytes.length; at += 4) yield bytes.subarray(at, at + 4);
    }
    const got: number[] = [];
    for await (const datagram of datagramFrames(pieces())) got.push(datagram.length);
    expect(got).toEqual([5, 0, 300]);
  });
});
