/** What direct I/O wants of offsets, lengths and memory: the largest sector in use. */
export const DIRECT_ALIGNMENT = 4096;

const WASM_PAGE = 64 * 1024;

interface PageAligned {
  /** Memory of its own from the kernel, in whole pages. */
  readonly Memory: new (size: {
    initial: number;
    maximum: number;
  }) => { readonly buffer: ArrayBuffer };
}

/** Buffers that begin on a page of memory, as direct I/O needs them; Buffer.alloc promises nothing of the kind. */
export function alignedBuffers(count: number, size: number): readonly Buffer[] {
  // Node's types have it for browsers only
  const { Memory } = (globalThis as unknown as { WebAssembly: PageAligned }).WebAssembly;
  const pages = Math.ceil((count * size) / WASM_PAGE);
  const { buffer } = new Memory({ initial: pages, maximum: pages });
  return Array.from({ length: count }, (_, index) => Buffer.from(buffer, index * size, size));
}
