import { parseDuration } from '@slipway/apimachinery';
import type { HyperConverged } from '../kinds.ts';
import { BUILT_IN_NAMES, ENABLE_ANNOTATION, isDisabled } from './boot-images.ts';
import { certificates } from './certificates.ts';
import { fieldsAt, mapsAt, textAt, valueAt } from './spec-paths.ts';
import { HTTP2_CIPHERS, textsAt } from './tls-profile.ts';

const MIN_CERTIFICATE_MS = 10 * 60_000;

/** What a HyperConverged cannot be accepted with. */
export const findFaults = (hco: HyperConverged): readonly string[] => [
  ...certificateFaults(hco),
  ...templateFaults(hco),
  ...tlsFaults(hco),
  ...macPoolFaults(hco),
];

function certificateFaults({ spec }: HyperConverged): readonly string[] {
  const { ca, server } = certificates(spec);
  const faults = Object.entries({ ca, server }).flatMap(([name, { duration, renewBefore }]) => {
    const field = `spec.certConfig.${name}`;
    const [lasts, renews] = [parseDuration(duration), parseDuration(renewBefore)];
    if (lasts === undefined || lasts < MIN_CERTIFICATE_MS) return [`${field}.duration: value is too small or no duration`];
    if (renews === undefined || renews < MIN_CERTIFICATE_MS) return [`${field}.renewBefore: value is too small or no duration`];
    return lasts < renews ? [`${field}: duration is smaller than renewBefore`] : [];
  });
  if (faults.length > 0) return faults;
  const isShort = (parseDuration(ca.duration) ?? 0) < (parseDuration(server.duration) ?? 0);
  return isShort ? ['spec.certConfig: ca.duration is smaller than server.duration'] : [];
}

function templateFaults({ spec }: HyperConverged): readonly string[] {
  return (mapsAt(spec, 'workloadSources.dataImportCronTemplates') ?? []).flatMap((template) => {
    const name = textAt(template, 'metadata.name');
    const enabled = fieldsAt(template, 'metadata.annotations')?.[ENABLE_ANNOTATION];
    if (enabled !== undefined && enabled !== 'true' && enabled !== 'false')
      return [`the ${ENABLE_ANNOTATION} annotation of ${name} must be true or false`];
    const isEmpty = Object.keys(fieldsAt(template, 'spec') ?? {}).length === 0;
    if (isEmpty && !isDisabled(template)) return [`dataImportCronTemplate spec is empty for an existing entry ${name}`];
    return isDisabled(template) && !BUILT_IN_NAMES.includes(name) && isEmpty
      ? [`can't disable the dataImportCronTemplate ${name}: there is none of this name`]
      : [];
  });
}

function tlsFaults({ spec }: HyperConverged): readonly string[] {
  const profile = fieldsAt(spec, 'security.tlsSecurityProfile');
  if (profile?.['type'] !== 'Custom') return [];
  const field = 'spec.tlsSecurityProfile.custom';
  const ciphers = textsAt(profile, 'custom.ciphers');
  if (valueAt(profile, 'custom.minTLSVersion') === 'VersionTLS13')
    return ciphers.length > 0 ? [`${field}.ciphers: custom ciphers cannot be selected when minTLSVersion is VersionTLS13`] : [];
  return HTTP2_CIPHERS.some((cipher) => ciphers.includes(cipher))
    ? []
    : [`${field}.ciphers: http2 needs one of ${HTTP2_CIPHERS.join(', ')}`];
}

function macPoolFaults({ spec }: HyperConverged): readonly string[] {
  const pool = fieldsAt(spec, 'networking.kubeMacPoolConfiguration');
  const isHalf = pool !== undefined && (pool['rangeStart'] === undefined) !== (pool['rangeEnd'] === undefined);
  return isHalf ? ['both rangeStart and rangeEnd must be configured together, or both omitted'] : [];
}
