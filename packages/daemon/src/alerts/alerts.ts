import { isObject } from '@slipway/apimachinery';
import { type ClusterOptions, connectCluster } from '../access/cluster-client.ts';
import { formatAlerts, type ShownAlert } from './format-alerts.ts';

/** `slipway alerts`: exit status 1 when one fires. */
export async function alerts(options: ClusterOptions & { readonly output: string }): Promise<void> {
  const { client } = await connectCluster(options);
  try {
    const { status, body } = await client.raw({ method: 'GET', path: '/alerts' });
    if (status !== 200 || !Array.isArray(body)) {
      const reason = isObject(body) && typeof body['message'] === 'string' ? body['message'] : `the server answered ${status}`;
      throw new Error(`No alerts: ${reason}`);
    }
    const found = body as readonly ShownAlert[]; // by our own server
    console.log(options.output === 'json' ? JSON.stringify(found, undefined, 2) : formatAlerts(found));
    process.exitCode = found.some(({ state }) => state === 'firing') ? 1 : 0;
  } finally {
    await client.close();
  }
}
