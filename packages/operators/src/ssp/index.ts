import { type DataImportCron, DataImportCronKind, type DataSource, DataSourceKind, NamespaceKind } from '@slipway/api';
import { keyOf, keyString, type KubeObject, type ObjectKey, StatusError } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, gauge, sleep, watchFor } from '@slipway/runtime';
import { createOnce } from '../components/create-once.ts';
import { mapsAt, textAt } from '../hyperconverged/spec-paths.ts';
import { SSP_NAME, type Ssp, SspKind } from '../kinds.ts';
import { ensureObject } from '../monitoring/ensure-object.ts';
import { commonTemplates } from './common-templates.ts';
import { importCronOf, ownedDataSources } from './golden-images.ts';
import { TemplateKind } from './template-kind.ts';

export { processedTemplatesApi } from './processed-templates.ts';
export { templateColumns } from './template-columns.ts';
export { templateValidator, type TemplateValidator } from './template-validator.ts';
export { type VmConsoleProxy, vmConsoleProxy } from './vnc-token/index.ts';

/** Templates come after what somebody waits for at a start. */
const START_AFTER_MS = 2_000;

/** Keeps the common templates as they are made here, in the namespace that the SSP object names. */
export const commonTemplatesController: ControllerRegistration = {
  name: 'common-templates',
  rules: [...allow('get create', NamespaceKind), ...allow('create update', TemplateKind)],
  create({ client, clock, informers, settings }) {
    const ssps = informers.lister(SspKind);
    const templates = informers.lister(TemplateKind);
    const key: ObjectKey = { namespace: settings.installNamespace, name: SSP_NAME };
    let restored = 0;
    let isStarted = false;
    const wanted = (): ReadonlyMap<string, KubeObject> => {
      const ssp = ssps.get(key);
      if (ssp === undefined || ssp.metadata.deletionTimestamp || isPaused(ssp)) return new Map();
      const namespace = textAt(ssp.spec, 'commonTemplates.namespace', 'openshift');
      const all = commonTemplates(namespace, settings.osImagesNamespace, architectureOf(ssp));
      return new Map(all.map((template) => [keyString(keyOf(template)), template]));
    };
    let last: { readonly version: string; readonly objects: ReadonlyMap<string, KubeObject> } | undefined;
    const cached = (): ReadonlyMap<string, KubeObject> => {
      const { metadata } = ssps.get(key) ?? {};
      const version = `${metadata?.uid} ${metadata?.generation} ${metadata?.annotations?.[PAUSED]} ${metadata?.deletionTimestamp}`;
      if (last?.version !== version) last = { version, objects: wanted() };
      return last.objects;
    };
    return {
      kind: TemplateKind,
      concurrency: 4,
      watches: [watchFor(SspKind, key)],
      metrics: () => [
        {
          name: 'kubevirt_ssp_common_templates_restored_total',
          help: 'The total number of common templates restored by the operator back to their original state',
          type: 'counter',
          samples: [{ value: restored }],
        },
        gauge(
          'kubevirt_ssp_operator_reconcile_succeeded',
          'Set to 1 if the reconcile process of all operands completes with no errors, and to 0 otherwise',
          isDeployed(ssps.get(key)) ? 1 : 0,
        ),
      ],
      reconciler: {
        async reconcile(found, signal) {
          if (!isStarted) return done;
          if (found.name === key.name && found.namespace === key.namespace) {
            const [first] = cached().values();
            const namespace = first?.metadata.namespace;
            if (namespace !== undefined) await createOnce(client, NamespaceKind, namespaceOf(namespace), signal);
            // one after the other: the rest of the start has its turn in between
            for (const template of cached().values()) await ensure(template, signal);
            return done;
          }
          const template = cached().get(keyString(found));
          if (template !== undefined) await ensure(template, signal);
          return done;
        },
      },
      async run(queue, signal) {
        await sleep(clock, START_AFTER_MS, signal).catch(() => {});
        isStarted = true;
        queue.add(key);
      },
    };

    async function ensure(template: KubeObject, signal: AbortSignal): Promise<void> {
      const outcome = await ensureObject(client, TemplateKind, template, templates.get(keyOf(template)), signal);
      if (outcome === 'restored') restored += 1;
    }
  },
};

const PAUSED = 'kubevirt.io/operator.paused';
const isPaused = ({ metadata }: Ssp): boolean => metadata.annotations?.[PAUSED] === 'true';
const isDeployed = (ssp: Ssp | undefined): boolean => ssp === undefined || ssp.status?.phase === 'Deployed';
const namespaceOf = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });

/** Where there are several kinds of machines, the first that guests can have. */
function architectureOf({ spec }: Ssp): string {
  const lists = spec?.['cluster'];
  const first = [...textsOf(lists, 'controlPlaneArchitectures'), ...textsOf(lists, 'workloadArchitectures')][0];
  return first ?? 'amd64';
}

function textsOf(object: unknown, field: string): readonly string[] {
  const value = (object as Readonly<Record<string, unknown>> | undefined)?.[field]; // a map by its schema
  return Array.isArray(value) ? (value as readonly unknown[]).filter((item) => typeof item === 'string') : [];
}

/** Makes the DataImportCrons of the SSP object, and the DataSources that templates name. */
export const goldenImagesController: ControllerRegistration = {
  name: 'golden-images',
  rules: [
    ...allow('get create', NamespaceKind),
    ...allow('create update delete', DataImportCronKind),
    ...allow('get create', DataSourceKind),
  ],
  create({ client, clock, events, informers, settings }) {
    const key: ObjectKey = { namespace: settings.installNamespace, name: SSP_NAME };
    const ssps = informers.lister(SspKind);
    const crons = informers.lister(DataImportCronKind);
    const sources = informers.lister(DataSourceKind);
    let isStarted = false;
    return {
      concurrency: 1,
      watches: [
        watchFor(
          SspKind,
          key,
          ({ type, object, old }) => type !== 'updated' || object.metadata.generation !== old.metadata.generation,
        ),
      ],
      reconciler: {
        async reconcile(_, signal) {
          const ssp = ssps.get(key);
          if (!isStarted || ssp === undefined || ssp.metadata.deletionTimestamp || isPaused(ssp)) return done;
          const wanted: readonly DataImportCron[] = (mapsAt(ssp.spec, 'commonTemplates.dataImportCronTemplates') ?? []).map(
            (template) => importCronOf(template, settings.osImagesNamespace),
          );
          for (const cron of wanted) {
            await createOnce(client, NamespaceKind, namespaceOf(cron.metadata.namespace ?? ''), signal);
            try {
              await ensureObject(client, DataImportCronKind, cron, crons.get(keyOf(cron)), signal);
            } catch (error) {
              if (!isRefusal(error)) throw error;
              const remedy = 'mend its template in spec.dataImportCronTemplates of the HyperConverged';
              events.warning(ssp, 'DataImportCronRefused', `${cron.metadata.name}: ${error.message}; ${remedy}`);
            }
          }
          const kept = new Set(wanted.map((cron) => keyString(keyOf(cron))));
          for (const cron of crons.list())
            if (isOurs(cron) && !kept.has(keyString(keyOf(cron))))
              await client.delete(DataImportCronKind, keyOf(cron), { signal });
          for (const source of ownedDataSources(settings.osImagesNamespace, wanted))
            if (sources.get(keyOf(source)) === undefined) await createOnce<DataSource>(client, DataSourceKind, source, signal);
          return done;
        },
      },
      async run(queue, signal) {
        await sleep(clock, START_AFTER_MS, signal).catch(() => {});
        isStarted = true;
        queue.add(key);
      },
    };
  },
};

/** What the same object would meet again. */
const isRefusal = (error: unknown): error is StatusError =>
  error instanceof StatusError && [400, 403, 422].includes(error.status.code ?? 0);

const isOurs = ({ metadata }: KubeObject): boolean => metadata.labels?.['app.kubernetes.io/managed-by'] === 'ssp-operator';
