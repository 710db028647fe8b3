import type { UnstructuredObject } from '@slipway/apimachinery';

export interface UserInfo {
  readonly username: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** The part of `admission.k8s.io/v1` AdmissionReview.request that handlers read. */
export interface AdmissionRequest {
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Plural. */
  readonly resource: string;
  /** Empty string for the main resource. */
  readonly subresource: string;
  readonly namespace: string;
  /** Empty while generateName is pending. */
  readonly name: string;
  /** Type of `object` where it is not that of the resource: `policy/v1` Eviction for `pods/eviction`. */
  readonly objectKind?: { readonly group: string; readonly version: string; readonly kind: string };
  readonly user: UserInfo;
  readonly dryRun: boolean;
  /** `CreateOptions`, `UpdateOptions` or `DeleteOptions` of the request, for webhooks. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Absent on DELETE. */
  readonly object?: UnstructuredObject;
  /** Absent on CREATE. */
  readonly oldObject?: UnstructuredObject;
  /** Adds an annotation to the record of this request in the audit log. */
  readonly annotate?: (key: string, value: string) => void;
}

export interface AdmissionRule {
  readonly group: string;
  /** Plurals, with `/subresource` where meant; never wildcards. */
  readonly resources: readonly string[];
  readonly operations: readonly AdmissionRequest['operation'][];
}

/**
 * Defaults and checks objects of some kinds. The same handler runs inside the embedded API server and behind a
 * webhook on a real cluster, so it may not keep state between calls.
 */
export interface AdmissionHandler {
  readonly name: string;
  readonly rules: readonly AdmissionRule[];
  /** Returns the changed copy, or undefined for no change. Throws StatusError to refuse. */
  mutate?(request: AdmissionRequest): Promise<UnstructuredObject | undefined>;
  /** Throws StatusError to refuse; returns warnings for the client. */
  validate?(request: AdmissionRequest): Promise<readonly string[]>;
}
