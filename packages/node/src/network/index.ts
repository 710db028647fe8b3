export { createPodNetwork, type PodNetworkDeps } from './host-pod-network.ts';
export { NodePeers } from './node-peers.ts';
