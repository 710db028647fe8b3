export { createPodNetwork, type PodNetworkDeps } from './host-pod-network.ts';
export { gatewaysOf, POD_NETWORKS } from './pod-networks.ts';
export { hostNames } from './host-names.ts';
export { attachedNetworks, networkStatusOf } from './network-status.ts';
export { policedFile, type PolicedPod, policedPods } from './policed-pods.ts';
export { parseCidr } from './cidr.ts';
export { NodePeers } from './node-peers.ts';
export { ARRIVED_MARK } from './arrived.ts';
