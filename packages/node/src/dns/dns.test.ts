import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { EndpointSliceKind, type EndpointSlice, type Service, ServiceKind } from '@slipway/api';
import { silentLogger, systemClock } from '@slipway/runtime';
import { type Answer, decode, encode, type RecordType } from 'dns-packet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerQuery, fitUdp } from './dns-answer.ts';
import { runDnsServer } from './dns-server.ts';
import { framed, unframed } from './forward.ts';
import { clusterZone, type QuestionType } from './zone.ts';

const service = (name: string, spec: object): Service => ({ metadata: { name, namespace: 'a' }, spec }) as unknown as Service; // only these fields matter
const slice = (name: string, endpoints: object[], addressType = 'IPv4'): EndpointSlice =>
  ({
    metadata: { name: `${name}-${addressType}`, namespace: 'a', labels: { 'kubernetes.io/service-name': name } },
    addressType,
    endpoints,
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  }) as unknown as EndpointSlice; // only these fields matter

const READY = { ready: true };
const SERVICES = [
  service('web', {
    clusterIP: '10.0.0.9',
    clusterIPs: ['10.0.0.9', 'fd00::9'],
    ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  }),
  service('vms', { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] }),
  service('out', { type: 'ExternalName', externalName: 'example.org' }),
  service('alias', { type: 'ExternalName', externalName: 'web.a.svc.cluster.local' }),
  service('alias-of-out', { type: 'ExternalName', externalName: 'out.a.svc.cluster.local.' }),
  service('lost', { type: 'ExternalName', externalName: 'none.a.svc.cluster.local' }),
  service('circle', { type: 'ExternalName', externalName: 'circle.a.svc.cluster.local' }),
];
const SLICES = [
  slice('vms', [
    { addresses: ['10.1.0.2'], hostname: 'one', conditions: READY },
    { addresses: ['10.1.0.3'], conditions: READY },
    { addresses: ['10.1.0.4'], hostname: 'not-ready', conditions: { ready: false } },
  ]),
  slice('vms', [{ addresses: ['fd10::2'], hostname: 'one', conditions: READY }], 'IPv6'),
];
const zone = clusterZone(SERVICES, SLICES);

const dataOf = (answers: readonly Answer[]): unknown[] => answers.map((answer) => ('data' in answer ? answer.data : undefined));

describe('the zone of the cluster', () => {
  it.each<[string, QuestionType, unknown[] | 'nothing' | 'elsewhere']>([
    ['web.a.svc.cluster.local', 'A', ['10.0.0.9']],
    ['WEB.A.svc.cluster.local.', 'A', ['10.0.0.9']],
    ['web.a.svc.cluster.local', 'AAAA', ['fd00::9']],
    ['web.a.svc.cluster.local', 'MX', []],
    ['vms.a.svc.cluster.local', 'A', ['10.1.0.2', '10.1.0.3']],
    ['one.vms.a.svc.cluster.local', 'A', ['10.1.0.2']],
    ['one.vms.a.svc.cluster.local', 'AAAA', ['fd10::2']],
    ['10-1-0-3.vms.a.svc.cluster.local', 'A', ['10.1.0.3']],
    ['not-ready.vms.a.svc.cluster.local', 'A', 'nothing'],
    ['one.web.a.svc.cluster.local', 'A', 'nothing'],
    ['_http._tcp.web.a.svc.cluster.local', 'SRV', [{ priority: 0, weight: 100, port: 80, target: 'web.a.svc.cluster.local' }]],
    ['_http._udp.web.a.svc.cluster.local', 'SRV', 'nothing'],
    ['out.a.svc.cluster.local', 'A', ['example.org']],
    ['10-1-0-9.a.pod.cluster.local', 'A', ['10.1.0.9']],
    ['x.a.pod.cluster.local', 'A', 'nothing'],
    ['a.svc.cluster.local', 'A', []],
    ['b.svc.cluster.local', 'A', 'nothing'],
    ['other.a.svc.cluster.local', 'A', 'nothing'],
    ['cluster.local', 'A', []],
    ['9.0.0.10.in-addr.arpa', 'PTR', ['web.a.svc.cluster.local']],
    ['2.0.1.10.in-addr.arpa', 'PTR', ['one.vms.a.svc.cluster.local']],
    [`9.${'0.'.repeat(28)}0.d.f.ip6.arpa`, 'PTR', ['web.a.svc.cluster.local']],
    ['1.2.0.192.in-addr.arpa', 'PTR', 'elsewhere'],
    [`8.${'0.'.repeat(28)}0.d.f.ip6.arpa`, 'PTR', 'elsewhere'],
    ['9.0.d.f.ip6.arpa', 'PTR', 'elsewhere'],
    ['example.org', 'A', 'elsewhere'],
    ['notcluster.local', 'A', 'elsewhere'],
  ])('%s %s', (name, type, expected) => {
    const found = zone.lookUp(name, type);
    if (expected === 'elsewhere') expect(found).toBeUndefined();
    else if (expected === 'nothing') expect(found).toEqual({ exists: false, answers: [] });
    else expect([found?.exists, dataOf(found?.answers ?? [])]).toEqual([true, expected]);
  });

  it('finds each endpoint of a headless Service by its port', () => {
    expect(dataOf(zone.lookUp('_http._tcp.vms.a.svc.cluster.local', 'SRV')?.answers ?? [])).toContainEqual({
      ...{ priority: 0, weight: 100, port: 8080 },
      target: 'one.vms.a.svc.cluster.local',
    });
  });
});

const query = (name: string, type: RecordType = 'A'): Buffer =>
  encode({ type: 'query', id: 7, flags: 0x100, questions: [{ name, type }] });
const elsewhere = async (): Promise<Buffer> =>
  encode({ type: 'response', id: 7, questions: [], answers: [{ name: 'example.org', type: 'A', data: '192.0.2.80' }] });

it('serves names whatever users write into slices', () => {
  const odd = [
    slice('vms', [{ addresses: ['fe80::1%eth0', '::ffff:192.0.2.1', 'x:y', ''], hostname: 'odd', conditions: READY }], 'IPv6'),
  ];
  expect(clusterZone(SERVICES, odd).lookUp('web.a.svc.cluster.local', 'A')?.exists).toBe(true);
  expect(clusterZone(SERVICES, odd).lookUp('1.2.0.192.in-addr.arpa', 'PTR')).toBeUndefined();
});

describe('answerQuery', () => {
  const ask = async (name: string, forward: () => Promise<Buffer | undefined> = elsewhere) => {
    const answer = await answerQuery(query(name), zone, forward);
    return answer === undefined ? undefined : decode(answer);
  };

  it.each([
    ['web.a.svc.cluster.local', 'NOERROR', ['10.0.0.9']],
    ['none.a.svc.cluster.local', 'NXDOMAIN', []],
    ['out.a.svc.cluster.local', 'NOERROR', ['example.org', '192.0.2.80']],
    ['alias.a.svc.cluster.local', 'NOERROR', ['web.a.svc.cluster.local', '10.0.0.9']],
    ['alias-of-out.a.svc.cluster.local', 'NOERROR', ['out.a.svc.cluster.local', 'example.org', '192.0.2.80']],
    ['lost.a.svc.cluster.local', 'NOERROR', ['none.a.svc.cluster.local']],
    ['example.org', 'NOERROR', ['192.0.2.80']],
  ])('%s: %s', async (name, rcode, data) => {
    const packet = await ask(name);
    expect(packet).toMatchObject({ id: 7, rcode });
    expect(dataOf(packet?.answers ?? [])).toEqual(data);
  });

  it('does not follow aliases in a circle', async () => {
    expect(await ask('circle.a.svc.cluster.local')).toMatchObject({ id: 7, rcode: 'NOERROR' });
  });

  it('says so when nobody elsewhere answers', async () => {
    expect(await ask('example.org', async () => undefined)).toMatchObject({ id: 7, rcode: 'SERVFAIL' });
  });

  it.each([Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(12), Buffer.from('000701000001ffffffffffffc00cc00c', 'hex')])(
    'is silent to what is no question: %j',
    async (bytes) => {
      expect(await answerQuery(bytes, zone, elsewhere)).toBeUndefined();
    },
  );

  it('cuts an answer that is too long for UDP', () => {
    const answers = Array.from(
      { length: 60 },
      (_, index): Answer => ({ name: 'example.org', type: 'A', data: `192.0.2.${index}` }),
    );
    const long = encode({ type: 'response', id: 7, questions: [{ name: 'example.org', type: 'A' }], answers });
    const cut = decode(fitUdp(long, query('example.org')));
    expect([cut.flag_tc, cut.answers]).toEqual([true, []]);
    expect(fitUdp(long.subarray(0, 500), query('example.org'))).toHaveLength(500);
  });
});

describe('the server', () => {
  const stop = new AbortController();
  let port = 0;

  beforeAll(async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => probe.once('listening', resolve));
    port = (probe.address() as { port: number }).port;
    await new Promise((resolve) => probe.close(resolve));
    const lists = new Map<string, readonly unknown[]>([
      [ServiceKind.plural, SERVICES],
      [EndpointSliceKind.plural, SLICES],
    ]);
    const informers = {
      for: ({ plural }: { plural: string }) => ({ addHandler: () => () => {}, lister: { list: () => lists.get(plural) ?? [] } }),
    } as never; // what the server asks of informers
    void runDnsServer(
      { informers, clock: systemClock, log: silentLogger, addresses: ['127.0.0.1'], port, upstreams: () => [] },
      stop.signal,
    );
  });
  afterAll(() => stop.abort());

  it('answers by TCP, several questions one after another', async () => {
    const ask = (): Promise<unknown> =>
      new Promise((resolve) => {
        let received = Buffer.alloc(0);
        const socket = connect(port, '127.0.0.1', () =>
          socket.write(Buffer.concat([framed(query('web.a.svc.cluster.local')), framed(query('vms.a.svc.cluster.local'))])),
        );
        const answers: unknown[] = [];
        socket.on('error', resolve);
        socket.on('data', (chunk: Buffer) => {
          received = Buffer.concat([received, chunk]);
          for (let message = unframed(received); message; message = unframed(received)) {
            answers.push(dataOf(decode(message).answers ?? []));
            received = received.subarray(2 + message.length);
          }
          if (answers.length === 2) {
            socket.destroy();
            resolve(answers);
          }
        });
      });
    await expect.poll(ask, { timeout: 30_000 }).toEqual([['10.0.0.9'], ['10.1.0.2', '10.1.0.3']]);
  });

  it('answers by UDP', async () => {
    const socket = createSocket('udp4');
    const answer = new Promise<Buffer>((resolve) => socket.once('message', resolve));
    // the first may be lost before the server listens
    const again = setInterval(() => socket.send(query('web.a.svc.cluster.local'), port, '127.0.0.1'), 100);
    try {
      expect(dataOf(decode(await answer).answers ?? [])).toEqual(['10.0.0.9']);
    } finally {
      clearInterval(again);
      socket.close();
    }
  });
});
