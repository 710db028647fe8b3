export * from './facts.ts';
export { diskElement, type DiskSource, isReadOnlyDisk, type PlannedDisk, planDisks, TargetNames } from './disks.ts';
export { interfaceElement, normalizeMac, type PlannedInterface, planInterfaces } from './interfaces.ts';
export { mapMachineType } from './machine.ts';
export { type DomainPlan, planDomain, renderDomain } from './plan.ts';
export * from './shape.ts';
