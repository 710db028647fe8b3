import type { DataVolume, PersistentVolumeClaim } from '@slipway/api';
import { claimNames } from '../scheduler/pod-volumes.ts';
import { claimedVolumes } from '../virtual-machine-instance/claims.ts';
import type { Cause, WhyFacts } from './explain-why.ts';

/** DataVolumes and claims that a machine uses and that are not ready. */
export function storageCauses(facts: WhyFacts): readonly Cause[] {
  return [...usedClaims(facts)].flatMap((name) => {
    const dataVolume = facts.dataVolumes.find(({ metadata }) => metadata.name === name);
    const claim = facts.claims.find(({ metadata }) => metadata.name === name);
    const isWanted = facts.vm?.spec.dataVolumeTemplates?.some(({ metadata }) => metadata.name === name) ?? false;
    if (dataVolume !== undefined && !isReady(dataVolume)) return [dataVolumeCause(dataVolume), ...claimCauses(claim, facts)];
    if (claim !== undefined) return claimCauses(claim, facts);
    const about = isWanted ? `DataVolume ${name}` : `PersistentVolumeClaim ${name}`;
    return [{ about, reason: 'NotFound', message: isWanted ? 'it has not been made yet' : 'there is no claim of this name' }];
  });
}

/** Names of the claims that the subject needs. */
export function usedClaims({ vm, vmi, pod }: Pick<WhyFacts, 'vm' | 'vmi' | 'pod'>): ReadonlySet<string> {
  const spec = vmi?.spec ?? vm?.spec.template.spec;
  if (spec !== undefined) return new Set(claimedVolumes(spec).map(({ claimName }) => claimName));
  return new Set(pod === undefined ? [] : claimNames(pod));
}

/** It needs no more than a pod that uses it. */
const isReady = ({ status }: DataVolume): boolean =>
  ['Succeeded', 'WaitForFirstConsumer', 'PendingPopulation'].includes(status?.phase ?? '');

function dataVolumeCause({ metadata, status }: DataVolume): Cause {
  const { phase = 'Pending', progress, conditions = [] } = status ?? {};
  const isKnown = progress !== undefined && progress !== '' && progress !== 'N/A';
  const said = ['Running', 'Bound', 'Ready'].flatMap((type) =>
    conditions.filter((condition) => condition.type === type && condition.status !== 'True' && condition.message),
  );
  const parts = [...(isKnown ? [`${progress} done`] : []), ...said.map(({ message = '' }) => message)];
  return {
    about: `DataVolume ${metadata.name}`,
    reason: phase,
    message: parts.length > 0 ? [...new Set(parts)].join('; ') : 'it is being filled',
  };
}

function claimCauses(claim: PersistentVolumeClaim | undefined, { storageClasses }: WhyFacts): readonly Cause[] {
  if (claim === undefined || claim.status?.phase === 'Bound') return [];
  const about = `PersistentVolumeClaim ${claim.metadata.name}`;
  const reason = claim.status?.phase ?? 'Pending';
  if (claim.metadata.deletionTimestamp !== undefined) return [{ about, reason: 'Terminating', message: 'it is being deleted' }];
  const className = claim.spec?.storageClassName;
  if (!className) return [{ about, reason, message: 'it names no storage class and no class is the default one' }];
  const storageClass = storageClasses.find(({ metadata }) => metadata.name === className);
  if (storageClass === undefined) return [{ about, reason, message: `there is no storage class ${className}` }];
  // it waits for a pod, and is not what the pod waits for
  if (storageClass.volumeBindingMode === 'WaitForFirstConsumer') return [];
  return [{ about, reason, message: `its volume has not been made yet (storage class ${className})` }];
}
