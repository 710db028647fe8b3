import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { type ConfigDisk, type KeyedData, SeedError } from './seed.ts';

const DEFAULT_LABEL = 'cfgdata';
const SYSPREP_LABEL = 'unattendCD';

const filesOf = (data: KeyedData): ConfigDisk['files'] =>
  Object.keys(data)
    .toSorted()
    .map((path) => ({ path, data: data[path] ?? new Uint8Array() }));

/** A disk with the keys of a ConfigMap, Secret or service account as files. */
export function keyedDisk(volume: kubevirt.Volume, data: KeyedData): ConfigDisk {
  const label = volume.configMap?.volumeLabel ?? volume.secret?.volumeLabel ?? volume.downwardAPI?.volumeLabel;
  return { label: label || DEFAULT_LABEL, files: filesOf(data) };
}

/** The answer disk of Windows setup. Throws SeedError when it holds no answer file. */
export function sysprepDisk(data: KeyedData): ConfigDisk {
  const hasAnswers = Object.keys(data).some((key) => /^(autounattend|unattend)\.xml$/i.test(key));
  if (!hasAnswers) throw new SeedError('Sysprep volume must have autounattend.xml or unattend.xml');
  return { label: SYSPREP_LABEL, files: filesOf(data) };
}

const quoted = (values: Readonly<Record<string, string>> | undefined): string =>
  Object.entries(values ?? {})
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');

function fieldValue(vmi: VirtualMachineInstance, fieldPath: string): string {
  const { metadata } = vmi;
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(fieldPath);
  if (keyed) return metadata[keyed[1] === 'labels' ? 'labels' : 'annotations']?.[keyed[2] ?? ''] ?? '';
  switch (fieldPath) {
    case 'metadata.labels':
      return quoted(metadata.labels);
    case 'metadata.annotations':
      return quoted(metadata.annotations);
    case 'metadata.name':
      return metadata.name ?? '';
    case 'metadata.namespace':
      return metadata.namespace ?? '';
    case 'metadata.uid':
      return metadata.uid ?? '';
    default:
      throw new SeedError(`Field ${fieldPath} cannot be put onto a downward API disk`);
  }
}

/** A disk with fields of the object as files. */
export function downwardApiDisk(vmi: VirtualMachineInstance, volume: kubevirt.Volume): ConfigDisk {
  const encoder = new TextEncoder();
  const data: Record<string, Uint8Array> = {};
  for (const { path, fieldRef } of volume.downwardAPI?.fields ?? [])
    data[path] = encoder.encode(fieldRef ? fieldValue(vmi, fieldRef.fieldPath) : '');
  return keyedDisk(volume, data);
}
