import { UserError } from './report-failure.ts';

/** Root of the checkout that the launcher script runs from; bundles and tools are found there. */
export function checkoutRoot(): string {
  const root = process.env['SLIPWAY_ROOT'];
  if (root === undefined || root === '') throw new UserError('Start Slipway by its `slipway` script');
  return root;
}
