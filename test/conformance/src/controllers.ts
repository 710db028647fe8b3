import { randomUUID } from 'node:crypto';
import { controllers } from '@slipway/controllers';
import { ControllerManager, silentLogger, systemClock } from '@slipway/runtime';
import { fakeNodeConnector } from '@slipway/testkit';
import type { Cluster } from './cluster.ts';

export interface RunningControllers {
  /** Resolves when the controllers have nothing left to do. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** Runs some of the product's controllers in the cluster, with an administrator's rights. */
export function startControllers(cluster: Cluster, names: readonly string[]): RunningControllers {
  const abort = new AbortController();
  const manager = new ControllerManager({
    clientFor: () => cluster.admin,
    clock: systemClock,
    log: silentLogger,
    random: () => 0.5,
    uid: randomUUID,
    nodes: fakeNodeConnector(),
    settings: { installNamespace: 'openshift-cnv', osImagesNamespace: 'images', version: '0.0.0-test', caBundle: cluster.ca },
  });
  for (const name of names) {
    const registration = controllers.find((one) => one.name === name);
    if (registration === undefined) throw new Error(`There is no controller ${name}`);
    manager.register(registration);
  }
  manager.start(abort.signal);
  return {
    settle: () => manager.settle(AbortSignal.any([abort.signal, AbortSignal.timeout(60_000)])),
    async stop() {
      abort.abort();
      await manager.stopped();
    },
  };
}
