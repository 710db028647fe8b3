// Guests that mean harm: what they say and do costs no more than docs/dev/robustness.md says, and people are told.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageServer, serveImages, type StatusReport } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idleVm, importedVm } from './src/manifests.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

interface Vmi {
  metadata: { uid: string };
  status?: {
    phase?: string;
    interfaces?: object[];
    guestOSInfo?: Record<string, string>;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
  };
}

/**
 * Stands in for the guest agent. Each time it is asked for interfaces it answers worse, and opens its port again so that
 * it is asked at once: 10,000 interfaces, broken JSON, an answer without end, at last nothing.
 */
const BAD_AGENT = String.raw`
port=/dev/virtio-ports/org.qemu.guest_agent.0
kill $(cat /run/qemu-ga.pid); sleep 1
mode=1
while :; do
  exec 3<>$port
  next=$mode
  while [ $next = $mode ]; do
    # nothing is read as long as the host is not there
    read -r line <&3 || { sleep 0.2; continue; }
    case "$line" in
      *guest-sync*) printf '{"return": %s}\n' $(echo "$line" | sed 's/.*"id": *\([0-9]*\).*/\1/') >&3 ;;
      *network-get-interfaces*)
        case $mode in
          1) awk 'BEGIN { printf "{\"return\": ["; for (i = 0; i < 10000; i++) printf "%s{\"name\":\"e%d\",\"hardware-address\":\"02:00:00:00:00:00\"}", i ? "," : "", i; print "]}" }' >&3 ;;
          2) printf '{"return": [[[[{{{{ \377\376 ]\n' >&3; next=3 ;;
          3) yes aaaaaaaaaaaaaaaa | tr -d '\n' | head -c 20000000 >&3; next=4 ;;
          *) : ;;
        esac ;;
      *get-osinfo*)
        awk 'BEGIN { printf "{\"return\": {\"name\": \"\\u001b[2J"; for (i = 0; i < 40000; i++) printf "x"; print "\"}}" }' >&3
        next=2 ;;
      *) printf '{"return": {}}\n' >&3 ;;
    esac
  done
  exec 3>&-
  mode=$next
  sleep 1
done
`;
const FLOOD_LINE = 'a line of a flood without end';
const FLOOD = `yes '${FLOOD_LINE}' > /dev/ttyS0`;

/** In base64, because the script is full of what YAML and shells change. */
const USER_DATA = `#cloud-config
user: demo
password: secret
runcmd:
  - "echo ${Buffer.from(BAD_AGENT).toString('base64')} | base64 -d > /bad-agent; sh /bad-agent > /dev/null 2>&1 &"
  - "${FLOOD} &"
`;

describe('a hostile guest', () => {
  let platform: Platform;
  let images: ImageServer;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
  }, 240_000);
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  const events = async (): Promise<{ reason: string; message: string; count: number }[]> => {
    const { items } = JSON.parse(await platform.kubectl('get', 'events', '-o', 'json')) as {
      items: { reason: string; message: string; count: number }[];
    };
    return items;
  };
  const told = async (reason: string, message: RegExp, timeout = 120_000): Promise<void> => {
    await expect
      .poll(async () => (await events()).find((event) => event.reason === reason)?.message ?? '', { timeout })
      .toMatch(message);
  };

  it('is told about when its agent and its console misbehave, and costs no more than the bounds', async () => {
    const vm = importedVm('rogue', `${images.url}/tiny.qcow2`) as {
      spec: { template: { spec: { volumes: { cloudInitNoCloud?: { userData: string } }[] } } };
    };
    for (const { cloudInitNoCloud } of vm.spec.template.spec.volumes) if (cloudInitNoCloud) cloudInitNoCloud.userData = USER_DATA;
    await platform.apply(vm);
    await told('AgentListTooLong', /more than 256 entries for guest-network-get-interfaces.*qemu-guest-agent/);
    await told('AgentAnswerMalformed', /guest-network-get-interfaces.*qemu-guest-agent/);
    await told('AgentNotAnswering', /does not answer guest-network-get-interfaces.*hostile/);
    const silent = ({ status }: Vmi): boolean =>
      status?.conditions?.some(({ type, reason }) => type === 'AgentMisbehaving' && reason === 'AgentNotAnswering') === true;
    const vmi = await platform.until<Vmi>('vmi rogue', silent, 120_000);
    expect(vmi.status?.phase).toBe('Running');
    expect(vmi.status?.interfaces).toHaveLength(1);
    expect(vmi.status?.guestOSInfo?.['name']).toMatch(/^\[2Jx{253}$/);
    expect(JSON.stringify(vmi).length).toBeLessThan(32 * 1024);
    const log = await platform.kubectl('logs', '-l', 'kubevirt.io=virt-launcher', '--tail=-1');
    expect(log.length).toBeLessThanOrEqual(2 * 1024 * 1024);
    expect(log.split('\n').filter((line) => line.includes(FLOOD_LINE)).length).toBeGreaterThan(100);
    expect((await events()).reduce((sum, { count }) => sum + count, 0)).toBeLessThan(200);
    const { nodes } = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport;
    const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${nodes[0]?.pid}/status`, 'utf8'))?.[1]);
    expect(resident).toBeLessThan(512 * 1024);
    await platform.kubectl('delete', 'vm', 'rogue', '--timeout=120s');
  }, 400_000);

  it('is told about when it is reset again and again and ignores the power button', async () => {
    await platform.apply(idleVm('deaf', { terminationGracePeriodSeconds: 2 }));
    await platform.until<Vmi>('vmi deaf', ({ status }) => status?.phase === 'Running', 120_000);
    const path = '/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/deaf/reset';
    const body = join(platform.dataDir, 'empty.json');
    writeFileSync(body, '{}');
    for (let round = 0; round < 12; round++) await platform.kubectl('replace', '--raw', path, '-f', body);
    await told('GuestResetLoop', /reset more than 10 times.*console/);
    await platform.kubectl('delete', 'vm', 'deaf', '--timeout=120s');
    await told('GuestShutdownIgnored', /did not shut down within 2 s.*power button/);
  }, 300_000);
});
