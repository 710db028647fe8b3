import { isIP } from 'node:net';
import type { ServiceAccount, core } from '@slipway/api';
import { type FieldError, checkPortNumber, invalidValue, requiredValue } from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';
import { containersColumn, imagesColumn, selectorText, statusNumber, wantedReplicas, workloadKind } from '../apps/workload.ts';
import { NOT_AN_ADDRESS } from './services.ts';

export const serviceAccountKind: BuiltinKind = {
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  definition: 'core.v1.ServiceAccount',
  shortNames: ['sa'],
  custom: [{ name: 'token', kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'] }],
  strategy: { deleteReturnsObject: true },
  columns: [nameColumn, column('Secrets', (object) => typed<ServiceAccount>(object).secrets?.length ?? 0), ageColumn],
};

interface Endpoints {
  subsets?: core.EndpointSubset[];
}

const LOOPBACK = 'may not be in the loopback range (127.0.0.0/8, ::1/128)';

/** Why a proper address cannot be an endpoint all the same. */
export function specialAddress(ip: string): string | undefined {
  if (ip.startsWith('127.') || ip === '::1') return LOOPBACK;
  if (ip === '0.0.0.0' || ip === '::') return 'may not be unspecified (0.0.0.0 or ::)';
  const isLinkLocal = ip.startsWith('169.254.') || /^fe[89ab]/i.test(ip);
  return isLinkLocal ? 'may not be in the link-local range (169.254.0.0/16, fe80::/10)' : undefined;
}

function validateAddress({ ip }: core.EndpointAddress, path: string): FieldError[] {
  if (isIP(ip) === 0) {
    return [invalidValue(`${path}.ip`, ip, NOT_AN_ADDRESS), invalidValue(`${path}.ip`, ip, 'must be a valid IP address')];
  }
  const special = specialAddress(ip);
  return special === undefined ? [] : [invalidValue(`${path}.ip`, ip, special)];
}

function validateSubset(subset: core.EndpointSubset, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
  if (addresses.length + notReadyAddresses.length === 0) {
    errors.push(requiredValue(path, 'must specify `addresses` or `notReadyAddresses`'));
  }
  addresses.forEach((address, index) => errors.push(...validateAddress(address, `${path}.addresses[${index}]`)));
  notReadyAddresses.forEach((address, index) => errors.push(...validateAddress(address, `${path}.notReadyAddresses[${index}]`)));
  ports.forEach((port, index) => {
    for (const text of checkPortNumber(port.port)) errors.push(invalidValue(`${path}.ports[${index}].port`, port.port, text));
    if (ports.length > 1 && !port.name) errors.push(requiredValue(`${path}.ports[${index}].name`));
  });
  return errors;
}

const MAX_SHOWN = 3;

function endpointsText({ subsets = [] }: Endpoints): string {
  const all = subsets.flatMap(({ addresses = [], ports = [] }) =>
    ports.length === 0
      ? addresses.map(({ ip }) => ip)
      : ports.flatMap(({ port }) => addresses.map(({ ip }) => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`))),
  );
  if (all.length === 0) return '<none>';
  const shown = all.slice(0, MAX_SHOWN).join(',');
  return all.length > MAX_SHOWN ? `${shown} + ${all.length - MAX_SHOWN} more...` : shown;
}

export const endpointsKind: BuiltinKind = {
  kind: 'Endpoints',
  plural: 'endpoints',
  definition: 'core.v1.Endpoints',
  shortNames: ['ep'],
  strategy: {
    allowCreateOnUpdate: true,
    default(object) {
      for (const subset of typed<Endpoints>(object).subsets ?? []) for (const port of subset.ports ?? []) port.protocol ??= 'TCP';
    },
    validate: (object) =>
      (typed<Endpoints>(object).subsets ?? []).flatMap((subset, index) => validateSubset(subset, `subsets[${index}]`)),
  },
  columns: [nameColumn, column('Endpoints', (object) => endpointsText(typed<Endpoints>(object))), ageColumn],
};

export const componentStatusKind: BuiltinKind = {
  kind: 'ComponentStatus',
  plural: 'componentstatuses',
  definition: 'core.v1.ComponentStatus',
  shortNames: ['cs'],
  cluster: true,
  verbs: ['get', 'list'],
};

export const replicationControllerKind: BuiltinKind = {
  ...workloadKind({
    kind: 'ReplicationController',
    plural: 'replicationcontrollers',
    definition: 'core.v1.ReplicationController',
    shortNames: ['rc'],
    scale: true,
    hasMapSelector: true,
    defaultSpec(spec, object) {
      spec['replicas'] ??= 1;
      const labels = spec.template?.metadata?.labels;
      if (labels === undefined) return;
      if (Object.keys(spec['selector'] ?? {}).length === 0) spec['selector'] = { ...labels };
      if (Object.keys(object.metadata.labels ?? {}).length === 0) object.metadata.labels = { ...labels };
    },
    initialStatus: { replicas: 0 },
    columns: [
      nameColumn,
      column('Desired', wantedReplicas, { type: 'integer' }),
      column('Current', (object) => statusNumber(object, 'replicas'), { type: 'integer' }),
      column('Ready', (object) => statusNumber(object, 'readyReplicas'), { type: 'integer' }),
      ageColumn,
      containersColumn,
      imagesColumn,
      column(
        'Selector',
        (object) =>
          selectorText({ matchLabels: typed<{ spec?: { selector?: Record<string, string> } }>(object).spec?.selector ?? {} }),
        { wide: true },
      ),
    ],
  }),
  selectableFields: (object) => ({
    'status.replicas': String(typed<{ status?: { replicas?: number } }>(object).status?.replicas ?? 0),
  }),
};
