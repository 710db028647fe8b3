import { stringify } from 'yaml';
import { print, type VirtctlIo } from '../io.ts';

/** What every generator prints: Go clients write a creation timestamp of null, and so do recorded manifests. */
export const blankMetadata = (name: string, namespace?: string): object => ({
  creationTimestamp: null,
  name,
  ...(namespace !== undefined && { namespace }),
});

/** Prints a manifest with sorted keys, as `kubectl create -f -` reads it. */
export function printManifest(io: VirtctlIo, manifest: object): void {
  print(io, stringify(manifest, { sortMapEntries: true, indentSeq: false, lineWidth: 0 }).trimEnd());
}
