import type { Namespace, Node, core } from '@slipway/api';
import {
  type FieldError,
  StatusError,
  checkDns1123Label,
  checkQualifiedName,
  duplicateValue,
  invalidValue,
  maskTrailingDash,
} from '@slipway/apimachinery';
import { isCidr } from '@slipway/schema';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';
import { fillMissing } from '../fill.ts';
import { oneOf } from './pod-validation.ts';

const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
const NODE_INFO_FIELDS = [
  'machineID',
  'systemUUID',
  'bootID',
  'kernelVersion',
  'osImage',
  'containerRuntimeVersion',
  'kubeletVersion',
  'kubeProxyVersion',
  'operatingSystem',
  'architecture',
] as const;

function defaultNode(node: Node): void {
  const spec = (node.spec ??= {});
  if (spec.podCIDR && spec.podCIDRs === undefined) spec.podCIDRs = [spec.podCIDR];
  const status = (node.status ??= {});
  if (status.capacity !== undefined) status.allocatable ??= { ...status.capacity };
  status.daemonEndpoints ??= { kubeletEndpoint: { Port: 0 } };
  const nodeInfo: Partial<core.NodeSystemInfo> = { ...status.nodeInfo };
  for (const field of NODE_INFO_FIELDS) nodeInfo[field] ??= '';
  status.nodeInfo = nodeInfo as core.NodeSystemInfo; // complete by now
}

function validateNode({ spec }: Node): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  (spec?.taints ?? []).forEach((taint, index) => {
    const path = `metadata.taints[${index}]`;
    for (const text of checkQualifiedName(taint.key ?? '')) errors.push(invalidValue(`${path}.key`, taint.key, text));
    oneOf(taint.effect, EFFECTS, `${path}.effect`, errors);
    const key = `${taint.key}:${taint.effect}`;
    if (seen.has(key)) {
      const error = duplicateValue(path, { ...taint });
      errors.push({ ...error, detail: `${error.detail}: taints must be unique by key and effect pair` });
    }
    seen.add(key);
  });
  (spec?.podCIDRs ?? []).forEach((cidr, index) => {
    if (!isCidr(cidr)) errors.push(invalidValue(`spec.podCIDRs[${index}]`, spec?.podCIDRs ?? [], 'must be valid CIDR'));
  });
  return errors;
}

const ROLE_PREFIX = 'node-role.kubernetes.io/';

function rolesText(node: Node): string {
  const labels = Object.entries(node.metadata.labels ?? {});
  const roles = labels.flatMap(([key, value]) => {
    if (key.startsWith(ROLE_PREFIX)) return key.slice(ROLE_PREFIX.length) || [];
    return key === 'kubernetes.io/role' && value !== '' ? value : [];
  });
  return roles.length === 0 ? '<none>' : [...new Set(roles)].sort().join(',');
}

function statusText({ spec, status }: Node): string {
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
  const text = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return spec?.unschedulable ? `${text},SchedulingDisabled` : text;
}

const addressOf = ({ status }: Node, type: string): string =>
  status?.addresses?.find((address) => address.type === type)?.address ?? '<none>';
const info = (node: Node, field: keyof core.NodeSystemInfo): string => node.status?.nodeInfo?.[field] || '<unknown>';

export const nodeKind: BuiltinKind = {
  kind: 'Node',
  plural: 'nodes',
  definition: 'core.v1.Node',
  shortNames: ['no'],
  cluster: true,
  status: true,
  custom: [{ name: 'proxy', kind: 'NodeProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] }],
  strategy: {
    default: (object) => defaultNode(typed<Node>(object)),
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate: (object) => validateNode(typed<Node>(object)),
  },
  columns: [
    nameColumn,
    column('Status', (object) => statusText(typed<Node>(object))),
    column('Roles', (object) => rolesText(typed<Node>(object))),
    ageColumn,
    column('Version', (object) => typed<Node>(object).status?.nodeInfo?.kubeletVersion ?? ''),
    column('Internal-IP', (object) => addressOf(typed<Node>(object), 'InternalIP'), { wide: true }),
    column('External-IP', (object) => addressOf(typed<Node>(object), 'ExternalIP'), { wide: true }),
    column('OS-Image', (object) => info(typed<Node>(object), 'osImage'), { wide: true }),
    column('Kernel-Version', (object) => info(typed<Node>(object), 'kernelVersion'), { wide: true }),
    column('Container-Runtime', (object) => info(typed<Node>(object), 'containerRuntimeVersion'), { wide: true }),
  ],
  selectableFields: (object) => ({ 'spec.unschedulable': String(typed<Node>(object).spec?.unschedulable ?? false) }),
};

const PROTECTED = new Set(['default', 'kube-system', 'kube-public']);
const NAME_LABEL = 'kubernetes.io/metadata.name';

/** Every namespace can be selected by its name. */
function labelName(namespace: Namespace): void {
  const { metadata } = namespace;
  if (metadata.name) metadata.labels = { ...metadata.labels, [NAME_LABEL]: metadata.name };
}

export const namespaceKind: BuiltinKind = {
  kind: 'Namespace',
  plural: 'namespaces',
  definition: 'core.v1.Namespace',
  shortNames: ['ns'],
  cluster: true,
  status: true,
  verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
  custom: [{ name: 'finalize', kind: 'Namespace', verbs: ['update'] }],
  strategy: {
    deleteReturnsObject: true,
    deletesInTwoSteps: true,
    validateName: (name, prefix) => checkDns1123Label(prefix ? maskTrailingDash(name) : name),
    default(object) {
      const namespace = typed<Namespace>(object);
      labelName(namespace);
      for (const condition of namespace.status?.conditions ?? []) {
        fillMissing<{ lastTransitionTime?: string | null }>(condition, { lastTransitionTime: null });
      }
    },
    prepareForCreate(object) {
      const namespace = typed<Namespace>(object);
      namespace.status = { phase: 'Active' };
      const finalizers = namespace.spec?.finalizers ?? [];
      namespace.spec = { finalizers: finalizers.includes('kubernetes') ? finalizers : [...finalizers, 'kubernetes'] };
    },
    prepareForUpdate(object, old, { subresource }) {
      object['status'] = old['status'];
      // finalizers of the spec are given up through the subresource alone
      if (subresource !== 'finalize') object['spec'] = old['spec'];
    },
    checkDelete(object) {
      const name = object.metadata.name ?? '';
      if (!PROTECTED.has(name)) return;
      throw new StatusError({
        code: 403,
        reason: 'Forbidden',
        message: `namespaces "${name}" is forbidden: this namespace may not be deleted`,
        details: { name, kind: 'namespaces' },
      });
    },
    isRemovable: (object) => (typed<Namespace>(object).spec?.finalizers ?? []).length === 0,
    onDeletionRequested(object) {
      const namespace = typed<Namespace>(object);
      namespace.status = { ...namespace.status, phase: 'Terminating' };
    },
  },
  columns: [nameColumn, column('Status', (object) => typed<Namespace>(object).status?.phase ?? ''), ageColumn],
  selectableFields: (object) => ({ 'status.phase': typed<Namespace>(object).status?.phase ?? '' }),
};
