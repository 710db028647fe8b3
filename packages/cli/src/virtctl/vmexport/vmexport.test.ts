import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { StatusError } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from '../go-duration.ts';
import type { ExchangeRequest } from '../io.ts';
import { type Setting, virtctl } from '../testing.ts';

const EXPORT = '/apis/export.kubevirt.io/v1/namespaces/default/virtualmachineexports/e1';
const SECRET = '/apis//v1/namespaces/default/secrets/secret-e1';
const DISK = 'the bytes of a disk';
const formats = (...names: string[]) => names.map((format) => ({ format, url: `https://host/${format}` }));

const missing = (): never => {
  throw new StatusError({ code: 404, reason: 'NotFound', message: 'not found' });
};

const ready = (volumes = [{ name: 'root', formats: formats('raw', 'gzip') }]) => ({
  metadata: { name: 'e1' },
  spec: { source: {}, tokenSecretRef: 'secret-e1' },
  status: {
    phase: 'Ready',
    links: { external: { cert: 'PEM', volumes, manifests: [{ type: 'all', url: 'https://host/all' }] } },
  },
});

/** A cluster whose export becomes ready at the `readyAt`-th question. */
function cluster(
  answer: (request: ExchangeRequest) => { status?: number; body?: AsyncIterable<Uint8Array> },
  readyAt = 1,
): Setting {
  let asked = 0;
  return {
    answers: {
      [`GET ${EXPORT}`]: () => (++asked < readyAt ? { metadata: {}, spec: {}, status: { phase: 'Pending' } } : ready()),
      [`GET ${SECRET}`]: () => ({ metadata: {}, data: { token: Buffer.from('t0ken').toString('base64') } }),
    },
    exchanges: async (request) => ({ status: 200, headers: {}, body: bytes(DISK), ...answer(request) }),
  };
}

async function* bytes(...pieces: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield Buffer.from(piece);
}

async function* broken(piece: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(piece);
  throw new Error('connection reset');
}

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'vmexport-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('vmexport create and delete', () => {
  it('makes the export and a secret of its own', async () => {
    const { out, requests } = await virtctl('vmexport create e1 --vm=web --ttl=90m', { answers: { [`GET ${EXPORT}`]: missing } });
    expect(out).toBe("VirtualMachineExport 'default/e1' created succesfully\n");
    const source = { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' };
    expect(requests).toEqual([
      `GET ${EXPORT}`,
      `POST virtualmachineexports ${JSON.stringify({ source, tokenSecretRef: 'secret-e1', ttlDuration: '1h30m0s' })}`,
      'POST secrets undefined',
    ]);
  });

  it.each([
    ['vmexport list e1', "invalid function 'list'"],
    [
      'vmexport create e1',
      'need to specify export kind when attempting to create a VirtualMachineExport [--pvc|--vm|--snapshot]',
    ],
    ['vmexport create e1 --pvc=a --output=x', "the '--output' flag is incompatible with 'create'"],
    ['vmexport create e1 --pvc=a --port-forward', "the '--port-forward' flag is incompatible with 'create'"],
    ['vmexport delete e1 --pvc=a', 'should not specify export kind'],
    ['vmexport delete e1 --labels=a=b', "the '--labels' flag is incompatible with 'delete'"],
    ['vmexport download e1 --manifest --volume=a', "the '--volume' flag is incompatible with '--manifest'"],
    ['vmexport download e1 --manifest --pvc=a', "the '--pvc' flag is incompatible with '--manifest'"],
    ['vmexport download e1 --output=x --port-forward --local-port=x', '--local-port is not a valid value, acceptable values are'],
    ['vmexport create e1 --vm=a --pvc=b', 'none of the others can be'],
    ['vmexport create e1 --vm=a', "VirtualMachineExport 'default/e1' already exists"],
    ['vmexport download e1', 'Binary output can mess up your terminal'],
    ['vmexport download e1 --output=x --format=zip', '--format is not a valid value, acceptable values are gzip/raw'],
    ['vmexport download e1 --output=x --keep-vme --delete-vme', '[delete-vme keep-vme] were all set'],
  ])('refuses %s', async (line, reason) => {
    const { status, err } = await virtctl(line);
    expect(status).toBe(1);
    expect(err).toContain(reason);
  });

  it('deletes', async () => {
    const { out, requests } = await virtctl('vmexport delete e1');
    expect({ out, requests }).toEqual({
      out: "VirtualMachineExport 'default/e1' deleted succesfully\n",
      requests: [`DELETE ${EXPORT}`],
    });
  });
});

describe('vmexport download', () => {
  it('waits, presents the token, and leaves an export of others alone', async () => {
    const asked: ExchangeRequest[] = [];
    const setting = cluster((request) => {
      asked.push(request);
      return { body: bytes(gzipSync(DISK)) };
    }, 3);
    const { status, out, requests } = await virtctl(`vmexport download e1 --output=${dir}/disk.gz`, setting);
    expect(status).toBe(0);
    expect(out).toMatch(/^waiting for VM Export e1 status to be ready...\n(.*\n)*Download finished succesfully\n$/);
    expect(asked).toEqual([
      { method: 'GET', url: 'https://host/gzip', headers: { 'x-kubevirt-export-token': 't0ken' }, ca: 'PEM', insecure: false },
    ]);
    expect(requests.some((request) => request.startsWith('DELETE'))).toBe(false);
    expect(await readFile(`${dir}/disk.gz`)).toEqual(gzipSync(DISK));
  });

  it('goes on where a broken download stopped, and shows no half of a file', async () => {
    const ranges: unknown[] = [];
    const setting = cluster(({ headers }) => {
      ranges.push(headers['range']);
      return ranges.length === 1 ? { body: broken(DISK.slice(0, 9)) } : { status: 206, body: bytes(DISK.slice(9)) };
    });
    const { status } = await virtctl(`vmexport download e1 --format=raw --retry=1 --output=${dir}/disk.img`, setting);
    expect({ status, ranges }).toEqual({ status: 0, ranges: [undefined, 'bytes=9-'] });
    expect(await readFile(`${dir}/disk.img`, 'utf8')).toBe(DISK);
  });

  it('leaves nothing behind when it fails', async () => {
    const setting = cluster(() => ({ body: broken('half') }));
    const { status, err } = await virtctl(`vmexport download e1 --output=${dir}/disk.gz`, setting);
    expect(status).toBe(1);
    expect(err).toContain('connection reset');
    expect(await readdir(dir)).toEqual([]);
    const refused = cluster(() => ({ status: 401 }));
    const again = await virtctl(`vmexport download e1 --retry=1 --output=${dir}/x`, refused);
    expect(again.out).toBe('Bad status: 401 Unauthorized\nRetrying...\nBad status: 401 Unauthorized\n');
    expect(again.err).toBe('retry count reached, exiting unsuccesfully\n');
  });

  it('deletes the export that it has made itself', async () => {
    const setting = cluster(() => ({}));
    let asked = 0;
    const answers = { ...setting.answers, [`GET ${EXPORT}`]: () => (++asked === 1 ? missing() : ready()) };
    const { requests } = await virtctl(`vmexport download e1 --pvc=data --output=${dir}/x`, { ...setting, answers });
    expect(requests.at(-1)).toBe(`DELETE ${EXPORT}`);
  });

  it('asks which volume where there are several', async () => {
    const volumes = ['root', 'data'].map((name) => ({ name, formats: formats('gzip') }));
    const setting = cluster(() => ({}));
    const answers = { ...setting.answers, [`GET ${EXPORT}`]: () => ready(volumes) };
    const { err } = await virtctl(`vmexport download e1 --output=${dir}/x`, { ...setting, answers });
    expect(err).toContain("more than one downloadable volume in 'default/e1'");
    expect((await virtctl(`vmexport download e1 --volume=data --output=${dir}/x`, { ...setting, answers })).status).toBe(0);
  });

  it('carries the connection through the API server where that is asked for', async () => {
    const setting = cluster(() => ({}));
    const said: string[] = [];
    const pods = 'GET /apis//v1/namespaces/default/pods';
    const answers = {
      ...setting.answers,
      [`GET ${EXPORT}`]: () => ({
        ...ready(),
        status: { ...ready().status, serviceName: 'svc', links: { internal: ready().status.links.external } },
      }),
      'GET /apis//v1/namespaces/default/services/svc': () => ({
        metadata: { name: 'svc' },
        spec: { ports: [{ port: 443, targetPort: 8443 }], selector: { app: 'e1' } },
      }),
      [pods]: () => [{ metadata: { name: 'exporter' } }],
    };
    const streams = (): MessageStream => {
      const messages = new PassThrough({ objectMode: true });
      for (const channel of [0, 1]) messages.write(Buffer.of(channel, 0xfb, 0x20)); // each channel begins with the port
      return {
        protocol: 'v4.channel.k8s.io',
        messages,
        send: async (data) => {
          said.push(`${data[0]}:${Buffer.from(data.subarray(1)).toString()}`);
          messages.write(Buffer.concat([Buffer.of(0), Buffer.from('pong')]));
          messages.end();
        },
        close: () => {},
      };
    };
    const exchanges: Setting['exchanges'] = async ({ url, insecure }) => {
      expect(insecure).toBe(true);
      const socket = connectTcp(Number(new URL(url).port), '127.0.0.1');
      socket.write('ping');
      return { status: 200, headers: {}, body: socket };
    };
    const line = `vmexport download e1 --port-forward --output=${dir}/disk`;
    const { status, out, requests } = await virtctl(line, { answers, streams, exchanges });
    expect({ status, said }).toEqual({ status: 0, said: ['0:ping'] });
    expect(out).toBe('service svc is ready for port-forwarding\nPort forwarding is ready.\nDownload finished succesfully\n');
    expect(requests).toContain(`${pods}?app=e1`);
    expect(requests).toContain('CONNECT /api/v1/namespaces/default/pods/exporter/portforward {"ports":"8443"}');
    expect(await readFile(`${dir}/disk`, 'utf8')).toBe('pong');
  });

  it('prints the manifests', async () => {
    const setting = cluster(() => ({ body: bytes('{"kind":"List","items":[]}') }));
    expect((await virtctl('vmexport download e1 --manifest', setting)).out).toBe('kind: List\nitems: []\n');
  });
});

describe('durations', () => {
  it.each([
    ['1h', 3_600_000, '1h0m0s'],
    ['90s', 90_000, '1m30s'],
    ['1h30m', 5_400_000, '1h30m0s'],
    ['1.5s', 1_500, '1.5s'],
    ['0', 0, '0s'],
  ])('%s', (text, milliseconds, normal) => {
    expect(parseDuration('ttl', text)).toBe(milliseconds);
    expect(formatDuration(milliseconds)).toBe(normal);
  });
  it.each(['', '1', 'h', '1h x', '-1h'])('refuses "%s"', (text) => {
    expect(() => parseDuration('ttl', text)).toThrow('write a duration');
  });
});
