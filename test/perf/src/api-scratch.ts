import { startServerProcess } from './api-process.ts';
import { openConnections } from './api-wire.ts';
import { runLoad, percentile } from './api-load.ts';
import { CONFIG_MAPS, VIRTUAL_MACHINES, configMap, virtualMachine } from './api-objects.ts';
const what = process.argv[2] ?? 'cm';
const flags = process.argv.slice(3);
const s = await startServerProcess(flags);
try {
  const cs = await openConnections(64, s.port, s.tls);
  for (const w of what.split(',')) {
    for (let r = 0; r < 3; r++) {
      let res;
      const lim = { ms: 3000, count: 100000 };
      if (w === 'cm') res = await runLoad(cs, lim, (c, n) => c.request('POST', CONFIG_MAPS('default'), configMap(`c${r}-${n}`)));
      else if (w === 'vm')
        res = await runLoad(cs, { ms: 4000, count: 3500 }, (c, n) =>
          c.request('POST', VIRTUAL_MACHINES('default'), virtualMachine(`c${r}-${n}`)),
        );
      else if (w === 'getcm') res = await runLoad(cs, lim, (c) => c.request('GET', CONFIG_MAPS('default') + '/c0-1'));
      else if (w === 'getvm') res = await runLoad(cs, lim, (c) => c.request('GET', VIRTUAL_MACHINES('default') + '/c0-1'));
      else if (w === 'ver') res = await runLoad(cs, lim, (c) => c.request('GET', '/version'));
      else if (w === 'patch')
        res = await runLoad(cs, lim, (c, n) =>
          c.request(
            'PATCH',
            VIRTUAL_MACHINES('default') + `/c0-${n % 500}`,
            `{"metadata":{"annotations":{"n":"${n}"}}}`,
            'application/merge-patch+json',
          ),
        );
      else if (w === 'list')
        res = await runLoad(cs.slice(0, 1), { ms: 3000, count: 20 }, (c) => c.request('GET', VIRTUAL_MACHINES('default')));
      else throw new Error(w);
      console.log(
        w,
        r,
        Math.round(res.perSecond),
        'p50',
        percentile(res.latenciesMs, 0.5).toFixed(1),
        'p99',
        percentile(res.latenciesMs, 0.99).toFixed(1),
        'pss',
        Math.round(s.pssBytes() / 1048576),
      );
    }
  }
  for (const c of cs) c.close();
} finally {
  await s.destroy();
}
