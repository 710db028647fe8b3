/** Images that no honest tool writes. `message` is what people are told; `inHeader`: the first bytes show it. */
export interface BadImage {
  readonly name: string;
  readonly bytes: Buffer;
  readonly message: RegExp;
  readonly inHeader?: boolean;
}

const MiB = 1024 * 1024;
/** A file that no image may reach. */
export const FOREIGN_FILE = '/etc/passwd';

const HONEST = {
  version: 3,
  backingOffset: 0n,
  backingLength: 0,
  clusterBits: 16,
  virtualBytes: BigInt(MiB),
  cryptMethod: 0,
  l1Entries: 1,
  l1Offset: 0x30000n,
  refcountOffset: 0x10000n,
  refcountClusters: 1,
  snapshots: 0,
  snapshotsOffset: 0n,
  incompatible: 0n,
  refcountOrder: 4,
  headerBytes: 104,
};
type Qcow2Fields = Partial<typeof HONEST>;

/** The first cluster of a QCOW2 image by its published layout; honest unless told otherwise. */
export function qcow2Header(fields: Qcow2Fields): Buffer {
  const values = { ...HONEST, ...fields };
  const header = Buffer.alloc(65_536);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeUInt32BE(values.version, 4);
  header.writeBigUInt64BE(values.backingOffset, 8);
  header.writeUInt32BE(values.backingLength, 16);
  header.writeUInt32BE(values.clusterBits, 20);
  header.writeBigUInt64BE(values.virtualBytes, 24);
  header.writeUInt32BE(values.cryptMethod, 32);
  header.writeUInt32BE(values.l1Entries, 36);
  header.writeBigUInt64BE(values.l1Offset, 40);
  header.writeBigUInt64BE(values.refcountOffset, 48);
  header.writeUInt32BE(values.refcountClusters, 56);
  header.writeUInt32BE(values.snapshots, 60);
  header.writeBigUInt64BE(values.snapshotsOffset, 64);
  header.writeBigUInt64BE(values.incompatible, 72);
  header.writeUInt32BE(values.refcountOrder, 96);
  header.writeUInt32BE(values.headerBytes, 100);
  return header;
}

/** A whole, empty image: header, refcounts of its four clusters, an L1 table without entries. */
export function qcow2Image(fields: Qcow2Fields, change: (image: Buffer) => void = () => {}): Buffer {
  const image = Buffer.alloc(4 * 65_536);
  qcow2Header(fields).copy(image);
  image.writeBigUInt64BE(0x20000n, 0x10000);
  for (let cluster = 0; cluster < 4; cluster++) image.writeUInt16BE(1, 0x20000 + 2 * cluster);
  change(image);
  return image;
}

const withBackingFile = (name: string): Buffer =>
  qcow2Image({ backingOffset: 0x200n, backingLength: name.length }, (image) => image.write(name, 0x200));

const inHeader = true;
const damaged = /qcow2 image (is truncated or corrupt|cannot be read)/;

const QCOW2: readonly BadImage[] = [
  { name: 'a qcow2 with a backing file', bytes: withBackingFile(FOREIGN_FILE), message: /backing file/, inHeader },
  {
    name: 'a qcow2 with a backing file that is a network resource',
    bytes: withBackingFile('json:{"driver":"nbd","server":{"type":"inet","host":"127.0.0.1","port":"1"}}'),
    message: /backing file/,
    inHeader,
  },
  { name: 'a qcow2 with a data file', bytes: qcow2Image({ incompatible: 4n }), message: /data in another file/, inHeader },
  {
    name: 'a qcow2 that names a data file without using it',
    bytes: qcow2Image({ incompatible: 4n }, (image) => {
      image.writeUInt32BE(0x44415441, 104);
      image.writeUInt32BE(FOREIGN_FILE.length, 108);
      image.write(FOREIGN_FILE, 112);
    }),
    message: /data in another file/,
    inHeader,
  },
  { name: 'a qcow2 with AES', bytes: qcow2Image({ cryptMethod: 1 }), message: /encrypted/, inHeader },
  { name: 'a qcow2 with LUKS', bytes: qcow2Image({ cryptMethod: 2 }), message: /encrypted/, inHeader },
  { name: 'a qcow2 with clusters of 2^60', bytes: qcow2Image({ clusterBits: 60 }), message: /cluster size/, inHeader },
  { name: 'a qcow2 with clusters of 2^3', bytes: qcow2Image({ clusterBits: 3 }), message: /cluster size/, inHeader },
  { name: 'a qcow2 of version 9', bytes: qcow2Image({ version: 9 }), message: /version 9/, inHeader },
  {
    name: 'a qcow2 of nearly 2^64 bytes',
    bytes: qcow2Image({ virtualBytes: 0xffff_ffff_ffff_fe00n }),
    message: /larger than the reported available storage/,
    inHeader,
  },
  { name: 'a qcow2 of no bytes', bytes: qcow2Image({ virtualBytes: 0n }), message: /virtual size of zero/, inHeader },
  { name: 'a qcow2 with an endless L1 table', bytes: qcow2Image({ l1Entries: 0xffff_ffff }), message: damaged },
  { name: 'a qcow2 with its L1 table far away', bytes: qcow2Image({ l1Offset: 1n << 62n }), message: damaged },
  { name: 'a qcow2 with refcounts over its own header', bytes: qcow2Image({ refcountOffset: 0n }), message: damaged },
  { name: 'a qcow2 with an endless refcount table', bytes: qcow2Image({ refcountClusters: 0xffff_ffff }), message: damaged },
  {
    name: 'a qcow2 with an absurd snapshot table',
    bytes: qcow2Image({ snapshots: 0xffff_ffff, snapshotsOffset: 0x20000n }),
    message: damaged,
  },
  {
    name: 'a qcow2 with snapshots behind its end',
    bytes: qcow2Image({ snapshots: 1000, snapshotsOffset: 1n << 40n }),
    message: damaged,
  },
  { name: 'a qcow2 with an unknown feature', bytes: qcow2Image({ incompatible: 1n << 40n }), message: damaged },
  { name: 'a qcow2 with an absurd header length', bytes: qcow2Image({ headerBytes: 0xffff_fff8 }), message: damaged },
  {
    name: 'a qcow2 whose tables point into each other',
    bytes: qcow2Image({}, (image) => image.writeBigUInt64BE(0x8000000000030000n, 0x30000)),
    message: damaged,
  },
  {
    name: 'a qcow2 whose data is behind its end',
    bytes: qcow2Image({}, (image) => image.writeBigUInt64BE(0x80000000ffff0000n, 0x30000)),
    message: damaged,
  },
  { name: 'a qcow2 cut off in its header', bytes: qcow2Image({}).subarray(0, 600), message: damaged },
];

function vmdk(change: (image: Buffer) => void, descriptor: string): Buffer {
  const image = Buffer.alloc(128 * 1024);
  image.write('KDMV', 0);
  image.writeUInt32LE(1, 4);
  image.writeUInt32LE(3, 8);
  image.writeBigUInt64LE(2048n, 12); // capacity in sectors
  image.writeBigUInt64LE(128n, 20); // sectors of a grain
  image.writeBigUInt64LE(1n, 28); // descriptor
  image.writeBigUInt64LE(20n, 36);
  image.writeUInt32LE(512, 44); // entries of a grain table
  image.writeBigUInt64LE(21n, 48);
  image.writeBigUInt64LE(26n, 56);
  image.writeBigUInt64LE(128n, 64);
  image.write('\n \r\n', 73, 'latin1');
  image.write(descriptor, 512);
  change(image);
  return image;
}

const VMDK_DESCRIPTOR = `# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="monolithicSparse"
RW 2048 SPARSE "disk.vmdk"
ddb.adapterType = "ide"
`;
const vmdkRefused =
  /vmdk image (is truncated or corrupt|cannot be read)|refers to another file|larger than|convert source data|virtual size of zero/;

const VMDK: readonly BadImage[] = [
  {
    name: 'a vmdk with a parent',
    bytes: vmdk(() => {}, VMDK_DESCRIPTOR.replace('ffffffff', '87654321') + `parentFileNameHint="${FOREIGN_FILE}"\n`),
    message: vmdkRefused,
  },
  {
    name: 'a vmdk of 2^63 sectors',
    bytes: vmdk((image) => image.writeBigUInt64LE(1n << 63n, 12), VMDK_DESCRIPTOR),
    message: vmdkRefused,
  },
  {
    name: 'a vmdk with grains of no size',
    bytes: vmdk((image) => image.writeBigUInt64LE(0n, 20), VMDK_DESCRIPTOR),
    message: vmdkRefused,
  },
  {
    name: 'a vmdk with huge grains',
    bytes: vmdk((image) => image.writeBigUInt64LE(1n << 40n, 20), VMDK_DESCRIPTOR),
    message: vmdkRefused,
  },
  {
    name: 'a vmdk with endless grain tables',
    bytes: vmdk((image) => image.writeUInt32LE(0xffff_ffff, 44), VMDK_DESCRIPTOR),
    message: vmdkRefused,
  },
  {
    name: 'a vmdk with its directory far away',
    bytes: vmdk((image) => image.writeBigUInt64LE(1n << 54n, 56), VMDK_DESCRIPTOR),
    message: vmdkRefused,
  },
  {
    name: 'a vmdk that is all header',
    bytes: Buffer.concat([Buffer.from('KDMV'), Buffer.alloc(2048, 0xff)]),
    message: vmdkRefused,
  },
  {
    name: 'a vmdk descriptor that names a file of the host',
    bytes: Buffer.concat([
      Buffer.from(
        VMDK_DESCRIPTOR.replace('monolithicSparse', 'monolithicFlat').replace('SPARSE "disk.vmdk"', `FLAT "${FOREIGN_FILE}" 0`),
      ),
      Buffer.alloc(2048),
    ]),
    message: /descriptor of a VMDK image/,
  },
];

function vdi(change: (image: Buffer) => void): Buffer {
  const image = Buffer.alloc(8192);
  image.write('<<< Oracle VM VirtualBox Disk Image >>>\n', 0);
  image.writeUInt32LE(0xbeda107f, 0x40);
  image.writeUInt32LE(0x00010001, 0x44);
  image.writeUInt32LE(0x190, 0x48);
  image.writeUInt32LE(1, 0x4c);
  image.writeUInt32LE(0x200, 0x154);
  image.writeUInt32LE(0x400, 0x158);
  image.writeUInt32LE(512, 0x168);
  image.writeBigUInt64LE(BigInt(MiB), 0x170);
  image.writeUInt32LE(MiB, 0x178);
  image.writeUInt32LE(1, 0x180);
  change(image);
  return image;
}

const vdiRefused = /vdi image (is truncated or corrupt|cannot be read)|larger than|convert source data|virtual size of zero/;

const VDI: readonly BadImage[] = [
  { name: 'a vdi of 2^63 bytes', bytes: vdi((image) => image.writeBigUInt64LE(1n << 63n, 0x170)), message: vdiRefused },
  { name: 'a vdi with endless blocks', bytes: vdi((image) => image.writeUInt32LE(0xffff_ffff, 0x180)), message: vdiRefused },
  { name: 'a vdi with blocks of no size', bytes: vdi((image) => image.writeUInt32LE(0, 0x178)), message: vdiRefused },
  { name: 'a vdi with a parent', bytes: vdi((image) => image.fill(7, 0x1b8, 0x1c8)), message: vdiRefused },
  {
    name: 'a vdi whose data is behind its end',
    bytes: vdi((image) => image.writeUInt32LE(0x7fff_fff0, 0x200)),
    message: vdiRefused,
  },
];

const vhdxRefused =
  /(vhdx|vpc) image (is truncated or corrupt|cannot be read)|larger than|convert source data|virtual size of zero/;

function vpc(change: (image: Buffer) => void): Buffer {
  const image = Buffer.alloc(4096);
  image.write('conectix', 0);
  image.writeUInt32BE(2, 8);
  image.writeUInt32BE(0x00010000, 12);
  image.writeBigUInt64BE(512n, 16);
  image.writeBigUInt64BE(BigInt(MiB), 40);
  image.writeBigUInt64BE(BigInt(MiB), 48);
  image.writeUInt32BE(3, 60);
  image.write('cxsparse', 512);
  image.writeBigUInt64BE(0xffff_ffff_ffff_ffffn, 520);
  image.writeBigUInt64BE(2048n, 528);
  image.writeUInt32BE(0x00010000, 536);
  image.writeUInt32BE(1, 540);
  image.writeUInt32BE(2 * MiB, 544);
  change(image);
  return image;
}

const OTHERS: readonly BadImage[] = [
  {
    name: 'a vhdx that is only its name',
    bytes: Buffer.concat([Buffer.from('vhdxfile'), Buffer.alloc(2 * MiB)]),
    message: vhdxRefused,
  },
  {
    name: 'a vhdx of noise',
    bytes: Buffer.concat([
      Buffer.from('vhdxfile'),
      Buffer.from(Array.from({ length: 1 << 20 }, (_, index) => (index * 31) & 255)),
    ]),
    message: vhdxRefused,
  },
  { name: 'a vhd with an endless table', bytes: vpc((image) => image.writeUInt32BE(0xffff_ffff, 540)), message: vhdxRefused },
  { name: 'a vhd with blocks of no size', bytes: vpc((image) => image.writeUInt32BE(0, 544)), message: vhdxRefused },
  { name: 'a vhd with its table far away', bytes: vpc((image) => image.writeBigUInt64BE(1n << 62n, 528)), message: vhdxRefused },
  { name: 'a zip archive', bytes: padded('PK\x03\x04'), message: /zip archive.*Unpack it/ },
  { name: 'a 7z archive', bytes: padded('7z\xbc\xaf\x27\x1c'), message: /7z archive.*Unpack it/ },
  { name: 'an lz4 stream', bytes: padded('\x04\x22\x4d\x18'), message: /lz4.*uncompressed/ },
  { name: 'a QED image', bytes: padded('QED\0'), message: /QED image.*qemu-img convert/ },
  { name: 'a login page', bytes: padded('\n<!DOCTYPE html>\n<html><title>Sign in</title>'), message: /web page.*login/ },
  {
    name: 'an error document',
    bytes: padded('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    message: /XML.*URL/,
  },
];

function padded(start: string): Buffer {
  return Buffer.concat([Buffer.from(start, 'latin1'), Buffer.alloc(4096)]);
}

/** Every one is refused, and leaves an empty disk. */
export const BAD_IMAGES: readonly BadImage[] = [...QCOW2, ...VMDK, ...VDI, ...OTHERS];
