import type { UnstructuredObject } from '@slipway/apimachinery';
import type { MessageStream } from '@slipway/client';
import type { UserInfo } from './admission.ts';

/** An authenticated and authorized request of a route; `namespace` and `name` come from the path. */
export interface RouteRequest {
  readonly user: UserInfo;
  readonly method: string;
  readonly version: string;
  readonly namespace: string;
  /** Empty for collection routes. */
  readonly name: string;
  /** Path segments after the subresource, for example `['22', 'tcp']` of `portforward/22/tcp`. */
  readonly rest: readonly string[];
  readonly query: URLSearchParams;
  /** Parsed JSON or YAML; undefined when the body is empty. */
  readonly body: unknown;
  readonly signal: AbortSignal;
}

export interface RouteResponse {
  readonly status: number;
  readonly body?: unknown;
  /** Set for answers that are not JSON, such as the VNC screenshot. */
  readonly contentType?: string;
}

/** One resource or subresource that is answered by code instead of by the store. */
export interface AggregatedRoute {
  /** Plural, for example `virtualmachines`. */
  readonly resource: string;
  readonly namespaced: boolean;
  /** Empty string: the resource itself. May hold slashes (`vnc/screenshot`). */
  readonly subresource: string;
  /** True when `rest` may follow (`portforward/22/tcp`); authorization sees the subresource only. */
  readonly allowsRest?: boolean;
  readonly methods: Readonly<Record<string, (request: RouteRequest) => Promise<RouteResponse>>>;
  /** WebSocket: checks preconditions (throws StatusError before the upgrade), then takes over the stream. */
  readonly connect?: (request: RouteRequest) => Promise<StreamAcceptor>;
  /** Listed in discovery. KubeVirt serves some routes without listing them. */
  readonly discoverable: boolean;
  /** What discovery tells of a resource beside its name. */
  readonly listing?: { readonly kind: string; readonly singularName: string; readonly shortNames?: readonly string[] };
  /** What `kubectl get` prints beside the name; absent: the age alone. */
  readonly columns?: readonly PrintedColumn[];
}

/** One column of what `kubectl get` prints of the platform's own objects. */
export interface PrintedColumn {
  readonly name: string;
  readonly cell: (object: UnstructuredObject) => string | number;
}

export interface StreamAcceptor {
  /** Sub-protocols the route can speak; the first that the client offers is chosen. */
  readonly protocols: readonly string[];
  run(stream: MessageStream): Promise<void>;
}

export interface AggregatedApi {
  readonly group: string;
  /** Preferred first. */
  readonly versions: readonly string[];
  readonly routes: readonly AggregatedRoute[];
  /** Of an API that is switched on and off while the server runs; absent: it is always there. */
  readonly presence?: ApiPresence;
}

export interface ApiPresence {
  isServed(): boolean;
  /** Called after each change, for as long as the server runs. */
  onChange(listener: () => void): void;
}

/** Whether there is such an API at the moment; nobody sees anything of one that is not. */
export const isServed = ({ presence }: AggregatedApi): boolean => presence?.isServed() ?? true;
