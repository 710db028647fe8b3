import type { Pod } from '@slipway/api';
import { controllerOf } from '@slipway/apimachinery';

/** What a pod is to the layer. */
export type PodGroup = 'cluster' | 'infrastructure' | 'node' | 'images' | 'guest' | 'other';

/** For people. */
export const GROUP_TEXT: Readonly<Record<PodGroup, string>> = {
  cluster: 'cluster service',
  infrastructure: 'virtualization',
  node: 'virtualization (each node)',
  images: 'images and disks',
  guest: 'guest',
  other: 'other',
};

const GUESTS = ['virt-launcher', 'hotplug-disk'];
const NODE_PARTS = ['virt-handler', 'bridge-marker', 'kube-cni-linux-bridge-plugin', 'hostpath-provisioner-csi'];
const IMAGES = 'containerized-data-importer';
/** Written by HyperConverged, and by KubeVirt on its own parts. */
const PARTS = ['hyperconverged-cluster', 'kubevirt-hyperconverged'];

/** Of CDI's workers, where their labels do not say it. */
const WORKER_NAME = /^(?:poller-.*-cron|importer|cdi-upload|cdi-clone)-/;

/** Sorts a pod by its labels, its owner and, where clusters label nothing, its name. Pure. */
export function groupOf(pod: Pod): PodGroup {
  const { labels = {}, name = '' } = pod.metadata;
  const kubevirt = labels['kubevirt.io'] ?? '';
  if (GUESTS.includes(kubevirt)) return 'guest';
  if (NODE_PARTS.some((part) => kubevirt === part || name.startsWith(`${part}-`))) return 'node';
  if (labels['cdi.kubevirt.io'] !== undefined || WORKER_NAME.test(name)) return 'images';
  return groupOfService(pod, kubevirt);
}

function groupOfService(pod: Pod, kubevirt: string): PodGroup {
  const { labels = {}, annotations = {} } = pod.metadata;
  const isPart = kubevirt.startsWith('virt-') || labels['app'] === IMAGES;
  if (isPart || PARTS.includes(labels['app.kubernetes.io/part-of'] ?? '')) return 'infrastructure';
  // a node's own pods run whatever its taints are
  const isOfNode = controllerOf(pod)?.kind === 'DaemonSet' || annotations['kubernetes.io/config.mirror'] !== undefined;
  return isOfNode ? 'cluster' : 'other';
}

/** Operators are placed by their Subscription, not by HyperConverged. Pure. */
export const isOperator = ({ metadata }: Pod): boolean =>
  /-operator-/.test(metadata.name ?? '') || /^hco-(?:operator|webhook)/.test(metadata.name ?? '');
