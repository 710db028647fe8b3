import { cdiControllers } from '@slipway/cdi';
import { controllers, virtApiRules } from '@slipway/controllers';
import { operators } from '@slipway/operators';
import { componentRights, componentUser, INFORMER_RULES, type PolicyRule } from '@slipway/runtime';
import { describe, expect, it } from 'vitest';

const REGISTRATIONS = [...controllers, ...cdiControllers, ...operators];
/** Their work is on objects of every kind. */
const OF_ALL_KINDS = ['informers', 'generic-garbage-collector', 'namespace-controller', 'horizontal-pod-autoscaler'];
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
