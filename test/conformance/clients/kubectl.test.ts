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

const CLAIM = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } };
const CONTAINERS = [{ name: 'main', image: 'any' }];
/** A PKCS #10 request for `/CN=a`; the server does not look into it. */
const SIGNING_REQUEST = Buffer.from('-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n').toString(
  'base64',
);

/** A list of objects of one name, as one text. */
const manifests = (...objects: readonly object[]): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: objects.map((object) => ({ ...object, metadata: { name: 'moved', labels: { moved: 'yes' } } })),
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
  /** What no stream is part of runs once per program. */
  const plain = env === SPDY ? it.skip : suite;
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
    const waiting = run(['wait', '--for=delete', 'configmap/made', '--timeout=60s']);
    await ok(['delete', 'configmap', 'made']);
    const { code, stderr } = await waiting;
    // a program that was slower to start than the other one finds nothing to wait for
    expect(`${code} ${stderr}`).toMatch(/^0 |no matching resources found|NotFound/);
  });

  plain(
    'moves from apply on the client to apply on the server, and loses nothing',
    async () => {
      const text = manifests(
        { apiVersion: 'v1', kind: 'Service', spec: { ports: [{ port: 80 }], selector: { a: 'b' } } },
        { apiVersion: 'v1', kind: 'PersistentVolumeClaim', spec: CLAIM },
        { apiVersion: 'batch/v1', kind: 'Job', spec: { template: { spec: { restartPolicy: 'Never', containers: CONTAINERS } } } },
        { apiVersion: 'v1', kind: 'Pod', spec: { containers: CONTAINERS } },
      );
      await ok(['apply', '-f', '-'], text);
      const before = await ok(['get', 'svc,pvc,job,pod', '-l', 'moved=yes', '-o', 'jsonpath={.items[*].spec}']);
      expect((await run(['apply', '--server-side', '-f', '-'], text)).stderr).toBe('');
      expect((await run(['apply', '--server-side', '-f', '-'], text)).stderr).toBe('');
      expect(await ok(['get', 'svc,pvc,job,pod', '-l', 'moved=yes', '-o', 'jsonpath={.items[*].spec}'])).toBe(before);
      expect(await ok(['get', 'pvc', 'moved', '-o', 'jsonpath={.metadata.finalizers}'])).toContain('pvc-protection');
      await ok(['delete', 'svc,job,pod', '-l', 'moved=yes', '--wait=false']);
    },
    60_000,
  );

  plain(
    'generators of every kind, and what is set on them',
    async () => {
      const generators: readonly string[][] = [
        ['clusterrole', 'made', '--verb=get', '--resource=pods,deployments.apps/scale'],
        ['clusterrolebinding', 'made', '--clusterrole=made', '--user=x', '--serviceaccount=default:a'],
        ['deployment', 'gen', '--image=nginx', '--replicas=2', '--port=80'],
        ['ingress', 'gen', '--rule=foo.test/=web:80,tls=cert', '--default-backend=d:80', '--class=c'],
        ['job', 'gen', '--image=busybox', '--', 'date'],
        ['priorityclass', 'gen', '--value=10', '--description=hi'],
        ['quota', 'gen', '--hard=cpu=1,pods=2', '--scopes=NotBestEffort'],
        ['secret', 'docker-registry', 'gen', '--docker-username=u', '--docker-password=p', '--docker-server=x'],
        ['service', 'clusterip', 'gen', '--tcp=80:8080'],
        ['service', 'clusterip', 'gen-none', '--clusterip=None', '--tcp=80'],
        ['service', 'externalname', 'gen-name', '--external-name=a.test'],
        ['service', 'loadbalancer', 'gen-lb', '--tcp=80'],
        ['service', 'nodeport', 'gen-np', '--tcp=80:80'],
        ['serviceaccount', 'gen'],
        // older ones make these in versions that are gone
        ...(kubectl.minor < 25
          ? []
          : [
              ['cronjob', 'gen', '--image=busybox', '--schedule=0 0 * * *'],
              ['poddisruptionbudget', 'gen', '--selector=a=b', '--min-available=50%'],
            ]),
      ];
      for (const args of generators) expect((await run(['create', ...args])).stderr, args.join(' ')).toBe('');
      for (const args of [
        ['autoscale', 'deployment', 'gen', '--min=1', '--max=3', '--cpu-percent=80'],
        ['expose', 'deployment', 'gen', '--name=exposed', '--port=80'],
        ['set', 'image', 'deployment/gen', 'nginx=nginx:2'],
        ['set', 'env', 'deployment/gen', 'A=b'],
        ['set', 'resources', 'deployment', 'gen', '--limits=cpu=200m', '--requests=cpu=100m'],
        ['set', 'selector', 'svc', 'gen', 'a=b'],
        ['set', 'serviceaccount', 'deployment', 'gen', 'gen'],
        ['set', 'subject', 'clusterrolebinding', 'made', '--user=y'],
        ['rollout', 'pause', 'deployment/gen'],
        ['rollout', 'resume', 'deployment/gen'],
        ['rollout', 'restart', 'deployment/gen'],
        ['scale', 'deployment', 'gen', '--replicas=1', '--current-replicas=2'],
      ])
        expect((await run(args)).stderr, args.join(' ')).toBe('');
      expect(await ok(['get', 'hpa', 'gen', '-o', 'jsonpath={.spec.maxReplicas}'])).toBe('3');
      for (const kind of ['deploy', 'svc', 'ing', 'quota', 'job', 'sa', 'secret', 'clusterrole', 'priorityclass', 'hpa'])
        expect((await run(['describe', kind])).stderr, kind).toBe('');
      if (kubectl.minor < 24) return;
      expect(await ok(['create', 'token', 'gen', '--duration=20m'])).toMatch(/^ey[^.]+\.[^.]+\.[^.]+$/);
      expect(await ok(['get', 'deployment', 'gen', '--subresource=scale'])).toMatch(/^NAME +DESIRED +AVAILABLE +AGE\ngen +1 /);
      await ok(['patch', 'deployment', 'gen', '--subresource=scale', '--type=merge', '-p', '{"spec":{"replicas":2}}']);
    },
    120_000,
  );

  plain('approves and denies certificate requests', async () => {
    const request = (name: string): string =>
      JSON.stringify({
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { name },
        spec: { request: SIGNING_REQUEST, signerName: 'example.test/any', usages: ['client auth'] },
      });
    await ok(['apply', '-f', '-'], request('good'));
    await ok(['apply', '-f', '-'], request('bad'));
    await ok(['certificate', 'approve', 'good']);
    await ok(['certificate', 'deny', 'bad']);
    expect(await ok(['get', 'csr', '--no-headers'])).toMatch(/^bad .*Denied\ngood .*Approved\n$/);
    expect((await run(['certificate', 'deny', 'good'])).code).toBe(1);
  });

  plain('explains definitions of custom resources', async () => {
    expect(await ok(['explain', 'crd.spec.versions.additionalPrinterColumns'])).toContain('description');
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
