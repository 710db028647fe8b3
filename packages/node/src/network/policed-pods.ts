import { join } from 'node:path';
import { networkDirectory, podRecords } from './pod-records.ts';

/** A pod of this node that has second networks, as they were made. */
export interface PolicedPod {
  readonly podUid: string;
  /** Name of its network namespace. */
  readonly netns: string;
  readonly links: readonly {
    /** Name of the link in the pod. */
    readonly link: string;
    /** `namespace/name` of the definition. */
    readonly network: string;
    /** Whether frames pass a bridge in the pod, where rules can stand. */
    readonly isBridged: boolean;
  }[];
}

/** What policies for second networks can hold on this node; `stateDir` is that of the node. */
export async function policedPods(stateDir: string): Promise<readonly PolicedPod[]> {
  const records = await podRecords(stateDir).list();
  return records.flatMap(({ podUid, netns, attachments }) => {
    const links = attachments.flatMap(({ attachment, networkName, device, plugin }) =>
      networkName === undefined
        ? []
        : [{ link: attachment.ifname, network: networkName, isBridged: device === undefined && plugin === undefined }],
    );
    return links.length > 0 ? [{ podUid, netns, links }] : [];
  });
}

/** Where the names of namespaces with rules of policies are kept, beside the records. */
export const policedFile = (stateDir: string): string => join(networkDirectory(stateDir), 'policed.json');
