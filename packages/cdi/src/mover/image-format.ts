import { ImportError } from './import-error.ts';

export type Compression = 'gzip' | 'xz' | 'zstd' | 'bzip2';
/** Names of qemu-img. */
export type ImageFormat = 'raw' | 'qcow2' | 'vmdk' | 'vdi' | 'vpc' | 'vhdx';

/** Bytes that `detectCompression` and `detectFormat` want to see. */
export const HEADER_BYTES = 512;

const startsWith = (header: Buffer, magic: readonly number[], offset = 0): boolean =>
  header.length >= offset + magic.length && magic.every((byte, index) => header[offset + index] === byte);

const ascii = (text: string): number[] => [...Buffer.from(text, 'latin1')];

const COMPRESSIONS: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', ascii('BZh')],
];

/** How the stream that begins with `header` is compressed, if at all. */
export function detectCompression(header: Buffer): Compression | undefined {
  return COMPRESSIONS.find(([, magic]) => startsWith(header, magic))?.[0];
}

/** Format of the disk image that begins with `header`; whatever is not known is raw, as with CDI. */
export function detectFormat(header: Buffer): ImageFormat {
  if (startsWith(header, [0x51, 0x46, 0x49, 0xfb])) return 'qcow2';
  if (startsWith(header, ascii('KDMV'))) return 'vmdk';
  if (startsWith(header, [0x7f, 0x10, 0xda, 0xbe], 0x40)) return 'vdi';
  if (startsWith(header, ascii('conectix'))) return 'vpc';
  if (startsWith(header, ascii('vhdxfile'))) return 'vhdx';
  return 'raw';
}

/** True for a tar archive, which is no disk image. */
export const isTar = (header: Buffer): boolean => startsWith(header, ascii('ustar'), 0x101);

/** What is no disk image and would only look like one that does not boot: kind of file, and what to publish instead. */
const FOREIGN: readonly (readonly [string, number, readonly number[], string])[] = [
  ['a zip archive', 0, [0x50, 0x4b, 0x03, 0x04], 'Unpack it and publish the image itself'],
  ['a 7z archive', 0, [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], 'Unpack it and publish the image itself'],
  ['a rar archive', 0, ascii('Rar!\x1a\x07'), 'Unpack it and publish the image itself'],
  ['an lz4 stream', 0, [0x04, 0x22, 0x4d, 0x18], 'Publish it uncompressed, or in gz, xz, zst or bz2'],
  ['an lzip stream', 0, ascii('LZIP\x01'), 'Publish it uncompressed, or in gz, xz, zst or bz2'],
  ['a QED image', 0, ascii('QED\0'), 'Convert it with "qemu-img convert -O qcow2" and publish the result'],
  ['a Parallels image', 0, ascii('WithoutFreeSpace'), 'Convert it with "qemu-img convert -O qcow2" and publish the result'],
  ['a Parallels image', 0, ascii('WithouFreSpacExt'), 'Convert it with "qemu-img convert -O qcow2" and publish the result'],
  [
    'the descriptor of a VMDK image, without its data',
    0,
    ascii('# Disk DescriptorFile'),
    'Convert it with "qemu-img convert -O qcow2" and publish the result',
  ],
];
const PAGE = /^\ufeff?\s*<(?:!doctype|html|head|body|\?xml|!--)/i;

/** Names a file that is certainly no disk image, and the remedy; undefined for what may be one. */
export function foreignFile(header: Buffer): { readonly what: string; readonly remedy: string } | undefined {
  const found = FOREIGN.find(([, offset, magic]) => startsWith(header, magic, offset));
  if (found !== undefined) return { what: found[0], remedy: found[3] };
  if (!PAGE.test(header.toString('utf8'))) return undefined;
  return { what: 'a web page or XML text', remedy: 'Check that the URL names the image itself and needs no login' };
}

const DATA_FILE_BIT = 1n << 2n;

/**
 * Refuses what a QCOW2 header alone shows to be harmful, before a tool opens the file or even before the download ends:
 * other files named by the image, encryption, and sizes beyond the claim.
 */
export function checkQcow2Header(header: Buffer, maxVirtualBytes: number): void {
  if (header.length < 72) throw new ImportError('InvalidImage', 'The QCOW2 header is cut off: the image is corrupt');
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw new ImportError('InvalidImage', `QCOW2 version ${version} is not supported`);
  if (header.readBigUInt64BE(8) !== 0n)
    throw new ImportError(
      'InvalidImage',
      'The image has a backing file, which imports refuse. Flatten it with "qemu-img convert -O qcow2 IN OUT" and publish the result',
    );
  const clusterBits = header.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21)
    throw new ImportError('InvalidImage', `The QCOW2 cluster size 2^${clusterBits} is out of range`);
  if (header.readUInt32BE(32) !== 0)
    throw new ImportError(
      'InvalidImage',
      'The image is encrypted, which imports refuse. Decrypt it with "qemu-img convert" and publish the result',
    );
  if (version === 3 && header.length >= 80 && (header.readBigUInt64BE(72) & DATA_FILE_BIT) !== 0n)
    throw new ImportError(
      'InvalidImage',
      'The image keeps its data in another file, which imports refuse. Convert it with "qemu-img convert" and publish the result',
    );
  checkVirtualSize(Number(header.readBigUInt64BE(24)), maxVirtualBytes);
}

/** Throws ImportError, worded as CDI words it, when the disk does not fit the claim. */
export function checkVirtualSize(virtualBytes: number, maxVirtualBytes: number): void {
  if (virtualBytes > maxVirtualBytes)
    throw new ImportError(
      'ImageTooLarge',
      `virtual image size ${virtualBytes} is larger than the reported available storage ${maxVirtualBytes}. A larger PVC is required`,
    );
  if (virtualBytes <= 0) throw new ImportError('InvalidImage', 'The image has a virtual size of zero');
}
