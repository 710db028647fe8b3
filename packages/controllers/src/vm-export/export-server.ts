import { createHash, timingSafeEqual } from 'node:crypto';
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import {
  ExportVerb,
  type kubevirt,
  PersistentVolumeClaimKind,
  PodKind,
  SecretKind,
  VirtualMachineExportKind,
  VirtualMachineKind,
  VirtualMachineSnapshotContentKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import { ignoreNotFound, isObject, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { NodeConnector, OpenRequest, OpenResponse, OpenRoute } from '@slipway/runtime';
import { parseRange } from './byte-range.ts';
import { headerSecret, manifestList } from './export-manifests.ts';
import { EXPORT_PREFIX, podName, secretName, TOKEN_HEADER, TOKEN_KEY, type VmExport } from './export-plan.ts';
import { exactly, tarOf } from './tar-stream.ts';

export interface ExportRouteDeps {
  /** Acts with the platform's own rights: whoever has the token may read. */
  readonly client: Client;
  readonly nodes: NodeConnector;
  readonly now: () => number;
  /** Writes JSON values as YAML. */
  readonly writeYaml: (value: object) => string;
}

interface Disk {
  readonly vmExport: VmExport;
  readonly claim: string;
  readonly node: string;
  readonly podUid: string;
  readonly sizeBytes: number;
}

const text = (status: number, message: string): OpenResponse => ({
  status,
  headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' },
  body: `${message}\n`,
});

const PATH = /^[^/]+\/namespaces\/([^/]+)\/virtualmachineexports\/([^/]+)\/(.+)$/;

/** Answers the links of exports. Who has the export's token may read its disks and manifests, and nothing else. */
export function exportRoute(deps: ExportRouteDeps): OpenRoute {
  return {
    prefix: EXPORT_PREFIX,
    async handle(request) {
      if (request.method !== 'GET' && request.method !== 'HEAD') return text(400, 'Only GET and HEAD are answered');
      const [, namespace = '', name = '', rest = ''] = PATH.exec(request.path.slice(EXPORT_PREFIX.length)) ?? [];
      if (rest === '') return text(404, 'Not found');
      const known = await authenticate(deps, { namespace, name }, request);
      // an export that does not exist is answered like a wrong token
      if (known === undefined) return text(401, 'Unauthorized');
      if (known.vmExport.status?.phase !== 'Ready') return text(503, 'The export is not ready');
      return serve(deps, known, rest, request);
    },
  };
}

interface Known {
  readonly vmExport: VmExport;
  readonly token: string;
}

/** The export, when the request has its token. */
async function authenticate(deps: ExportRouteDeps, key: ObjectKey, { headers, query }: OpenRequest): Promise<Known | undefined> {
  const vmExport = await deps.client.get(VirtualMachineExportKind, key).catch(ignoreNotFound);
  const token = vmExport && (await tokenOf(deps, vmExport));
  const given = headers[TOKEN_HEADER] ?? query.get(TOKEN_HEADER) ?? '';
  return vmExport !== undefined && token !== undefined && isSame(given, token) ? { vmExport, token } : undefined;
}

async function tokenOf({ client }: ExportRouteDeps, vmExport: VmExport): Promise<string | undefined> {
  const key = { namespace: vmExport.metadata.namespace ?? '', name: secretName(vmExport) };
  const secret = await client.get(SecretKind, key).catch(ignoreNotFound);
  const value = secret?.data?.[TOKEN_KEY];
  const token = value === undefined ? '' : Buffer.from(value, 'base64').toString('utf8');
  return token === '' ? undefined : token;
}

/** In constant time, whatever the lengths. */
function isSame(given: string, token: string): boolean {
  const digest = (value: string): Buffer => createHash('sha256').update(value).digest();
  return timingSafeEqual(digest(given), digest(token));
}

async function serve(
  deps: ExportRouteDeps,
  { vmExport, token }: Known,
  rest: string,
  request: OpenRequest,
): Promise<OpenResponse> {
  const [, scope, manifest] = /^(internal|external)\/manifests\/(all|secret)$/.exec(rest) ?? [];
  if (manifest === 'secret') return asText(deps, headerSecret(vmExport, token), request);
  if (scope !== undefined) return asText(deps, await allManifests(deps, vmExport, scope === 'internal'), request);
  const [, claim = '', file = ''] = VOLUME_PATH.exec(rest) ?? [];
  const isOffered = vmExport.status?.links?.external?.volumes?.some(({ name }) => name === claim) ?? false;
  if (!isOffered) return text(404, 'Not found');
  const disk = await findDisk(deps, vmExport, claim, request.signal);
  return disk === undefined ? text(503, 'The exporter is not running') : serveDisk(deps, disk, file, request);
}

const VOLUME_PATH = /^volumes\/([^/]+)\/(disk\.img|disk\.img\.gz|disk\.tar\.gz|dir\/?|dir\/disk\.img)$/;
const INDEX = '<pre>\n<a href="disk.img">disk.img</a>\n</pre>\n';

function serveDisk(deps: ExportRouteDeps, disk: Disk, file: string, request: OpenRequest): Promise<OpenResponse> {
  const { sizeBytes } = disk;
  const whole = (): Promise<Readable> => readDisk(deps, disk, 0, sizeBytes, request.signal);
  switch (file) {
    case 'disk.img':
    case 'dir/disk.img':
      return rawDisk(deps, disk, request);
    case 'disk.img.gz':
      return gzipped(request, async () => exactly(await whole(), sizeBytes));
    case 'disk.tar.gz':
      return gzipped(request, async () => tarOf({ name: './disk.img', sizeBytes, modifiedMs: deps.now() }, await whole()));
    default:
      return Promise.resolve({ status: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body: INDEX });
  }
}

async function findDisk(
  { client, nodes }: ExportRouteDeps,
  vmExport: VmExport,
  claim: string,
  signal: AbortSignal,
): Promise<Disk | undefined> {
  const key = { namespace: vmExport.metadata.namespace ?? '', name: podName(vmExport) };
  const pod = await client.get(PodKind, key, { signal }).catch(ignoreNotFound);
  const [node, podUid] = [pod?.spec?.nodeName, pod?.metadata.uid];
  // a pod of that name that somebody else made holds no disks of this export
  const isOurs = pod?.metadata.ownerReferences?.some(({ uid }) => uid === vmExport.metadata.uid) ?? false;
  if (!isOurs || node === undefined || podUid === undefined) return undefined;
  const answer = await nodes.call(node, { verb: ExportVerb.info, params: { podUid, claim } }, signal);
  const sizeBytes = isObject(answer) ? answer['sizeBytes'] : undefined;
  return typeof sizeBytes === 'number' ? { vmExport, claim, node, podUid, sizeBytes } : undefined;
}

function readDisk(
  { nodes }: ExportRouteDeps,
  { node, podUid, claim }: Disk,
  offset: number,
  length: number,
  signal: AbortSignal,
): Promise<Readable> {
  return nodes.open(node, { verb: ExportVerb.read, params: { podUid, claim, offset, length } }, signal);
}

async function rawDisk(deps: ExportRouteDeps, disk: Disk, request: OpenRequest): Promise<OpenResponse> {
  const { sizeBytes, vmExport, claim } = disk;
  // the disk is held while it is exported: the same export is the same content
  const etag = `"${vmExport.metadata.uid}-${claim}-${disk.podUid}"`;
  const ifRange = request.headers['if-range'];
  const range = ifRange !== undefined && ifRange !== etag ? undefined : parseRange(request.headers['range'], sizeBytes);
  const common = { 'accept-ranges': 'bytes', etag, 'content-type': 'application/octet-stream' };
  if (range === 'unsatisfiable') return { status: 416, headers: { ...common, 'content-range': `bytes */${sizeBytes}` } };
  const { offset, length } = range ?? { offset: 0, length: sizeBytes };
  const headers = {
    ...common,
    'content-length': String(length),
    ...(range && { 'content-range': `bytes ${offset}-${offset + length - 1}/${sizeBytes}` }),
  };
  const status = range ? 206 : 200;
  if (request.method === 'HEAD') return { status, headers };
  const source = await readDisk(deps, disk, offset, length, request.signal);
  return { status, headers, body: closing(Readable.from(exactly(source, length), { objectMode: false }), source) };
}

async function gzipped(request: OpenRequest, content: () => Promise<AsyncIterable<Uint8Array>>): Promise<OpenResponse> {
  const headers = { 'content-type': 'application/gzip' };
  if (request.method === 'HEAD') return { status: 200, headers };
  const source = Readable.from(await content(), { objectMode: false });
  const gzip = createGzip({ level: 1 });
  source.once('error', (error: unknown) => gzip.destroy(error instanceof Error ? error : new Error(String(error))));
  return { status: 200, headers, body: closing(source.pipe(gzip), source) };
}

/** Ends the source when nobody reads on. */
function closing(body: Readable & { once(event: 'close', listener: () => void): unknown }, source: Readable): Readable {
  body.once('close', () => source.destroy());
  return body;
}

async function allManifests({ client }: ExportRouteDeps, vmExport: VmExport, isInternal: boolean): Promise<object> {
  const namespace = vmExport.metadata.namespace ?? '';
  const { links } = vmExport.status ?? {};
  const link = (isInternal ? links?.internal : links?.external) ?? { cert: '' };
  const claims = await Promise.all(
    (link.volumes ?? []).map(({ name }) => client.get(PersistentVolumeClaimKind, { namespace, name }).catch(ignoreNotFound)),
  );
  const found = claims.filter((claim) => claim !== undefined);
  return manifestList({ vmExport, link, claims: found, vm: await sourceVm(client, vmExport) });
}

async function sourceVm(client: Client, { metadata, spec }: VmExport): Promise<kubevirt.V1beta1VirtualMachine | undefined> {
  const key = { namespace: metadata.namespace ?? '', name: spec.source.name };
  if (spec.source.kind === 'VirtualMachine') {
    const vm = await client.get(VirtualMachineKind, key).catch(ignoreNotFound);
    return vm as kubevirt.V1beta1VirtualMachine | undefined; // the same shape, generated once per group
  }
  const snapshot = await client.get(VirtualMachineSnapshotKind, key).catch(ignoreNotFound);
  const name = snapshot?.status?.virtualMachineSnapshotContentName;
  if (name === undefined) return undefined;
  const content = await client.get(VirtualMachineSnapshotContentKind, { ...key, name }).catch(ignoreNotFound);
  return content?.spec.source.virtualMachine;
}

/** As the client wants it; YAML can also be read by who asked for nothing. */
function asText({ writeYaml }: ExportRouteDeps, value: object, { headers }: OpenRequest): OpenResponse {
  const wantsJson = (headers['accept'] ?? '').includes('application/json');
  return wantsJson
    ? { status: 200, headers: { 'content-type': 'application/json' }, body: `${JSON.stringify(value)}\n` }
    : { status: 200, headers: { 'content-type': 'application/yaml' }, body: writeYaml(value) };
}
