import { describe, expect, it } from 'vitest';
import { importAddressesOf } from '../instance/agent-options.ts';
import { planInstance } from '../instance/instance-config.ts';
import { instancePaths } from '../instance/paths.ts';
import { nodeSpec } from './component-specs.ts';

describe('nodeSpec', () => {
  const { nodes } = planInstance({
    ...{ dataDir: '/var/lib/slipway', listenHost: '127.0.0.1', listenPort: 6443, nodeCount: 1, hostname: 'box' },
    ...{ routedNetworks: [], createdAt: '2026-01-01T00:00:00Z' },
  });
  const spec = (agentBuild: string, allowLoopbackImports?: true) =>
    nodes.map((node) =>
      nodeSpec(
        node,
        instancePaths('/var/lib/slipway'),
        { node: '/usr/bin/node', bundles: '/var/lib/slipway/program', builds: { server: 's', node: agentBuild } },
        { allowedImportAddresses: importAddressesOf({ ...(allowLoopbackImports && { allowLoopbackImports }) }) },
      ),
    )[0];

  it('is another when the program or what the agent is told is another, and only then', () => {
    const builds = [spec('1'), spec('2'), spec('1', true), spec('2', true)].map((one) => one?.build);
    expect(new Set(builds).size).toBe(4);
    expect(spec('1')?.build).toBe(builds[0]);
    expect(spec('1', true)?.build).toBe(builds[2]);
  });

  it('tells the agent its program alone as its build', () => {
    const told = (one: ReturnType<typeof spec>) => JSON.parse(one?.argv.at(-1) ?? '');
    expect(told(spec('1'))).toEqual({ allowedImportAddresses: [], build: '1' });
    expect(told(spec('1', true))).toEqual({ allowedImportAddresses: ['127.0.0.0/8', '::1/128'], build: '1' });
  });
});
