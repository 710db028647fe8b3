// Command lines of virtctl with the requests that they must send and what they must print: our own cases in recorded/, and
// those of any other directory that SLIPWAY_VIRTCTL_CASES names (with SLIPWAY_VIRTCTL_OBJECTS, the objects they are about).
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { isObject } from '@slipway/apimachinery';
import { runVirtctl, terminalIo, type VirtctlIo } from '@slipway/cli';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listener, programs } from './partners.ts';
import { type HeldObjects, type RecordedRequest, type RecordingServer, startRecordingServer } from './recording-server.ts';
import { type RecordedCase, settled } from './settled.ts';

const own = fileURLToPath(new URL('recorded/', import.meta.url));
const directory = process.env['SLIPWAY_VIRTCTL_CASES'] ?? own;
const objectsFile = process.env['SLIPWAY_VIRTCTL_OBJECTS'] ?? join(own, 'objects.json');
const read = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8'));
const cases = readdirSync(directory)
  .filter((file) => file.endsWith('.json') && file !== 'objects.json')
  .map((file) => settled(read(join(directory, file)) as RecordedCase));
const objects = read(objectsFile) as HeldObjects;

/** What KubeVirt 1.9 calls otherwise than the releases of which recordings exist. */
const MODERN: readonly (readonly [RegExp, string])[] = [
  [/export\.kubevirt\.io\/v1(alpha|beta)1/g, 'export.kubevirt.io/v1'],
  [/^\/v1alpha1\/upload/, '/v1beta1/upload'],
];
const modern = (text: string): string => MODERN.reduce((result, [old, now]) => result.replace(old, now), text);
/** Asked after a failure only, to compare versions. */
const isVersionQuestion = ({ path }: { readonly path: string }): boolean =>
  /^\/apis\/subresources\.kubevirt\.io(\/v1\/version)?$/.test(path);

function normalBody(body: unknown): unknown {
  if (!isObject(body)) return body;
  const { status, ...rest } = JSON.parse(
    modern(JSON.stringify(body)).replace(/"(token|ssh-key-\w+)":"[^"]+"/g, '"$1":"<random>"'),
    (key, value: unknown) => (key === 'creationTimestamp' && value === null ? undefined : value),
  ) as Record<string, unknown>;
  if (rest['kind'] === 'UploadTokenRequest') delete rest['metadata']; // named, or with a generated name
  if (rest['kind'] === 'Pod' && isObject(rest['metadata'])) delete rest['metadata']['namespace']; // the path says it
  if (rest['kind'] === 'DeleteOptions') return undefined;
  const isEmpty = status === undefined || /^[{}]*$/.test(JSON.stringify(status).replace(/"loadBalancer":/, ''));
  return isEmpty ? rest : { ...rest, status };
}

const shown = (request: Omit<RecordedRequest, 'response'>): object => {
  const body = normalBody(request.body);
  const hasQuery = Object.keys(request.query ?? {}).length > 0;
  return {
    request: `${request.method} ${modern(request.path)}`,
    ...(hasQuery && { query: request.query }),
    ...(body !== undefined && { body }),
    ...(request.firstClientFrame !== undefined && { opcode: request.firstClientFrame.opcode }),
  };
};

/** Progress is a matter of time, and a build without a version complains. */
const normalOutput = (text: string): string =>
  text
    .replace(/Invalid character\(s\) found in build meta data[^\r\n]*\r?\n/g, '')
    .replace(/(GitVersion|GitCommit|BuildDate|GoVersion|Compiler|Platform):"[^"]*"/g, '$1:""') // of one build
    .replaceAll('\r\n', '\n')
    .replace(/\r [^\r\n]*/g, '')
    .trim();

let server: RecordingServer;
let dir: string;
const cwd = process.cwd();
beforeAll(async () => {
  server = await startRecordingServer(modern);
  dir = mkdtempSync(join(tmpdir(), 'virtctl-'));
  for (const name of ['disk.img', 'disk.qcow2', 'disk.tar']) writeFileSync(join(dir, name), Buffer.alloc(1024 * 1024));
  writeFileSync(join(dir, 'key.pub'), 'ssh-ed25519 AAAA test');
});
afterAll(async () => {
  process.chdir(cwd);
  rmSync(dir, { recursive: true, force: true });
  await server.close();
});

const EXPORTS = '/apis/export.kubevirt.io/v1/namespaces/default/virtualmachineexports';
const INSTANCE = '/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/testvm';
const volumes = [{ name: 'testpvc', formats: [{ format: 'gzip', url: 'https://<server>/volumes/testpvc/disk.img.gz' }] }];
/** States of the cluster that a case may ask for by name. */
const PRECONDITIONS: Readonly<Record<string, HeldObjects>> = {
  vmStopped: { [INSTANCE]: undefined },
  migrating: {
    '/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations': {
      items: [{ metadata: { name: 'mig1' }, status: { phase: 'Running' } }],
    },
  },
  dv: { '/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes/testdv': { metadata: { name: 'testdv' }, spec: {} } },
  exported: {
    [`${EXPORTS}/exp1`]: {
      metadata: { name: 'exp1', namespace: 'default' },
      spec: { source: { kind: 'PersistentVolumeClaim', name: 'testpvc' } },
      status: { phase: 'Ready', tokenSecretRef: 'export-token-exp1', links: { external: { cert: '', volumes } } },
    },
    '/api/v1/namespaces/default/secrets/export-token-exp1': { metadata: {}, data: { token: 'dG9r' } },
  },
};

/** Waiting costs no time here. */
const HURRY = { sleep: (ms: number) => (ms < 60_000 ? Promise.resolve() : new Promise<void>(() => {})) };

async function play({
  argv,
  requests,
  exitCode,
  precondition,
}: RecordedCase): Promise<{ status: number; out: string; err: string }> {
  server.play(requests, { ...objects, ...(precondition !== undefined && PRECONDITIONS[precondition]) });
  const texts = { out: '', err: '' };
  const act = listener();
  const sink = (to: 'out' | 'err') =>
    new PassThrough().on('data', (data: Buffer) => {
      texts[to] += data.toString();
      act(texts[to]);
    });
  const stdin = new PassThrough();
  const terminal = terminalIo({
    env: { USER: 'jane' },
    home: dir,
    self: ['virtctl'],
    version: { gitVersion: 'v1', gitCommit: '', buildDate: '' },
    runProgram: async () => 0,
  });
  // a command that runs until it is stopped is stopped when its stream has been used
  const interrupted = (): Promise<void> => (typeof exitCode === 'string' ? server.frame() : new Promise(() => {}));
  const plain: VirtctlIo = { ...terminal, ...HURRY, stdin, interrupted, stdout: sink('out'), stderr: sink('err') };
  const io: VirtctlIo = { ...plain, hasProgram: async () => true, runProgram: programs(plain) };
  const where = ['--server', server.url, '--token', 'token', '--insecure-skip-tls-verify'];
  const line = argv.slice(1).map((argument) => argument.replace('https://<server>', server.url));
  return { status: await runVirtctl([...where, ...line], io), ...texts };
}

/** Programs of other people write their own complaints, and ssh's inner call prints where nobody sees it. */
const saysOwnWords = ({ requests, exitCode }: RecordedCase): boolean =>
  exitCode === 0 && !requests.some(({ method, path }) => method === 'GET' && !path.includes('/portforward/'));

describe(`command lines of ${directory === own ? 'our own' : directory}`, () => {
  it.each(cases.map((recorded) => [recorded.name, recorded] as const))('%s', async (_name, recorded) => {
    process.chdir(dir); // files are named by their names alone
    const { status, out, err } = await play(recorded);
    const expectedStatus = typeof recorded.exitCode === 'string' ? 0 : recorded.exitCode;
    const expected = recorded.requests.filter((request) => !isVersionQuestion(request));
    const seen = server.seen
      .filter((request) => !isVersionQuestion(request))
      // not every case says how a stream began
      .map(({ firstClientFrame, ...request }, index) =>
        firstClientFrame === undefined || expected[index]?.firstClientFrame === undefined
          ? request
          : { ...request, firstClientFrame },
      );
    expect({ requests: seen.map(shown), status, err: status === expectedStatus ? '' : err }).toEqual({
      requests: expected.map(shown),
      status: expectedStatus,
      err: '',
    });
    // what the server said is not part of a case
    if (!saysOwnWords(recorded)) return;
    expect(normalOutput(out).replaceAll(server.url, 'https://<server>')).toBe(normalOutput(recorded.stdout));
  });
});
