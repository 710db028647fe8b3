import {
  featureGates,
  type KubeVirt,
  KubeVirtKind,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineInstanceReplicaSetKind,
  VirtualMachineKind,
} from '@slipway/api';
import type { KubeObject, ResourceKind, UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler } from '@slipway/runtime';
import { validateKubeVirt } from '@slipway/virt';
import type { AdmissionDeps } from './deps.ts';
import { refuseFor, refusePlainly } from './refuse.ts';

const CREATE_VALIDATOR = 'kubevirt-create-validator.kubevirt.io';
const UPDATE_VALIDATOR = 'kubevirt-update-validator.kubevirt.io';
const DELETE_VALIDATOR = 'kubevirt-validator.kubevirt.io';
const HCO_VALIDATOR = 'validate-hco.kubevirt.io';
const HCO_NAME = 'kubevirt-hyperconverged';

/** The operator takes it off when everything that ran is gone. */
const FINALIZER = 'foregroundDeleteKubeVirt';

/** Kinds that keep a cautious uninstallation from going on. */
const WORKLOADS: readonly ResourceKind<KubeObject>[] = [
  VirtualMachineKind,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineInstanceReplicaSetKind,
];

const asKubeVirt = (object: UnstructuredObject): KubeVirt => object as unknown as KubeVirt; // schema-checked

/** Gates that are going, or that no longer do anything. */
function gateWarnings({ spec }: KubeVirt): readonly string[] {
  const { featureGates: listed = [] } = spec.configuration?.developerConfiguration ?? {};
  return listed.flatMap((gate) => {
    const stage = featureGates.get(gate);
    if (stage === 'Deprecated') return [`feature gate ${gate} is deprecated and will be removed in a future release`];
    if (stage === 'Discontinued') return [`feature gate ${gate} is discontinued and has no effect`];
    return stage === 'GA' ? [`feature gate ${gate} is generally available and need not be listed`] : [];
  });
}

/** Settings that are understood and no longer have their old meaning. */
function settingWarnings({ spec }: KubeVirt): readonly string[] {
  const { defaultNetworkInterface } = spec.configuration?.network ?? {};
  if (defaultNetworkInterface !== 'slirp') return [];
  return ['spec.configuration.network.defaultNetworkInterface: slirp is discontinued, masquerade takes its place'];
}

async function refuseSecond({ client }: AdmissionDeps, { metadata }: UnstructuredObject): Promise<void> {
  const { items } = await client.list(KubeVirtKind);
  const [other] = items.filter((each) => each.metadata.uid !== metadata.uid);
  if (other) refusePlainly(CREATE_VALIDATOR, `KubeVirt is already created: ${other.metadata.namespace}/${other.metadata.name}`);
}

async function refuseWithWorkloads({ client }: AdmissionDeps, { spec }: KubeVirt, webhook = DELETE_VALIDATOR): Promise<void> {
  if (spec.uninstallStrategy !== 'BlockUninstallIfWorkloadsExist') return;
  for (const kind of WORKLOADS) {
    const { items } = await client.list(kind, { limit: 1 });
    if (items.length > 0)
      refusePlainly(
        webhook,
        `Rejecting the uninstall request, since there are still ${kind.plural} present. Either delete all KubeVirt related workloads or change the uninstall strategy before uninstalling KubeVirt.`,
      );
  }
}

/** Its operator would delete the KubeVirt object: what refuses that refuses this, before anything is on its way out. */
export function hyperConvergedHandler(deps: AdmissionDeps): AdmissionHandler {
  return {
    name: 'hyperconverged',
    rules: [{ group: 'hco.kubevirt.io', resources: ['hyperconvergeds'], operations: ['DELETE'] }],

    async validate({ oldObject }) {
      if (oldObject?.metadata.name !== HCO_NAME || oldObject.metadata.deletionTimestamp !== undefined) return [];
      const { items } = await deps.client.list(KubeVirtKind, { namespace: oldObject.metadata.namespace ?? '' });
      for (const kubevirt of items) await refuseWithWorkloads(deps, kubevirt, HCO_VALIDATOR);
      return [];
    },
  };
}

/** The KubeVirt object: one per cluster, with a consistent configuration, not deleted under running guests. */
export function kubeVirtHandler(deps: AdmissionDeps): AdmissionHandler {
  return {
    name: 'kubevirt',
    rules: [{ group: 'kubevirt.io', resources: ['kubevirts'], operations: ['CREATE', 'UPDATE', 'DELETE'] }],

    async mutate({ object, operation }) {
      if (operation !== 'CREATE' || object === undefined) return undefined;
      const finalizers = [...new Set([...(object.metadata.finalizers ?? []), FINALIZER])];
      return { ...object, metadata: { ...object.metadata, finalizers } };
    },

    async validate({ object, oldObject, operation }) {
      if (operation === 'DELETE') {
        if (oldObject !== undefined && oldObject.metadata.deletionTimestamp === undefined)
          await refuseWithWorkloads(deps, asKubeVirt(oldObject));
        return [];
      }
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
      if (operation === 'CREATE') await refuseSecond(deps, object);
      refuseFor(UPDATE_VALIDATOR, validateKubeVirt(asKubeVirt(object)));
      return [...gateWarnings(asKubeVirt(object)), ...settingWarnings(asKubeVirt(object))];
    },
  };
}
