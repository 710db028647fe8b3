import type { KubeVirt, kubevirt } from '@slipway/api';
import { clusterConfig } from '../config.ts';
import { type Cause, invalid, when } from './causes.ts';

const DURATION = /^(\d+h)?(\d+m)?(\d+s)?$/;

function seconds(text: string | undefined): number | undefined {
  if (text === undefined || text === '' || !DURATION.test(text)) return undefined;
  const part = (unit: string) => Number(new RegExp(`(\\d+)${unit}`).exec(text)?.[1] ?? 0);
  return part('h') * 3600 + part('m') * 60 + part('s');
}

function checkCertificates(rotation: kubevirt.KubeVirtSelfSignConfiguration | undefined): readonly Cause[] {
  if (!rotation) return [];
  const field = 'spec.certificateRotationStrategy.selfSigned';
  const { ca, server } = rotation;
  const [caDuration, serverDuration] = [seconds(ca?.duration), seconds(server?.duration)];
  const late = (config: kubevirt.CertConfig | undefined) => {
    const [renew, duration] = [seconds(config?.renewBefore), seconds(config?.duration)];
    return renew !== undefined && duration !== undefined && renew > duration;
  };
  return [
    ...when(late(ca), () =>
      invalid(`${field}.ca`, 'CA RenewBefore cannot exceed Duration (spec.certificateRotationStrategy.selfSigned.ca)'),
    ),
    ...when(late(server), () => invalid(`${field}.server`, 'Server RenewBefore cannot exceed Duration')),
    ...when(caDuration !== undefined && serverDuration !== undefined && serverDuration > caDuration, () =>
      invalid(field, 'Certificate duration cannot exceed CA'),
    ),
  ];
}

function checkPatches({ spec }: KubeVirt): readonly Cause[] {
  return (spec.customizeComponents?.patches ?? []).flatMap(({ type, patch }, index) => {
    const field = `spec.customizeComponents.patches[${index}]`;
    try {
      JSON.parse(patch);
    } catch {
      return [invalid(field, `patch ${patch} is not valid JSON`)];
    }
    return when(!['json', 'merge', 'strategic'].includes(type), () =>
      invalid(`${field}.type`, `patch type ${type} is not supported`),
    );
  });
}

function checkGates({ featureGates = [], disabledFeatureGates = [] }: kubevirt.DeveloperConfiguration): readonly Cause[] {
  return featureGates
    .filter((gate) => disabledFeatureGates.includes(gate))
    .map((gate) => invalid('spec.configuration.developerConfiguration', `feature gate ${gate} is both enabled and disabled`));
}

/** Settings that do nothing while the gate of their feature is off. */
function checkGated(configuration: kubevirt.KubeVirtConfiguration): readonly Cause[] {
  const { hasGate } = clusterConfig(configuration);
  const gated = (used: boolean, name: string, gate: string) =>
    when(used && !hasGate(gate), () =>
      invalid(`spec.configuration.${name}`, `${gate} feature gate is not enabled in kubevirt-config`),
    );
  return [
    ...gated(configuration.virtTemplateDeployment?.enabled === true, 'virtTemplateDeployment', 'Template'),
    ...gated(configuration.roleAggregationStrategy === 'Manual', 'roleAggregationStrategy', 'OptOutRoleAggregation'),
  ];
}

function checkConfiguration(configuration: kubevirt.KubeVirtConfiguration): readonly Cause[] {
  const { tlsConfiguration: tls, additionalGuestMemoryOverheadRatio: ratio } = configuration;
  const custom = configuration.seccompConfiguration?.virtualMachineInstanceProfile?.customProfile;
  const field = 'spec.configuration';
  return [
    ...when((tls?.ciphers ?? []).length > 0 && tls?.minTLSVersion === 'VersionTLS13', () =>
      invalid(
        `${field}.tlsConfiguration.ciphers`,
        'You cannot specify ciphers when spec.configuration.tlsConfiguration.minTLSVersion is empty or VersionTLS13',
      ),
    ),
    ...when(custom?.localhostProfile !== undefined && custom.runtimeDefaultProfile === true, () =>
      invalid(
        `${field}.seccompConfiguration.virtualMachineInstanceProfile.customProfile`,
        'ambiguous seccomp profile: localhostProfile and runtimeDefaultProfile are mutually exclusive',
      ),
    ),
    ...when(ratio !== undefined && !(Number(ratio) >= 1), () =>
      invalid(
        `${field}.additionalGuestMemoryOverheadRatio`,
        'additionalGuestMemoryOverheadRatio must be a number of at least 1.0',
      ),
    ),
    ...checkGates(configuration.developerConfiguration ?? {}),
    ...checkGated(configuration),
  ];
}

/** Rules for the KubeVirt object. */
export function validateKubeVirt(object: KubeVirt): readonly Cause[] {
  const { spec } = object;
  return [
    ...checkCertificates(spec.certificateRotateStrategy?.selfSigned),
    ...checkPatches(object),
    ...when(spec.infra?.replicas === 0, () => invalid('spec.infra.replicas', "infra replica count can't be 0")),
    ...checkConfiguration(spec.configuration ?? {}),
  ];
}
