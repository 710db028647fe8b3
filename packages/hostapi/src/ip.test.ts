import { expect, it } from 'vitest';
import { fakeRunner } from './fake-runner.ts';
import { ipCommand } from './ip.ts';
import { nftCommand } from './nft.ts';

const { signal } = new AbortController();

it('reads links with their addresses', async () => {
  const runner = fakeRunner(() =>
    JSON.stringify([
      {},
      {
        ifindex: 2,
        ifname: 'eth0',
        flags: ['UP'],
        mtu: 1500,
        operstate: 'UP',
        address: '02:00:00:00:00:01',
        linkinfo: { info_kind: 'veth' },
        addr_info: [{ family: 'inet', local: '10.0.0.2', prefixlen: 24, scope: 'global' }],
      },
    ]),
  );
  const links = await ipCommand(runner).inNamespace('pod').links(signal);
  expect(runner.calls[0]?.argv).toEqual(['ip', '-netns', 'pod', '-j', '-d', 'address', 'show']);
  expect(links).toHaveLength(1);
  expect(links[0]).toMatchObject({ ifname: 'eth0', kind: 'veth', addresses: [{ local: '10.0.0.2', prefixlen: 24 }] });
});

it('deletes a table that is not there without complaint, and reports other failures', async () => {
  const table = { family: 'inet', name: 'gone' };
  const missing = fakeRunner(() => ({ exitCode: 1, stderr: 'Error: No such file or directory' }));
  await expect(nftCommand(missing).deleteTable(table, signal)).resolves.toBeUndefined();
  const refused = fakeRunner(() => ({ exitCode: 1, stderr: 'Operation not permitted' }));
  await expect(nftCommand(refused).deleteTable(table, signal)).rejects.toThrow('status 1');
});
