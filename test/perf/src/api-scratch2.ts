import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { startServerProcess } from './api-process.ts';
import { openConnections } from './api-wire.ts';
import { runLoad } from './api-load.ts';
const s = await startServerProcess();
for (const k of ['https', 'h2']) {
  const c = spawn(process.execPath, ['/tmp/sw-l4/bare.mjs', s.paths.pki, k], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [p] = await once(c.stdout!, 'data');
  const cs = await openConnections(64, Number(p), s.tls);
  for (let r = 0; r < 3; r++)
    console.log(k, Math.round((await runLoad(cs, { ms: 2000, count: 1e6 }, (x) => x.request('GET', '/version'))).perSecond));
  for (const x of cs) x.close();
  c.kill();
}
await s.destroy();
