// Command lines of virtctl with the requests that they must send and what they must print: our own cases in recorded/, and
// those of any other directory that SLIPWAY_VIRTCTL_CASES names (with SLIPWAY_VIRTCTL_OBJECTS, the objects they are about).
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { isObject } from '@slipway/apimachinery';
import { runVirtctl, terminalIo } from '@slipway/cli';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HeldObjects, type RecordedRequest, type RecordingServer, startRecordingServer } from './recording-server.ts';

interface RecordedCase {
  readonly name: string;
  readonly argv: readonly string[];
  readonly requests: readonly RecordedRequest[];
  readonly exitCode: number;
  readonly stdout: string;
}

const own = fileURLToPath(new URL('recorded/', import.meta.url));
const directory = process.env['SLIPWAY_VIRTCTL_CASES'] ?? own;
const objectsFile = process.env['SLIPWAY_VIRTCTL_OBJECTS'] ?? join(own, 'objects.json');
const read = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8'));
const cases = readdirSync(directory)
  .filter((file) => file.endsWith('.json') && file !== 'objects.json')
  .map((file) => read(join(directory, file)) as RecordedCase)
  // streams need a partner that speaks: virtctl.test.ts has them
  .filter(({ requests }) => !requests.some(({ upgrade }) => upgrade === true));
const objects = read(objectsFile) as HeldObjects;

/** What KubeVirt 1.9 calls otherwise than the releases of which recordings exist. */
const MODERN: readonly (readonly [RegExp, string])[] = [
  [/export\.kubevirt\.io\/v1(alpha|beta)1/g, 'export.kubevirt.io/v1'],
  [/^\/v1alpha1\/upload/, '/v1beta1/upload'],
];
const modern = (text: string): string => MODERN.reduce((result, [old, now]) => result.replace(old, now), text);
/** Asked after a failure only, to compare versions. */
const isVersionQuestion = (path: string): boolean => /^\/apis\/subresources\.kubevirt\.io(\/v1\/version)?$/.test(path);

function normalBody(body: unknown): unknown {
  if (!isObject(body)) return body;
  const { status, ...rest } = JSON.parse(
    modern(JSON.stringify(body)).replace(/"(token|ssh-key-\w+)":"[^"]+"/g, '"$1":"<random>"'),
    (key, value: unknown) => (key === 'creationTimestamp' && value === null ? undefined : value),
  ) as Record<string, unknown>;
  if (rest['kind'] === 'UploadTokenRequest') delete rest['metadata']; // named, or with a generated name
  if (rest['kind'] === 'DeleteOptions') return undefined;
  const isEmpty = status === undefined || (isObject(status) && Object.keys(status).length === 0);
  return isEmpty ? rest : { ...rest, status };
}

const shown = (request: { method: string; path: string; query?: object; body?: unknown }): object => {
  const body = normalBody(request.body);
  const hasQuery = Object.keys(request.query ?? {}).length > 0;
  return {
    request: `${request.method} ${modern(request.path)}`,
    ...(hasQuery && { query: request.query }),
    ...(body !== undefined && { body }),
  };
};

/** Progress is a matter of time, and a build without a version complains. */
const normalOutput = (text: string): string =>
  text
    .replace(/^Invalid character\(s\) found in build meta data.*\r?\n/gm, '')
    .replaceAll('\r\n', '\n')
    .replace(/\r [^\r\n]*/g, '')
    .trim();

let server: RecordingServer;
let dir: string;
const cwd = process.cwd();
beforeAll(async () => {
  server = await startRecordingServer(modern);
  dir = mkdtempSync(join(tmpdir(), 'virtctl-'));
  writeFileSync(join(dir, 'disk.img'), Buffer.alloc(1024 * 1024));
  writeFileSync(join(dir, 'key.pub'), 'ssh-ed25519 AAAA test');
});
afterAll(async () => {
  process.chdir(cwd);
  rmSync(dir, { recursive: true, force: true });
  await server.close();
});

async function play({ argv, requests }: RecordedCase): Promise<{ status: number; out: string; err: string }> {
  server.play(requests, objects);
  const texts = { out: '', err: '' };
  const sink = (to: 'out' | 'err') => new PassThrough().on('data', (data: Buffer) => (texts[to] += data.toString()));
  const stdin = new PassThrough();
  stdin.end();
  const terminal = terminalIo({
    env: { USER: 'jane' },
    home: dir,
    self: ['virtctl'],
    version: { gitVersion: 'v1', gitCommit: '', buildDate: '' },
    runProgram: async () => 0,
  });
  const io = { ...terminal, stdin, stdout: sink('out'), stderr: sink('err'), hasProgram: async () => true };
  const where = ['--server', server.url, '--token', 'token', '--insecure-skip-tls-verify'];
  const line = argv.slice(1).map((argument) => argument.replace('https://<server>', server.url));
  return { status: await runVirtctl([...where, ...line], io), ...texts };
}

describe(`command lines of ${directory === own ? 'our own' : directory}`, () => {
  it.each(cases.map((recorded) => [recorded.name, recorded] as const))('%s', async (_name, recorded) => {
    process.chdir(dir); // files are named by their names alone
    const { status, out, err } = await play(recorded);
    const expected = recorded.requests.filter(({ path }) => !isVersionQuestion(path)).map(shown);
    const seen = server.seen.filter(({ path }) => !isVersionQuestion(path)).map(shown);
    expect({ requests: seen, status, err: status === recorded.exitCode ? '' : err }).toEqual({
      requests: expected,
      status: recorded.exitCode,
      err: '',
    });
    // what the server said is not part of a case
    if (recorded.requests.some(({ method }) => method === 'GET')) return;
    expect(normalOutput(out).replaceAll(server.url, 'https://<server>')).toBe(normalOutput(recorded.stdout));
  });
});
