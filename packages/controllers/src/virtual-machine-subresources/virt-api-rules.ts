import {
  ControllerRevisionKind,
  PersistentVolumeClaimKind,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineKind,
} from '@slipway/api';
import { accessReviewRules, allow, INFORMER_RULES, type PolicyRule } from '@slipway/runtime';

/** What the KubeVirt API does on its own account: it looks objects up for admission, and acts on VMs that were authorized. */
export const virtApiRules: readonly PolicyRule[] = [
  // admission looks up whatever a VM refers to
  ...INFORMER_RULES,
  ...accessReviewRules,
  ...allow('get', ControllerRevisionKind, PersistentVolumeClaimKind),
  ...allow('update patch', VirtualMachineKind, VirtualMachineInstanceKind),
  ...allow('update patch', [VirtualMachineKind, 'status'], [VirtualMachineInstanceKind, 'status']),
  ...allow('create delete', VirtualMachineInstanceMigrationKind),
];
