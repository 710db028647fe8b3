import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { type ClusterConfig, clusterConfig } from '../config.ts';
import { defaultInstance } from '../defaults/default-instance.ts';
import { renderInstance } from '../defaults/render-instance.ts';
import { RECORDED_CONFIGS, RECORDED_INSTANCETYPES } from './recorded-cluster.ts';

/** One recorded case; a plain VMI is accepted in its place. */
export interface GoldenCase {
  readonly name?: string;
  readonly config?: string | kubevirt.KubeVirtConfiguration;
  readonly input?: VirtualMachine | VirtualMachineInstance;
  readonly context?: Readonly<Record<string, unknown>>;
  readonly kind?: string;
}
