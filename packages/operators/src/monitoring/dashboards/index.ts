import { type ConfigMap, ConfigMapKind, NamespaceKind } from '@slipway/api';
import { ignoreNotFound, keyOf, type KubeObject, type ObjectKey } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, sleep, watchFor, watchOf } from '@slipway/runtime';
import { createOnce } from '../../components/create-once.ts';
import { HCO_NAME, HyperConvergedKind } from '../../kinds.ts';
import { ensureObject } from '../ensure-object.ts';
import { controlPlane } from './control-plane.ts';
import type { Dashboard } from './dashboard.ts';
import { migrations } from './migrations.ts';
import { renderDashboard } from './render-dashboard.ts';
import { topConsumers } from './top-consumers.ts';
import { virtualMachines } from './virtual-machines.ts';

/** A dashboard as a file for Grafana. */
export interface DashboardFile {
  /** Name of the file, without `.json`. */
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** JSON in Grafana's model. */
  readonly text: string;
}

const DASHBOARDS: readonly (() => Dashboard)[] = [topConsumers, virtualMachines, migrations, controlPlane];

/** The dashboards of the platform, made anew at each call. */
export const dashboardFiles = (): readonly DashboardFile[] =>
  DASHBOARDS.map((make) => {
    const dashboard = make();
    const { name, title, description } = dashboard;
    return { name, title, description, text: `${JSON.stringify(renderDashboard(dashboard), undefined, 1)}\n` };
  });

/** Where the console of OpenShift looks for dashboards, and the label that it looks for. */
const NAMESPACE = 'openshift-config-managed';
const LABEL = 'console.openshift.io/dashboard';
const MANAGER = 'hco-operator';
/** Nobody waits for dashboards at a start. */
const START_AFTER_MS = 5_000;
const ALL: ObjectKey = { namespace: NAMESPACE, name: 'all' };

const configMapOf = ({ name, text }: DashboardFile, version: string): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: {
    name: `grafana-dashboard-${name}`,
    namespace: NAMESPACE,
    labels: {
      [LABEL]: 'true',
      app: HCO_NAME,
      'app.kubernetes.io/component': 'monitoring',
      'app.kubernetes.io/part-of': 'hyperconverged-cluster',
      'app.kubernetes.io/managed-by': MANAGER,
      'app.kubernetes.io/version': version,
    },
  },
  data: { [`${name}.json`]: text },
});

const isOurs = ({ metadata }: KubeObject): boolean =>
  metadata.namespace === NAMESPACE && metadata.labels?.[LABEL] === 'true' && metadata.labels['app'] === HCO_NAME;

/** Keeps the dashboards as ConfigMaps for the console, as long as there is a HyperConverged. */
export const dashboardsController: ControllerRegistration = {
  name: 'dashboards',
  rules: [...allow('get create', NamespaceKind), ...allow('create update delete', ConfigMapKind)],
  create({ client, clock, events, informers, settings }) {
    const hcos = informers.lister(HyperConvergedKind);
    const configMaps = informers.lister(ConfigMapKind);
    const key: ObjectKey = { namespace: settings.installNamespace, name: HCO_NAME };
    let isStarted = false;
    /** What has been as it should be since the start: a change of it is somebody's edit, and not a newer version of ours. */
    const kept = new Set<string>();
    return {
      concurrency: 1,
      watches: [
        watchFor(
          HyperConvergedKind,
          ALL,
          ({ type, object }) => isStarted && (type !== 'updated' || object.metadata.deletionTimestamp !== undefined),
        ),
        watchOf(
          ConfigMapKind,
          (object) => (isOurs(object) ? [ALL] : []),
          ({ type }) => isStarted && type !== 'added',
        ),
      ],
      reconciler: {
        async reconcile(_, signal) {
          if (!isStarted) return done;
          const hco = hcos.get(key);
          if (hco === undefined || hco.metadata.deletionTimestamp) {
            for (const object of configMaps.list().filter(isOurs))
              await client.delete(ConfigMapKind, keyOf(object), { signal }).catch(ignoreNotFound);
            return done;
          }
          await createOnce(client, NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }, signal);
          for (const file of dashboardFiles()) {
            const wanted = configMapOf(file, settings.version);
            const { name = '' } = wanted.metadata;
            const outcome = await ensureObject(client, ConfigMapKind, wanted, configMaps.get(keyOf(wanted)), signal);
            if (outcome === 'restored' && kept.has(name)) events.warning(hco, 'Overwritten', `Overwritten ConfigMap ${name}`);
            kept.add(name);
          }
          return done;
        },
      },
      async run(queue, signal) {
        await sleep(clock, START_AFTER_MS, signal).catch(() => {});
        isStarted = true;
        queue.add(ALL);
      },
    };
  },
};
