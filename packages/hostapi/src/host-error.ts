/** A program of the host, or a call into libvirt or QEMU, failed. */
export class HostError extends Error {
  /** Program and first arguments, or the name of the remote procedure. */
  readonly command: string;
  /** Exit status of a program, or the error code of libvirt; undefined when it never ended by itself. */
  readonly exitCode: number | undefined;
  /** Last part of what the program said; bounded. */
  readonly stderrTail: string;

  constructor(message: string, details: { command: string; exitCode?: number; stderrTail?: string; cause?: unknown }) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'HostError';
    this.command = details.command;
    this.exitCode = details.exitCode;
    this.stderrTail = details.stderrTail ?? '';
  }
}
