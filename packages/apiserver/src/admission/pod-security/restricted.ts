import { type SecurityCheck, containersWith } from './baseline.ts';
import { type SecuredPod, type SecurityFinding, containersOf, namedContainers, plural, quoted } from './pod-shape.ts';

const ALLOWED_VOLUMES = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);

const isWindows = ({ spec }: SecuredPod): boolean => spec.os?.name === 'windows';

function allowPrivilegeEscalation(pod: SecuredPod): SecurityFinding | undefined {
  if (isWindows(pod)) return undefined;
  const names = containersWith(pod, (context) => context.allowPrivilegeEscalation !== false);
  if (names.length === 0) return undefined;
  return {
    reason: 'allowPrivilegeEscalation != false',
    detail: `${namedContainers(names)} must set securityContext.allowPrivilegeEscalation=false`,
  };
}

function capabilities(pod: SecuredPod): SecurityFinding | undefined {
  if (isWindows(pod)) return undefined;
  const keeping = containersWith(pod, (context) => !context.capabilities?.drop?.includes('ALL'));
  const forbidden = (add: readonly string[] = []): string[] => add.filter((name) => name !== 'NET_BIND_SERVICE');
  const adding = containersWith(pod, (context) => forbidden(context.capabilities?.add).length > 0);
  const details: string[] = [];
  if (keeping.length > 0) details.push(`${namedContainers(keeping)} must set securityContext.capabilities.drop=["ALL"]`);
  if (adding.length > 0) {
    const added = containersOf(pod).flatMap(({ securityContext }) => forbidden(securityContext?.capabilities?.add));
    const shown = quoted([...new Set(added)].sort());
    details.push(`${namedContainers(adding)} must not include ${shown} in securityContext.capabilities.add`);
  }
  return details.length === 0 ? undefined : { reason: 'unrestricted capabilities', detail: details.join('; ') };
}

function restrictedVolumes({ spec }: SecuredPod): SecurityFinding | undefined {
  const typeOf = (volume: Record<string, unknown>): string => Object.keys(volume).find((key) => key !== 'name') ?? 'unknown';
  const bad = (spec.volumes ?? []).filter((volume) => !ALLOWED_VOLUMES.has(typeOf(volume)));
  if (bad.length === 0) return undefined;
  const types = [...new Set(bad.map(typeOf))].sort();
  const volumes = `${plural(bad.length, 'volume', 'volumes')} ${quoted(bad.map(({ name }) => name))}`;
  const word = plural(types.length, 'restricted volume type', 'restricted volume types');
  return {
    reason: 'restricted volume types',
    detail: `${volumes} ${plural(bad.length, 'uses', 'use')} ${word} ${quoted(types)}`,
  };
}

function runAsNonRoot(pod: SecuredPod): SecurityFinding | undefined {
  const reason = 'runAsNonRoot != true';
  const ofPod = pod.spec.securityContext?.runAsNonRoot;
  const refusing = containersWith(pod, (context) => context.runAsNonRoot === false);
  const setters = [...(ofPod === false ? ['pod'] : []), ...(refusing.length > 0 ? [namedContainers(refusing)] : [])];
  if (setters.length > 0) {
    return { reason, detail: `${setters.join(' and ')} must not set securityContext.runAsNonRoot=false` };
  }
  const unset = containersWith(pod, (context) => context.runAsNonRoot === undefined);
  if (ofPod === true || unset.length === 0) return undefined;
  return { reason, detail: `pod or ${namedContainers(unset)} must set securityContext.runAsNonRoot=true` };
}

function runAsUser(pod: SecuredPod): SecurityFinding | undefined {
  const names = containersWith(pod, (context) => context.runAsUser === 0);
  const setters = [
    ...(pod.spec.securityContext?.runAsUser === 0 ? ['pod'] : []),
    ...(names.length > 0 ? [namedContainers(names)] : []),
  ];
  return setters.length === 0
    ? undefined
    : { reason: 'runAsUser=0', detail: `${setters.join(' and ')} must not set runAsUser=0` };
}

function seccompProfile(pod: SecuredPod): SecurityFinding | undefined {
  if (isWindows(pod)) return undefined;
  const reason = 'seccompProfile';
  const isFine = (type: string | undefined): boolean => type === 'RuntimeDefault' || type === 'Localhost';
  const ofPod = pod.spec.securityContext?.seccompProfile?.type;
  const refusing = containersWith(pod, ({ seccompProfile: own }) => own?.type !== undefined && !isFine(own.type));
  const setters = [
    ...(ofPod !== undefined && !isFine(ofPod) ? ['pod'] : []),
    ...(refusing.length > 0 ? [namedContainers(refusing)] : []),
  ];
  if (setters.length > 0) {
    const types = [ofPod, ...containersOf(pod).map(({ securityContext }) => securityContext?.seccompProfile?.type)];
    const bad = [...new Set(types.flatMap((type) => (type !== undefined && !isFine(type) ? [type] : [])))].sort();
    return { reason, detail: `${setters.join(' and ')} must not set securityContext.seccompProfile.type to ${quoted(bad)}` };
  }
  const unset = containersWith(pod, (context) => context.seccompProfile?.type === undefined);
  if (isFine(ofPod) || unset.length === 0) return undefined;
  const who = `pod or ${namedContainers(unset)}`;
  return { reason, detail: `${who} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"` };
}

/** What the restricted level adds, in the order of findings. */
export const RESTRICTED: readonly SecurityCheck[] = [
  allowPrivilegeEscalation,
  capabilities,
  restrictedVolumes,
  runAsNonRoot,
  runAsUser,
  seccompProfile,
];
