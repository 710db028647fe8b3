import {
  DeploymentKind,
  NamespaceKind,
  PodKind,
  ServiceKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import { cdiControllers } from '@slipway/cdi';
import { controllers, virtApiRules } from '@slipway/controllers';
import { gitOps } from '@slipway/gitops';
import { hostRunner } from '@slipway/hostapi';
import { operators } from '@slipway/operators';
import { componentRights, componentUser, INFORMER_RULES, type Logger, type PolicyRule } from '@slipway/runtime';
import { built, node, namespace, type TestWorld, testWorld, vm } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';

const applications = gitOps({ runner: hostRunner, cacheDir: '/nonexistent' });
const REGISTRATIONS = [...controllers, ...cdiControllers, ...operators, ...applications.registrations];
/** Their work is on objects of every kind. */
const OF_ALL_KINDS = [
  'informers',
  'generic-garbage-collector',
  'namespace-controller',
  'horizontal-pod-autoscaler',
  'gitops-controller',
];
const WRITES = ['create', 'update', 'patch', 'delete', 'deletecollection'];

const writesAnything = ({ resources = [], verbs }: PolicyRule): boolean =>
  resources.some((resource) => resource.startsWith('*')) && verbs.some((verb) => WRITES.includes(verb));

describe('rights of components', () => {
  it('are declared by each of them, under a name of its own', () => {
    expect(REGISTRATIONS.filter(({ rules }) => rules === undefined).map(({ name }) => name)).toEqual([]);
    expect(new Set(REGISTRATIONS.map(({ name }) => name)).size).toBe(REGISTRATIONS.length);
  });

  it('never are all rights, and of all kinds only where the work is', () => {
    const rights = componentRights([...REGISTRATIONS, { name: 'virt-api', rules: virtApiRules }]);
    expect(rights.filter(({ rules }) => rules.some(({ verbs }) => verbs.includes('*'))).map(({ name }) => name)).toEqual([]);
    const broad = rights.filter(({ name, rules }) => !OF_ALL_KINDS.includes(name) && rules.some(writesAnything));
    expect(broad.map(({ name }) => name)).toEqual([]);
    expect(INFORMER_RULES.flatMap(({ verbs }) => verbs)).toEqual(['get', 'list', 'watch']);
  });

  it('are not widened by a group', () => {
    expect(componentUser('ns', 'name').groups).not.toContain('system:masters');
  });
});

describe('the platform with these rights alone', () => {
  let world: TestWorld | undefined;
  afterEach(() => world?.close());

  it('starts, brings a VM with a disk to its launcher pod, and removes everything again, without a refusal', async () => {
    const refusals: string[] = [];
    const log: Logger = noting(refusals);
    world = testWorld({ api: 'server', controllers: REGISTRATIONS, log });
    await world.with(node('node1'));
    await world.settle();
    const labels = { app: 'web' };
    await world.with(
      namespace('a'),
      vm('a/web', { spec: vmSpec }),
      built(ServiceKind, 'a/web', { spec: { selector: labels, ports: [{ port: 22 }] } }),
      built(DeploymentKind, 'a/plain', {
        spec: {
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'x' }] } },
        },
      }),
    );
    await world.settle();
    expect(await world.exists(VirtualMachineInstanceKind, 'a/web')).toBe(true);
    const owners = (await world.list(PodKind, 'a')).map(({ metadata }) => metadata.ownerReferences?.[0]?.kind);
    expect(owners.sort((a = '', b = '') => a.localeCompare(b))).toEqual(['ReplicaSet', 'VirtualMachineInstance']);
    await world.client.delete(VirtualMachineKind, { namespace: 'a', name: 'web' });
    await world.client.delete(NamespaceKind, { namespace: '', name: 'a' });
    await world.settle();
    expect(refusals).toEqual([]);
  });
});

const vmSpec = {
  runStrategy: 'Always',
  dataVolumeTemplates: [
    {
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'DataVolume',
      metadata: { name: 'root' },
      spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '1Gi' } } } },
    },
  ],
  template: { spec: { domain: { devices: {} }, volumes: [{ name: 'root', dataVolume: { name: 'root' } }] } },
};

/** Keeps every line that speaks of a refusal. */
function noting(refusals: string[]): Logger {
  const note = (fields: object, message: string): void => {
    const line = `${JSON.stringify(fields)} ${message}`;
    // a namespace that goes refuses events about what was in it, whoever writes them
    if (line.includes('forbidden') && !line.includes('is being terminated')) refusals.push(line);
  };
  const log: Logger = { debug: note, info: note, warn: note, error: note, child: () => log };
  return log;
}
