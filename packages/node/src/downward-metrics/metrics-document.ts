/** What a guest is told of its host and of itself. */
export interface DownwardMetrics {
  readonly hostName: string;
  readonly timeSeconds: number;
  readonly cpuCount: number;
  /** Of all processors of the host. */
  readonly hostCpuSeconds: number;
  readonly memoryTotalKiB: number;
  readonly memoryFreeKiB: number;
  readonly memoryAvailableKiB: number;
  readonly swapTotalKiB: number;
  readonly swapFreeKiB: number;
  readonly pagedInKiB: number;
  readonly pagedOutKiB: number;
  /** Of QEMU. */
  readonly guestCpuSeconds: number;
  readonly guestCpus: number;
  readonly guestMemoryKiB: number;
}

type Row = readonly [name: string, type: string, unit: string | undefined, value: string | number];

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

function elements(context: 'host' | 'vm', rows: readonly Row[]): string {
  return rows
    .map(([name, type, unit, value]) => {
      const attributes = `type="${type}" context="${context}"${unit === undefined ? '' : ` unit="${unit}"`}`;
      return `  <metric ${attributes}>\n    <name>${name}</name>\n    <value>${escaped(String(value))}</value>\n  </metric>\n`;
    })
    .join('');
}

/** The document in the format of vhostmd, which tools in guests know. Pure. */
export function metricsDocument(metrics: DownwardMetrics): string {
  const usedKiB = metrics.memoryTotalKiB - metrics.memoryAvailableKiB;
  const host: readonly Row[] = [
    ['HostName', 'string', undefined, metrics.hostName],
    ['HostSystemInfo', 'string', undefined, 'linux'],
    ['VirtualizationVendor', 'string', undefined, 'slipway'],
    ['Time', 'int64', 's', Math.floor(metrics.timeSeconds)],
    ['NumberOfPhysicalCPUs', 'uint64', undefined, metrics.cpuCount],
    ['TotalCPUTime', 'real64', 's', metrics.hostCpuSeconds.toFixed(2)],
    ['FreePhysicalMemory', 'uint64', 'KiB', metrics.memoryFreeKiB],
    ['FreeVirtualMemory', 'uint64', 'KiB', metrics.memoryAvailableKiB + metrics.swapFreeKiB],
    ['MemoryAllocatedToVirtualServers', 'uint64', 'KiB', usedKiB],
    ['UsedVirtualMemory', 'uint64', 'KiB', usedKiB + metrics.swapTotalKiB - metrics.swapFreeKiB],
    ['PagedInMemory', 'uint64', 'KiB', metrics.pagedInKiB],
    ['PagedOutMemory', 'uint64', 'KiB', metrics.pagedOutKiB],
  ];
  const guest: readonly Row[] = [
    ['TotalCPUTime', 'real64', 's', metrics.guestCpuSeconds.toFixed(2)],
    ['ResourceProcessorLimit', 'uint64', undefined, metrics.guestCpus],
    ['PhysicalMemoryAllocatedToVirtualSystem', 'uint64', 'KiB', metrics.guestMemoryKiB],
    ['ResourceMemoryLimit', 'uint64', 'KiB', metrics.guestMemoryKiB],
  ];
  return `<metrics>\n${elements('host', host)}${elements('vm', guest)}</metrics>\n`;
}

/** Size of a metrics disk. */
export const METRICS_DISK_BYTES = 256 * 1024;
const HEADER_BYTES = 16;
const IS_BUSY = 1;

/** Header of vhostmd's disk: signature, whether it is being written, sum of the bytes, length; big endian. */
function diskHeader(body: Buffer, flag: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('mvbd', 0, 'latin1');
  header.writeUInt32BE(flag, 4);
  header.writeUInt32BE(
    body.reduce((sum, byte) => (sum + byte) >>> 0, 0),
    8,
  );
  header.writeUInt32BE(body.length, 12);
  return header;
}

/** The writes, in order, by which a document replaces another on a disk: a reader sees the busy flag meanwhile. */
export function diskWrites(document: string): readonly { readonly position: number; readonly data: Buffer }[] {
  const body = Buffer.from(document, 'utf8').subarray(0, METRICS_DISK_BYTES - HEADER_BYTES);
  return [
    { position: 0, data: diskHeader(body, IS_BUSY) },
    { position: HEADER_BYTES, data: body },
    { position: 0, data: diskHeader(body, 0) },
  ];
}

/** Parser of what guests write to the metrics port, bounded: one answer per request line. */
export class RequestReader {
  private text = '';

  /** How many valid and invalid requests these bytes complete. */
  read(chunk: string): readonly ('metrics' | 'invalid')[] {
    const MAX_REQUEST = 64;
    this.text += chunk;
    const answers: ('metrics' | 'invalid')[] = [];
    for (let end = this.text.indexOf('\n\n'); end >= 0; end = this.text.indexOf('\n\n')) {
      answers.push(this.text.slice(0, end) === 'GET /metrics/XML' ? 'metrics' : 'invalid');
      this.text = this.text.slice(end + 2);
    }
    if (this.text.length > MAX_REQUEST) {
      this.text = '';
      answers.push('invalid');
    }
    return answers;
  }
}
