import type { AuditEvent } from '@slipway/apiserver';
import { type Rotation, rotatingFile } from '../logging.ts';

/** One JSON line for each request that the audit policy wants recorded. */
export function createAuditLog(file: string, rotation: Rotation): (event: AuditEvent) => void {
  const destination = rotatingFile(file, rotation);
  return (event) => {
    if (event.level !== 'None') destination.write(`${JSON.stringify(event)}\n`);
  };
}
