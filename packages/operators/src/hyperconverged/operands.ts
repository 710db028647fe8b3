import { apiVersionOf, deepEqual, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import { AaqKind, CDIKind, KubeVirtKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import type { EventRecorder, Lister } from '@slipway/runtime';
import {
  AAQ_NAME,
  CDI_NAME,
  type Fields,
  type HyperConverged,
  KUBEVIRT_NAME,
  NETWORK_ADDONS_NAME,
  NetworkAddonsConfigKind,
  SSP_NAME,
  SspKind,
} from '../kinds.ts';
import { kubeVirtAnnotations, kubeVirtSpec } from './kubevirt-spec.ts';
import { aaqSpec, cdiSpec, networkAddonsSpec, sspSpec, wantsAwareQuotas } from './operand-specs.ts';
import type { Topology } from './topology.ts';

/** A custom resource that the HyperConverged operator writes. */
export interface Operand {
  readonly component: 'KubeVirt' | 'CDI' | 'NetworkAddonsConfig' | 'AAQ' | 'SSP';
  readonly kind: ResourceKind<KubeObject>;
  readonly name: string;
  /** Value of the label `app.kubernetes.io/component`. */
  readonly part: string;
  /** Annotations that it must have; those it must not have any more are empty here. */
  readonly annotationsOf?: (hco: HyperConverged) => Readonly<Record<string, string>>;
  /** Absent: always. One that is not wanted any more is removed. */
  readonly isWanted?: (hco: HyperConverged) => boolean;
  readonly specOf: (hco: HyperConverged, topology: Topology) => Fields;
}

/** In the order in which they are written and reported. */
export const OPERANDS: readonly Operand[] = [
  {
    component: 'KubeVirt',
    kind: KubeVirtKind,
    name: KUBEVIRT_NAME,
    part: 'compute',
    specOf: kubeVirtSpec,
    annotationsOf: kubeVirtAnnotations,
  },
  {
    component: 'CDI',
    kind: CDIKind,
    name: CDI_NAME,
    part: 'storage',
    annotationsOf: () => ({ 'cdi.kubevirt.io/configAuthority': '' }),
    specOf: cdiSpec,
  },
  {
    component: 'NetworkAddonsConfig',
    kind: NetworkAddonsConfigKind,
    name: NETWORK_ADDONS_NAME,
    part: 'network',
    specOf: networkAddonsSpec,
  },
  {
    component: 'AAQ',
    kind: AaqKind,
    name: AAQ_NAME,
    part: 'quota-management',
    isWanted: wantsAwareQuotas,
    specOf: aaqSpec,
  },
  { component: 'SSP', kind: SspKind, name: SSP_NAME, part: 'schedule', specOf: sspSpec },
];

const UNINSTALL: readonly Operand['component'][] = ['SSP', 'AAQ', 'NetworkAddonsConfig', 'KubeVirt', 'CDI'];

/** KubeVirt before CDI: a VM that still exists would ask for its disks again. */
export const UNINSTALL_ORDER: readonly Operand[] = UNINSTALL.flatMap((component) =>
  OPERANDS.filter((operand) => operand.component === component),
);

export const isWanted = (operand: Operand, hco: HyperConverged): boolean => operand.isWanted?.(hco) ?? true;

export const operandKey = ({ kind, name }: Operand, namespace: string): ObjectKey => ({
  namespace: kind.namespaced ? namespace : '',
  name,
});

/** As metrics name it. */
export const operandLabel = ({ kind, name }: Operand): string => `${kind.kind.toLowerCase()}/${name}`;

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
  /** Edits by hand that were undone, by `kind/name`. */
  readonly overwritten = new Map<string, number>();

  constructor(deps: OperandWriterDeps) {
    this.deps = deps;
  }

  async ensure(operand: Operand, hco: HyperConverged, topology: Topology, signal: AbortSignal): Promise<KubeObject> {
    const { client, events, listerOf } = this.deps;
    const spec = operand.specOf(hco, topology);
    const annotations = operand.annotationsOf?.(hco) ?? {};
    const key = operandKey(operand, topology.installNamespace);
    const current: WithSpec | undefined = listerOf(operand).get(key);
    if (current === undefined) {
      const created: WithSpec = await client.create(operand.kind, render({ operand, key, spec, annotations, topology }), {
        signal,
      });
      this.written.set(operand.component, { sent: spec, stored: created.spec });
      events.normal(hco, 'Created', `Created ${operand.component} ${operand.name}`);
      return created;
    }
    const last = this.written.get(operand.component);
    const isSameRequest = last !== undefined && deepEqual(last.sent, spec);
    const hasSpec = deepEqual(current.spec, spec) || (isSameRequest && deepEqual(current.spec, last.stored));
    const hasAnnotations = Object.entries(annotations).every(([name, value]) => current.metadata.annotations?.[name] === value);
    if (hasSpec && hasAnnotations) return current;
    const metadata = { ...current.metadata, annotations: { ...current.metadata.annotations, ...annotations } };
    const updated: WithSpec = await client.update(operand.kind, { ...current, metadata, spec } as WithSpec, { signal });
    this.written.set(operand.component, { sent: spec, stored: updated.spec });
    if (updated.metadata.resourceVersion !== current.metadata.resourceVersion) this.report(operand, hco, isSameRequest);
    return updated;
  }

  private report(operand: Operand, hco: HyperConverged, isByHand: boolean): void {
    const { component, name } = operand;
    if (!isByHand) return this.deps.events.normal(hco, 'Updated', `Updated ${component} ${name}`);
    const label = operandLabel(operand);
    this.overwritten.set(label, (this.overwritten.get(label) ?? 0) + 1);
    this.deps.events.warning(hco, 'Overwritten', `Overwritten ${component} ${name}`);
  }
}

interface Rendered {
  readonly operand: Operand;
  readonly key: ObjectKey;
  readonly spec: Fields;
  readonly annotations: Readonly<Record<string, string>>;
  readonly topology: Topology;
}

function render({ operand, key, spec, annotations, topology }: Rendered): WithSpec {
  return {
    apiVersion: apiVersionOf(operand.kind),
    kind: operand.kind.kind,
    metadata: {
      name: key.name,
      ...(key.namespace && { namespace: key.namespace }),
      ...(Object.keys(annotations).length > 0 && { annotations: { ...annotations } }),
      labels: {
        app: 'kubevirt-hyperconverged',
        'app.kubernetes.io/component': operand.part,
        'app.kubernetes.io/part-of': 'hyperconverged-cluster',
        'app.kubernetes.io/managed-by': 'hco-operator',
        'app.kubernetes.io/version': topology.version,
      },
    },
    spec,
  };
}
