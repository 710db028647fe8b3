import { type AuditPolicy, changesAt, compileAuditPolicy } from '@slipway/apiserver';
import type { Rotation } from '../logging.ts';
import { UserError } from '../report-failure.ts';
import { optional, yamlOfFile } from './option-files.ts';

/** How the audit log is kept. */
export interface AuditOptions {
  /** Content of the file given by `--audit-policy-file`. */
  readonly policy?: unknown;
  /** Of changes and refusals, where there is no policy. */
  readonly level?: 'Metadata' | 'Request';
  readonly maxMegabytes?: number;
  readonly backups?: number;
}

/** The options as the command line has them. */
export interface AuditFlags {
  readonly auditPolicyFile?: string;
  readonly auditLevel?: string;
  readonly auditLogMaxsize?: number;
  readonly auditLogMaxbackup?: number;
}

const DEFAULT_MEGABYTES = 16;
const DEFAULT_BACKUPS = 4;

/** What is remembered, with what the flags say anew. Throws UserError. */
export function withAuditFlags(remembered: AuditOptions, flags: AuditFlags): AuditOptions {
  const { auditPolicyFile: file, auditLevel } = flags;
  const next: AuditOptions = {
    ...optional('policy', file === undefined ? remembered.policy : yamlOfFile(file)),
    ...optional('level', auditLevel === undefined ? remembered.level : levelOf(auditLevel)),
    ...optional('maxMegabytes', flags.auditLogMaxsize ?? remembered.maxMegabytes),
    ...optional('backups', flags.auditLogMaxbackup ?? remembered.backups),
  };
  auditPolicyOf({ audit: next });
  return next;
}

function levelOf(text: string): 'Metadata' | 'Request' {
  if (text === 'Metadata' || text === 'Request') return text;
  throw new UserError(`--audit-level is Metadata or Request, not ${JSON.stringify(text)}`);
}

/** Throws UserError for a policy that cannot be read. */
export function auditPolicyOf({ audit = {} }: { readonly audit?: AuditOptions }): AuditPolicy {
  if (audit.policy === undefined) return changesAt(audit.level ?? 'Metadata');
  try {
    return compileAuditPolicy(audit.policy);
  } catch (error) {
    throw new UserError(`The audit policy is not good: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export function auditRotationOf({ audit = {} }: { readonly audit?: AuditOptions }): Rotation {
  return {
    maxBytes: (audit.maxMegabytes ?? DEFAULT_MEGABYTES) * 1024 * 1024,
    backups: audit.backups ?? DEFAULT_BACKUPS,
  };
}
