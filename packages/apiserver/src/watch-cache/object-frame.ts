import type { WatchFrame } from '../pipeline/request.ts';

/** One event of a watch. Its encoded form is made once, however many watchers are told. */
export class ObjectFrame implements WatchFrame {
  readonly type: WatchFrame['type'];
  readonly source: WatchFrameSource;
  private encoded: Buffer | undefined;
  private lineAt = 0;

  constructor(type: WatchFrame['type'], source: WatchFrameSource) {
    this.type = type;
    this.source = source;
  }

  get object(): unknown {
    return this.source.object;
  }

  get line(): Buffer {
    const { chunk } = this;
    return chunk.subarray(this.lineAt, chunk.length - 2);
  }

  get chunk(): Buffer {
    if (this.encoded !== undefined) return this.encoded;
    const line = `{"type":"${this.type}","object":${this.source.json}}\n`;
    const length = Buffer.byteLength(line).toString(16);
    this.lineAt = length.length + 2;
    this.encoded = Buffer.from(`${length}\r\n${line}\r\n`);
    return this.encoded;
  }
}

export interface WatchFrameSource {
  readonly json: string;
  /** Frozen. */
  readonly object: unknown;
}

/** A frame of an object that exists for one watcher alone (a table row, a bookmark, an error). */
export const frameOfValue = (type: WatchFrame['type'], object: unknown): ObjectFrame =>
  new ObjectFrame(type, { object, json: JSON.stringify(object) });
