import { execFileSync } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StatusReport } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idleVm } from './src/manifests.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: many more kills, and a guest that boots from its upload. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const KILLS = isLong ? 12 : 3;
const MiB = 1024 * 1024;
const BOOT_MS = 240_000;

interface Conditioned {
  metadata: { uid: string };
  status?: { phase?: string; conditions?: { type: string; status: string }[] };
}
const inPhase =
  (phase: string) =>
  ({ status }: Conditioned): boolean =>
    status?.phase === phase;

describe('an upload', () => {
  let platform: Platform;
  let dir: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sw-upload-'));
    platform = await startPlatform();
  }, 480_000);
  afterAll(async () => {
    rmSync(dir, { recursive: true, force: true });
    await platform?.destroy();
  });

  /** The disk of a claim, as it lies on the node. */
  async function diskOf(claim: string): Promise<string> {
    const { metadata } = JSON.parse(await platform.kubectl('get', 'pvc', claim, '-o', 'json')) as Conditioned;
    const [node = ''] = readdirSync(join(platform.dataDir, 'nodes'));
    return join(platform.dataDir, 'nodes', node, 'volumes', metadata.uid, 'disk.img');
  }

  async function digest(path: string, length: number): Promise<string> {
    const hash = createHash('sha256');
    for await (const piece of createReadStream(path, { end: length - 1 })) hash.update(piece as Buffer);
    return hash.digest('hex');
  }

  it('of a compressed image by virtctl is byte-equal', async () => {
    const { qcow2Path, rawPath } = await guestImage('tiny');
    const packed = join(dir, 'tiny.qcow2.gz');
    writeFileSync(packed, execFileSync('gzip', ['-1', '-c', qcow2Path], { maxBuffer: 512 * MiB }));
    const flags = [`--image-path=${packed}`, '--size=128Mi', '--force-bind'];
    const result = await platform.slipway('virt', 'image-upload', 'dv', 'uploaded', ...flags);
    expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining('100.00%') });
    const again = await platform.slipway('virt', 'image-upload', 'dv', 'uploaded', ...flags);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('already successfully') });
    const length = readFileSync(rawPath).length;
    expect(await digest(await diskOf('uploaded'), length)).toBe(await digest(rawPath, length));
  }, 600_000);

  it.skipIf(!isLong)(
    'is a disk that boots',
    async () => {
      const vm = idleVm('box') as { spec: { template: { spec: { domain: { memory: object }; volumes: object[] } } } };
      vm.spec.template.spec.domain.memory = { guest: '128Mi' };
      vm.spec.template.spec.volumes = [{ name: 'scratch', dataVolume: { name: 'uploaded' } }];
      await platform.apply(vm);
      const isConnected = ({ status }: Conditioned): boolean =>
        status?.conditions?.some(({ type, status: is }) => type === 'AgentConnected' && is === 'True') === true;
      await platform.until<Conditioned>('vmi box', isConnected, BOOT_MS);
      await platform.kubectl('delete', 'vm', 'box');
    },
    600_000,
  );

  it(`goes on after ${KILLS} kills of the server, the node agent and the data mover, and is byte-equal`, async () => {
    await platform.apply({
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'DataVolume',
      metadata: { name: 'long', namespace: 'default', annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': '' } },
      spec: { source: { upload: {} }, storage: { resources: { requests: { storage: '128Mi' } } } },
    });
    await platform.until<Conditioned>('dv long', inPhase('UploadReady'), 120_000);
    const body = randomBytes(48 * MiB);
    const victims = [killServer, killAgent, killMover];
    let kills = 0;
    for (let isDone = false; !isDone; ) {
      const token = await newToken();
      const offset = await keptBytes(token);
      const killAt = kills < KILLS ? offset + randomInt(Math.max(1, body.length - offset)) : Number.POSITIVE_INFINITY;
      const hurt = async (): Promise<void> => {
        await untilDone(async () => victims[kills % victims.length]?.());
        kills++;
      };
      const status = await send(token, body, offset, { killAt, hurt });
      isDone = status === 200 || (JSON.parse(await getDataVolume()) as Conditioned).status?.phase === 'Succeeded';
    }
    await platform.until<Conditioned>('dv long', inPhase('Succeeded'), 120_000);
    expect(await digest(await diskOf('long'), body.length)).toBe(createHash('sha256').update(body).digest('hex'));
  }, 900_000);

  const getDataVolume = (): Promise<string> => untilDone(() => platform.kubectl('get', 'dv', 'long', '-o', 'json'));

  const newToken = (): Promise<string> => {
    const name = `t-${randomBytes(4).toString('hex')}`;
    const manifest = `{"apiVersion":"upload.cdi.kubevirt.io/v1beta1","kind":"UploadTokenRequest","metadata":{"name":"${name}"},"spec":{"pvcName":"long"}}`;
    const file = join(dir, 'token.json');
    writeFileSync(file, manifest);
    return untilDone(() => platform.kubectl('create', '-f', file, '-o', 'jsonpath={.status.token}'));
  };

  /** While a part of the platform comes back, everything may fail. */
  async function untilDone<T>(action: () => Promise<T>): Promise<T> {
    const deadline = Date.now() + 120_000;
    for (;;) {
      try {
        return await action();
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  const report = async (): Promise<StatusReport> =>
    JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport;
  const killServer = async (): Promise<void> => kill((await report()).server.pid);
  const killAgent = async (): Promise<void> => kill((await report()).nodes[0]?.pid);
  async function killMover(): Promise<void> {
    const [node = ''] = readdirSync(join(platform.dataDir, 'nodes'));
    const movers = join(platform.dataDir, 'nodes', node, 'movers');
    for (const id of readdirSync(movers)) {
      const record = JSON.parse(readFileSync(join(movers, id, 'mover.json'), 'utf8')) as { process?: { pid: number } };
      kill(record.process?.pid);
    }
  }

  const options = (token: string, method: string, headers: Record<string, string | number> = {}) => ({
    ...{ host: '127.0.0.1', port: platform.port, path: '/v1beta1/upload-async', method, rejectUnauthorized: false },
    headers: { authorization: `Bearer ${token}`, ...headers },
  });

  /** Bytes that the platform has of this upload. */
  const keptBytes = (token: string): Promise<number> =>
    untilDone(
      () =>
        new Promise((resolve, reject) => {
          const call = request(options(token, 'HEAD'), (response) => {
            response.resume();
            if (response.statusCode === 200) resolve(Number(response.headers['upload-offset'] ?? 0));
            else reject(new Error(`HEAD answered ${response.statusCode}`));
          });
          call.once('error', reject);
          call.end();
        }),
    );

  /** Status of the answer; undefined when the connection broke. */
  function send(
    token: string,
    body: Buffer,
    offset: number,
    { killAt, hurt }: { readonly killAt: number; readonly hurt: () => Promise<void> },
  ): Promise<number | undefined> {
    const headers = {
      'upload-id': 'long',
      'content-length': body.length - offset,
      ...(offset > 0 && { 'upload-offset': offset, 'upload-length': body.length }),
    };
    return new Promise((resolve, reject) => {
      const call = request(options(token, offset > 0 ? 'PATCH' : 'POST', headers), (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.once('error', () => resolve(undefined));
      const closed = new Promise((next) => call.once('close', next));
      const write = async (): Promise<void> => {
        for (let sent = offset; sent < body.length; sent += MiB) {
          if (call.destroyed) return;
          if (sent <= killAt && killAt < sent + MiB) await hurt();
          const isReady = call.write(body.subarray(sent, sent + MiB));
          if (!isReady) await Promise.race([closed, new Promise((next) => call.once('drain', next))]);
        }
        call.end();
      };
      write().catch(reject);
    });
  }
});

/** The victim may have ended by itself. */
function kill(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
