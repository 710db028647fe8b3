import type { core } from '@slipway/api';
import { fillMissing } from '../fill.ts';

/** `kubernetes-types` shapes, writable. */
export type PodSpec = core.PodSpec;
export type Container = core.Container;

/** Fills what a pod spec leaves out, in place. `isTemplate` keeps pod-only defaults out of templates. */
export function defaultPodSpec(spec: PodSpec, isTemplate: boolean): void {
  fillMissing(spec, {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
    ...(!isTemplate && { enableServiceLinks: true }),
  });
  if (spec.serviceAccountName === undefined && spec.serviceAccount !== undefined) spec.serviceAccountName = spec.serviceAccount;
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  if (spec.hostNetwork === false) delete spec.hostNetwork;
  const containers = [...(spec.containers ?? []), ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])];
  for (const container of containers) defaultContainer(container, spec.hostNetwork === true, isTemplate);
  for (const volume of spec.volumes ?? []) defaultVolume(volume);
}

function defaultContainer(container: Container, hostNetwork: boolean, isTemplate: boolean): void {
  fillMissing(container, {
    resources: {},
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: isLatest(container.image ?? '') ? 'Always' : 'IfNotPresent',
  });
  for (const port of container.ports ?? []) {
    fillMissing(port, { protocol: 'TCP', ...(hostNetwork && { hostPort: port.containerPort }) });
  }
  for (const variable of container.env ?? []) {
    if (variable.valueFrom?.fieldRef !== undefined) variable.valueFrom.fieldRef.apiVersion ??= 'v1';
  }
  if (!isTemplate) requestsFromLimits(container);
  defaultHandlers(container);
}

function defaultHandlers(container: Container): void {
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) {
    if (probe !== undefined) defaultProbe(probe);
  }
  for (const handler of [container.lifecycle?.postStart, container.lifecycle?.preStop]) {
    if (handler?.httpGet !== undefined) defaultHttpGet(handler.httpGet);
  }
}

/** A container without requests asks for its limits. */
export function requestsFromLimits({ resources }: Container): void {
  if (resources?.limits === undefined) return;
  resources.requests = { ...resources.limits, ...resources.requests };
}

/** No tag and no digest means `latest`. */
function isLatest(image: string): boolean {
  if (image.includes('@')) return false;
  const tag = /:([^/:]+)$/.exec(image)?.[1];
  return tag === undefined || tag === 'latest';
}

function defaultProbe(probe: core.Probe): void {
  probe.timeoutSeconds ??= 1;
  probe.periodSeconds ??= 10;
  probe.successThreshold ??= 1;
  probe.failureThreshold ??= 3;
  if (probe.httpGet !== undefined) defaultHttpGet(probe.httpGet);
}

function defaultHttpGet(action: core.HTTPGetAction): void {
  action.path ||= '/';
  action.scheme ??= 'HTTP';
}

const FILE_MODE = 0o644;

function defaultVolume(volume: core.Volume): void {
  const hasSource = Object.keys(volume).some((field) => field !== 'name');
  if (!hasSource) volume.emptyDir = {};
  for (const source of [volume.secret, volume.configMap, volume.downwardAPI]) {
    if (source !== undefined) fillMissing<{ defaultMode?: number }>(source, { defaultMode: FILE_MODE });
  }
  defaultDownwardItems(volume.downwardAPI?.items);
  if (volume.hostPath !== undefined) volume.hostPath.type ??= '';
  if (volume.projected !== undefined) defaultProjected(volume.projected);
  if (volume.iscsi !== undefined) volume.iscsi.iscsiInterface ??= 'default';
  if (volume.ephemeral?.volumeClaimTemplate?.spec !== undefined)
    volume.ephemeral.volumeClaimTemplate.spec.volumeMode ??= 'Filesystem';
}

function defaultProjected(projected: core.ProjectedVolumeSource): void {
  projected.defaultMode ??= FILE_MODE;
  for (const source of projected.sources ?? []) {
    if (source.serviceAccountToken !== undefined) source.serviceAccountToken.expirationSeconds ??= 3600;
    defaultDownwardItems(source.downwardAPI?.items);
  }
}

function defaultDownwardItems(items: core.DownwardAPIVolumeFile[] | undefined): void {
  for (const item of items ?? []) if (item.fieldRef !== undefined) item.fieldRef.apiVersion ??= 'v1';
}

/** Defaults of `metadata` and `spec` inside a workload's template. */
export function defaultPodTemplate(template: core.PodTemplateSpec | undefined): void {
  if (template === undefined) return;
  template.metadata = { ...template.metadata, creationTimestamp: null as unknown as string }; // the API server writes null here
  template.spec ??= { containers: [] };
  defaultPodSpec(template.spec, true);
}

/** Quality of service from requests and limits of cpu and memory. */
export function qosClassOf(spec: PodSpec): 'BestEffort' | 'Burstable' | 'Guaranteed' {
  const containers = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  const pairs = containers.flatMap(({ resources }) =>
    ['cpu', 'memory'].map((name) => ({ request: resources?.requests?.[name], limit: resources?.limits?.[name] })),
  );
  const isSet = (amount: string | undefined): boolean => amount !== undefined && amount !== '0';
  if (!pairs.some(({ request, limit }) => isSet(request) || isSet(limit))) return 'BestEffort';
  return pairs.every(({ request, limit }) => limit !== undefined && request === limit) ? 'Guaranteed' : 'Burstable';
}
