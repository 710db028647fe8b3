import { createServer, type Server } from 'node:http';
import type { EndpointSlice, Service } from '@slipway/api';
import type { Logger } from '@slipway/runtime';
import { servicePorts } from './service-ports.ts';

/** What a load balancer outside is told of one Service at this node. */
export interface ServiceHealth {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /** Endpoints of this node. */
  readonly localEndpoints: number;
}

/** The Services that ask for health checks: those whose clients keep their source. Pure. */
export function serviceHealth(
  services: readonly Service[],
  slicesOf: (service: Service) => readonly EndpointSlice[],
  nodeName: string,
): ServiceHealth[] {
  return services.flatMap((service) => {
    const port = service.spec?.healthCheckNodePort;
    if (!port || service.spec?.type !== 'LoadBalancer') return [];
    const { namespace = '', name = '' } = service.metadata;
    const local = servicePorts(service, slicesOf(service), nodeName).flatMap(({ targets, externalTargets }) =>
      [...targets, ...externalTargets].filter(({ isLocal }) => isLocal).map(({ address }) => address),
    );
    return [{ namespace, name, port, localEndpoints: new Set(local).size }];
  });
}

/** Answers at `healthCheckNodePort` whether this node has endpoints: 200, or 503 when others shall be asked. */
export class HealthChecks {
  readonly #log: Logger;
  readonly #servers = new Map<number, Server>();
  #wanted = new Map<number, ServiceHealth>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** From now on exactly these are answered for. */
  update(health: readonly ServiceHealth[]): void {
    this.#wanted = new Map(health.map((one) => [one.port, one]));
    for (const [port, server] of this.#servers) {
      if (this.#wanted.has(port)) continue;
      this.#servers.delete(port);
      server.close();
    }
    for (const port of this.#wanted.keys()) if (!this.#servers.has(port)) this.#listen(port);
  }

  /** No port is listened at any more. */
  close(): void {
    this.update([]);
  }

  #listen(port: number): void {
    const server = createServer((_, response) => {
      const { namespace = '', name = '', localEndpoints = 0 } = this.#wanted.get(port) ?? {};
      response.writeHead(localEndpoints > 0 ? 200 : 503, { 'content-type': 'application/json', connection: 'close' });
      response.end(JSON.stringify({ service: { namespace, name }, localEndpoints, serviceProxyHealthy: true }));
    });
    server.on('error', (error) => {
      this.#log.warn({ port, error: String(error) }, 'port for health checks of a Service cannot be listened at');
      // asked for again with the next change
      if (this.#servers.get(port) === server) this.#servers.delete(port);
    });
    this.#servers.set(port, server);
    server.listen(port, '::');
  }
}
