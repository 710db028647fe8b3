// kubectl against the API server: the one on the path, and the one of the distribution (Debian 12: 1.20, which speaks SPDY).
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, LOG, POD, createRunningPod, startCluster } from '../src/cluster.ts';
import { type Kubectl, debianKubectl, exchange, installedKubectl, kubectlOf } from '../src/kubectl.ts';

const SPDY = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' };

const debian = debianKubectl();
const installed = installedKubectl();
afterAll(() => debian?.remove());

const deployment = (replicas: number): string =>
  JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: {
      replicas,
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'main', image: 'any' }] } },
    },
  });

const vm = (runStrategy: string): string =>
  JSON.stringify({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name: 'web' },
    spec: { runStrategy, template: { spec: { domain: { devices: {} } } } },
  });

describe.each([
  ['installed', installed, {}],
  ['installed, over SPDY', installed, SPDY],
  ['Debian', debian?.path, {}],
] as const)('kubectl (%s)', (_name, path, env) => {
  const suite = path === undefined ? it.skip : it;
  const home = mkdtempSync(join(tmpdir(), 'slipway-home-'));
  let cluster: Cluster;
  let kubectl: Kubectl;

  beforeAll(async () => {
    cluster = await startCluster();
    await createRunningPod(cluster);
    if (path !== undefined) kubectl = kubectlOf(path, cluster, home);
  });
  afterAll(async () => {
    await cluster.close();
    rmSync(home, { recursive: true, force: true });
    expect(cluster.failures).toEqual([]);
  });

  const run = (args: readonly string[], input?: string) => kubectl.run(args, { env, ...(input !== undefined && { input }) });
  const ok = async (args: readonly string[], input?: string): Promise<string> => {
    const { code, stdout, stderr } = await run(args, input);
    expect(`${code} ${stderr}`, args.join(' ')).toMatch(/^0 /);
    return stdout;
  };

  suite('get and describe', async () => {
    expect(await ok(['get', 'pods'])).toMatch(/NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE\n.*1\/1\s+Running/);
    expect(await ok(['get', 'pod', POD, '-o', 'jsonpath={.spec.nodeName}'])).toBe('node1');
    expect(await ok(['get', 'pod', POD, '-o', 'wide'])).toContain('node1');
    expect(await ok(['describe', 'pod', POD])).toContain('compute:');
    expect((await run(['get', 'pod', 'absent'])).stderr).toContain('Error from server (NotFound): pods "absent" not found');
    expect(await ok(['api-resources'])).toContain('virtualmachines');
    expect(await ok(['api-versions'])).toContain('kubevirt.io/v1');
  });

  suite('apply, diff and apply again without a change', async () => {
    expect(await ok(['apply', '-f', '-'], deployment(1))).toContain('created');
    expect(await ok(['apply', '-f', '-'], deployment(1))).toContain('unchanged');
    const difference = await run(['diff', '-f', '-'], deployment(2));
    expect([difference.code, difference.stdout]).toEqual([1, expect.stringContaining('+  replicas: 2')]);
    expect((await run(['diff', '-f', '-'], deployment(1))).code).toBe(0);
    expect(await ok(['apply', '-f', '-'], deployment(2))).toContain('configured');
    expect(await ok(['get', 'deployment', 'web', '-o', 'jsonpath={.spec.replicas}'])).toBe('2');
  });

  suite('apply on the server, and its conflicts', async () => {
    const map = (value: string): string =>
      JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ssa' }, data: { key: value } });
    expect(await ok(['apply', '--server-side', '-f', '-'], map('one'))).toContain('serverside-applied');
    const conflict = await run(['apply', '--server-side', '--field-manager=other', '-f', '-'], map('two'));
    expect([conflict.code, conflict.stderr]).toEqual([1, expect.stringContaining('conflict')]);
    await ok(['apply', '--server-side', '--field-manager=other', '--force-conflicts', '-f', '-'], map('two'));
    expect(await ok(['get', 'cm', 'ssa', '-o', 'jsonpath={.data.key}'])).toBe('two');
  });

  suite('custom resources', async () => {
    expect(await ok(['apply', '-f', '-'], vm('Halted'))).toContain('virtualmachine.kubevirt.io/web created');
    expect(await ok(['apply', '-f', '-'], vm('Halted'))).toContain('unchanged');
    expect(await ok(['apply', '-f', '-'], vm('Manual'))).toContain('configured');
    expect(await ok(['get', 'vm'])).toMatch(/NAME\s+AGE\s+STATUS\s+READY/);
    expect(await ok(['describe', 'vm', 'web'])).toContain('Run Strategy:  Manual');
    expect(await ok(['delete', 'vm', 'web'])).toContain('deleted');
  });

  suite('explain, also of custom resources', async () => {
    expect(await ok(['explain', 'pod.spec.nodeName'])).toMatch(/FIELD:\s+nodeName/);
    expect(await ok(['explain', 'virtualmachine.spec.runStrategy'])).toMatch(/FIELD:\s+runStrategy/);
    expect(await ok(['explain', 'virtualmachine', '--recursive'])).toContain('runStrategy');
  });

  suite('create of everything typed, patch, label, scale, delete and wait', async () => {
    await ok(['create', 'configmap', 'made', '--from-literal=a=b']);
    await ok(['create', 'secret', 'generic', 'made', '--from-literal=a=b']);
    await ok(['create', 'role', 'made', '--verb=get', '--resource=pods']);
    await ok(['create', 'rolebinding', 'made', '--role=made', '--user=jane']);
    await ok(['label', 'configmap', 'made', 'tier=back']);
    await ok(['annotate', 'configmap', 'made', 'note=yes']);
    await ok(['patch', 'configmap', 'made', '--type=json', '-p', '[{"op":"add","path":"/data/c","value":"d"}]']);
    expect(await ok(['get', 'cm', '-l', 'tier=back', '-o', 'name'])).toBe('configmap/made\n');
    await ok(['scale', 'deployment', 'web', '--replicas=3']);
    expect(await ok(['auth', 'can-i', 'get', 'pods'])).toBe('yes\n');
    expect(await ok(['auth', 'can-i', '--list', '--as=jane'])).toMatch(/pods\s+\[\]\s+\[\]\s+\[get\]/);
    expect(await ok(['wait', '--for=condition=Ready', `pod/${POD}`, '--timeout=10s'])).toContain('condition met');
    const waiting = ok(['wait', '--for=delete', 'configmap/made', '--timeout=30s']);
    await ok(['delete', 'configmap', 'made']);
    await waiting;
  });

  suite('logs', async () => {
    expect(await ok(['logs', POD])).toBe(LOG);
    expect((await run(['logs', POD, '-c', 'absent'])).stderr).toContain('container absent is not valid for pod');
  });

  suite('exec: output, input and exit codes', async () => {
    expect(await ok(['exec', POD, '--', 'echo', 'hello'])).toBe('hello\n');
    const failed = await run(['exec', POD, '--', 'sh', '-c', 'echo out; echo problem >&2; exit 7']);
    expect(failed).toMatchObject({ code: 7, stdout: 'out\n', stderr: expect.stringContaining('problem') });
    expect(await ok(['exec', '-i', POD, '--', 'sort'], 'b\na\n')).toBe('a\nb\n');
    const long = 'x'.repeat(300_000);
    expect((await ok(['exec', '-i', POD, '--', 'cat'], long)).length).toBe(long.length);
    const refused = await run(['exec', POD, '-c', 'absent', '--', 'true']);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('container absent is not valid for pod')]);
  });

  suite('attach', async () => {
    expect((await run(['attach', '-i', POD], 'typed\n')).stdout).toContain('typed');
  });

  suite('cp both ways', async () => {
    const from = join(home, 'from');
    await ok(['cp', `${POD}:${cluster.kubeconfig.slice(1)}`, from]);
    expect((await ok(['exec', POD, '--', 'cat', from])).length).toBeGreaterThan(100);
  });

  suite('port-forward', async () => {
    const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const { port } = echo.address() as AddressInfo; // listening on TCP
    const use = async (local: number): Promise<void> => {
      const texts = ['one', 'x'.repeat(500_000), 'three'];
      expect(await Promise.all(texts.map((text) => exchange(local, text)))).toEqual(texts);
    };
    await kubectl.forward(`pod/${POD}`, port, use, env);
    echo.close();
  });
});
