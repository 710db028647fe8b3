// What Ansible does with virtual machines: inventories, power, commands in a launcher pod, warnings.
import type { Client } from '@slipway/client';
import { virtualMachineSubresources } from '@slipway/controllers';
import { Channel } from '@slipway/runtime';
import { fakeNodeConnector } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, POD, createRunningPod, startCluster } from '../src/cluster.ts';
import {
  type Json,
  MERGE,
  NAMESPACE,
  type Requester,
  VMS,
  itemsOf,
  metadataOf,
  namesOf,
  requesterOf,
  vm,
} from '../src/requests.ts';

let cluster: Cluster;
let requester: Requester;
const send: Requester['send'] = (...request) => requester.send(...request);

beforeAll(async () => {
  const late: { client?: Client } = {};
  const version = {
    gitVersion: 'v1.0.0',
    gitCommit: '',
    gitTreeState: '',
    buildDate: '',
    goVersion: '',
    compiler: '',
    platform: '',
  };
  const subresources = virtualMachineSubresources({
    get client(): Client {
      if (late.client === undefined) throw new Error('Not started');
      return late.client;
    },
    nodes: fakeNodeConnector(),
    version,
    config: () => clusterConfig({}),
    expandVm: async (machine) => machine,
  });
  cluster = await startCluster({ aggregatedApis: [subresources] });
  late.client = cluster.admin;
  requester = requesterOf(cluster);
  await createRunningPod(cluster);
}, 60_000);
afterAll(async () => {
  await requester.close();
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

const INSTANCES = '/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances';
const POWER = '/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines';
const powerOf = async (name: string): Promise<unknown> =>
  ((await send('GET', `${VMS}/${name}`, 200))['spec'] as Json)['runStrategy'];

async function startInstance(name: string, labels: Json): Promise<void> {
  const body = {
    ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance' },
    metadata: { name, labels },
    spec: { domain: { memory: { guest: '1Gi' }, devices: {} } },
  };
  await send('POST', INSTANCES, 201, { body });
  const status = { phase: 'Running', nodeName: 'node1', interfaces: [{ name: 'default', ipAddress: '10.0.0.7' }] };
  await send('PATCH', `${INSTANCES}/${name}`, 200, { body: { status }, headers: MERGE });
}

describe('the inventory of Ansible', () => {
  it('has machines and instances by their labels, in every namespace', async () => {
    for (const [name, tier] of [
      ['inventory-a', 'web'],
      ['inventory-b', 'web'],
      ['inventory-c', 'data'],
    ] as const) {
      await send('POST', VMS, 201, { body: vm(name, { labels: { tier, farm: 'inventory' } }) });
    }
    const selected = async (path: string, labelSelector: string) =>
      namesOf(await send('GET', path, 200, { query: { labelSelector } }));
    expect(await selected(VMS, 'farm=inventory,tier=web')).toEqual(['inventory-a', 'inventory-b']);
    expect(await selected(VMS, 'farm=inventory,tier!=web')).toEqual(['inventory-c']);
    expect(await selected(VMS, 'farm,tier in (data, none)')).toEqual(['inventory-c']);
    expect(await selected('/apis/kubevirt.io/v1/virtualmachines', 'farm=inventory,!absent')).toHaveLength(3);
    await startInstance('inventory-a', { tier: 'web', farm: 'inventory' });
    const list = await send('GET', INSTANCES, 200, { query: { labelSelector: 'farm=inventory' } });
    expect(list['kind']).toBe('VirtualMachineInstanceList');
    const [instance, ...rest] = itemsOf(list);
    expect(rest).toEqual([]);
    expect(instance).toMatchObject({ status: { phase: 'Running', interfaces: [{ ipAddress: '10.0.0.7' }] } });
    await send('GET', VMS, 400, { query: { labelSelector: 'tier in web' } });
  });
});

describe('Ansible', () => {
  it('starts and stops a machine, and is told when that makes no sense', async () => {
    await send('POST', VMS, 201, { body: vm('power') });
    const refused = await send('PUT', `${POWER}/power/stop`, 409, { body: {} });
    expect(refused).toMatchObject({ kind: 'Status', reason: 'Conflict', message: expect.stringContaining('VM is not running') });
    await send('PUT', `${POWER}/power/start`, 202, { body: {} });
    expect(await powerOf('power')).toBe('Always');
    await startInstance('power', {});
    const again = await send('PUT', `${POWER}/power/start`, 409, { body: {} });
    expect(again['message']).toContain('VM is already running');
    await send('PUT', `${POWER}/power/stop`, 202, { body: {} });
    expect(await powerOf('power')).toBe('Halted');
    await send('PUT', `${POWER}/nosuch/start`, 404, { body: {} });
  });

  it('runs a command in a launcher pod and gets its output and its end', async () => {
    const query = new URLSearchParams({ container: 'compute', stdout: 'true', stderr: 'true', stdin: 'true', tty: 'false' });
    for (const word of ['sh', '-c', 'read x; echo got $x; echo bad >&2; exit 3']) query.append('command', word);
    const signal = AbortSignal.timeout(60_000);
    const exec = await requester.client.connect({
      path: `${NAMESPACE}/pods/${POD}/exec?${query.toString()}`,
      protocols: ['v4.channel.k8s.io'],
      signal,
    });
    expect(exec.protocol).toBe('v4.channel.k8s.io');
    await exec.send(Buffer.concat([Buffer.from([0]), Buffer.from('hello\n')]));
    const texts = new Map<number, string>();
    for await (const message of exec.messages) {
      const [channel = -1] = message;
      texts.set(channel, (texts.get(channel) ?? '') + Buffer.from(message.subarray(1)).toString());
    }
    expect([texts.get(Channel.stdout), texts.get(Channel.stderr)]).toEqual(['got hello\n', 'bad\n']);
    const end = JSON.parse(texts.get(3) ?? '') as Json;
    const causes = [{ reason: 'ExitCode', message: '3' }];
    expect(end).toMatchObject({ status: 'Failure', reason: 'NonZeroExitCode', details: { causes } });
  }, 90_000);

  it('is warned of fields that nobody knows', async () => {
    const wanted = vm('warned');
    const body = { ...wanted, spec: { ...(wanted['spec'] as Json), nosuch: 1 } };
    const made = await requester.answerOf('POST', VMS, { body, query: { fieldValidation: 'Warn' } });
    expect(made.status).toBe(201);
    expect(made.headers['warning']).toMatch(/^299 - "unknown field \\"spec\.nosuch\\""$/);
    const map = { metadata: { name: 'warned' }, nosuch: 1 };
    const builtIn = await requester.answerOf('POST', `${NAMESPACE}/configmaps`, {
      body: map,
      query: { fieldValidation: 'Warn' },
    });
    expect([builtIn.status, builtIn.headers['warning']]).toEqual([201, '299 - "unknown field \\"nosuch\\""']);
    const strict = { ...body, metadata: { ...metadataOf(body), name: 'strict' } };
    const refused = await send('POST', VMS, 400, { body: strict, query: { fieldValidation: 'Strict' } });
    expect(refused['message']).toContain('unknown field "spec.nosuch"');
    const silent = { ...body, metadata: { ...metadataOf(body), name: 'silent' } };
    const ignored = await requester.answerOf('POST', VMS, { body: silent, query: { fieldValidation: 'Ignore' } });
    expect([ignored.status, ignored.headers['warning']]).toEqual([201, undefined]);
  });
});
