import { keyString } from '@slipway/apimachinery';
import type { AggregatedApi, AggregatedRoute, MetricFamily, RouteRequest } from '@slipway/runtime';
import { Families } from './families.ts';

const METRICS: Readonly<Record<string, string>> = {
  console: 'kubevirt_console_active_connections',
  vnc: 'kubevirt_vnc_active_connections',
  usbredir: 'kubevirt_usbredir_active_connections',
  portforward: 'kubevirt_portforward_active_tunnels',
};
const LAST = 'kubevirt_vmi_last_api_connection_timestamp_seconds';

interface Target {
  readonly namespace: string;
  readonly name: string;
  readonly open: Record<string, number>;
  lastMs: number;
}

export interface StreamCounts {
  /** The API with its streams counted. */
  readonly api: AggregatedApi;
  /** Of instances that exist; others are forgotten. */
  readonly metrics: (exists: (namespace: string, name: string) => boolean) => readonly MetricFamily[];
}

/** Counts the open consoles, displays, USB channels and tunnels of each instance. */
export function countStreams(api: AggregatedApi, nowMs: () => number): StreamCounts {
  const targets = new Map<string, Target>();
  const counted = (route: AggregatedRoute): AggregatedRoute => {
    const { connect, subresource } = route;
    if (connect === undefined || METRICS[subresource] === undefined) return route;
    return {
      ...route,
      async connect(request) {
        const acceptor = await connect(request);
        return {
          ...acceptor,
          async run(stream) {
            const target = opened(request, subresource);
            try {
              await acceptor.run(stream);
            } finally {
              target.open[subresource] = (target.open[subresource] ?? 1) - 1;
            }
          },
        };
      },
    };
  };
  const opened = ({ namespace, name }: RouteRequest, subresource: string): Target => {
    const key = keyString({ namespace, name });
    const target = targets.get(key) ?? { namespace, name, open: {}, lastMs: 0 };
    targets.set(key, target);
    target.open[subresource] = (target.open[subresource] ?? 0) + 1;
    target.lastMs = nowMs();
    return target;
  };
  return {
    api: { ...api, routes: api.routes.map(counted) },
    metrics(exists) {
      const families = new Families().declare('gauge', {
        ...Object.fromEntries(
          Object.values(METRICS).map((name) => [name, 'Amount of active connections, by namespace and vmi.']),
        ),
        [LAST]: 'Virtual Machine Instance last API connection timestamp. Including VNC, console, portforward, SSH and usbredir.',
      });
      for (const [key, { namespace, name, open, lastMs }] of targets) {
        const labels = { namespace, vmi: name };
        if (!exists(namespace, name)) targets.delete(key);
        else families.add(LAST, labels, Math.floor(lastMs / 1000));
        for (const [subresource, count] of Object.entries(open)) families.add(METRICS[subresource] ?? '', labels, count);
      }
      return families.list();
    },
  };
}
