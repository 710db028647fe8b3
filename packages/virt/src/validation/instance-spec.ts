import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { type Cause, dnsLabelFaults, dnsSubdomainFaults, duplicate, invalid, required, when } from './causes.ts';
import { checkDevices } from './devices.ts';
import { checkDisks } from './disks.ts';
import { checkPlatform } from './firmware.ts';
import { checkNetworks } from './networks.ts';
import { checkClaimedDevices } from './resource-claims.ts';
import { checkResources } from './resources.ts';
import { checkDns, checkScheduling } from './scheduling.ts';
import { checkSpecialVolumes } from './special-volumes.ts';
import { checkVolumes } from './volumes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const EVICTION = ['None', 'LiveMigrate', 'LiveMigrateIfPossible', 'External'];

function checkIdentity(path: string, spec: Spec): readonly Cause[] {
  const { hostname, subdomain } = spec;
  const host = hostname ? dnsLabelFaults(hostname) : [];
  const sub = subdomain ? dnsSubdomainFaults(subdomain) : [];
  return [
    ...when(host.length > 0, () =>
      invalid(`${path}.hostname`, `${path}.hostname does not conform to the kubernetes DNS_LABEL rules : ${host.join(', ')}`),
    ),
    ...when(sub.length > 0, () =>
      invalid(
        `${path}.subdomain`,
        `${path}.subdomain does not conform to the kubernetes DNS_SUBDOMAIN rules : ${sub.join(', ')}`,
      ),
    ),
    ...when(Boolean(spec.serviceAccountName) && dnsSubdomainFaults(spec.serviceAccountName ?? '').length > 0, () =>
      invalid(`${path}.serviceAccountName`, `${path}.serviceAccountName is not a valid name`),
    ),
  ];
}

function checkStrategies(path: string, spec: Spec): readonly Cause[] {
  const { startStrategy, evictionStrategy } = spec;
  return [
    ...when(startStrategy !== undefined && startStrategy !== 'Paused', () =>
      invalid(`${path}.startStrategy`, `${path}.startStrategy is set with an unrecognized option: ${startStrategy}`),
    ),
    ...when(startStrategy === 'Paused' && spec.livenessProbe !== undefined, () =>
      invalid(
        `${path}.startStrategy`,
        `either ${path}.startStrategy or ${path}.livenessProbe should be provided.Pausing VMI with LivenessProbe is not supported`,
      ),
    ),
    ...when(evictionStrategy !== undefined && !EVICTION.includes(evictionStrategy), () =>
      invalid(`${path}.evictionStrategy`, `${path}.evictionStrategy is set with an unrecognized option: ${evictionStrategy}`),
    ),
  ];
}

function checkProbe(path: string, name: 'readinessProbe' | 'livenessProbe', spec: Spec): readonly Cause[] {
  const probe = spec[name];
  if (!probe) return [];
  const field = `${path}.${name}`;
  const handlers = [probe.httpGet, probe.tcpSocket, probe.exec, probe.guestAgentPing].filter(
    (handler) => handler !== undefined,
  ).length;
  const hasPodNetwork =
    (spec.networks ?? []).some(({ pod }) => pod !== undefined) ||
    ((spec.networks ?? []).length === 0 && spec.domain.devices.autoattachPodInterface !== false);
  if (handlers > 1) return [invalid(field, `${field} must have exactly one probe type set`)];
  if (handlers === 0)
    return [
      required(field, `either ${field}.tcpSocket, ${field}.exec or ${field}.httpGet must be set if a ${field} is specified`),
    ];
  return (['httpGet', 'tcpSocket'] as const).flatMap((kind) =>
    when(probe[kind] !== undefined && !hasPodNetwork, () =>
      invalid(`${field}.${kind}`, `${field}.${kind} is only allowed if the Pod Network is attached`),
    ),
  );
}

type KeyCredential = NonNullable<kubevirt.AccessCredential['sshPublicKey']>;

const SEED_VOLUMES = { noCloud: 'cloudInitNoCloud', configDrive: 'cloudInitConfigDrive' } as const;

function checkSeedVolume(field: string, at: string, { propagationMethod }: KeyCredential, spec: Spec): readonly Cause[] {
  return (['noCloud', 'configDrive'] as const).flatMap((method) => {
    const source = SEED_VOLUMES[method];
    const exists = (spec.volumes ?? []).some((volume) => volume[source] !== undefined);
    return when(propagationMethod[method] !== undefined && !exists, () =>
      invalid(at, `${field} requires a ${method} volume to exist when the ${method} propagationMethod is in use`),
    );
  });
}

function checkKey(field: string, key: KeyCredential, spec: Spec): readonly Cause[] {
  const at = `${field}.sshPublicKey.propagationMethod`;
  const users = key.propagationMethod.qemuGuestAgent?.users;
  return [
    ...when(users?.length === 0, () =>
      invalid(`${at}.qemuGuestAgent.users`, `${field} requires at least one user to be present in the users list`),
    ),
    ...checkSeedVolume(field, at, key, spec),
  ];
}

function checkCredential(path: string, index: number, credential: kubevirt.AccessCredential, spec: Spec): readonly Cause[] {
  const field = `${path}.accessCredentials[${index}]`;
  const { sshPublicKey: key, userPassword: password } = credential;
  const set = key ?? password;
  if (!set || (key && password)) return [invalid(field, `${field} must have exactly one access credential type set`)];
  const at = `${field}.${key ? 'sshPublicKey' : 'userPassword'}`;
  const methods = Object.values(set.propagationMethod).filter((method) => method !== undefined);
  const { secret } = set.source;
  return [
    ...when(!secret, () => invalid(`${at}.source`, `${field} must have exactly one source set`)),
    ...when(secret && !secret.secretName, () => invalid(`${at}.source.secret.secretName`, `${field} must have a secret name`)),
    ...when(methods.length !== 1, () =>
      invalid(`${at}.propagationMethod`, `${field} must have exactly one propagationMethod set`),
    ),
    ...(key ? checkKey(field, key, spec) : []),
  ];
}

function checkClaims(path: string, spec: Spec): readonly Cause[] {
  const claims = spec.resourceClaims ?? [];
  return claims.flatMap(({ name, resourceClaimName, resourceClaimTemplateName }, index) => {
    const field = `${path}.resourceClaims[${index}]`;
    const both = (resourceClaimName === undefined) === (resourceClaimTemplateName === undefined);
    return [
      ...dnsLabelFaults(name).map((fault) => invalid(`${field}.name`, fault)),
      ...when(claims.findIndex((other) => other.name === name) !== index, () =>
        duplicate(`${field}.name`, `resource claim ${name} is defined more than once`),
      ),
      ...when(both, () => invalid(field, 'exactly one of resourceClaimName and resourceClaimTemplateName must be set')),
    ];
  });
}

function checkArchitecture(path: string, spec: Spec): readonly Cause[] {
  const { architecture } = spec;
  return when(architecture !== undefined && !['', 'amd64', 'arm64', 's390x'].includes(architecture), () =>
    invalid(`${path}.architecture`, `unsupported architecture: ${architecture}`),
  );
}

export interface SpecCheckOptions {
  /** Every volume must be used by a disk or filesystem: true for instances, false for templates, whose disks are added at start. */
  readonly volumesMustBeUsed: boolean;
}

/** Every rule on an instance spec; `path` is its place in the object, for example `spec.template.spec`. */
export function checkInstanceSpec(path: string, spec: Spec, config: ClusterConfig, options: SpecCheckOptions): readonly Cause[] {
  return [
    ...checkArchitecture(path, spec),
    ...checkIdentity(path, spec),
    ...checkResources(path, spec),
    ...checkNetworks(path, spec, config),
    ...checkPlatform(path, spec, config),
    ...checkDevices(path, spec, config),
    ...checkClaimedDevices(path, spec, config),
    ...checkDisks(path, spec, config),
    ...checkVolumes(path, spec, config, options.volumesMustBeUsed),
    ...checkSpecialVolumes(path, spec, config),
    ...(spec.accessCredentials ?? []).flatMap((credential, index) => checkCredential(path, index, credential, spec)),
    ...checkProbe(path, 'readinessProbe', spec),
    ...checkProbe(path, 'livenessProbe', spec),
    ...checkDns(path, spec),
    ...checkStrategies(path, spec),
    ...checkClaims(path, spec),
    ...checkScheduling(spec),
  ];
}
