import { describe, expect, it } from 'vitest';
import type { PolicyRule } from '@slipway/runtime';
import {
  KUBEVIRT_ADMIN,
  KUBEVIRT_DEFAULT,
  KUBEVIRT_EDIT,
  KUBEVIRT_MIGRATE,
  KUBEVIRT_OPERATOR,
  KUBEVIRT_VIEW,
} from './virtualization-roles.ts';

const ROLES = {
  view: KUBEVIRT_VIEW,
  edit: KUBEVIRT_EDIT,
  admin: KUBEVIRT_ADMIN,
  migrate: KUBEVIRT_MIGRATE,
  default: KUBEVIRT_DEFAULT,
  operator: KUBEVIRT_OPERATOR,
};

/** Roles that allow a verb on a resource. */
const whoMay = (verb: string, resource: string): string =>
  Object.entries(ROLES)
    .filter(([, rules]: [string, readonly PolicyRule[]]) =>
      rules.some(({ verbs, resources = [] }) => verbs.includes(verb) && resources.includes(resource)),
    )
    .map(([name]) => name)
    .join(' ');

describe('roles of KubeVirt', () => {
  it.each([
    ['list', 'virtualmachines', 'view edit admin'],
    ['create', 'virtualmachines', 'edit admin'],
    ['deletecollection', 'virtualmachines', 'admin'],
    ['create', 'virtualmachinebackups', 'edit admin'],
    ['create', 'plugins', 'admin'],
    ['watch', 'virtualmachineinstancemigrations', 'view edit admin migrate'],
    ['create', 'virtualmachineinstancemigrations', 'migrate'],
    ['update', 'virtualmachines/migrate', 'migrate'],
    ['update', 'virtualmachines/start', 'edit admin'],
    ['update', 'virtualmachineinstances/evacuate/cancel', 'edit admin'],
    ['get', 'virtualmachineinstances/console', 'edit admin'],
    ['get', 'virtualmachineinstances/vnc/screenshot', 'admin'],
    ['get', 'virtualmachineinstances/guestosinfo', 'view edit admin'],
    ['update', 'expand-vm-spec', 'view edit admin'],
    ['get', 'version', 'default'],
    ['list', 'kubevirts', 'view edit admin default operator'],
    ['update', 'kubevirts', 'operator'],
  ])('let %s %s: %s', (verb, resource, roles) => expect(whoMay(verb, resource)).toBe(roles));
});
