/** What libvirt says about QEMU and the processor of this host. */
export interface HostCapabilities {
  readonly machineTypes: readonly string[];
  /** Machine type that a short name such as `q35` stands for. Absent in what earlier versions have kept. */
  readonly machineAliases?: Readonly<Record<string, string>>;
  readonly videoModels: readonly string[];
  /** Named CPU models that a guest can have here. */
  readonly cpuModels: readonly string[];
  readonly hostModel: string;
  readonly hostVendor: string;
  /** Features that the host model requires of another host. */
  readonly hostFeatures: readonly string[];
  readonly libvirtVersion: string;
}

const valuesOf = (text: string, pattern: RegExp): string[] => [
  ...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? '')),
];

/** The part of the text between two marks; empty when the first is missing. */
function between(text: string, start: string, end: string): string {
  const from = text.indexOf(start);
  if (from < 0) return '';
  const to = text.indexOf(end, from);
  return text.slice(from, to < 0 ? undefined : to);
}

/** Reads libvirt's capabilities and domain capabilities documents, whose layout is fixed by libvirt itself. */
export function parseHostCapabilities(general: string, domain: string, libvirtVersion: string): HostCapabilities {
  const arch = between(general, "<arch name='x86_64'>", '</arch>');
  const custom = between(domain, "<mode name='custom'", '</mode>');
  const hostModel = between(domain, "<mode name='host-model'", '</mode>');
  const video = between(domain, '<video', '</video>');
  return {
    machineTypes: valuesOf(arch, /<machine[^>]*>([^<]+)<\/machine>/g),
    machineAliases: Object.fromEntries(
      [...arch.matchAll(/<machine canonical='([^']+)'[^>]*>([^<]+)<\/machine>/g)].map(([, canonical = '', name = '']) => [
        name,
        canonical,
      ]),
    ),
    videoModels: valuesOf(between(video, "name='modelType'", '</enum>'), /<value>([^<]+)<\/value>/g),
    cpuModels: valuesOf(custom, /<model [^>]*usable='yes'[^>]*>([^<]+)<\/model>/g),
    hostModel: valuesOf(hostModel, /<model[^>]*>([^<]+)<\/model>/g)[0] ?? '',
    hostVendor: valuesOf(hostModel, /<vendor>([^<]+)<\/vendor>/g)[0] ?? '',
    hostFeatures: valuesOf(hostModel, /<feature policy='require' name='([^']+)'/g),
    libvirtVersion,
  };
}
