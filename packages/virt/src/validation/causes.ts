/** Cause reasons as they appear in `Status.details.causes[]`. */
export type CauseReason =
  | 'FieldValueInvalid'
  | 'FieldValueRequired'
  | 'FieldValueNotFound'
  | 'FieldValueNotSupported'
  | 'FieldValueDuplicate'
  | 'FieldValueForbidden';

/** One finding; the client gets it verbatim. */
export interface Cause {
  readonly reason: CauseReason;
  readonly message: string;
  /** Absent for findings that concern the whole object. */
  readonly field?: string;
}

const make =
  (reason: CauseReason) =>
  (field: string | undefined, message: string): Cause => ({ reason, message, ...(field !== undefined && { field }) });

export const invalid = make('FieldValueInvalid');
export const required = make('FieldValueRequired');
export const notFound = make('FieldValueNotFound');
export const notSupported = make('FieldValueNotSupported');
export const duplicate = make('FieldValueDuplicate');
export const forbidden = make('FieldValueForbidden');

/** The cause when the condition holds. */
export function when(condition: boolean | undefined, cause: () => Cause): readonly Cause[] {
  return condition === true ? [cause()] : [];
}

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL_TEXT =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/** What is wrong with a DNS label; empty when nothing is. */
export function dnsLabelFaults(text: string): readonly string[] {
  const faults = text.length > 63 ? ['must be no more than 63 characters'] : [];
  return LABEL.test(text) ? faults : [...faults, LABEL_TEXT];
}

export function dnsSubdomainFaults(text: string): readonly string[] {
  const faults = text.length > 253 ? ['must be no more than 253 characters'] : [];
  return SUBDOMAIN.test(text) ? faults : [...faults, SUBDOMAIN_TEXT];
}
