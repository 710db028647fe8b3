import { StatusError } from '@slipway/apimachinery';
import type { Cause } from '@slipway/virt';

const denied = (webhook: string, message: string): string => `admission webhook "${webhook}" denied the request: ${message}`;

/** Throws 422 with the causes when there are any, worded as KubeVirt's webhook of that name would. */
export function refuseFor(webhook: string, causes: readonly Cause[]): void {
  if (causes.length === 0) return;
  throw new StatusError({
    code: 422,
    reason: 'Invalid',
    message: denied(webhook, causes.map(({ message }) => message).join(', ')),
    details: { causes: causes.map((cause) => ({ ...cause })) },
  });
}

/** KubeVirt-compat: some refusals are plain 400s without reason and causes. */
export function refusePlainly(webhook: string, message: string): never {
  throw new StatusError({ code: 400, message: denied(webhook, message) });
}
