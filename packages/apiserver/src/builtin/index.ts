import { builtinSchemas } from '@slipway/api';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { controllerRevisionKind, daemonSetKind, deploymentKind, replicaSetKind, statefulSetKind } from './apps/index.ts';
import { cronJobKind, jobKind } from './batch/index.ts';
import { configMapKind, secretKind } from './core/config.ts';
import { coreEventKind, newEventKind } from './core/events.ts';
import { limitRangeKind, resourceQuotaKind } from './core/limits.ts';
import { namespaceKind, nodeKind } from './core/nodes.ts';
import { componentStatusKind, endpointsKind, replicationControllerKind, serviceAccountKind } from './core/others.ts';
import { podKind, podTemplateKind } from './core/pods.ts';
import type { ServiceRanges } from './core/service-addresses.ts';
import { serviceKind } from './core/services.ts';
import { persistentVolumeClaimKind, persistentVolumeKind } from './core/volumes.ts';
import { define } from './define.ts';
import { admissionPolicyKinds } from './misc/admission-policies.ts';
import { apiServiceKind } from './misc/api-services.ts';
import { miscKinds } from './misc/index.ts';
import { networkingKinds } from './misc/networking.ts';
import { webhookKinds } from './misc/webhooks.ts';
import { rbacKinds } from './rbac/index.ts';
import { storageKinds } from './storage/index.ts';

const DEFAULT_RANGES: ServiceRanges = { serviceCidrs: ['10.0.0.0/16'], nodePorts: { first: 30_000, last: 32_767 } };

/** The kinds that Kubernetes itself brings; CustomResourceDefinitions and reviews are the API server's own. */
export function builtinResources(ranges: Partial<ServiceRanges> = {}): ResourceDefinition[] {
  const schemas = builtinSchemas();
  const kinds = [
    componentStatusKind,
    configMapKind,
    endpointsKind,
    coreEventKind,
    limitRangeKind,
    namespaceKind,
    nodeKind,
    persistentVolumeClaimKind,
    persistentVolumeKind,
    podKind,
    podTemplateKind,
    replicationControllerKind,
    resourceQuotaKind,
    secretKind,
    serviceAccountKind,
    serviceKind({ ...DEFAULT_RANGES, ...ranges }),
    controllerRevisionKind,
    daemonSetKind,
    deploymentKind,
    replicaSetKind,
    statefulSetKind,
    cronJobKind,
    jobKind,
    newEventKind,
    ...rbacKinds,
    ...storageKinds,
    ...networkingKinds,
    ...webhookKinds,
    ...admissionPolicyKinds,
    ...miscKinds,
    apiServiceKind,
  ];
  return kinds.map((kind) => define(kind, schemas));
}
export type { ServiceRanges } from './core/service-addresses.ts';
