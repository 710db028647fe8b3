import { badRequest, conflict, notFound, StatusError } from '@slipway/apimachinery';

// KubeVirt-compat: its answers name the kind in singular where Kubernetes would name the resource.
const VM = { resource: 'virtualmachine', group: 'kubevirt.io' };
const VMI = { resource: 'virtualmachineinstance', group: 'kubevirt.io' };

export const vmConflict = (name: string, message: string): StatusError => conflict(VM, name, message);
export const vmiConflict = (name: string, message: string): StatusError => conflict(VMI, name, message);
export const vmNotFound = (name: string): StatusError => notFound(VM, name);
export const vmiNotFound = (name: string): StatusError => notFound(VMI, name);

export function vmiForbidden(name: string, message: string): StatusError {
  return new StatusError({
    code: 403,
    reason: 'Forbidden',
    message: `virtualmachineinstance.kubevirt.io "${name}" is forbidden: ${message}`,
    details: { name, group: VMI.group, kind: VMI.resource },
  });
}

/** A feature that is off, or that this version does not have. */
export const gateClosed = (gate: string): StatusError =>
  badRequest(`Unable to perform the request because the ${gate} feature gate is not enabled.`);
