import {
  type SecuredPod,
  type SecurityContext,
  type SecurityFinding,
  containersOf,
  namedContainers,
  plural,
  quoted,
} from './pod-shape.ts';

export type SecurityCheck = (pod: SecuredPod) => SecurityFinding | undefined;

const DEFAULT_CAPABILITIES = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);
const SAFE_SYSCTLS = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
]);
const SELINUX_TYPES = new Set(['', 'container_t', 'container_init_t', 'container_kvm_t']);
const APPARMOR = 'container.apparmor.security.beta.kubernetes.io/';

/** Names of the containers whose security context has a property. */
export const containersWith = (pod: SecuredPod, has: (context: SecurityContext) => boolean): string[] =>
  containersOf(pod)
    .filter(({ securityContext }) => has(securityContext ?? {}))
    .map(({ name }) => name);

const finding = (reason: string, detail: string): SecurityFinding => ({ reason, detail });

function appArmor({ annotations }: SecuredPod): SecurityFinding | undefined {
  const bad = Object.keys(annotations)
    .filter((key) => key.startsWith(APPARMOR))
    .filter((key) => !/^(?:|runtime\/default|localhost\/.*)$/.test(annotations[key] ?? ''))
    .sort()
    .map((key) => `${key}=${JSON.stringify(annotations[key])}`);
  if (bad.length === 0) return undefined;
  const word = plural(bad.length, 'annotation', 'annotations');
  return finding(plural(bad.length, 'forbidden AppArmor profile', 'forbidden AppArmor profiles'), `${word} ${bad.join(', ')}`);
}

function capabilities(pod: SecuredPod): SecurityFinding | undefined {
  const added = (context: SecurityContext): string[] =>
    (context.capabilities?.add ?? []).filter((name) => !DEFAULT_CAPABILITIES.has(name));
  const names = containersWith(pod, (context) => added(context).length > 0);
  if (names.length === 0) return undefined;
  const all = [...new Set(containersOf(pod).flatMap(({ securityContext }) => added(securityContext ?? {})))].sort();
  return finding(
    'non-default capabilities',
    `${namedContainers(names)} must not include ${quoted(all)} in securityContext.capabilities.add`,
  );
}

function hostNamespaces({ spec }: SecuredPod): SecurityFinding | undefined {
  const used = (['hostNetwork', 'hostPID', 'hostIPC'] as const).filter((field) => spec[field] === true);
  return used.length === 0 ? undefined : finding('host namespaces', used.map((field) => `${field}=true`).join(', '));
}

function hostPathVolumes({ spec }: SecuredPod): SecurityFinding | undefined {
  const names = (spec.volumes ?? []).filter((volume) => volume['hostPath'] !== undefined).map(({ name }) => name);
  return names.length === 0
    ? undefined
    : finding('hostPath volumes', `${plural(names.length, 'volume', 'volumes')} ${quoted(names)}`);
}

function hostPorts(pod: SecuredPod): SecurityFinding | undefined {
  const using = containersOf(pod).flatMap(({ name, ports = [] }) => {
    const used = ports.flatMap(({ hostPort }) => (hostPort ? [hostPort] : []));
    return used.length > 0 ? [{ name, used }] : [];
  });
  if (using.length === 0) return undefined;
  const numbers = [...new Set(using.flatMap(({ used }) => used))].sort((a, b) => a - b);
  const uses = plural(using.length, 'uses', 'use');
  const word = plural(numbers.length, 'hostPort', 'hostPorts');
  return finding('hostPort', `${namedContainers(using.map(({ name }) => name))} ${uses} ${word} ${numbers.join(', ')}`);
}

function privileged(pod: SecuredPod): SecurityFinding | undefined {
  const names = containersWith(pod, (context) => context.privileged === true);
  if (names.length === 0) return undefined;
  return finding('privileged', `${namedContainers(names)} must not set securityContext.privileged=true`);
}

function procMount(pod: SecuredPod): SecurityFinding | undefined {
  const isOther = ({ procMount: mount = 'Default' }: SecurityContext): boolean => mount !== 'Default';
  const names = containersWith(pod, isOther);
  if (names.length === 0) return undefined;
  const values = [...new Set(containersOf(pod).flatMap(({ securityContext }) => securityContext?.procMount ?? []))];
  const shown = quoted(values.filter((value) => value !== 'Default').sort());
  return finding('procMount', `${namedContainers(names)} must not set securityContext.procMount to ${shown}`);
}

function seLinuxOptions(pod: SecuredPod): SecurityFinding | undefined {
  const options = ({ seLinuxOptions: own }: SecurityContext) => own ?? {};
  const isBad = (context: SecurityContext): boolean => {
    const { type = '', user, role } = options(context);
    return !SELINUX_TYPES.has(type) || Boolean(user) || Boolean(role);
  };
  const setters = settersOf(pod, isBad);
  if (setters === undefined) return undefined;
  const contexts = [pod.spec.securityContext ?? {}, ...containersOf(pod).map(({ securityContext }) => securityContext ?? {})];
  const types = [...new Set(contexts.map((context) => options(context).type ?? ''))].filter((type) => !SELINUX_TYPES.has(type));
  const details = [
    ...(types.length > 0 ? [`${plural(types.length, 'type', 'types')} ${quoted(types.sort())}`] : []),
    ...(contexts.some((context) => options(context).user) ? ['user may not be set'] : []),
    ...(contexts.some((context) => options(context).role) ? ['role may not be set'] : []),
  ];
  return finding('seLinuxOptions', `${setters} set forbidden securityContext.seLinuxOptions: ${details.join('; ')}`);
}

/** `pod and container "a"`, whichever have the property; undefined when none has. */
function settersOf(pod: SecuredPod, isBad: (context: SecurityContext) => boolean): string | undefined {
  const names = containersWith(pod, isBad);
  const parts = [
    ...(isBad(pod.spec.securityContext ?? {}) ? ['pod'] : []),
    ...(names.length > 0 ? [namedContainers(names)] : []),
  ];
  return parts.length === 0 ? undefined : parts.join(' and ');
}

function seccompProfile(pod: SecuredPod): SecurityFinding | undefined {
  const setters = settersOf(pod, ({ seccompProfile: profile }) => profile?.type === 'Unconfined');
  if (setters === undefined) return undefined;
  return finding('seccompProfile', `${setters} must not set securityContext.seccompProfile.type to "Unconfined"`);
}

function sysctls({ spec }: SecuredPod): SecurityFinding | undefined {
  const bad = (spec.securityContext?.sysctls ?? []).map(({ name }) => name).filter((name) => !SAFE_SYSCTLS.has(name));
  return bad.length === 0 ? undefined : finding('forbidden sysctls', bad.join(', '));
}

function hostProcess(pod: SecuredPod): SecurityFinding | undefined {
  const setters = settersOf(pod, ({ windowsOptions }) => windowsOptions?.hostProcess === true);
  if (setters === undefined) return undefined;
  return finding('hostProcess', `${setters} must not set securityContext.windowsOptions.hostProcess=true`);
}

/** In the order of their names, which is the order of findings. `isReplaced`: the stricter level looks at it by itself. */
export const BASELINE: readonly { readonly check: SecurityCheck; readonly isReplaced?: boolean }[] = [
  { check: appArmor },
  { check: capabilities, isReplaced: true },
  { check: hostNamespaces },
  { check: hostPathVolumes, isReplaced: true },
  { check: hostPorts },
  { check: privileged },
  { check: procMount },
  { check: seLinuxOptions },
  { check: seccompProfile, isReplaced: true },
  { check: sysctls },
  { check: hostProcess },
];
