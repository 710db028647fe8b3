import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/kernel/mm/hugepages';
const MIB = 1024;
const GIB = 1024 * 1024;

const sizeName = (kib: number): string =>
  kib >= GIB && kib % GIB === 0 ? `${kib / GIB}Gi` : kib >= MIB && kib % MIB === 0 ? `${kib / MIB}Mi` : `${kib}Ki`;

/** Huge pages that the host has reserved: Kubernetes' resource name to its amount in KiB. */
export function readHugePages(root = ROOT): ReadonlyMap<string, number> {
  const amounts = new Map<string, number>();
  for (const name of namesIn(root)) {
    const kib = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    const count = Number(readFileSync(join(root, name, 'nr_hugepages'), 'utf8'));
    if (kib > 0 && count > 0) amounts.set(`hugepages-${sizeName(kib)}`, kib * count);
  }
  return amounts;
}

function namesIn(root: string): readonly string[] {
  try {
    return readdirSync(root);
  } catch {
    return []; // a kernel without them
  }
}
