// Services, names, policies and second networks, asked from guests of the same node, of other nodes, and from this machine.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, lookUp } from './src/network-probes.ts';
import { POLICY_CASES } from './src/network-tables.ts';
import {
  FAMILIES,
  GUESTS,
  LEASED,
  type Name,
  named,
  NAMES,
  type NetworkWorld,
  networkWorld,
  type Nic,
  ofFamily,
  PATIENCE_MS,
  type Service,
  type Vmi,
} from './src/network-world.ts';

/** `SLIPWAY_E2E_LONG=1`: four guests on two nodes, then on three. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const HOUR_MS = 3_600_000;
const EVERYBODY = [...NAMES, 'machine'];

describe.skipIf(!isLong).each([2, 3])('guests on %i nodes', { timeout: HOUR_MS }, (count) => {
  let world: NetworkWorld;
  beforeAll(async () => {
    world = await networkWorld(count);
  }, HOUR_MS);
  afterAll(() => world?.close(), PATIENCE_MS);

  it('reach each other and are reached under their own addresses, in both families', async () => {
    await forEach(EVERYBODY, async (from) => {
      // KubeVirt-compat: under the address of its own pod a guest does not find itself
      for (const to of NAMES.filter((name) => name !== from))
        for (const family of FAMILIES) {
          const { seen } = await world.answers(from, ofFamily(world.addressesOf(to), family), 80, to);
          const own = from === 'machine' ? world.machine : world.addressesOf(from);
          expect(seen, `${from} asks ${to}`).toContain(ofFamily(own, family));
        }
    });
  });

  it('have what their binding gives', async () => {
    for (const name of NAMES) {
      const { inside, namespace } = GUESTS[name];
      const [nic] = (await world.vmi(name)).status?.interfaces ?? [];
      const seen = await world.run(name, 'ip -4 -o addr show eth0; ip link show eth0; ip route; cat /etc/resolv.conf; hostname');
      expect(seen).toContain(`inet ${inside?.v4 ?? ofFamily(world.addressesOf(name), 4)}/24`);
      expect(seen).toContain(nic?.mac);
      expect(seen).toMatch(/^default via /m);
      expect(seen).toMatch(new RegExp(`^search fellows.${namespace}.svc.cluster.local ${namespace}.svc.cluster.local svc`, 'm'));
      expect(seen.trim().split('\n').at(-1)).toBe(name);
    }
    // only what is in the list of ports is passed on
    await world.run('web', `httpd -p '[::]:8081' -h /www`);
    for (const family of FAMILIES)
      expect(['refused', 'silence']).toContain((await ask('machine', ofFamily(world.addressesOf('web'), family), 8081)).answer);
  });

  describe.each(FAMILIES)('behind Services of IPv%i', (family) => {
    const clusterIP = async (name: string): Promise<string> =>
      ofFamily((await world.service(name)).spec.clusterIPs ?? [], family);
    const nodePort = async (name: string): Promise<number> => (await world.service(name)).spec.ports?.[0]?.nodePort ?? 0;
    const nodeAddress = (index: number): string => ofFamily(world.nodes[index]?.addresses ?? [], family);
    const balancer = async (name: string): Promise<string> => {
      const hasBoth = ({ status }: Service): boolean => status?.loadBalancer?.ingress?.[1] !== undefined;
      const { status } = await world.platform.until<Service>(`svc ${name}`, hasBoth, PATIENCE_MS);
      return ofFamily(status?.loadBalancer?.ingress?.map(({ ip }) => ip) ?? [], family);
    };
    /** Asks until each of the two servers has answered. */
    const both = async (who: string, address: string, port: number): Promise<void> => {
      const heard = new Set<string>();
      const message = `${who} asks ${address} port ${port}`;
      await expect
        .poll(
          async () => {
            heard.add((await ask(world.askerOf(who), address, port)).answer);
            return ['twin', 'web'].every((name) => heard.has(name));
          },
          { timeout: PATIENCE_MS, message },
        )
        .toBe(true);
    };

    it('are reached by cluster addresses, load balancers and node ports', async () => {
      await forEach(EVERYBODY, async (who) => {
        await world.answers(who, await clusterIP('front'), 80, 'web');
        await world.answers(who, await clusterIP('by-name'), 8000, 'web');
        await world.answers(who, await clusterIP('nobody'), 80, 'refused');
        await both(who, await clusterIP('all'), 80);
        await both(who, await balancer('all'), 80);
        for (const index of world.nodes.keys()) await both(who, nodeAddress(index), await nodePort('all'));
        // an address outside of the cluster is the Service's for guests alone
        if (family === 4 && who !== 'machine') await world.answers(who, '192.0.2.77', 80, 'web');
      });
    });

    it('stay with the client that they had', async () => {
      await forEach(['near', 'far', 'machine'], async (who) => {
        const sticky = await clusterIP('sticky');
        let first = '';
        await expect
          .poll(async () => (first = (await ask(world.askerOf(who), sticky)).answer), { timeout: PATIENCE_MS })
          .toMatch(/web|twin/);
        for (let times = 0; times < 8; times++) await world.answers(who, sticky, 80, first);
      });
    });

    it('ask those of their own node alone', async () => {
      const inside = await clusterIP('inside');
      await world.answers('near', inside, 80, 'web');
      await world.answers('twin', inside, 80, 'twin');
      await world.answers('far', inside, 80, count === 2 ? 'twin' : 'silence');
    });

    it('are asked by way of their own node alone, and see who asks', async () => {
      const port = await nodePort('outside');
      const { seen } = await world.answers('machine', nodeAddress(1), port, 'twin');
      expect(seen).toContain(ofFamily(world.machine, family));
      await world.answers('machine', nodeAddress(0), port, 'silence');
      await forEach(EVERYBODY, async (who) => void (await world.answers(who, await balancer('outside'), 80, 'twin')));
      const { healthCheckNodePort = 0 } = (await world.service('outside')).spec;
      for (const index of world.nodes.keys())
        await expect
          .poll(() => healthOf(nodeAddress(index), healthCheckNodePort), { timeout: PATIENCE_MS })
          .toBe(index === 1 ? 200 : 503);
    });

    it('are kept from those who are not in the ranges of a load balancer', async () => {
      const loadBalancerSourceRanges = world.addressesOf('near').map((one) => `${one}/${one.includes(':') ? 128 : 32}`);
      const patch = JSON.stringify({ spec: { loadBalancerSourceRanges } });
      await world.platform.kubectl('patch', 'svc', 'guarded', '--type=merge', '-p', patch);
      for (const who of ['far', 'machine']) await world.answers(who, await balancer('guarded'), 80, 'silence');
      await world.answers('near', await balancer('guarded'), 80, 'web');
      await world.answers('far', await clusterIP('guarded'), 80, 'web');
    });

    it.each(['near', 'far'])('%s sends datagrams to a Service', async (who) => {
      const counter =
        family === 4 ? 'grep "^Udp: [0-9]" /proc/net/snmp | cut -d" " -f3' : 'grep Udp6NoPorts /proc/net/snmp6 | tr -cd "0-9 "';
      const arrived = async (): Promise<number> => Number((await world.run('web', counter)).trim().split(/\s+/).at(-1));
      const before = await arrived();
      // nobody listens in the guest, whose kernel counts what comes all the same
      await world.run(who, `timeout 5 nslookup x.example ${await clusterIP('datagrams')}`);
      await expect.poll(arrived, { timeout: PATIENCE_MS }).toBeGreaterThan(before);
    });
  });

  it('know names', async () => {
    const clusterIPs = async (name: string): Promise<readonly string[]> => (await world.service(name)).spec.clusterIPs ?? [];
    const front = await clusterIPs('front');
    const [pod = ''] = world.addressesOf('far');
    const own: readonly Name[] = ['web', 'near', 'twin'];
    // the tiny guest tries its search domains for names without a dot alone
    const table: readonly (readonly [string, readonly string[], readonly Name[]])[] = [
      ['front.default.svc.cluster.local', front, NAMES],
      ['front', front, own],
      ['front', [], ['far']],
      ['fellows.default.svc.cluster.local', own.flatMap(world.addressesOf), NAMES],
      ['web.fellows.default.svc.cluster.local', world.addressesOf('web'), NAMES],
      ['twin', world.addressesOf('twin'), ['near', 'web']],
      ['near', world.addressesOf('near'), ['twin']],
      ['far', [], ['near']],
      [`${pod.replaceAll('.', '-')}.elsewhere.pod.cluster.local`, [pod], ['near', 'twin']],
      ['alias.default.svc.cluster.local', front, ['near', 'far']],
      ['kubernetes.default.svc.cluster.local', await clusterIPs('kubernetes'), NAMES],
      ['none.default.svc.cluster.local', [], ['near']],
    ];
    await forEach(NAMES, async (who) => {
      for (const [name, addresses] of table.filter(([, , askers]) => askers.includes(who)))
        for (const family of FAMILIES) {
          const expected = addresses.filter((address) => address.includes(':') === (family === 6)).toSorted();
          await expect
            .poll(() => lookUp(world.shellOf(who), name, family === 4 ? 'a' : 'aaaa'), {
              ...{ timeout: PATIENCE_MS, message: `${who} looks up ${name}` },
            })
            .toEqual(expected);
        }
    });
    expect(await world.run('near', 'nslookup -type=srv _page._tcp.by-name.default.svc.cluster.local')).toMatch(
      /service = 0 100 8000 by-name\.default\.svc\.cluster\.local/,
    );
    for (const address of front)
      expect(await world.run('far', `nslookup ${address}`), address).toContain('front.default.svc.cluster.local');
  });

  describe('with policies', () => {
    const addressesOf = async (target: string): Promise<readonly string[]> =>
      target === 'front' ? ((await world.service('front')).spec.clusterIPs ?? []) : world.addressesOf(target);
    const verdict = async (probe: string, family: 4 | 6): Promise<string> => {
      const [who = '', target = '', port = '80'] = probe.split(' ');
      if (target === 'names')
        return (await lookUp(world.shellOf(who), 'front.default.svc.cluster.local')).length > 0 ? 'passes' : 'silence';
      const { answer } = await ask(world.askerOf(who), ofFamily(await addressesOf(target), family), Number(port));
      return answer === 'silence' || answer === 'refused' ? answer : 'passes';
    };
    /** All at once: silence takes its time. */
    const prove = async (probes: readonly string[], expected: 'passes' | 'silence'): Promise<void> => {
      const proof = (probe: string, family: 4 | 6) =>
        expect.poll(() => verdict(probe, family), { timeout: PATIENCE_MS, message: `${probe} by IPv${family}` }).toBe(expected);
      await Promise.all(FAMILIES.flatMap((family) => probes.map((probe) => proof(probe, family))));
    };

    it.each(POLICY_CASES)('$name', async ({ policies, denied, allowed }) => {
      // what an earlier case denied must not be taken for a denial of this one
      await prove(denied, 'passes');
      const wanted = policies({ machine: world.machine, guest: world.addressesOf });
      for (const [index, { namespace = 'default', ...spec }] of wanted.entries())
        await world.platform.apply(named('NetworkPolicy', 'networking.k8s.io/v1', `case-${index}`, spec, namespace));
      try {
        await prove(denied, 'silence');
        await prove(allowed, 'passes');
      } finally {
        for (const namespace of ['default', 'elsewhere'])
          await world.platform.kubectl('delete', 'networkpolicy', '--all', '-n', namespace);
      }
      await prove(denied, 'passes');
    });
  });

  it('meet on second networks of their node', async () => {
    await world.run('web', 'ip link set eth1 up; ip addr add 192.168.88.1/24 dev eth1');
    await world.run('near', 'ip link set eth1 up; ip addr add 192.168.88.2/24 dev eth1');
    await world.answers('near', '192.168.88.1', 80, 'web');
    await world.answers('web', '192.168.88.2', 80, 'near');
    // a binding plugin's card, with the address that its network gives
    const leased = (await world.vmi('near')).status?.interfaces?.find(({ name }) => name === 'leased');
    expect(leased?.ipAddress).toMatch(/^10\.198\.77\./);
    expect(await world.run('near', leaseOn('eth2'))).toContain(`lease of ${leased?.ipAddress} obtained`);
  });

  it('get cards and lose them while they run, on whichever node they are', async () => {
    const nicOf = ({ status }: Vmi): Nic | undefined => status?.interfaces?.find(({ name }) => name === 'leased');
    const addresses: string[] = [];
    for (const name of ['twin', 'far'] as const) {
      await plug(world, name);
      const isThere = (vmi: Vmi): boolean => nicOf(vmi)?.linkState === 'up' && nicOf(vmi)?.ipAddress !== undefined;
      const { ipAddress = '', mac } = nicOf(await world.vmi(name, isThere)) ?? {};
      const seen = await world.run(name, `${leaseOn('eth1')}; cat /sys/class/net/eth1/address`);
      expect(seen).toContain(`lease of ${ipAddress} obtained`);
      expect(seen).toContain(mac);
      const ping = await world.run(name, `ip addr add ${ipAddress}/24 dev eth1; ping -c 1 -W 20 10.198.77.1`);
      expect(ping).toContain('1 packets received');
      addresses.push(ipAddress);
    }
    expect(new Set(addresses).size).toBe(2);
    // each node has a bridge of its own
    await world.answers('far', addresses[0] ?? '', 80, count === 2 ? 'twin' : 'silence');
    for (const name of ['twin', 'far'] as const) {
      await plug(world, name, { state: 'absent' });
      await world.vmi(name, (vmi) => nicOf(vmi) === undefined);
      const links = 'for i in $(seq 100); do [ -e /sys/class/net/eth1 ] || break; sleep 0.2; done; ls /sys/class/net';
      expect(await world.run(name, links)).not.toContain('eth1');
      await world.answers('near', ofFamily(world.addressesOf(name), 4), 80, name);
    }
  });

  it('are told why passt cannot be had', async () => {
    const nodeSelector = { 'kubernetes.io/hostname': world.nodes[1]?.name };
    const domain = { memory: { guest: '64Mi' }, devices: { interfaces: [{ name: 'default', passtBinding: {} }] } };
    const spec = { terminationGracePeriodSeconds: 0, nodeSelector, domain, networks: [{ name: 'default', pod: {} }] };
    await world.platform.apply(named('VirtualMachineInstance', 'kubevirt.io/v1', 'passt', spec));
    interface Events {
      items: { message?: string; involvedObject: { name: string } }[];
    }
    const isSaid = ({ items }: Events): boolean =>
      items.some(
        ({ message, involvedObject }) =>
          involvedObject.name === 'passt' && message?.includes('needs a libvirt that joins it by vhost-user') === true,
      );
    await world.platform.until<Events>('event --field-selector=reason=SyncFailed', isSaid, PATIENCE_MS);
    await world.platform.kubectl('delete', 'vmi', 'passt', '--timeout=120s');
  });
});

/** At once, because each of them takes its time. */
const forEach = async <T>(list: readonly T[], act: (one: T) => Promise<void>): Promise<void> =>
  void (await Promise.all(list.map(act)));

/** Waits for a card and asks for an address on it. */
const leaseOn = (link: string): string =>
  `for i in $(seq 100); do [ -e /sys/class/net/${link} ] && break; sleep 0.2; done
ip link set ${link} up; udhcpc -i ${link} -n -q -t 20 -T 1 -s /bin/true 2>&1`;

/** Gives a guest a card on the network that leases addresses, as `spec` says. */
async function plug({ platform }: NetworkWorld, name: Name, more: object = {}): Promise<void> {
  const { interfaces, networks, namespace } = GUESTS[name];
  const devices = { interfaces: [...interfaces, { name: 'leased', bridge: {}, ...more }] };
  const spec = { template: { spec: { domain: { devices }, networks: [...networks, LEASED] } } };
  await platform.kubectl('patch', 'vm', name, '-n', namespace, '--type=merge', '-p', JSON.stringify({ spec }));
}

/** The status of a health check, 0 when nobody answers. */
async function healthOf(address: string, port: number): Promise<number> {
  try {
    const host = address.includes(':') ? `[${address}]` : address;
    return (await fetch(`http://${host}:${port}/`, { signal: AbortSignal.timeout(5_000) })).status;
  } catch {
    return 0;
  }
}
