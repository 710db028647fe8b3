import type { UnstructuredObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { AdmissionRequest } from '@slipway/runtime';
import { clusterConfig } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import { hyperConvergedHandler, kubeVirtHandler } from './kubevirt-handler.ts';

const kubevirt = (uid: string, spec: object = {}): UnstructuredObject => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'KubeVirt',
  metadata: { name: `kv-${uid}`, namespace: 'kubevirt', uid },
  spec,
});
const machine: UnstructuredObject = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', metadata: { name: 'web' } };

/** Warnings or the message of the refusal. */
async function check(
  request: Partial<AdmissionRequest>,
  stored: readonly UnstructuredObject[] = [],
  make = kubeVirtHandler,
): Promise<unknown> {
  const client: Partial<Client> = {
    list: async (kind) => ({ items: stored.filter((object) => object.kind === kind.kind) }) as never, // stored as its kind
  };
  const handler = make({
    client: client as Client, // lists alone
    config: () => clusterConfig(),
    now: () => new Date(0),
    newUuid: () => '',
    isPlatform: () => false,
  });
  const complete: AdmissionRequest = {
    operation: 'CREATE',
    group: 'kubevirt.io',
    version: 'v1',
    kind: 'KubeVirt',
    resource: 'kubevirts',
    subresource: '',
    namespace: 'kubevirt',
    name: 'kv',
    user: { username: 'alice', groups: [] },
    dryRun: false,
    ...request,
  };
  return handler.validate?.(complete).catch((error: unknown) => (error instanceof Error ? error.message : error));
}

describe('the KubeVirt object', () => {
  it('is one of a kind', async () => {
    expect(await check({ object: kubevirt('b') }, [kubevirt('a')])).toMatch(/KubeVirt is already created: kubevirt\/kv-a/);
    expect(await check({ object: kubevirt('a') }, [])).toEqual([]);
  });

  it('stays while there are workloads, if that was asked for', async () => {
    const careful = kubevirt('a', { uninstallStrategy: 'BlockUninstallIfWorkloadsExist' });
    expect(await check({ operation: 'DELETE', oldObject: careful }, [machine])).toMatch(
      /since there are still virtualmachines present/,
    );
    expect(await check({ operation: 'DELETE', oldObject: careful })).toEqual([]);
    expect(await check({ operation: 'DELETE', oldObject: kubevirt('a') }, [machine])).toEqual([]);
  });

  it('keeps the HyperConverged above it for the same reason', async () => {
    const careful = kubevirt('a', { uninstallStrategy: 'BlockUninstallIfWorkloadsExist' });
    const metadata = { name: 'kubevirt-hyperconverged', namespace: 'kubevirt' };
    const hco = { apiVersion: 'hco.kubevirt.io/v1', kind: 'HyperConverged', metadata };
    const removal = { operation: 'DELETE', oldObject: hco } as const;
    expect(await check(removal, [careful, machine], hyperConvergedHandler)).toMatch(/validate-hco.*virtualmachines present/);
    expect(await check(removal, [careful], hyperConvergedHandler)).toEqual([]);
    expect(await check(removal, [kubevirt('a'), machine], hyperConvergedHandler)).toEqual([]);
  });

  it('warns of gates that are going, gone or settled', async () => {
    const featureGates = ['Passt', 'HotplugVolumes', 'GPU', 'Sidecar'];
    const object = kubevirt('a', { configuration: { developerConfiguration: { featureGates } } });
    expect(await check({ operation: 'UPDATE', object, oldObject: object })).toEqual([
      'feature gate Passt is discontinued and has no effect',
      'feature gate HotplugVolumes is deprecated and will be removed in a future release',
      'feature gate GPU is generally available and need not be listed',
    ]);
  });

  it('warns of a default interface that is none any more', async () => {
    const object = kubevirt('a', { configuration: { network: { defaultNetworkInterface: 'slirp' } } });
    expect(await check({ object })).toEqual([expect.stringMatching(/slirp is discontinued, masquerade takes its place/)]);
  });

  it('is refused with a gate that is both on and off', async () => {
    const developerConfiguration = { featureGates: ['Sidecar'], disabledFeatureGates: ['Sidecar'] };
    expect(await check({ object: kubevirt('a', { configuration: { developerConfiguration } }) })).toMatch(
      /both enabled and disabled/,
    );
  });
});
