import { readFileSync } from 'node:fs';
import { pkiFiles } from '../instance/credentials.ts';
import { requireInstance } from '../instance/instance-store.ts';
import { UserError } from '../report-failure.ts';
import { issueToken } from './platform-token.ts';

const LIFETIME_SECONDS = 24 * 60 * 60;

/** `slipway token`: a bearer token for a day. */
export async function token(options: { dataDir: string; admin?: boolean; user?: string; group?: string[] }): Promise<void> {
  const { paths } = requireInstance(options.dataDir);
  if (!options.admin && options.user === undefined)
    throw new UserError('Say for whom: --admin, or --user NAME with its --group names');
  const key = readFileSync(pkiFiles(paths).tokenKey, 'utf8');
  const claims = {
    user: options.user ?? 'admin',
    groups: [...(options.group ?? []), ...(options.admin ? ['system:masters'] : [])],
    expires: Math.floor(Date.now() / 1000) + LIFETIME_SECONDS,
  };
  console.log(issueToken(claims, key));
}
