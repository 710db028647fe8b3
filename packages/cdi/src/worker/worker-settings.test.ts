import type { cdi, Pod } from '@slipway/api';
import { pod } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { withSettings } from './worker-settings.ts';

const ENDPOINT = { name: 'IMPORTER_ENDPOINT', value: 'https://images.example.com/disk.qcow2' };

const worker = (env: { name: string; value: string }[] = [ENDPOINT]): Pod =>
  pod('a/importer-disk', { spec: { containers: [{ name: 'importer', image: 'i', args: ['-v=1'], env }] } }).object;

const config = (spec: cdi.CDIConfig['spec'], status: cdi.CDIConfig['status'] = {}): cdi.CDIConfig => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'CDIConfig',
  metadata: { name: 'config' },
  spec,
  status,
});

const environment = (made: Pod): Record<string, string | undefined> =>
  Object.fromEntries((made.spec?.containers[0]?.env ?? []).map(({ name, value }) => [name, value]));

describe('a worker pod', () => {
  it('has the resources, the verbosity and the pull secrets of the configuration', () => {
    const resources = { requests: { memory: '1Gi' }, limits: { memory: '2Gi' } };
    const settings = config(
      { logVerbosity: 5, imagePullSecrets: [{ name: 'registry' }] },
      { defaultPodResourceRequirements: resources },
    );
    const { spec } = withSettings(worker(), { config: settings });
    expect(spec?.imagePullSecrets).toEqual([{ name: 'registry' }]);
    expect(spec?.containers[0]).toMatchObject({ args: ['-v=5'], resources });
  });

  it.each([
    [undefined, undefined, 'false'],
    [undefined, true, 'true'],
    ['false', true, 'false'],
    ['true', false, 'true'],
  ])('preallocates as its claim asks (%s), else as the cluster does (%s)', (asked, preallocation, expected) => {
    const env = asked === undefined ? [ENDPOINT] : [ENDPOINT, { name: 'PREALLOCATION', value: asked }];
    const made = withSettings(worker(env), { config: config({}, preallocation === undefined ? {} : { preallocation }) });
    expect(environment(made)['PREALLOCATION']).toBe(expected);
  });

  it('goes through the proxy when it speaks to a source, and only then', () => {
    const importProxy = { HTTPProxy: 'http://proxy:3128', HTTPSProxy: 'http://proxy:3129', noProxy: 'internal,10.0.0.0/8' };
    const proxied = withSettings(worker(), { config: config({ importProxy }) });
    expect(environment(proxied)).toMatchObject({
      http_proxy: 'http://proxy:3128',
      https_proxy: 'http://proxy:3129',
      no_proxy: 'internal,10.0.0.0/8',
    });
    expect(environment(withSettings(worker([]), { config: config({ importProxy }) }))).not.toHaveProperty('http_proxy');
  });

  it('runs where workloads may run', () => {
    const tolerations = [{ key: 'storage', operator: 'Exists' }];
    const placement = { nodeSelector: { disks: 'fast' }, tolerations };
    const { spec } = withSettings(worker(), { placement });
    expect(spec).toMatchObject({ nodeSelector: { disks: 'fast' }, tolerations });
  });
});
