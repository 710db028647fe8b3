/** What a kernel module says about itself in its `.modinfo` section. */
export interface KernelModule {
  /** With underscores, as the kernel knows it. */
  readonly name: string;
  readonly depends: readonly string[];
  readonly aliases: readonly string[];
}

/** The name the kernel uses for a module file such as `virtio-rng.ko.xz`. */
export function moduleName(fileName: string): string {
  return (fileName.split('/').pop() ?? '').replace(/\.ko(\.(xz|zst|gz))?$/, '').replaceAll('-', '_');
}

/** Reads the zero-separated `key=value` strings that `modinfo` prints; no ELF parsing is needed to find them. */
export function readModuleInfo(name: string, content: Uint8Array): KernelModule {
  const depends: string[] = [];
  const aliases: string[] = [];
  for (const text of Buffer.from(content).toString('latin1').split('\0')) {
    if (text.startsWith('depends=')) depends.push(...text.slice('depends='.length).split(',').filter(Boolean));
    if (text.startsWith('alias=')) aliases.push(text.slice('alias='.length));
  }
  return { name, depends: depends.map((depend) => depend.replaceAll('-', '_')), aliases };
}

/**
 * The wanted modules and everything they need, dependencies first. Unknown wanted modules are left out, because kernels
 * differ in what is built in; an unknown dependency of a known module throws.
 */
export function loadOrder(wanted: readonly string[], find: (name: string) => KernelModule | undefined): KernelModule[] {
  const order: KernelModule[] = [];
  const seen = new Set<string>();
  const visit = (module: KernelModule): void => {
    if (seen.has(module.name)) return;
    seen.add(module.name);
    for (const depend of module.depends) {
      const found = find(depend);
      if (found === undefined) throw new Error(`Kernel module ${module.name} needs ${depend}, which the package does not have`);
      visit(found);
    }
    order.push(module);
  };
  for (const name of wanted) {
    const found = find(name);
    if (found !== undefined) visit(found);
  }
  return order;
}

/** `modules.dep` and `modules.alias` for busybox modprobe, with all modules in one directory. */
export function moduleIndexes(modules: readonly KernelModule[]): { readonly dep: string; readonly alias: string } {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const dep = modules.map((module) => {
    const needed = loadOrder([module.name], (name) => byName.get(name))
      .slice(0, -1)
      .reverse();
    return `${module.name}.ko:${needed.map(({ name }) => ` ${name}.ko`).join('')}\n`;
  });
  const alias = modules.flatMap((module) => module.aliases.map((pattern) => `alias ${pattern} ${module.name}\n`));
  return { dep: dep.join(''), alias: alias.join('') };
}
