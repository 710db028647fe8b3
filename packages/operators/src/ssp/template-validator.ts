import { VirtualMachineKind } from '@slipway/api';
import { isNotFound, isObject, StatusError, type UnstructuredObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { AdmissionHandler, MetricFamily } from '@slipway/runtime';
import { TemplateKind } from './template-kind.ts';
import { brokenRules, MalformedRulesError, parseRules } from './validate-machine.ts';

const NAME = 'virtualmachine-admission.ssp.kubevirt.io';
const DELETE_NAME = 'template-admission.ssp.kubevirt.io';
const RULES = 'vm.kubevirt.io/validations';
const SKIP = 'vm.kubevirt.io/skip-validations';
const TEMPLATE = 'vm.kubevirt.io/template';

export interface TemplateValidator {
  readonly handler: AdmissionHandler;
  /** VMs that were refused since the start. */
  readonly metrics: () => readonly MetricFamily[];
}

/** Refuses VMs that break the rules of the template that they were made from. */
export function templateValidator({ client }: { readonly client: Client }): TemplateValidator {
  let rejected = 0;
  const handler: AdmissionHandler = {
    name: NAME,
    rules: [
      { group: 'kubevirt.io', resources: ['virtualmachines'], operations: ['CREATE', 'UPDATE'] },
      { group: TemplateKind.group, resources: ['templates'], operations: ['DELETE'] },
    ],

    async validate({ object, oldObject, operation, group, subresource }) {
      if (group === TemplateKind.group) await keepReferenced(client, oldObject);
      else if (object !== undefined && subresource === '' && !object.metadata.deletionTimestamp && hasRules(object)) {
        try {
          await check(client, object);
        } catch (error) {
          if (operation === 'CREATE' || error instanceof StatusError) rejected += 1;
          throw error;
        }
      }
      return [];
    },
  };
  const metrics = (): readonly MetricFamily[] => [
    {
      name: 'kubevirt_ssp_template_validator_rejected_total',
      help: 'The total number of rejected virtual machines by the template validator',
      type: 'counter',
      samples: [{ value: rejected }],
    },
  ];
  return { handler, metrics };
}

/** VMs without a template are none of its business, which is nearly all of them. */
const hasRules = ({ metadata: { annotations = {}, labels = {} } }: UnstructuredObject): boolean =>
  annotations[SKIP] === undefined &&
  [annotations[RULES], annotations[TEMPLATE], labels[TEMPLATE]].some((value) => value !== undefined);

async function check(client: Client, vm: UnstructuredObject): Promise<void> {
  const annotation = await rulesOf(client, vm);
  if (annotation === undefined) return;
  const machine = isObject(vm['spec']) ? vm['spec']['template'] : undefined;
  const failures = broken(annotation, machine);
  if (failures.length === 0) return;
  throw new StatusError({
    code: 422,
    reason: 'Invalid',
    message: `admission webhook "${NAME}" denied the request: ${failures.map(({ message }) => message).join(', ')}`,
    details: { causes: failures.map(({ field, message }) => ({ reason: 'FieldValueInvalid', field, message })) },
  });
}

function broken(annotation: string, machine: unknown) {
  try {
    return brokenRules(parseRules(annotation), machine);
  } catch (error) {
    if (!(error instanceof MalformedRulesError)) throw error;
    throw new StatusError({
      code: 400,
      reason: 'BadRequest',
      message: `admission webhook "${NAME}" denied the request: ${error.message}`,
    });
  }
}

/** The VM's own rules, else those of its template. */
async function rulesOf(client: Client, { metadata }: UnstructuredObject): Promise<string | undefined> {
  const { annotations = {}, labels = {} } = metadata;
  if (annotations[RULES] !== undefined) return annotations[RULES];
  const of = (key: string): string | undefined => labels[key] ?? annotations[key];
  const name = of(TEMPLATE);
  const namespace = of(`${TEMPLATE}.namespace`) ?? of(`${TEMPLATE}-namespace`);
  if (name === undefined || namespace === undefined) return undefined;
  try {
    const template = await client.get(TemplateKind, { namespace, name });
    return template.metadata.annotations?.['validations'];
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function keepReferenced(client: Client, template: UnstructuredObject | undefined): Promise<void> {
  const { name = '', namespace, annotations = {}, labels = {} } = template?.metadata ?? {};
  if (annotations['validations'] === undefined || labels['template.kubevirt.io/type'] !== 'base') return;
  const { items } = await client.list(VirtualMachineKind, { labelSelector: `${TEMPLATE}=${name}` });
  const users = items.filter(({ metadata }) => metadata.labels?.[`${TEMPLATE}.namespace`] === namespace);
  if (users.length === 0) return;
  const names = users.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(', ');
  throw new StatusError({
    code: 403,
    reason: 'Forbidden',
    message: `admission webhook "${DELETE_NAME}" denied the request: Template cannot be deleted, because the following VMs are referencing it for validation: ${names}`,
  });
}
