import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

interface Service {
  spec: { clusterIP: string; ports: { nodePort?: number }[] };
  status?: { loadBalancer?: { ingress?: { ip: string }[] } };
}

const WAIT_MS = 120_000;
/** What the guest answers to whoever asks for this page. */
const PAGE = 'it is me';

const body = async (url: string): Promise<string> => {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(10_000) })).text();
  } catch (error) {
    return String(error);
  }
};

const policy = (name: string, spec: object): object => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'default' },
  spec,
});

describe('virtual machines behind Services', () => {
  let platform: Platform;
  let images: ImageServer;
  let web: GuestShell;
  let client: GuestShell;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    const url = `${images.url}/tiny.qcow2`;
    await platform.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'fellows', namespace: 'default' },
      spec: { clusterIP: 'None', selector: { fellow: 'yes' }, ports: [{ name: 'http', port: 80 }] },
    });
    for (const name of ['web', 'client']) {
      const vm = shellVm(name, url, { spec: { subdomain: 'fellows' } }) as {
        spec: { template: { metadata: { labels: object } } };
      };
      vm.spec.template.metadata.labels = { app: name, fellow: 'yes' };
      await platform.apply(vm);
    }
    [web, client] = [await guestShell(platform, 'web'), await guestShell(platform, 'client')];
    await web.run(`echo ${PAGE} > /www/page`);
  });
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  /** What the client's guest gets; `silence` when nothing comes. */
  const fetched = (address: string, guest = client): Promise<string> =>
    guest.run(`printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${address} 80 || echo silence`);
  /** The small guest's programs are static and cannot look names up; its nslookup can. */
  const resolved = async (name: string): Promise<string> =>
    /Name:[^]*?Address.*?: (\S+)/.exec(await client.run(`nslookup ${name}`))?.[1] ?? 'nothing';
  const clusterIP = async (): Promise<string> => (await platform.until<Service>('svc web', () => true)).spec.clusterIP;

  it('are reached from this machine and from other guests by every address of a Service', async () => {
    const exposed = await platform.slipway(
      'virt',
      'expose',
      'vmi',
      'web',
      '--name',
      'web',
      '--port',
      '80',
      '--type',
      'LoadBalancer',
    );
    expect(exposed.stderr).toBe('');
    const service = await platform.until<Service>(
      'svc web',
      ({ status }) => status?.loadBalancer?.ingress?.[0]?.ip !== undefined,
    );
    const { ports } = service.spec;
    const own = await clusterIP();
    const addresses = [own, service.status?.loadBalancer?.ingress?.[0]?.ip ?? '', `127.0.0.1:${ports[0]?.nodePort}`];
    for (const address of addresses)
      await expect.poll(() => body(`http://${address}/page`), { timeout: WAIT_MS }).toContain(PAGE);
    await expect.poll(() => fetched(own), { timeout: WAIT_MS }).toContain(PAGE);
    // a guest reaches itself by its own Service
    await expect.poll(() => fetched(own, web), { timeout: WAIT_MS }).toContain(PAGE);
  });

  it('have names, in full and as their fellows call them', async () => {
    await expect.poll(() => resolved('web.default.svc.cluster.local'), { timeout: WAIT_MS }).toBe(await clusterIP());
    const fellow = await resolved('web.fellows.default.svc.cluster.local');
    expect(fellow).toMatch(/^10\.244\./);
    expect(await fetched(fellow)).toContain(PAGE);
    expect(await client.run('grep search /etc/resolv.conf')).toContain('fellows.default.svc.cluster.local');
    expect(await client.run('nslookup nobody.default.svc.cluster.local')).toMatch(/NXDOMAIN|can't find/);
  });

  it('are left alone by those whom a policy keeps away, and answer again without it', async () => {
    const [address, podSelector] = [await clusterIP(), { matchLabels: { app: 'web' } }];
    await platform.apply(policy('deny', { podSelector, policyTypes: ['Ingress'] }));
    await expect.poll(() => fetched(address), { timeout: WAIT_MS }).toContain('silence');
    const friends = [{ from: [{ podSelector: { matchLabels: { app: 'client' } } }], ports: [{ port: 80 }] }];
    await platform.apply(policy('friends', { podSelector, ingress: friends }));
    await expect.poll(() => fetched(address), { timeout: WAIT_MS }).toContain(PAGE);
    await platform.kubectl('delete', 'networkpolicy', '--all');
  });

  it('may ask for names alone when a policy allows no more', async () => {
    const address = await clusterIP();
    const dns = [{ to: [{ namespaceSelector: {} }], ports: [{ port: 53, protocol: 'UDP' }] }];
    await platform.apply(
      policy('quiet', { podSelector: { matchLabels: { app: 'client' } }, policyTypes: ['Egress'], egress: dns }),
    );
    await expect.poll(() => fetched(address), { timeout: WAIT_MS }).toContain('silence');
    expect(await resolved('web.default.svc.cluster.local')).toBe(address);
    await platform.kubectl('delete', 'networkpolicy', '--all');
    await expect.poll(() => fetched(address), { timeout: WAIT_MS }).toContain(PAGE);
  });
});
