import { isObject, type JsonObject, StatusError } from '@slipway/apimachinery';
import { type ActionContext, addCommand, type CommandHost } from '../context.ts';
import { failing } from '../failing.ts';
import { CommandFailure, print, warn } from '../io.ts';
import { collect, pairsOf } from '../pflag.ts';
import { processTemplate, type Template, undeclaredParameters } from './template-engine.ts';
import { inputOf, type NamedInput, printObject, readObject } from './template-input.ts';

const GROUP = 'template.kubevirt.io';
const VERSION = 'v1beta1';

interface ProcessFlags extends NamedInput {
  readonly param?: readonly string[];
  readonly paramsFile?: string;
  readonly local?: boolean;
  readonly create?: boolean;
  readonly printParams?: boolean;
}

interface CreateFlags {
  readonly name?: string;
  readonly vmName: string;
  readonly vmNamespace?: string;
}

const PROCESS_EXAMPLES = `  # The virtual machine of a template of the cluster, with two parameters:
  PROGRAM template process web --param CPU=4 --param MEMORY=8Gi

  # The same of a file, and make it:
  PROGRAM template process --file web.yaml --params-file params.yaml | kubectl apply -f -

  # Let the cluster make it:
  PROGRAM template process web --create

  # Which parameters there are:
  PROGRAM template process web --print-params`;

/** template process, convert and create. */
export function addTemplateCommands(host: CommandHost): void {
  const group = { ...host, program: host.program.command('template').description('Work with templates of virtual machines.') };
  addCommand<ProcessFlags>(group, {
    usage: 'process [name]',
    shown: '[name]',
    description: 'Process a VirtualMachineTemplate and print the virtual machine.',
    examples: PROCESS_EXAMPLES,
    options: (command) =>
      command
        .option('--name <string>', 'name of the template')
        .option('-f, --file <string>', 'file with the template; - is stdin')
        .option('-o, --output <string>', 'yaml or json', 'yaml')
        .option('-p, --param <stringToString>', 'value of a parameter, NAME=VALUE (repeatable)', collect)
        .option('--params-file <string>', 'file with the values, as YAML or JSON')
        .option('--local', 'fill in the parameters on this machine')
        .option('--create', 'let the cluster make the virtual machine')
        .option('--print-params', 'print the parameters of the template'),
    exclusive: [
      ['file', 'name'],
      ['file', 'local'],
      ['param', 'params-file'],
      ['create', 'file'],
      ['create', 'local'],
      ['create', 'print-params'],
    ],
    run: (context, [argument], flags) => processCommand(context, argument, flags),
  });
  addCommand<NamedInput>(group, {
    usage: 'convert [name]',
    shown: '[name]',
    description: 'Convert an OpenShift template into a VirtualMachineTemplate.',
    examples: '  # Convert a file and make the template:\n  PROGRAM template convert --file openshift.yaml | kubectl apply -f -',
    options: (command) =>
      command
        .option('--name <string>', 'name of the OpenShift template')
        .option('-f, --file <string>', 'file with the OpenShift template; - is stdin')
        .option('-o, --output <string>', 'yaml or json', 'yaml'),
    exclusive: [['file', 'name']],
    run: convert,
  });
  addCommand<CreateFlags>(group, {
    usage: 'create',
    description: 'Create a VirtualMachineTemplate from a virtual machine of the cluster.',
    examples: '  # A template of the virtual machine web:\n  PROGRAM template create --vm-name web --name web-template',
    options: (command) =>
      command
        .requiredOption('--vm-name <string>', 'name of the virtual machine')
        .option('--vm-namespace <string>', 'namespace of the virtual machine; without it the current one')
        .option('--name <string>', 'name of the template; without it a random one'),
    run: createFromVm,
  });
}

const collection = (group: string, version: string, namespace: string, plural: string): string =>
  `/apis/${group}/${version}/namespaces/${encodeURIComponent(namespace)}/${plural}`;

const templatePath = (namespace: string, name: string, group = GROUP): string =>
  `${collection(group, VERSION, namespace, 'virtualmachinetemplates')}/${encodeURIComponent(name)}`;

async function processCommand(context: ActionContext, argument: string | undefined, flags: ProcessFlags): Promise<void> {
  const { io } = context;
  const input = inputOf(argument, flags);
  if (flags.printParams === true) {
    const template = await loadTemplate(context, input);
    return printObject(io, template.spec.parameters ?? [], flags.output);
  }
  const given = flags.paramsFile === undefined ? pairsOf(flags.param ?? []) : await readParams(context, flags.paramsFile);
  if (input.name !== undefined && flags.local !== true) return processRemotely(context, input.name, given, flags);
  const template = await loadTemplate(context, input);
  for (const name of undeclaredParameters(template)) warn(io, `Warning: parameter ${name} is used and not declared`);
  const { virtualMachine, message } = processTemplate(template, given, (limit) => randomBelow(context, limit));
  if (message !== '') warn(io, message);
  printObject(io, virtualMachine, flags.output);
}

/** The program's only source of chance gives names; enough of their letters make a number. */
function randomBelow({ io }: ActionContext, limit: number): number {
  const word = io.randomName(8);
  const value = word.split('').reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 2 ** 31, 0);
  return value % limit;
}

async function readParams({ io }: ActionContext, file: string): Promise<Record<string, string>> {
  const values = await readObject(io, file, 'params file');
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  );
}

async function loadTemplate(context: ActionContext, { name, file }: { name?: string; file?: string }): Promise<Template> {
  const { client, namespace, io } = context;
  const fetch = async (of: string): Promise<unknown> => {
    const doing = `error fetching remote VirtualMachineTemplate ${namespace}/${of}: `;
    return (await failing(doing, served(client.raw({ method: 'GET', path: templatePath(namespace, of) })))).body;
  };
  const object = name === undefined ? await readObject(io, file ?? '-', 'VirtualMachineTemplate') : await fetch(name);
  if (!isTemplate(object)) throw new CommandFailure('error decoding VirtualMachineTemplate: it has no spec.virtualMachine');
  return object;
}

function isTemplate(object: unknown): object is Template {
  return isObject(object) && isObject(object['spec']) && isObject(object['spec']['virtualMachine']);
}

async function processRemotely(
  { client, namespace, io }: ActionContext,
  name: string,
  parameters: Readonly<Record<string, string>>,
  { create, output }: ProcessFlags,
): Promise<void> {
  const isCreate = create === true;
  const doing = isCreate ? 'creating VirtualMachine from' : 'processing';
  const path = `${templatePath(namespace, name, `subresources.${GROUP}`)}/${isCreate ? 'create' : 'process'}`;
  const body = { apiVersion: `subresources.${GROUP}/${VERSION}`, kind: 'ProcessOptions', parameters };
  const request = client.raw({ method: 'POST', path, body });
  const answer = (await failing(`error ${doing} remote VirtualMachineTemplate ${namespace}/${name}: `, served(request))).body;
  const virtualMachine = isObject(answer) ? answer['virtualMachine'] : undefined;
  if (!isObject(answer) || !isObject(virtualMachine)) throw new CommandFailure('the server has sent no virtual machine');
  if (!isCreate) {
    if (typeof answer['message'] === 'string' && answer['message'] !== '') warn(io, answer['message']);
    return printObject(io, virtualMachine, output);
  }
  const { kind, metadata } = virtualMachine;
  const group = String(virtualMachine['apiVersion']).split('/')[0];
  print(io, `${String(kind).toLowerCase()}.${group}/${isObject(metadata) ? String(metadata['name']) : ''} created`);
}

async function convert(context: ActionContext, [argument]: readonly string[], flags: NamedInput): Promise<void> {
  const { client, namespace, io } = context;
  const { name, file } = inputOf(argument, flags);
  const path = `${collection('template.openshift.io', 'v1', namespace, 'templates')}/${encodeURIComponent(name ?? '')}`;
  const source =
    name === undefined
      ? await readObject(io, file ?? '-', 'Template')
      : (await failing(`error fetching remote Template ${namespace}/${name}: `, client.raw({ method: 'GET', path }))).body;
  if (!isObject(source)) throw new CommandFailure('error decoding Template: it is no object');
  printObject(io, converted(source), flags.output);
}

const KEPT = ['name', 'displayName', 'description', 'value', 'generate', 'from', 'required'] as const;

/** Throws CommandFailure for a template of more than one object. */
function converted({ metadata, message, parameters, objects }: JsonObject): object {
  const found = Array.isArray(objects) ? objects : [];
  if (found.length !== 1) throw new CommandFailure(`template must contain exactly one object, found ${found.length}`);
  const pick = (value: unknown, keys: readonly string[]): object =>
    isObject(value) ? Object.fromEntries(Object.entries(value).filter(([key]) => keys.includes(key))) : {};
  return {
    apiVersion: `${GROUP}/${VERSION}`,
    kind: 'VirtualMachineTemplate',
    metadata: pick(metadata, ['name', 'namespace', 'labels', 'annotations']),
    spec: {
      ...(typeof message === 'string' && message !== '' && { message }),
      ...(Array.isArray(parameters) && parameters.length > 0 && { parameters: parameters.map((one) => pick(one, KEPT)) }),
      virtualMachine: found[0],
    },
  };
}

/** A server without the group answers with plain text: says so instead. */
async function served<T>(request: Promise<T>): Promise<T> {
  try {
    return await request;
  } catch (error) {
    if (!(error instanceof StatusError) || error.code !== 404 || error.reason === 'NotFound') throw error;
    const message = 'the server has no VirtualMachineTemplates; process a file with --file';
    throw new StatusError({ code: 404, reason: 'NotFound', message }, error);
  }
}

async function createFromVm({ client, namespace, io }: ActionContext, _: readonly string[], flags: CreateFlags): Promise<void> {
  const request = client.raw({
    method: 'POST',
    path: collection(GROUP, VERSION, namespace, 'virtualmachinetemplaterequests'),
    body: {
      apiVersion: `${GROUP}/${VERSION}`,
      kind: 'VirtualMachineTemplateRequest',
      metadata: { generateName: `${flags.vmName}-`, namespace },
      spec: {
        virtualMachineRef: { namespace: flags.vmNamespace ?? namespace, name: flags.vmName },
        ...(flags.name !== undefined && { templateName: flags.name }),
      },
    },
  });
  const { body } = await failing('error creating VirtualMachineTemplateRequest: ', served(request));
  const name = isObject(body) && isObject(body['metadata']) ? String(body['metadata']['name']) : '';
  print(io, `virtualmachinetemplaterequest.${GROUP}/${name} created`);
}
