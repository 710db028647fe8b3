export * from './instance-link.ts';
export {
  type InstanceLink,
  type LinkedNode,
  linkNames,
  nodeLink,
  nodeNamespace,
} from './plan-instance-link.ts';
