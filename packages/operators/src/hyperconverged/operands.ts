import { apiVersionOf, deepEqual, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import { CDIKind, KubeVirtKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import type { EventRecorder, Lister } from '@slipway/runtime';
import { CDI_NAME, type Fields, type HyperConverged, KUBEVIRT_NAME, SSP_NAME, SspKind } from '../kinds.ts';
import { cdiSpec, kubeVirtSpec, sspSpec, type Topology } from './operand-specs.ts';

/** A custom resource that the HyperConverged operator writes. */
export interface Operand {
  readonly component: 'KubeVirt' | 'CDI' | 'SSP';
  readonly kind: ResourceKind<KubeObject>;
  readonly name: string;
  /** Value of the label `app.kubernetes.io/component`. */
  readonly part: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly specOf: (hco: HyperConverged, topology: Topology) => Fields;
}

/** In the order in which they are written and reported. */
export const OPERANDS: readonly Operand[] = [
  { component: 'KubeVirt', kind: KubeVirtKind, name: KUBEVIRT_NAME, part: 'compute', specOf: kubeVirtSpec },
  {
    component: 'CDI',
    kind: CDIKind,
    name: CDI_NAME,
    part: 'storage',
    annotations: { 'cdi.kubevirt.io/configAuthority': '' },
    specOf: cdiSpec,
  },
  { component: 'SSP', kind: SspKind, name: SSP_NAME, part: 'schedule', specOf: sspSpec },
];

const UNINSTALL: readonly Operand['component'][] = ['SSP', 'KubeVirt', 'CDI'];

/** KubeVirt before CDI: a VM that still exists would ask for its disks again. */
export const UNINSTALL_ORDER: readonly Operand[] = UNINSTALL.flatMap((component) =>
  OPERANDS.filter((operand) => operand.component === component),
);

export const operandKey = ({ kind, name }: Operand, namespace: string): ObjectKey => ({
  namespace: kind.namespaced ? namespace : '',
  name,
});

type WithSpec = KubeObject & { spec?: unknown };

export interface OperandWriterDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly listerOf: (operand: Operand) => Lister<KubeObject>;
}

/** Keeps operands as computed, and tells edits by hand from changes of the HyperConverged. */
export class OperandWriter {
  private readonly deps: OperandWriterDeps;
  /** The server adds defaults to what is sent, so what it stored is remembered beside it. */
  private readonly written = new Map<string, { readonly sent: Fields; readonly stored: unknown }>();

  constructor(deps: OperandWriterDeps) {
    this.deps = deps;
  }

  async ensure(operand: Operand, hco: HyperConverged, topology: Topology, signal: AbortSignal): Promise<KubeObject> {
    const { client, events, listerOf } = this.deps;
    const spec = operand.specOf(hco, topology);
    const key = operandKey(operand, topology.installNamespace);
    const current: WithSpec | undefined = listerOf(operand).get(key);
    if (current === undefined) {
      const created: WithSpec = await client.create(operand.kind, render(operand, key, spec, topology), { signal });
      this.written.set(operand.component, { sent: spec, stored: created.spec });
      events.normal(hco, 'Created', `Created ${operand.component} ${operand.name}`);
      return created;
    }
    const last = this.written.get(operand.component);
    const isSameRequest = last !== undefined && deepEqual(last.sent, spec);
    if (deepEqual(current.spec, spec) || (isSameRequest && deepEqual(current.spec, last.stored))) return current;
    const updated: WithSpec = await client.update(operand.kind, { ...current, spec } as WithSpec, { signal });
    this.written.set(operand.component, { sent: spec, stored: updated.spec });
    if (updated.metadata.resourceVersion === current.metadata.resourceVersion) return updated;
    if (isSameRequest) events.warning(hco, 'Overwritten', `Overwritten ${operand.component} ${operand.name}`);
    else events.normal(hco, 'Updated', `Updated ${operand.component} ${operand.name}`);
    return updated;
  }
}

function render(operand: Operand, key: ObjectKey, spec: Fields, { version }: Topology): WithSpec {
  return {
    apiVersion: apiVersionOf(operand.kind),
    kind: operand.kind.kind,
    metadata: {
      name: key.name,
      ...(key.namespace && { namespace: key.namespace }),
      ...(operand.annotations && { annotations: { ...operand.annotations } }),
      labels: {
        app: 'kubevirt-hyperconverged',
        'app.kubernetes.io/component': operand.part,
        'app.kubernetes.io/part-of': 'hyperconverged-cluster',
        'app.kubernetes.io/managed-by': 'hco-operator',
        'app.kubernetes.io/version': version,
      },
    },
    spec,
  };
}
