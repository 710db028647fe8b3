import type { AuditEvent } from '@slipway/apiserver';
import { rotatingFile } from '../logging.ts';

/** One JSON line a request that changes something or is refused; reads would drown them. */
export function createAuditLog(file: string): (event: AuditEvent) => void {
  const destination = rotatingFile(file);
  return (event) => {
    const isRead = event.verb === 'get' || event.verb === 'list' || event.verb === 'watch';
    if (isRead && event.code < 400) return;
    destination.write(`${JSON.stringify(event)}\n`);
  };
}
