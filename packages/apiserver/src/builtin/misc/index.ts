import {
  checkDns1123Label,
  type FieldError,
  type LabelSelectorObject,
  deepEqual,
  forbiddenField,
  invalidValue,
  validateLabelSelector,
} from '@slipway/apimachinery';
import { oneOf } from '../core/pod-validation.ts';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';
import { autoscalerKind } from './autoscalers.ts';
import { type EndpointSlice, validateEndpointSlice } from './endpoint-slice-validation.ts';
import { certificateSigningRequestKind } from './certificate-requests.ts';
import { flowControlKinds } from './flow-control.ts';

interface Lease {
  spec?: { holderIdentity?: string; leaseDurationSeconds?: number; leaseTransitions?: number };
}

const leaseKind: BuiltinKind = {
  group: 'coordination.k8s.io',
  kind: 'Lease',
  plural: 'leases',
  definition: 'coordination.v1.Lease',
  strategy: {
    allowUnconditionalUpdate: false,
    allowCreateOnUpdate: true,
    validate(object) {
      const { leaseDurationSeconds: seconds, leaseTransitions: transitions } = typed<Lease>(object).spec ?? {};
      const errors: FieldError[] = [];
      if (seconds !== undefined && seconds <= 0)
        errors.push(invalidValue('spec.leaseDurationSeconds', seconds, 'must be greater than 0'));
      if (transitions !== undefined && transitions < 0) {
        errors.push(invalidValue('spec.leaseTransitions', transitions, 'must be greater than or equal to 0'));
      }
      return errors;
    },
  },
  columns: [nameColumn, column('Holder', (object) => typed<Lease>(object).spec?.holderIdentity ?? ''), ageColumn],
};

interface Budget {
  spec?: { minAvailable?: number | string; maxUnavailable?: number | string; selector?: LabelSelectorObject };
  status?: Record<string, number>;
}

function validateAmount(amount: number | string | undefined, path: string): FieldError[] {
  if (typeof amount === 'number') return amount < 0 ? [invalidValue(path, amount, 'must be greater than or equal to 0')] : [];
  if (amount === undefined) return [];
  const percent = /^(\d+)%$/.exec(amount)?.[1];
  if (percent === undefined) {
    return [
      invalidValue(
        path,
        amount,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
      ),
    ];
  }
  if (Number(percent) <= 100) return [];
  const shown = `intstr.IntOrString{Type:1, IntVal:0, StrVal:${JSON.stringify(amount)}}`;
  return [{ type: 'Invalid', path, detail: `Invalid value: ${shown}: must not be greater than 100%` }];
}

const budgetStatus = { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };

const podDisruptionBudgetKind: BuiltinKind = {
  group: 'policy',
  kind: 'PodDisruptionBudget',
  plural: 'poddisruptionbudgets',
  definition: 'policy.v1.PodDisruptionBudget',
  shortNames: ['pdb'],
  status: true,
  strategy: {
    allowUnconditionalUpdate: false,
    hasGeneration: true,
    prepareForCreate(object) {
      object['status'] = { ...budgetStatus };
    },
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate(object) {
      const { spec } = typed<Budget>(object);
      const errors: FieldError[] = [];
      if (spec?.minAvailable !== undefined && spec.maxUnavailable !== undefined) {
        errors.push(invalidValue('spec', { ...spec }, 'minAvailable and maxUnavailable cannot be both set'));
      }
      errors.push(
        ...validateAmount(spec?.minAvailable, 'spec.minAvailable'),
        ...validateAmount(spec?.maxUnavailable, 'spec.maxUnavailable'),
      );
      return spec?.selector === undefined ? errors : [...errors, ...validateLabelSelector(spec.selector, 'spec.selector')];
    },
  },
  columns: [
    nameColumn,
    column('Min Available', (object) => String(typed<Budget>(object).spec?.minAvailable ?? 'N/A')),
    column('Max Unavailable', (object) => String(typed<Budget>(object).spec?.maxUnavailable ?? 'N/A')),
    column('Allowed Disruptions', (object) => typed<Budget>(object).status?.['disruptionsAllowed'] ?? 0, { type: 'integer' }),
    ageColumn,
  ],
};

interface PriorityClass {
  value?: number;
  globalDefault?: boolean;
  preemptionPolicy?: string;
}
const MAX_USER_PRIORITY = 1_000_000_000;
const SYSTEM_PRIORITIES: Readonly<Record<string, number>> = {
  'system-cluster-critical': 2_000_000_000,
  'system-node-critical': 2_000_001_000,
};

const priorityClassKind: BuiltinKind = {
  group: 'scheduling.k8s.io',
  kind: 'PriorityClass',
  plural: 'priorityclasses',
  definition: 'scheduling.v1.PriorityClass',
  shortNames: ['pc'],
  cluster: true,
  strategy: {
    hasGeneration: true,
    default(object) {
      const priorityClass = typed<PriorityClass>(object);
      priorityClass.preemptionPolicy ??= 'PreemptLowerPriority';
      priorityClass.value ??= 0;
    },
    validate(object) {
      const { value = 0, preemptionPolicy } = typed<PriorityClass>(object);
      const name = object.metadata.name ?? '';
      const errors: FieldError[] = [];
      if (name.startsWith('system-')) {
        if (SYSTEM_PRIORITIES[name] === undefined) {
          const text = `priority class names with 'system-' prefix are reserved for system use only. error: ${name} is not a known system priority class`;
          errors.push(forbiddenField('metadata.name', text));
        }
      } else if (value > MAX_USER_PRIORITY) {
        errors.push(forbiddenField('value', `maximum allowed value of a user defined priority is ${MAX_USER_PRIORITY}`));
      }
      oneOf(preemptionPolicy, ['PreemptLowerPriority', 'Never'], 'preemptionPolicy', errors);
      return errors;
    },
    validateUpdate(next, old) {
      return ['value', 'preemptionPolicy']
        .filter((field) => next[field] !== old[field])
        .map((field) => forbiddenField(field, 'may not be changed in an update.'));
    },
  },
  columns: [
    nameColumn,
    column('Value', (object) => typed<PriorityClass>(object).value ?? 0, { type: 'integer' }),
    column('Global-Default', (object) => typed<PriorityClass>(object).globalDefault ?? false, { type: 'boolean' }),
    ageColumn,
  ],
};

const listText = (items: readonly (string | number)[], max: number): string =>
  items.length === 0
    ? '<unset>'
    : `${items.slice(0, max).join(',')}${items.length > max ? ` + ${items.length - max} more...` : ''}`;

const endpointSliceKind: BuiltinKind = {
  group: 'discovery.k8s.io',
  kind: 'EndpointSlice',
  plural: 'endpointslices',
  definition: 'discovery.v1.EndpointSlice',
  strategy: {
    hasGeneration: true,
    generationBumps(next, old) {
      const content = (object: typeof next) => [object['endpoints'], object['ports'], object.metadata.labels];
      return !deepEqual(content(next), content(old));
    },
    default(object) {
      const slice = typed<EndpointSlice>(object);
      for (const endpoint of slice.endpoints ?? []) endpoint.conditions ??= {};
      for (const port of slice.ports ?? []) {
        port.protocol ??= 'TCP';
        port.name ??= '';
      }
      (slice as { endpoints: unknown }).endpoints ??= null; // the API server writes null here
      (slice as { ports: unknown }).ports ??= null;
    },
    validate: (object) => validateEndpointSlice(typed<EndpointSlice>(object)),
    validateUpdate: (next, old) =>
      next['addressType'] === old['addressType'] ? [] : [invalidValue('addressType', next['addressType'], 'field is immutable')],
  },
  columns: [
    nameColumn,
    column('AddressType', (object) => typed<EndpointSlice>(object).addressType ?? ''),
    column('Ports', (object) =>
      listText(
        (typed<EndpointSlice>(object).ports ?? []).map(({ port }) => port ?? '*'),
        3,
      ),
    ),
    column('Endpoints', (object) =>
      listText(
        (typed<EndpointSlice>(object).endpoints ?? []).flatMap(({ addresses = [] }) => addresses),
        3,
      ),
    ),
    ageColumn,
  ],
};

const runtimeClassKind: BuiltinKind = {
  group: 'node.k8s.io',
  kind: 'RuntimeClass',
  plural: 'runtimeclasses',
  definition: 'node.v1.RuntimeClass',
  cluster: true,
  strategy: {
    allowUnconditionalUpdate: false,
    allowCreateOnUpdate: true,
    validate(object) {
      const handler = typed<{ handler?: string }>(object).handler ?? '';
      return checkDns1123Label(handler).map((text) => invalidValue('handler', handler, text));
    },
    validateUpdate: (next, old) =>
      next['handler'] === old['handler'] ? [] : [invalidValue('handler', next['handler'], 'field is immutable')],
  },
  columns: [nameColumn, column('Handler', (object) => object['handler'] ?? ''), ageColumn],
};

/** The rest of the groups, a kind or two each. */
export const miscKinds: readonly BuiltinKind[] = [
  leaseKind,
  podDisruptionBudgetKind,
  priorityClassKind,
  endpointSliceKind,
  runtimeClassKind,
  certificateSigningRequestKind,
  autoscalerKind('v2'),
  autoscalerKind('v1'),
  ...flowControlKinds,
];
