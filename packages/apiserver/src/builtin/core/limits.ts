import type { core } from '@slipway/api';
import {
  type FieldError,
  compareQuantities,
  forbiddenField,
  invalidValue,
  parseQuantity,
  requiredValue,
  checkQualifiedName,
} from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

type Amounts = Readonly<Record<string, string>>;
interface LimitRange {
  spec?: { limits?: core.LimitRangeItem[] };
}
interface ResourceQuota {
  spec?: core.ResourceQuotaSpec;
  status?: core.ResourceQuotaStatus;
}

/** Containers: the maximum is the default limit, the default limit (or the minimum) the default request. */
function defaultLimit(item: core.LimitRangeItem): void {
  if (item.type !== 'Container') return;
  const limits: Record<string, string> = { ...item.max, ...item.default };
  if (Object.keys(limits).length > 0) item.default = limits;
  const requests: Record<string, string> = { ...item.min, ...limits, ...item.defaultRequest };
  for (const name of Object.keys(item.min ?? {}))
    if (item.default?.[name] === undefined) requests[name] ??= item.min?.[name] ?? '';
  if (Object.keys(requests).length > 0) item.defaultRequest = requests;
}

const LIMIT_TYPES = ['Pod', 'Container', 'PersistentVolumeClaim'];

const show = (amount: string): string => `resource.Quantity{s:${JSON.stringify(amount)}}`;

function atMost(
  low: Amounts | undefined,
  high: Amounts | undefined,
  path: string,
  isLowBlamed: boolean,
  text: string,
): FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, amount] of Object.entries(low ?? {})) {
    const bound = high?.[name];
    if (bound === undefined || compareQuantities(parseQuantity(amount), parseQuantity(bound)) <= 0) continue;
    const reason = text.replace('LOW', amount).replace('HIGH', bound);
    errors.push({
      type: 'Invalid',
      path: `${path}[${name}]`,
      detail: `Invalid value: ${show(isLowBlamed ? amount : bound)}: ${reason}`,
    });
  }
  return errors;
}

function validateLimit(item: core.LimitRangeItem, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (item.type === 'Pod') {
    if (item.default !== undefined) errors.push(forbiddenField(`${path}.default`, "may not be specified when `type` is 'Pod'"));
    if (item.defaultRequest !== undefined) {
      errors.push(forbiddenField(`${path}.defaultRequest`, "may not be specified when `type` is 'Pod'"));
    }
  }
  if (item.type === 'PersistentVolumeClaim' && item.min?.['storage'] === undefined && item.max?.['storage'] === undefined) {
    errors.push(requiredValue(`${path}.limits`, 'either minimum or maximum storage value is required, but neither was provided'));
  }
  const type = (item as { type?: string }).type ?? ''; // published as required, but a body may lack it
  if (!type.includes('/') && !LIMIT_TYPES.includes(type)) {
    errors.push(invalidValue(`${path}.type`, type, 'must be a standard limit type or fully qualified'));
  }
  return [
    ...errors,
    ...atMost(item.min, item.max, `${path}.min`, true, 'min value LOW is greater than max value HIGH'),
    ...atMost(
      item.min,
      item.defaultRequest,
      `${path}.defaultRequest`,
      false,
      'min value LOW is greater than default request value HIGH',
    ),
    ...atMost(
      item.defaultRequest,
      item.max,
      `${path}.defaultRequest`,
      true,
      'default request value LOW is greater than max value HIGH',
    ),
    ...atMost(
      item.defaultRequest,
      item.default,
      `${path}.defaultRequest`,
      true,
      'default request value LOW is greater than default limit value HIGH',
    ),
    ...atMost(item.min, item.default, `${path}.default`, false, 'min value LOW is greater than default value HIGH'),
    ...atMost(item.default, item.max, `${path}.default`, true, 'default value LOW is greater than max value HIGH'),
  ];
}

export const limitRangeKind: BuiltinKind = {
  kind: 'LimitRange',
  plural: 'limitranges',
  definition: 'core.v1.LimitRange',
  shortNames: ['limits'],
  strategy: {
    allowCreateOnUpdate: true,
    default: (object) => typed<LimitRange>(object).spec?.limits?.forEach(defaultLimit),
    validate: (object) =>
      (typed<LimitRange>(object).spec?.limits ?? []).flatMap((item, index) => validateLimit(item, `spec.limits[${index}]`)),
  },
  columns: [nameColumn, column('Created At', (object) => object.metadata.creationTimestamp ?? '', { type: 'date' })],
};

function validateQuota({ spec }: ResourceQuota): FieldError[] {
  return Object.entries(spec?.hard ?? {}).flatMap(([name, amount]) => {
    const path = `spec.hard[${name}]`;
    const errors = checkQualifiedName(name).map((text) => invalidValue(path, name, text));
    if (parseQuantity(amount).nano < 0n) errors.push(invalidValue(path, amount, 'must be greater than or equal to 0'));
    return errors;
  });
}

const usage = ({ spec, status }: ResourceQuota, isLimit: boolean): string =>
  Object.keys(status?.hard ?? spec?.hard ?? {})
    .filter((name) => name.startsWith('limits.') === isLimit)
    .sort()
    .map((name) => `${name}: ${status?.used?.[name] ?? '0'}/${status?.hard?.[name] ?? spec?.hard?.[name]}`)
    .join(', ');

export const resourceQuotaKind: BuiltinKind = {
  kind: 'ResourceQuota',
  plural: 'resourcequotas',
  definition: 'core.v1.ResourceQuota',
  shortNames: ['quota'],
  status: true,
  strategy: {
    deleteReturnsObject: true,
    prepareForCreate(object) {
      object['status'] = {};
    },
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate: (object) => validateQuota(typed<ResourceQuota>(object)),
  },
  columns: [
    nameColumn,
    ageColumn,
    column('Request', (object) => usage(typed<ResourceQuota>(object), false)),
    column('Limit', (object) => usage(typed<ResourceQuota>(object), true)),
  ],
};
