import { type Aaq, ApplicationAwareResourceQuotaKind, type Namespace, type Pod } from '@slipway/api';
import { forbidden, matchesLabels, selectorOf, type UnstructuredObject } from '@slipway/apimachinery';
import { type AdmissionHandler, type AdmissionRequest, quotaNameOf, type UserInfo } from '@slipway/runtime';

/** Pods with it wait until their quotas have room for them. */
export const GATE = 'ApplicationAwareQuotaGate';
const ENABLED = 'application-aware-quota/enable-gating';

export const isGated = (pod: Pod): boolean => (pod.spec?.schedulingGates ?? []).some(({ name }) => name === GATE);

export function withoutGate(pod: Pod): Pod {
  const { schedulingGates = [], ...spec } = pod.spec ?? { containers: [] };
  const kept = schedulingGates.filter(({ name }) => name !== GATE);
  return { ...pod, spec: { ...spec, ...(kept.length > 0 && { schedulingGates: kept }) } };
}

/** Whether pods of the namespace wait for their quotas. */
export function isNamespaceGated(aaq: Aaq | undefined, namespace: Pick<Namespace, 'metadata'> | undefined): boolean {
  if (aaq === undefined || namespace === undefined) return false;
  const labels = namespace.metadata.labels ?? {};
  const selector = selectorOf(aaq.spec?.namespaceSelector);
  return selector === undefined ? labels[ENABLED] !== undefined : matchesLabels(selector, labels);
}

export interface GateDeps {
  /** Whether pods of this namespace wait; false at once where the quotas are switched off. */
  readonly isGating: (namespace: string) => boolean;
  readonly isPlatform: (user: UserInfo) => boolean;
}

const PODS = { group: '', resource: 'pods' };

/** Lets pods wait for their quotas, and nobody but the platform end the wait. */
export function quotaGateAdmission({ isGating, isPlatform }: GateDeps): AdmissionHandler {
  return {
    name: 'gating.aaq.kubevirt.io',
    rules: [
      { group: '', resources: ['pods'], operations: ['CREATE', 'UPDATE'] },
      { group: ApplicationAwareResourceQuotaKind.group, resources: QUOTAS, operations: ['CREATE', 'UPDATE'] },
    ],
    async mutate({ operation, resource, namespace, object, user, name }) {
      if (resource !== 'pods' || operation !== 'CREATE' || object === undefined || !isGating(namespace)) return undefined;
      const pod = object as unknown as Pod; // decoded by its schema
      if (isGated(pod)) return undefined;
      if (pod.spec?.nodeName) {
        if (isPlatform(user)) return undefined;
        throw forbidden(PODS, name, 'spec.nodeName cannot be set where pods wait for their quotas');
      }
      const schedulingGates = [...(pod.spec?.schedulingGates ?? []), { name: GATE }];
      return { ...pod, spec: { ...pod.spec, schedulingGates } } as unknown as UnstructuredObject; // as above
    },
    async validate(request) {
      if (request.resource === 'pods') keepGate(request, isPlatform);
      else keepToPods(request);
      return [];
    },
  };
}

const QUOTAS = ['applicationawareresourcequotas', 'applicationawareclusterresourcequotas'];

function keepGate({ operation, object, oldObject, user, name }: AdmissionRequest, isPlatform: GateDeps['isPlatform']): void {
  if (operation !== 'UPDATE' || isPlatform(user)) return;
  const [next, old] = [object, oldObject] as unknown as (Pod | undefined)[]; // decoded by their schema
  if (old !== undefined && isGated(old) && next !== undefined && !isGated(next))
    throw forbidden(PODS, name, `Only AAQ controller has permission to remove ${GATE} gate from pods`);
}

/** Other objects are not waited for: they would be counted, and never held. */
function keepToPods({ group, resource, name, object }: AdmissionRequest): void {
  const spec = object?.['spec'] as { hard?: object; quota?: { hard?: object } } | undefined; // decoded by its schema
  const others = Object.keys(spec?.hard ?? spec?.quota?.hard ?? {}).filter((key) => quotaNameOf(key).type !== 'pod');
  if (others.length > 0)
    throw forbidden({ group, resource }, name, `${others.join(', ')}: only pods can wait; limit these in a ResourceQuota`);
}
