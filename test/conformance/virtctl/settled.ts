// Where KubeVirt 1.9 settles a recording of an older release otherwise: what the recorded case has to be then.
import { isObject } from '@slipway/apimachinery';
import type { RecordedRequest } from './recording-server.ts';

export interface RecordedCase {
  readonly name: string;
  readonly argv: readonly string[];
  readonly requests: readonly RecordedRequest[];
  /** What the cluster holds besides the objects of every case. */
  readonly precondition?: string;
  readonly exitCode: number | string;
  readonly stdout: string;
}

interface Rule {
  /** In docs/dev/kubevirt-differences.md. */
  readonly because: string;
  readonly applies: (command: string, recorded: RecordedCase) => boolean;
  readonly settle: (recorded: RecordedCase) => RecordedCase;
}

const withRequests = (recorded: RecordedCase, requests: readonly RecordedRequest[]): RecordedCase => ({ ...recorded, requests });

const RULES: readonly Rule[] = [
  {
    because: 'a volume is added to the VM, which keeps it; an instance is asked where there is no VM',
    applies: (command) => command === 'addvolume' || command === 'removevolume',
    settle: (recorded) =>
      withRequests(
        recorded,
        recorded.requests.map((request) => ({
          ...request,
          path: request.path.replace(/virtualmachineinstances(\/[^/]+\/(add|remove)volume)$/, 'virtualmachines$1'),
        })),
      ),
  },
  {
    because: 'a service finds the guest by its id and belongs to what it exposes; the version of the server is not asked for',
    applies: (command) => command === 'expose',
    settle: (recorded) =>
      withRequests(
        recorded,
        recorded.requests
          .filter(({ path }) => path !== '/version')
          .map((request) => (request.method === 'POST' ? { ...request, body: modernService(request.body, recorded) } : request)),
      ),
  },
  {
    because: 'an export that was there before the download stays',
    applies: (command, { argv }) =>
      command === 'vmexport' && argv[2] === 'download' && !argv.some((word) => /^--(vm|pvc|snapshot|delete-vme)(=|$)/.test(word)),
    settle: (recorded) => ({
      ...withRequests(
        recorded,
        recorded.requests.filter(({ method }) => method !== 'DELETE'),
      ),
      stdout: recorded.stdout.replace(/^VirtualMachineExport .* deleted succesfully\n/m, ''),
    }),
  },
  {
    because: 'console warns of a paused guest, as vnc does',
    applies: (command) => command === 'console',
    settle: (recorded) => {
      const [stream] = recorded.requests;
      if (stream === undefined) return recorded;
      const path = stream.path.replace('/apis/subresources.', '/apis/').replace(/\/console$/, '');
      return withRequests(recorded, [...recorded.requests, { method: 'GET', path, response: { code: 200 } }]);
    },
  },
  {
    because: 'streams of pods go over WebSockets, and the volume mode is read once',
    applies: (command) => command === 'guestfs',
    settle: (recorded) =>
      withRequests(
        recorded,
        recorded.requests.map((request) => (request.path.endsWith('/attach') ? { ...request, method: 'GET' } : request)),
      ),
  },
];

/** The service that 1.9 makes for the object of the command line. */
function modernService(body: unknown, { argv, requests }: RecordedCase): unknown {
  if (!isObject(body) || !isObject(body['spec']) || !isObject(body['metadata'])) return body;
  const [exposed] = requests;
  const plural = exposed?.path.split('/').at(-2) ?? '';
  const name = argv[3] ?? '';
  const isSet = plural === 'virtualmachineinstancereplicasets';
  const kinds: Readonly<Record<string, string>> = {
    virtualmachines: 'VirtualMachine',
    virtualmachineinstances: 'VirtualMachineInstance',
    virtualmachineinstancereplicasets: 'VirtualMachineInstanceReplicaSet',
  };
  const uid = '33333333-3333-4333-8333-333333333333'; // that of every object that the recordings are about
  const { ipFamilies, ipFamilyPolicy } = body['spec'];
  return {
    ...body,
    metadata: {
      ...body['metadata'],
      ownerReferences: [
        { apiVersion: 'kubevirt.io/v1', kind: kinds[plural], name, uid, controller: true, blockOwnerDeletion: false },
      ],
    },
    spec: {
      ...body['spec'],
      ...(!isSet && { selector: { 'vmi.kubevirt.io/id': name } }),
      ...(Array.isArray(ipFamilies) &&
        ipFamilies.length > 1 &&
        ipFamilyPolicy === undefined && { ipFamilyPolicy: 'PreferDualStack' }),
    },
  };
}

/** The case as KubeVirt 1.9 would have been recorded. */
export function settled(recorded: RecordedCase): RecordedCase {
  const command = recorded.argv[1] ?? '';
  return RULES.filter(({ applies }) => applies(command, recorded)).reduce((result, { settle }) => settle(result), recorded);
}
