// The official JavaScript client against the API server: typed and untyped calls, watch, informer, apply, streams.
import {
  ApiException,
  AppsV1Api,
  Attach,
  CoreV1Api,
  CustomObjectsApi,
  Exec,
  KubeConfig,
  KubernetesObjectApi,
  Log,
  PatchStrategy,
  PortForward,
  type V1ConfigMap,
  type V1Status,
  Watch,
  makeInformer,
} from '@kubernetes/client-node';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, LOG, POD, createRunningPod, startCluster } from '../src/cluster.ts';

let cluster: Cluster;
let config: KubeConfig;
let core: CoreV1Api;

beforeAll(async () => {
  cluster = await startCluster();
  await createRunningPod(cluster);
  config = new KubeConfig();
  config.loadFromFile(cluster.kubeconfig);
  core = config.makeApiClient(CoreV1Api);
});
afterAll(async () => {
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

const namespace = 'default';
const map = (name: string, value: string, labels: Record<string, string> = {}): V1ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace, labels },
  data: { key: value },
});

async function textOf(stream: PassThrough): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

/** A stream that collects, and what it holds. */
function collector(): { stream: PassThrough; text: () => string } {
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { stream, text: () => text };
}

describe('objects', () => {
  it('creates, reads, replaces with a conflict, and deletes', async () => {
    const created = await core.createNamespacedConfigMap({ namespace, body: map('one', 'a') });
    expect(created.metadata?.creationTimestamp).toBeInstanceOf(Date);
    await core.replaceNamespacedConfigMap({ namespace, name: 'one', body: Object.assign(created, { data: { key: 'b' } }) });
    const stale = core.replaceNamespacedConfigMap({
      namespace,
      name: 'one',
      body: Object.assign(created, { data: { key: 'c' } }),
    });
    await expect(stale).rejects.toMatchObject({ code: 409 });
    await core.deleteNamespacedConfigMap({ namespace, name: 'one' });
    const gone = await core.readNamespacedConfigMap({ namespace, name: 'one' }).catch((error: unknown) => error);
    expect(gone).toBeInstanceOf(ApiException);
    expect((gone as ApiException<string>).code).toBe(404);
  });

  it('lists page by page, by label and by field', async () => {
    for (const name of ['a', 'b', 'c'])
      await core.createNamespacedConfigMap({ namespace, body: map(`page-${name}`, name, { page: 'yes' }) });
    const names: string[] = [];
    let next: string | undefined;
    do {
      const page = await core.listNamespacedConfigMap({
        namespace,
        labelSelector: 'page=yes',
        limit: 2,
        ...(next && { _continue: next }),
      });
      names.push(...page.items.map(({ metadata }) => metadata?.name ?? ''));
      next = page.metadata?._continue;
    } while (next);
    expect(names).toEqual(['page-a', 'page-b', 'page-c']);
    const one = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=page-b' });
    expect(one.items.length).toBe(1);
  });

  it('patches in three ways and applies', async () => {
    const objects = KubernetesObjectApi.makeApiClient(config);
    await objects.create(map('patched', 'a'));
    const target = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'patched', namespace } };
    const patch = (body: object, strategy: PatchStrategy, force?: boolean) =>
      objects.patch<V1ConfigMap>({ ...target, ...body }, undefined, undefined, 'tester', force, strategy);
    expect((await patch({ data: { merge: '1' } }, PatchStrategy.MergePatch)).data).toEqual({ key: 'a', merge: '1' });
    expect((await patch({ data: { strategic: '2' } }, PatchStrategy.StrategicMergePatch)).data?.['strategic']).toBe('2');
    const applied = await patch({ data: { applied: '3' } }, PatchStrategy.ServerSideApply, true);
    const forced = patch({ data: { merge: '2' } }, PatchStrategy.MergePatch, true);
    await expect(forced, 'only applies can be forced').rejects.toMatchObject({ code: 422 });
    expect(applied.data?.['applied']).toBe('3');
    expect(applied.metadata?.managedFields?.some(({ manager, operation }) => manager === 'tester' && operation === 'Apply')).toBe(
      true,
    );
  });

  it('serves custom resources without types', async () => {
    const custom = config.makeApiClient(CustomObjectsApi);
    const target = { group: 'kubevirt.io', version: 'v1', namespace, plural: 'virtualmachines' };
    const body = {
      ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', metadata: { name: 'vm' } },
      spec: { runStrategy: 'Halted', template: { spec: { domain: { devices: {} } } } },
    };
    await custom.createNamespacedCustomObject({ ...target, body });
    const list = (await custom.listNamespacedCustomObject(target)) as { items: { metadata: { name: string } }[] };
    expect(list.items.map(({ metadata }) => metadata.name)).toEqual(['vm']);
    await custom.deleteNamespacedCustomObject({ ...target, name: 'vm' });
  });

  it('reads and scales a Deployment', async () => {
    const apps = config.makeApiClient(AppsV1Api);
    const template = { metadata: { labels: { app: 'w' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    const spec = { replicas: 1, selector: { matchLabels: { app: 'w' } }, template };
    await apps.createNamespacedDeployment({ namespace, body: { metadata: { name: 'w' }, spec } });
    const scale = await apps.readNamespacedDeploymentScale({ name: 'w', namespace });
    await apps.replaceNamespacedDeploymentScale({ name: 'w', namespace, body: Object.assign(scale, { spec: { replicas: 4 } }) });
    expect((await apps.readNamespacedDeployment({ name: 'w', namespace })).spec?.replicas).toBe(4);
  });
});

describe('watches', () => {
  it('shows what happens after a list', async () => {
    const { metadata } = await core.listNamespacedConfigMap({ namespace });
    const seen: string[] = [];
    let onDeleted = (): void => undefined;
    const deleted = new Promise<void>((resolve) => (onDeleted = resolve));
    const query = {
      resourceVersion: metadata?.resourceVersion,
      fieldSelector: 'metadata.name=watched',
      allowWatchBookmarks: true,
    };
    const controller = await new Watch(config).watch(
      `/api/v1/namespaces/${namespace}/configmaps`,
      query,
      (phase: string, object: V1ConfigMap) => {
        seen.push(`${phase} ${object.data?.['key']}`);
        if (phase === 'DELETED') onDeleted();
      },
      () => undefined,
    );
    await core.createNamespacedConfigMap({ namespace, body: map('watched', 'a') });
    await core.replaceNamespacedConfigMap({ namespace, name: 'watched', body: map('watched', 'b') });
    await core.deleteNamespacedConfigMap({ namespace, name: 'watched' });
    await deleted;
    controller.abort();
    expect(seen).toEqual(['ADDED a', 'MODIFIED b', 'DELETED b']);
  });

  it('keeps an informer in step', async () => {
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const informer = makeInformer(
      config,
      path,
      () => core.listNamespacedConfigMap({ namespace, labelSelector: 'informed=yes' }),
      'informed=yes',
    );
    const seen: string[] = [];
    let onDeleted = (): void => undefined;
    const deleted = new Promise<void>((resolve) => (onDeleted = resolve));
    informer.on('add', ({ metadata }) => void seen.push(`add ${metadata?.name}`));
    informer.on('update', ({ metadata }) => void seen.push(`update ${metadata?.name}`));
    informer.on('delete', ({ metadata }) => {
      seen.push(`delete ${metadata?.name}`);
      onDeleted();
    });
    await core.createNamespacedConfigMap({ namespace, body: map('early', 'a', { informed: 'yes' }) });
    await informer.start();
    await core.createNamespacedConfigMap({ namespace, body: map('late', 'a', { informed: 'yes' }) });
    await core.replaceNamespacedConfigMap({ namespace, name: 'late', body: map('late', 'b', { informed: 'yes' }) });
    await core.deleteNamespacedConfigMap({ namespace, name: 'late' });
    await deleted;
    await informer.stop();
    expect(seen).toEqual(['add early', 'add late', 'update late', 'delete late']);
  });
});

describe('streams', () => {
  const run = async (command: string[], input?: string): Promise<{ status: V1Status; out: string; err: string }> => {
    const [out, err] = [collector(), collector()];
    const stdin = input === undefined ? null : new PassThrough();
    const status = await new Promise<V1Status>((resolve, reject) => {
      new Exec(config).exec(namespace, POD, 'compute', command, out.stream, err.stream, stdin, false, resolve).catch(reject);
      stdin?.end(input);
    });
    return { status, out: out.text(), err: err.text() };
  };

  it('runs commands', async () => {
    expect(await run(['sh', '-c', 'echo out; echo err >&2'])).toMatchObject({
      status: { status: 'Success' },
      out: 'out\n',
      err: 'err\n',
    });
    const failed = await run(['sh', '-c', 'exit 5']);
    expect(failed.status).toMatchObject({ status: 'Failure', reason: 'NonZeroExitCode' });
    expect(failed.status.details?.causes).toEqual([{ reason: 'ExitCode', message: '5' }]);
  });

  it('gives a command its input', async () => {
    expect((await run(['head', '-n', '2'], 'one\ntwo\n')).out).toBe('one\ntwo\n');
  });

  it('attaches', async () => {
    const out = collector();
    const stdin = new PassThrough();
    const socket = await new Attach(config).attach(namespace, POD, 'compute', out.stream, null, stdin, false);
    const shown = new Promise<void>((resolve) => out.stream.once('data', () => resolve()));
    stdin.write('typed\n');
    await shown;
    expect(out.text()).toBe('typed\n');
    socket.close();
  });

  it('reads logs', async () => {
    const stream = new PassThrough();
    await new Log(config).log(namespace, POD, 'compute', stream, {});
    expect(await textOf(stream)).toBe(LOG);
  });

  it('forwards a port', async () => {
    const echo = createServer((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const { port } = echo.address() as AddressInfo; // listening on TCP
    const [input, output] = [new PassThrough(), collector()];
    const shown = new Promise<void>((resolve) => output.stream.once('data', () => resolve()));
    const forwarded = await new PortForward(config).portForward(namespace, POD, [port], output.stream, null, input);
    input.write('hello');
    await shown;
    expect(output.text()).toBe('hello');
    const socket = typeof forwarded === 'function' ? forwarded() : forwarded;
    socket?.close();
    echo.close();
  });
});
