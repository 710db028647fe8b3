import { PersistentVolumeClaimKind, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import { pvc, type TestWorld, testWorld, vm } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { virtualMachineSubresources } from '../virtual-machine-subresources/index.ts';
import { memoryDumpController } from './index.ts';

const VERSION = { gitVersion: 'v1', gitCommit: '', gitTreeState: '', buildDate: '', goVersion: '', compiler: '', platform: '' };
const KEY = { namespace: 'default', name: 'web' };

let world: TestWorld;
let calls: string[] = [];
let refusal: string | undefined;

beforeEach(async () => {
  calls = [];
  refusal = undefined;
  world = testWorld({ api: 'server', controllers: [memoryDumpController] });
  world.nodes.onCall('memorydump', ({ claimName }, node) => {
    calls.push(`${node} ${String(claimName)}`);
    if (refusal !== undefined) throw new Error(refusal);
    return {};
  });
  await world.with(vm('default/web', { spec: { runStrategy: 'Always' } }), claim('dump', '300Mi'), claim('small', '50Mi'));
});
afterEach(() => world.close());

const claim = (name: string, storage: string) =>
  pvc(`default/${name}`, { spec: { resources: { requests: { storage } } }, status: { phase: 'Bound', capacity: { storage } } });

const run = async (): Promise<void> => {
  await world.client.create(VirtualMachineInstanceKind, {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: KEY,
    spec: { domain: { devices: {}, memory: { guest: '128Mi' } } },
    status: { phase: 'Running', nodeName: 'node-a' },
  });
};

/** Status code and message of a subresource request. */
async function put(subresource: string, body?: object): Promise<string> {
  const { routes } = virtualMachineSubresources({
    client: world.client,
    nodes: world.nodes,
    version: VERSION,
    config: () => clusterConfig(),
    expandVm: async (object) => object,
  });
  const route = routes.find((each) => each.resource === 'virtualmachines' && each.subresource === subresource);
  try {
    const answer = await route?.methods['PUT']?.({
      user: { username: 'jane', groups: [] },
      method: 'PUT',
      version: 'v1',
      ...KEY,
      rest: [],
      query: new URLSearchParams(),
      body,
      signal: new AbortController().signal,
    });
    await world.settle();
    return String(answer?.status);
  } catch (error) {
    if (error instanceof StatusError) return `${error.code} ${error.message}`;
    throw error;
  }
}

const request = async () => (await world.get(VirtualMachineKind, KEY)).status?.memoryDumpRequest;

describe('memory dumps', () => {
  it('are written once by the node and recorded on the claim', async () => {
    await run();
    expect(await put('memorydump', { claimName: 'dump' })).toBe('202');
    expect(calls).toEqual(['node-a dump']);
    const found = await request();
    expect(found).toMatchObject({ claimName: 'dump', phase: 'Completed' });
    expect(found?.fileName).toMatch(/^web-dump-\d{8}-\d{6}\.memory\.dump$/);
    const { metadata } = await world.get(PersistentVolumeClaimKind, 'default/dump');
    expect(metadata.annotations?.['kubevirt.io/memory-dump']).toBe(found?.fileName);
  });

  it('go to the same claim again, and to no other one', async () => {
    await run();
    await put('memorydump', { claimName: 'dump' });
    expect(await put('memorydump', { claimName: 'small' })).toMatch(/^409 .*associated with claim dump/);
    expect(await put('memorydump')).toBe('202');
    expect(calls).toHaveLength(2);
    expect(await put('removememorydump')).toBe('202');
    expect(await request()).toBeUndefined();
    expect(await put('removememorydump')).toMatch(/^409/);
  });

  it('that fail say why', async () => {
    await run();
    refusal = 'No space left';
    await put('memorydump', { claimName: 'dump' });
    expect(await request()).toMatchObject({ phase: 'Failed', message: 'No space left' });
    const { metadata } = await world.get(PersistentVolumeClaimKind, 'default/dump');
    expect(metadata.annotations?.['kubevirt.io/memory-dump']).toBe('Failed');
  });

  it('need a running guest and a claim that is large enough', async () => {
    expect(await put('memorydump', { claimName: 'dump' })).toMatch(/^409 .*not running/);
    await run();
    expect(await put('memorydump')).toMatch(/^400/);
    expect(await put('memorydump', { claimName: 'nowhere' })).toMatch(/^404/);
    expect(await put('memorydump', { claimName: 'small' })).toMatch(/^409 .*should be at least/);
    expect(calls).toEqual([]);
  });
});
