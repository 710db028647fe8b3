/**
 * A 64 KiB firmware image that enters long mode and reports through QEMU's isa-debug-exit device. A KVM that cannot run
 * ordinary guests still executes real-mode code, so only a guest that gets as far as paging in 64 bits proves anything.
 */

export const ROM_BYTES = 65_536;
/** Where the PC maps the last 64 KiB of its firmware below 1 MiB. */
const ROM_BASE = 0xf0000;
const RESET_VECTOR = 0xfff0;
const GDT_OFFSET = 0x200;
const GDTR_OFFSET = 0x240;
const SELECTOR = { code32: 0x08, data: 0x10, code64: 0x18 } as const;
/** Written to the debug port; QEMU then exits with (value << 1) | 1. */
const DEBUG_VALUE = 0x21;
export const DEBUG_PORT = 0xf4;
export const SUCCESS_EXIT_CODE = (DEBUG_VALUE << 1) | 1;

const le16 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff];
const le32 = (value: number): number[] => [...le16(value & 0xffff), ...le16(value >>> 16)];

/** Real mode: load the GDT, switch on protection, jump to 32 bits. */
const start16 = (start32: number): number[] => [
  0xfa, // cli
  ...[0x8c, 0xc8, 0x8e, 0xd8], // mov ax, cs; mov ds, ax
  ...[0x66, 0x0f, 0x01, 0x16, ...le16(GDTR_OFFSET)], // lgdt [gdtr]
  ...[0x0f, 0x20, 0xc0], // mov eax, cr0
  ...[0x66, 0x83, 0xc8, 0x01], // or eax, 1
  ...[0x0f, 0x22, 0xc0], // mov cr0, eax
  ...[0x66, 0xea, ...le32(ROM_BASE + start32), ...le16(SELECTOR.code32)], // jmp code32:start32
];

/** Protected mode: identity-map 1 GiB with 2 MiB pages at 0x1000, switch on long mode, jump to 64 bits. */
const start32 = (start64: number): number[] => [
  ...[0x66, 0xb8, ...le16(SELECTOR.data)], // mov ax, data
  ...[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // mov ds/es/ss, ax
  ...[0x31, 0xc0, 0xbf, ...le32(0x1000), 0xb9, ...le32(0xc00), 0xfc, 0xf3, 0xab], // zero three page tables
  ...[0xc7, 0x05, ...le32(0x1000), ...le32(0x2003)], // PML4[0]
  ...[0xc7, 0x05, ...le32(0x2000), ...le32(0x3003)], // PDPT[0]
  ...[0xbf, ...le32(0x3000), 0xb8, ...le32(0x83), 0xb9, ...le32(512)], // 512 entries from the page directory on
  ...[0x89, 0x07, 0x05, ...le32(0x200000), 0x83, 0xc7, 0x08, 0xe2, 0xf4], // 1: store, next page, next entry, loop 1b
  ...[0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0], // CR4.PAE
  ...[0xb8, ...le32(0x1000), 0x0f, 0x22, 0xd8], // CR3
  ...[0xb9, ...le32(0xc0000080), 0x0f, 0x32, 0x0d, ...le32(0x100), 0x0f, 0x30], // EFER.LME
  ...[0x0f, 0x20, 0xc0, 0x0d, ...le32(0x80000000), 0x0f, 0x22, 0xc0], // CR0.PG
  ...[0xea, ...le32(ROM_BASE + start64), ...le16(SELECTOR.code64)], // jmp code64:start64
];

/** Long mode: CPUID, a thousand memory writes, a TLB flush, then the report. */
const start64 = (): number[] => [
  ...[0x31, 0xc0, 0x0f, 0xa2], // cpuid leaf 0
  ...[0xb9, ...le32(1000)], // mov ecx, 1000
  ...[0x48, 0xc7, 0x04, 0x25, ...le32(0x100000), ...le32(1)], // 1: mov qword [0x100000], 1
  ...[0x48, 0x83, 0x04, 0x25, ...le32(0x100000), 0x01], // add qword [0x100000], 1
  ...[0xe2, 0xe9], // loop 1b
  ...[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8], // mov rax, cr3; mov cr3, rax
  ...[0xb0, DEBUG_VALUE, 0x66, 0xba, ...le16(DEBUG_PORT), 0xee], // out 0xf4, al
  ...[0xf4, 0xeb, 0xfd], // 2: hlt; jmp 2b
];

const GDT = ['0000000000000000', '00cf9a000000ffff', '00cf92000000ffff', '00af9a000000ffff'] as const;

export function buildProbeRom(): Buffer {
  const size16 = start16(0).length;
  const size32 = start32(0).length;
  const code = [...start16(size16), ...start32(size16 + size32), ...start64()];
  if (code.length > GDT_OFFSET) throw new Error('The probe code runs into its descriptor table');
  const rom = Buffer.alloc(ROM_BYTES);
  rom.set(code, 0);
  for (const [index, descriptor] of GDT.entries()) rom.writeBigUInt64LE(BigInt(`0x${descriptor}`), GDT_OFFSET + index * 8);
  rom.set([...le16(GDT.length * 8 - 1), ...le32(ROM_BASE + GDT_OFFSET)], GDTR_OFFSET);
  // near jump from the reset vector to offset 0; it is relative to the next instruction
  rom.set([0xe9, ...le16(0x10000 - (RESET_VECTOR + 3))], RESET_VECTOR);
  return rom;
}
