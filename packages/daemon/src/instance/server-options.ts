import { resolve } from 'node:path';
import { issuerOf, issuersOfConfiguration, type OidcIssuer, type OidcOptions } from '@slipway/apiserver';
import { addressGuard } from '@slipway/runtime';
import { UserError } from '../report-failure.ts';
import { type AuditFlags, type AuditOptions, withAuditFlags } from './audit-options.ts';
import { optional, textOfFile, yamlOfFile } from './option-files.ts';

/** What `slipway up` is told about the server and remembers; files are read at that moment and kept with it. */
export interface ServerOptions {
  readonly oidc?: OidcOptions;
  /** Content of the file given by `--authentication-config`. */
  readonly authenticationConfiguration?: unknown;
  readonly audit?: AuditOptions;
  /** False when KubeVirt and CDI are installed without HyperConverged; chosen at the first start. */
  readonly withHyperConverged?: boolean;
  /** Silence after which a node is not known to be alive. */
  readonly nodeMonitorGraceSeconds?: number;
  /** Directories of this machine that Applications may read repositories from. */
  readonly gitPaths?: readonly string[];
  /** Loopback, link-local and metadata addresses that they may reach. */
  readonly gitAddresses?: readonly string[];
}

/** The options as the command line has them. */
export interface ServerFlags extends AuditFlags {
  readonly oidcIssuerUrl?: string;
  readonly oidcClientId?: string;
  readonly oidcUsernameClaim?: string;
  readonly oidcUsernamePrefix?: string;
  readonly oidcGroupsClaim?: string;
  readonly oidcGroupsPrefix?: string;
  readonly oidcRequiredClaim?: readonly string[];
  readonly oidcSigningAlgs?: string;
  readonly oidcCaFile?: string;
  readonly authenticationConfig?: string;
  /** Seconds. */
  readonly nodeMonitorGracePeriod?: number;
  readonly allowGitPath?: readonly string[];
  readonly allowGitAddress?: readonly string[];
}

/** What is remembered, with what the flags say anew. Throws UserError for flags that make no sense. */
export function withServerFlags(remembered: ServerOptions, flags: ServerFlags): ServerOptions {
  const audit = withAuditFlags(remembered.audit ?? {}, flags);
  const next: ServerOptions = {
    ...(Object.keys(audit).length > 0 && { audit }),
    ...optional('withHyperConverged', remembered.withHyperConverged),
    ...optional('nodeMonitorGraceSeconds', flags.nodeMonitorGracePeriod ?? remembered.nodeMonitorGraceSeconds),
    ...optional('gitPaths', allowed(flags.allowGitPath?.map(absolute), remembered.gitPaths)),
    ...optional('gitAddresses', allowed(flags.allowGitAddress && addresses(flags.allowGitAddress), remembered.gitAddresses)),
    ...optional('oidc', flags.oidcIssuerUrl === undefined ? remembered.oidc : oidcOf(flags)),
    ...optional(
      'authenticationConfiguration',
      flags.authenticationConfig === undefined ? remembered.authenticationConfiguration : yamlOfFile(flags.authenticationConfig),
    ),
  };
  const isIncomplete = flags.oidcIssuerUrl === undefined && Object.keys(flags).some((name) => name.startsWith('oidc'));
  if (isIncomplete) throw new UserError('Give --oidc-issuer-url and --oidc-client-id with the other --oidc options');
  oidcIssuersOf(next);
  return next;
}

/** An empty text takes back what was allowed before. */
function allowed(given: readonly string[] | undefined, remembered: readonly string[] | undefined): readonly string[] | undefined {
  const next = given === undefined ? remembered : given.filter((text) => text !== '');
  return next?.length === 0 ? undefined : next;
}

/** The server would not start with others. */
function addresses(given: readonly string[]): readonly string[] {
  const invalid = (text: string): UserError =>
    new UserError(`--allow-git-address: "${text}" is neither an address, a CIDR such as 10.0.0.5/32, nor a host name`);
  addressGuard(given, { invalid, refused: invalid });
  return given;
}

const absolute = (path: string): string => (path === '' ? '' : resolve(path));

/** Everybody whose tokens are believed. Throws UserError. */
export function oidcIssuersOf({ oidc, authenticationConfiguration }: ServerOptions): OidcIssuer[] {
  if (oidc !== undefined && authenticationConfiguration !== undefined)
    throw new UserError("Either --authentication-config or the --oidc options; give '' for the one you no longer want");
  try {
    if (oidc !== undefined) return [issuerOf(oidc)];
    return authenticationConfiguration === undefined ? [] : issuersOfConfiguration(authenticationConfiguration);
  } catch (error) {
    throw new UserError(error instanceof Error ? error.message : String(error));
  }
}

/** An empty issuer takes the setting back. */
function oidcOf(flags: ServerFlags): OidcOptions | undefined {
  if (flags.oidcIssuerUrl === undefined || flags.oidcIssuerUrl === '') return undefined;
  return {
    issuerUrl: flags.oidcIssuerUrl,
    clientId: flags.oidcClientId ?? '',
    ...optional('usernameClaim', flags.oidcUsernameClaim),
    ...optional('usernamePrefix', flags.oidcUsernamePrefix),
    ...optional('groupsClaim', flags.oidcGroupsClaim),
    ...optional('groupsPrefix', flags.oidcGroupsPrefix),
    ...optional('requiredClaims', flags.oidcRequiredClaim && Object.fromEntries(flags.oidcRequiredClaim.map(claimOf))),
    ...optional(
      'signingAlgorithms',
      flags.oidcSigningAlgs?.split(',').map((name) => name.trim()),
    ),
    ...optional('ca', flags.oidcCaFile === undefined ? undefined : textOfFile(flags.oidcCaFile)),
  };
}

function claimOf(text: string): [string, string] {
  const mark = text.indexOf('=');
  if (mark < 1) throw new UserError(`--oidc-required-claim wants name=value, not ${JSON.stringify(text)}`);
  return [text.slice(0, mark), text.slice(mark + 1)];
}
