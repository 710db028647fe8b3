import { ignoreNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Application, ApplicationKind, GITOPS_NAMESPACES } from '@slipway/gitops';
import { type ClusterOptions, connectCluster } from '../access/cluster-client.ts';
import { UserError } from '../report-failure.ts';

export interface AppOptions extends ClusterOptions {
  /** Of the Application; absent: wherever Applications may be. */
  readonly namespace?: string;
}

/** Runs with a connection that is closed at the end. */
export async function withClient<T>(options: ClusterOptions, act: (client: Client) => Promise<T>): Promise<T> {
  const { client } = await connectCluster(options);
  try {
    return await act(client);
  } finally {
    await client.close();
  }
}

/** The Application of a name, which may have a namespace in front. Throws UserError when there is none, or are several. */
export async function findApp(client: Client, name: string, { namespace }: AppOptions): Promise<Application> {
  const [own, plain = own ?? ''] = name.includes('/') ? name.split('/') : [undefined, name];
  const places = own !== undefined ? [own] : namespace !== undefined ? [namespace] : [...GITOPS_NAMESPACES];
  const found: Application[] = [];
  for (const place of places) {
    const app = await client.get(ApplicationKind, { namespace: place, name: plain }).catch(ignoreNotFound);
    if (app) found.push(app);
  }
  const [app] = found;
  if (app === undefined) throw new UserError(`There is no application ${plain} in ${places.join(' or ')}`);
  if (found.length > 1) throw new UserError(`There are applications ${plain} in several namespaces: name one with -n`);
  return app;
}
