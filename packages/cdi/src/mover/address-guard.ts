import type { lookup as dnsLookup } from 'node:dns';
import { type AddressGuard, addressGuard as guardOf, type GuardErrors } from '@slipway/runtime';
import { ImportError } from './import-error.ts';

export type { AddressGuard } from '@slipway/runtime';

const ERRORS: GuardErrors = {
  refused: (shown) =>
    new ImportError(
      'SourceRefused',
      `Unable to connect to ${shown}: imports from loopback, link-local and metadata addresses are refused. ` +
        'An administrator can allow the address in annotation slipway.dev/allowed-import-addresses of CDIConfig "config"',
    ),
  invalid: (exception) => new ImportError('InvalidRequest', `"${exception}" is neither an address, a CIDR nor a host name`),
};

/**
 * Which addresses a data mover may talk to; exceptions are CIDRs, single addresses, or `host` / `host:port` names. Throws
 * ImportError on an exception that is none of these, and for a host that is refused. `resolve` is replaced in tests.
 */
export const addressGuard = (exceptions: readonly string[], resolve?: typeof dnsLookup): AddressGuard =>
  guardOf(exceptions, ERRORS, resolve);
