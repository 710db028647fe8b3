import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { type Cause, duplicate, invalid, notFound, required, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;
type List = 'gpus' | 'hostDevices';

const GATES: Readonly<Record<List, string>> = { gpus: 'GPUsWithDRA', hostDevices: 'HostDevicesWithDRA' };

interface Use {
  readonly field: string;
  readonly claimName: string | undefined;
  readonly requestName: string | undefined;
}

function checkUse({ field, claimName, requestName }: Use, claims: ReadonlySet<string>): readonly Cause[] {
  return [
    ...when(!claimName, () => required(`${field}.claimName`, `${field}.claimName must be set`)),
    ...when(!requestName, () => required(`${field}.requestName`, `${field}.requestName must be set`)),
    ...when(Boolean(claimName) && !claims.has(claimName ?? ''), () =>
      notFound(`${field}.claimName`, `claim ${claimName} is not listed in resourceClaims`),
    ),
  ];
}

function checkDevices(path: string, spec: Spec, list: List, config: ClusterConfig): readonly Cause[] {
  const devices = spec.domain.devices[list] ?? [];
  const claimed = devices.filter(({ claimName, requestName }) => claimName !== undefined || requestName !== undefined);
  if (claimed.length === 0) return [];
  const field = `${path}.domain.devices.${list}`;
  const gate = GATES[list];
  if (!config.hasGate(gate)) return [invalid(field, `${gate} feature gate is not enabled in kubevirt-config`)];
  const claims = new Set((spec.resourceClaims ?? []).map(({ name }) => name));
  const pairs = claimed.map(({ claimName, requestName }) => `${claimName}/${requestName}`);
  return [
    ...when(claimed.length < devices.length, () =>
      invalid(field, `${field} may not mix devices of device plugins with devices of resource claims`),
    ),
    ...devices.flatMap(({ claimName, requestName, deviceName }, index) =>
      deviceName || !claimed.includes(devices[index] ?? { name: '' })
        ? []
        : checkUse({ field: `${field}[${index}]`, claimName, requestName }, claims),
    ),
    ...when(new Set(pairs).size < pairs.length, () =>
      duplicate(field, `${field} uses the same request of a claim more than once`),
    ),
  ];
}

function checkNetworks(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const networks = spec.networks ?? [];
  if (!networks.some(({ resourceClaim }) => resourceClaim)) return [];
  const field = `${path}.networks`;
  if (!config.hasGate('NetworkDevicesWithDRA'))
    return [invalid(field, 'NetworkDevicesWithDRA feature gate is not enabled in kubevirt-config')];
  const claims = new Set((spec.resourceClaims ?? []).map(({ name }) => name));
  return [
    ...when(
      networks.some(({ multus }) => multus),
      () => invalid(field, 'networks of resource claims and multus networks may not be mixed'),
    ),
    ...networks.flatMap(({ name, resourceClaim }, index) => {
      if (!resourceClaim) return [];
      const nic = (spec.domain.devices.interfaces ?? []).find((each) => each.name === name);
      const { claimName, requestName } = resourceClaim as { claimName?: string; requestName?: string }; // both optional on the wire
      return [
        ...when(nic !== undefined && !nic.sriov && !nic.binding, () =>
          invalid(`${field}[${index}]`, `network ${name} of a resource claim needs an SR-IOV interface or a binding plugin`),
        ),
        ...checkUse({ field: `${field}[${index}].resourceClaim`, claimName, requestName }, claims),
      ];
    }),
  ];
}

/** Devices and networks that come from dynamic resource allocation. */
export function checkClaimedDevices(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  return [
    ...checkDevices(path, spec, 'gpus', config),
    ...checkDevices(path, spec, 'hostDevices', config),
    ...checkNetworks(path, spec, config),
  ];
}
