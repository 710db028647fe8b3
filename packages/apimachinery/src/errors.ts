import type { Status, StatusCause } from './types.ts';

export type FieldErrorType =
  | 'Required'
  | 'Invalid'
  | 'NotSupported'
  | 'Duplicate'
  | 'Forbidden'
  | 'TooLong'
  | 'TooMany'
  | 'NotFound'
  | 'TypeInvalid'
  | 'InternalError';

/** One validation finding; a list of them becomes a 422 `Invalid` Status. */
export interface FieldError {
  readonly type: FieldErrorType;
  /** Dotted path with `[index]` or `[key]`, for example `spec.template.spec.domain.devices.disks[0].name`. */
  readonly path: string;
  /** The complete text after the path, for example `Invalid value: "x": must be lower case`. */
  readonly detail: string;
}

/** Thrown by the API server and the client for every non-2xx answer; serialises as `metav1.Status`. */
export class StatusError extends Error {
  readonly status: Status;

  constructor(status: Omit<Status, 'kind' | 'apiVersion' | 'metadata' | 'status'>, cause?: unknown) {
    super(status.message ?? status.reason ?? `HTTP ${status.code}`, cause === undefined ? undefined : { cause });
    this.name = 'StatusError';
    this.status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', ...status };
  }

  get code(): number {
    return this.status.code ?? 500;
  }

  get reason(): string {
    return this.status.reason ?? '';
  }
}

/** Ends retries of a reconcile: the cause is in the object, and only a change of it can help. */
export class TerminalError extends Error {
  readonly reason: string;

  constructor(reason: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TerminalError';
    this.reason = reason;
  }
}

export interface ResourceRef {
  /** Plural resource. */
  readonly resource: string;
  readonly group: string;
}

const qualified = ({ resource, group }: ResourceRef): string => (group === '' ? resource : `${resource}.${group}`);
const detailsOf = ({ resource, group }: ResourceRef, name: string) => ({ name, ...(group && { group }), kind: resource });

export function notFound(ref: ResourceRef, name: string): StatusError {
  return new StatusError({
    code: 404,
    reason: 'NotFound',
    message: `${qualified(ref)} "${name}" not found`,
    details: detailsOf(ref, name),
  });
}

export function alreadyExists(ref: ResourceRef, name: string): StatusError {
  return new StatusError({
    code: 409,
    reason: 'AlreadyExists',
    message: `${qualified(ref)} "${name}" already exists`,
    details: detailsOf(ref, name),
  });
}

export function conflict(ref: ResourceRef, name: string, message: string): StatusError {
  return new StatusError({
    code: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on ${qualified(ref)} "${name}": ${message}`,
    details: detailsOf(ref, name),
  });
}

export function badRequest(message: string): StatusError {
  return new StatusError({ code: 400, reason: 'BadRequest', message });
}

export function forbidden(ref: ResourceRef, name: string, message: string): StatusError {
  return new StatusError({
    code: 403,
    reason: 'Forbidden',
    message: `${qualified(ref)} "${name}" is forbidden: ${message}`,
    details: detailsOf(ref, name),
  });
}

export function internalError(message: string, cause?: unknown): StatusError {
  return new StatusError(
    { code: 500, reason: 'InternalError', message: `Internal error occurred: ${message}`, details: { causes: [{ message }] } },
    cause,
  );
}

const CAUSE_REASONS: Record<FieldErrorType, string> = {
  Required: 'FieldValueRequired',
  Invalid: 'FieldValueInvalid',
  NotSupported: 'FieldValueNotSupported',
  Duplicate: 'FieldValueDuplicate',
  Forbidden: 'FieldValueForbidden',
  TooLong: 'FieldValueTooLong',
  TooMany: 'FieldValueTooMany',
  NotFound: 'FieldValueNotFound',
  TypeInvalid: 'FieldValueTypeInvalid',
  InternalError: 'InternalError',
};

/** 422 `Invalid` from field errors, worded and ordered as the Kubernetes API server does. */
export function invalid(kind: { group: string; kind: string }, name: string, errors: readonly FieldError[]): StatusError {
  const texts = [...new Set(errors.map((error) => `${error.path}: ${error.detail}`))];
  const subject = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`;
  const causes: StatusCause[] = errors.map((error) => ({
    reason: CAUSE_REASONS[error.type],
    message: error.detail,
    field: error.path,
  }));
  return new StatusError({
    code: 422,
    reason: 'Invalid',
    message: `${subject} "${name}" is invalid: ${texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`}`,
    details: { name, ...(kind.group && { group: kind.group }), kind: kind.kind, causes },
  });
}

const isStatus = (error: unknown, reason: string): boolean => error instanceof StatusError && error.reason === reason;

export const isNotFound = (error: unknown): boolean => isStatus(error, 'NotFound');
export const isConflict = (error: unknown): boolean => isStatus(error, 'Conflict');
export const isAlreadyExists = (error: unknown): boolean => isStatus(error, 'AlreadyExists');
export const isInvalid = (error: unknown): boolean => isStatus(error, 'Invalid');

/** For `get(…).catch(…)` and the like: undefined instead of a refusal because the object is gone. */
export const ignoreNotFound = (error: unknown): undefined => {
  if (isNotFound(error)) return undefined;
  throw error;
};

/** For `create(…).catch(…)`: the object is made unless there is one of its name already. */
export const ignoreAlreadyExists = (error: unknown): undefined => {
  if (isAlreadyExists(error)) return undefined;
  throw error;
};

/** For `default:` branches of exhaustive switches. */
export function assertNever(value: never): never {
  throw new Error(`Unexpected value: ${JSON.stringify(value)}`);
}
