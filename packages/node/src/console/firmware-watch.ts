/** What EFI firmware says on the serial console of a boot loader that its keys do not vouch for. */
const REFUSAL = /BdsDxe: failed to load (Boot[0-9A-F]{4} "[^"\r\n]{0,120}")[^\r\n]{0,400}: (?:Access Denied|Security Violation)/;
/** Firmware speaks before anything else does; what comes later is not its word. */
const WATCHED_BYTES = 64 * 1024;
const KEPT = 1024;

/**
 * Watches the first output of a guest with secure boot for a refused boot loader. The console is all that firmware tells
 * the outside, and it is under the guest's control afterwards: a hint, not a proof.
 */
export class FirmwareWatch {
  private seenBytes = 0;
  private tail = '';

  /** The boot entry that was refused, once. */
  see(chunk: Uint8Array): string | undefined {
    if (this.seenBytes >= WATCHED_BYTES) return undefined;
    this.seenBytes += chunk.length;
    const text = this.tail + Buffer.from(chunk).toString('latin1');
    const entry = REFUSAL.exec(text)?.[1];
    if (entry !== undefined) this.seenBytes = WATCHED_BYTES;
    this.tail = text.slice(-KEPT);
    return entry;
  }
}
