import { fakeRunner, ipCommand } from '@slipway/hostapi';
import { expect, it } from 'vitest';
import { Cni, type CniAttachment } from './cni.ts';

const { signal } = new AbortController();
const NO_LINKS = '[]';

const attachment = (vlan?: number): CniAttachment => ({
  podUid: 'u1',
  netns: 'ns1',
  ifname: 'net1',
  hostLink: 'swv1',
  mac: '02:00:00:00:00:01',
  config: JSON.stringify({ cniVersion: '0.4.0', name: 'lab', type: 'bridge', bridge: 'br-lab', vlan }),
  podName: 'p',
  podNamespace: 'default',
});

function cni(links: string, refuseVlan: boolean) {
  const runner = fakeRunner((argv) => {
    if (argv.includes('show')) return links;
    if (refuseVlan && argv.includes('vlan_filtering'))
      return { exitCode: 2, stderr: 'RTNETLINK answers: Operation not supported' };
    return '';
  });
  return { runner, cni: new Cni({ runner, ip: ipCommand(runner), pluginDirs: [] }) };
}

it('makes a bridge that is missing, and says so', async () => {
  const { cni: made, runner } = cni(NO_LINKS, false);
  expect((await made.add(attachment(2003), signal)).createdBridge).toBe('br-lab');
  expect(runner.calls.map(({ argv, stdin }) => `${argv.join(' ')} ${stdin ?? ''}`.trim())).toContain(
    'ip link add br-lab type bridge stp_state 0 forward_delay 0 vlan_filtering 1',
  );
});

it('leaves a bridge of others as it is', async () => {
  const { cni: made, runner } = cni('[{"ifname":"br-lab"}]', false);
  expect((await made.add(attachment(), signal)).createdBridge).toBeUndefined();
  expect(runner.calls.some(({ argv }) => argv.includes('bridge'))).toBe(false);
});

it.each([NO_LINKS, '[{"ifname":"br-lab"}]'])(
  'says when the kernel cannot filter VLANs, and makes nothing (links %s)',
  async (links) => {
    const { cni: made, runner } = cni(links, true);
    await expect(made.add(attachment(2003), signal)).rejects.toThrow(/cannot carry VLAN 2003: .* Leave "vlan" out/);
    expect(runner.calls).toHaveLength(2);
  },
);
