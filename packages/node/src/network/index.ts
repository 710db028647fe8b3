export { createPodNetwork, type PodNetworkDeps } from './host-pod-network.ts';
