import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterConfig, FirmwareImage } from '@slipway/virt';
import type { KvmState } from '../kvm/index.ts';
import type { HostCapabilities, HostPrograms } from '../sandbox/index.ts';

/** What the launcher knows of this node, found out once when the agent starts. */
export interface NodeFacts {
  readonly kvm: KvmState;
  readonly host: HostCapabilities;
  readonly programs: HostPrograms;
  readonly firmware: readonly FirmwareImage[];
  /** RAM of the host. */
  readonly memoryBytes: number;
}

/** The cluster's configuration at this moment. */
export type ConfigSource = () => ClusterConfig;

interface Descriptor {
  readonly mapping?: {
    readonly device?: string;
    readonly mode?: string;
    readonly executable?: { readonly filename?: string; readonly format?: string };
    readonly 'nvram-template'?: { readonly filename?: string; readonly format?: string };
  };
  readonly targets?: readonly { readonly architecture?: string }[];
  readonly features?: readonly string[];
}

const format = (text: string | undefined): 'raw' | 'qcow2' => (text === 'qcow2' ? 'qcow2' : 'raw');

/** A firmware descriptor of QEMU as an image; undefined for other kinds than flash images. */
export function firmwareOf(descriptor: Descriptor): FirmwareImage | undefined {
  const { mapping, targets, features = [] } = descriptor;
  const code = mapping?.executable;
  if (mapping?.device !== 'flash' || code?.filename === undefined) return undefined;
  const vars = mapping['nvram-template'];
  return {
    code: code.filename,
    codeFormat: format(code.format),
    ...(vars?.filename !== undefined && { vars: vars.filename, varsFormat: format(vars.format) }),
    architecture: targets?.[0]?.architecture ?? 'x86_64',
    features,
  };
}

/** Firmware of this host, in the order of its descriptors' names, which is their priority. */
export async function readFirmware(directory = '/usr/share/qemu/firmware'): Promise<readonly FirmwareImage[]> {
  const names = (await readdir(directory).catch(() => [])).filter((name) => name.endsWith('.json')).sort();
  const images: FirmwareImage[] = [];
  for (const name of names) {
    // the shape is QEMU's documented firmware descriptor; every field is checked
    const image = firmwareOf(JSON.parse(await readFile(join(directory, name), 'utf8')) as Descriptor);
    if (image) images.push(image);
  }
  return images;
}
