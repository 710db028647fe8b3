import { NodeKind } from '@slipway/api';
import { StatusError, type UnstructuredObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { AdmissionHandler } from '@slipway/runtime';
import { type Fields, HCO_NAME, type HyperConverged, HyperConvergedKind } from '../kinds.ts';
import { gateWarnings } from './feature-gates.ts';
import { completeHyperConverged } from './complete-hyperconverged.ts';
import { convertHyperConverged } from './convert-versions.ts';
import { cdiSpec, networkAddonsSpec, sspSpec } from './operand-specs.ts';
import { kubeVirtSpec } from './kubevirt-spec.ts';
import type { Topology } from './topology.ts';
import { findFaults } from './validate-hyperconverged.ts';

const VALIDATOR = 'validate-hco.kubevirt.io';
const NAMESPACE_VALIDATOR = 'mutate-ns-hco.kubevirt.io';
const STILL_THERE = 'HyperConverged CR is still present, please remove it before deleting the containing hcoNamespace';
const WORKERS = 'node-role.kubernetes.io/worker';
/** What an operand's spec does not depend on is left open. */
const ANY: Topology = {
  installNamespace: '',
  version: '',
  controlPlaneNodes: 1,
  workers: 1,
  controlPlaneArchitectures: [],
  workloadArchitectures: [],
};

/** Defaults and checks the HyperConverged, and keeps the namespace that it is in. */
export function hyperConvergedAdmission({ client }: { readonly client: Client }): AdmissionHandler {
  return {
    name: VALIDATOR,
    rules: [
      { group: 'hco.kubevirt.io', resources: ['hyperconvergeds'], operations: ['CREATE', 'UPDATE'] },
      { group: '', resources: ['namespaces'], operations: ['DELETE'] },
    ],

    async mutate({ object, operation, group, subresource }) {
      if (group === '' || object === undefined || subresource !== '' || object.metadata.deletionTimestamp) return undefined;
      if (operation === 'CREATE') return completeHyperConverged(object, undefined);
      const { items } = await client.list(NodeKind, { labelSelector: WORKERS, limit: 2 });
      return completeHyperConverged(object, items.length);
    },

    async validate({ object, oldObject, operation, group, subresource }) {
      if (group === '') await keepNamespace(client, operation === 'DELETE' ? oldObject : undefined);
      else if (object !== undefined && subresource === '' && !object.metadata.deletionTimestamp) return check(object);
      return [];
    },
  };
}

async function keepNamespace(client: Client, namespace: UnstructuredObject | undefined): Promise<void> {
  const name = namespace?.metadata.name;
  if (name === undefined || namespace?.metadata.deletionTimestamp) return;
  const { items } = await client.list(HyperConvergedKind, { namespace: name });
  if (items.some(({ metadata }) => metadata.name === HCO_NAME)) throw denied(NAMESPACE_VALIDATOR, STILL_THERE);
}

function check(object: UnstructuredObject): readonly string[] {
  const hco = convertHyperConverged(object, 'v1') as HyperConverged; // its schema has been checked
  const faults = [...findFaults(hco), ...operandFaults(hco)];
  if (faults.length > 0) throw denied(VALIDATOR, faults.join('; '));
  return gateWarnings(hco.spec);
}

/** Operands that cannot be computed would fail the reconciliation later. */
function operandFaults(hco: HyperConverged): readonly string[] {
  const specs: readonly ((hco: HyperConverged, topology: Topology) => Fields)[] = [
    kubeVirtSpec,
    cdiSpec,
    networkAddonsSpec,
    sspSpec,
  ];
  return specs.flatMap((specOf) => {
    try {
      specOf(hco, ANY);
      return [];
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  });
}

const denied = (webhook: string, reason: string): StatusError =>
  new StatusError({ code: 403, reason: 'Forbidden', message: `admission webhook "${webhook}" denied the request: ${reason}` });
