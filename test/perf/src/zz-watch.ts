import { startServerProcess } from './api-process.ts';
import { measureWatchDelivery } from './api-watches.ts';
import { percentile } from './api-load.ts';
import { openConnections } from './api-wire.ts';
const s = await startServerProcess(process.argv.slice(2));
try {
  const [c] = await openConnections(1, s.port, s.tls);
  await c!.request('POST', '/api/v1/namespaces', '{"metadata":{"name":"bench-watch"}}');
  for (const w of [1000]) for (let r = 0; r < 2; r++) {
  const l = await measureWatchDelivery(s, { watchers: w, events: 60, namespace: 'bench-watch', tag: String(r) } as never);
  const m = (await c!.request('GET', '/metrics')).body.toString();
  console.log(w, 'p50', percentile(l, .5).toFixed(1), 'p99', percentile(l, .99).toFixed(1), /lag_max_seconds [\d.e-]+/.exec(m)?.[0]);
  }
  c!.close();
} finally { await s.destroy(); }
