import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import { type BackendDeps, callApiService } from './call-api-service.ts';
import { serviceOf } from './plan-api-services.ts';

/** What a backend said when it was last asked for its discovery document. */
export interface ProbeResult {
  readonly isPassed: boolean;
  readonly message: string;
}

/** OpenAPI documents of one group and version that another server answers. */
export interface RemoteDocuments {
  /** Swagger 2.0, reduced to paths of the group and version and to what they refer to by name. */
  readonly v2: { readonly paths: Record<string, unknown>; readonly definitions: Record<string, unknown> } | undefined;
  /** OpenAPI 3.0 as the backend made it. */
  readonly v3: string | undefined;
}

/** The identity in which this server asks backends on its own account. */
const AGGREGATOR: UserInfo = { username: 'system:aggregator', groups: ['system:masters'] };
const PROBE_TIMEOUT_MS = 5_000;
const PROBE_EVERY_MS = 30_000;
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;

interface Remote {
  probedAtMs: number;
  /** Changes with whatever makes an earlier answer worthless. */
  generation: string;
  result: ProbeResult | undefined;
  documents: RemoteDocuments | undefined;
  isRunning: boolean;
}

export interface RemoteApisDeps extends BackendDeps {
  readonly nowMs: () => number;
  /** Called when a backend has come, gone or changed its documents. */
  readonly onChange: () => void;
}

/** Asks the servers behind APIServices from time to time whether they answer, and for their documents. */
export class RemoteApis {
  /** Rises when the documents of some backend change. */
  generation = 0;
  private readonly deps: RemoteApisDeps;
  private readonly remotes = new Map<string, Remote>();
  private readonly abort = new AbortController();
  private timer: NodeJS.Timeout | undefined;

  constructor(deps: RemoteApisDeps) {
    this.deps = deps;
  }

  /** The last answer of a backend; asks it when the answer is old. Undefined until the first one is there. */
  probe(apiService: UnstructuredObject): ProbeResult | undefined {
    const { uid = '', name = '' } = apiService.metadata;
    const generation = `${uid} ${JSON.stringify(apiService['spec'])}`;
    let remote = this.remotes.get(name);
    if (remote === undefined || remote.generation !== generation) {
      remote = { generation, probedAtMs: Number.NEGATIVE_INFINITY, result: undefined, documents: undefined, isRunning: false };
      this.remotes.set(name, remote);
    }
    if (!remote.isRunning && this.deps.nowMs() - remote.probedAtMs >= PROBE_EVERY_MS) this.ask(remote, apiService);
    return remote.result;
  }

  /** Forgets what a backend said: its endpoints have changed. */
  endpointsChanged(namespace: string, name: string): void {
    for (const { object } of this.apiServices()) {
      const service = serviceOf(object);
      const remote = this.remotes.get(object.metadata.name ?? '');
      if (remote !== undefined && service?.namespace === namespace && service.name === name) {
        remote.probedAtMs = Number.NEGATIVE_INFINITY;
      }
    }
  }

  /** Drops backends that no APIService names any more; asks the others again later. */
  keepOnly(names: ReadonlySet<string>): void {
    for (const [name, remote] of this.remotes) {
      if (names.has(name)) continue;
      this.remotes.delete(name);
      if (remote.documents !== undefined) this.generation += 1;
    }
    if (this.remotes.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    } else this.timer ??= setInterval(() => this.deps.onChange(), PROBE_EVERY_MS).unref();
  }

  /** Documents of the backends that answer, by name of the APIService. */
  *documents(): Iterable<{ readonly groupVersion: string; readonly documents: RemoteDocuments }> {
    for (const { object } of this.apiServices()) {
      const remote = this.remotes.get(object.metadata.name ?? '');
      const { group = '', version = '' } = object['spec'] as { group?: string; version?: string }; // validated on write
      if (remote?.documents !== undefined && remote.result?.isPassed === true)
        yield { groupVersion: `${group}/${version}`, documents: remote.documents };
    }
  }

  close(): void {
    clearInterval(this.timer);
    this.abort.abort();
  }

  private apiServices() {
    return this.deps.registry.cache.collection({ group: 'apiregistration.k8s.io', plural: 'apiservices' }).list();
  }

  private ask(remote: Remote, apiService: UnstructuredObject): void {
    remote.isRunning = true;
    remote.probedAtMs = this.deps.nowMs();
    const { group = '', version = '' } = apiService['spec'] as { group?: string; version?: string }; // validated on write
    void this.fetchText(apiService, `/apis/${group}/${version}`)
      .then<ProbeResult, ProbeResult>(
        () => ({ isPassed: true, message: 'all checks passed' }),
        (error: unknown) => ({
          isPassed: false,
          message: `failing or missing response from /apis/${group}/${version}: ${error instanceof Error ? error.message : String(error)}`,
        }),
      )
      .then(async (result) => {
        const documents = result.isPassed ? await this.documentsOf(apiService, group, version) : remote.documents;
        this.settle(remote, result, documents);
      });
  }

  private settle(remote: Remote, result: ProbeResult, documents: RemoteDocuments | undefined): void {
    remote.isRunning = false;
    if (this.abort.signal.aborted) return;
    const isOther = remote.result?.isPassed !== result.isPassed || remote.result.message !== result.message;
    const hasNewDocuments = JSON.stringify(remote.documents) !== JSON.stringify(documents);
    remote.result = result;
    remote.documents = documents;
    if (isOther || hasNewDocuments) this.generation += 1;
    if (isOther) this.deps.onChange();
  }

  /** A backend without such documents is none the worse. */
  private async documentsOf(apiService: UnstructuredObject, group: string, version: string): Promise<RemoteDocuments> {
    const [v2, v3] = await Promise.all([
      this.fetchText(apiService, '/openapi/v2').catch(() => undefined),
      this.fetchText(apiService, `/openapi/v3/apis/${group}/${version}`).catch(() => undefined),
    ]);
    return {
      v2: v2 === undefined ? undefined : ownPart(v2, group, version),
      v3: v3 !== undefined && isObject(parsed(v3)) ? v3 : undefined,
    };
  }

  private async fetchText(apiService: UnstructuredObject, path: string): Promise<string> {
    const signal = AbortSignal.any([this.abort.signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]);
    const headers = { accept: 'application/json' };
    const answer = await callApiService(this.deps, apiService, { method: 'GET', path, user: AGGREGATOR, headers }, signal);
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_DOCUMENT_BYTES) throw new Error('the answer is too long');
      chunks.push(chunk);
    }
    const status = answer.statusCode ?? 0;
    if (status < 200 || status > 299) throw new Error(`bad status from the backend: ${status}`);
    return Buffer.concat(chunks).toString();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not a document
  }
}

/** Paths of one group and version; a backend that describes others does not get them into our document. */
function ownPart(text: string, group: string, version: string): RemoteDocuments['v2'] {
  const document = parsed(text);
  if (!isObject(document) || !isObject(document['paths'])) return undefined;
  const root = `/apis/${group}/${version}/`;
  const paths = Object.entries(document['paths']).filter(([path]) => path === root || path.startsWith(root));
  const definitions = isObject(document['definitions']) ? document['definitions'] : {};
  return { paths: Object.fromEntries(paths), definitions };
}
