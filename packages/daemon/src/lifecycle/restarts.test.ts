import { describe, expect, it } from 'vitest';
import { type InstanceConfig, planInstance } from '../instance/instance-config.ts';
import { restartsFor } from './restarts.ts';

const plan = (nodeCount: number): InstanceConfig =>
  planInstance({
    ...{ dataDir: '/var/lib/slipway', listenHost: '127.0.0.1', listenPort: 6443, nodeCount, hostname: 'box' },
    ...{ routedNetworks: [], createdAt: '2026-01-01T00:00:00Z' },
  });
const alone = plan(1);

describe('restartsFor', () => {
  it.each<[string, InstanceConfig, { server: boolean; agents: boolean }]>([
    ['nothing new', { ...alone, server: {} }, { server: false, agents: false }],
    ['another port', { ...alone, listenPort: 7443 }, { server: true, agents: true }],
    ['another address', { ...alone, listenHost: '0.0.0.0' }, { server: true, agents: true }],
    ['the first other node', plan(2), { server: true, agents: true }],
    ['an option of the server', { ...alone, server: { gitPaths: ['/srv/git'] } }, { server: true, agents: false }],
    ['shorter leases', { ...alone, server: { nodeMonitorGraceSeconds: 5 } }, { server: true, agents: true }],
  ])('%s', (_, after, restarts) => {
    expect(restartsFor(alone, after)).toEqual(restarts);
  });

  it('leaves all alone when one more node joins others', () => {
    expect(restartsFor(plan(2), plan(3))).toEqual({ server: false, agents: false });
  });
});
